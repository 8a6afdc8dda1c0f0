"""What a training computes with: number format, devices, XLA; by what the machine has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from common.base import hosts
from common.base.backend import has_gpu
from common.base.errors import UserError
from common.models.backends import BACKEND, gpu_capability, gpu_count

_REWRITE = "auto_mixed_precision_onednn_bfloat16"

# What pip installs for a card, by the backend.
_FOR_CARD = {
    "tensorflow": f'"tensorflow[and-cuda]=={tf.__version__}"',
    "jax": '"jax[cuda13]"',
    "torch": "torch, its build for CUDA",
}


def set_precision(precision: str) -> str:
    """Choose the number format of the arithmetic, before a model is built.

    Args:
        precision: `SharedTrain.precision`.

    Returns:
        The format chosen.

    Raises:
        UserError: The backend does not have it.
    """
    if has_gpu() and not gpu_count():
        name = "TensorFlow" if BACKEND == "tensorflow" else BACKEND
        print(
            f"\n{name} does not find the graphics card, so this runs on the CPU; for the card: "
            f"pip install {_FOR_CARD[BACKEND]}",
            flush=True,
        )
    if BACKEND != "tensorflow" and gpu_count() > 1 and hosts.present() is None:
        print(f"\n{BACKEND}: of {gpu_count()} graphics cards one is used", flush=True)
    if precision == "onednn_bfloat16" and BACKEND != "tensorflow":
        raise UserError(
            f"--precision onednn_bfloat16: is TensorFlow's alone, and KERAS_BACKEND={BACKEND}; "
            "give --precision float32"
        )
    if precision == "auto":
        precision = _best_precision()
    # A rewrite of TensorFlow's graph: 1.5 times as fast on a CPU with AVX512-BF16 where Keras's own
    # policy is slower than float32.
    tf.config.optimizer.set_experimental_options({_REWRITE: precision == "onednn_bfloat16"})
    keras.config.set_dtype_policy(precision if precision.startswith("mixed") else "float32")
    return precision


class ValidateInFloat32(keras.callbacks.Callback):
    """Validates in float32, in which models predict, what onednn_bfloat16 trains.

    So the best epoch is that of the predictions. A model of Keras's mixed precision is validated as
    it trains: another one in float32 would need its own memory.
    """

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Leave the graph as it is."""
        options = tf.config.optimizer.get_experimental_options()
        self.rewrites = bool(options.get(_REWRITE))
        if self.rewrites:
            tf.config.optimizer.set_experimental_options({_REWRITE: False})

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Train as before."""
        if self.rewrites:
            tf.config.optimizer.set_experimental_options({_REWRITE: True})


def computed_with(precision: str) -> dict[str, Any]:
    """What a training's results depend on besides its settings, for ``config.json``.

    Args:
        precision: The format that `set_precision` chose.

    Returns:
        ``precision``; ``devices``, the number that a batch is divided among; whether TensorFlow's
        operations are ``deterministic_ops``, which the environment variable TF_DETERMINISTIC_OPS
        asks for; and of ranks their number, ``hosts``, whose devices compute a batch as one.
    """
    deterministic = bool(is_op_determinism_enabled())
    rank = hosts.present()
    return {
        "precision": precision,
        "devices": device_count(),
        "deterministic_ops": deterministic,
        **({"hosts": rank.ranks} if rank else {}),
    }


def device_count() -> int:
    """The devices that a training is mirrored over: all GPUs on TensorFlow, otherwise one."""
    return max(1, gpu_count()) if BACKEND == "tensorflow" else 1


def _best_precision() -> str:
    if gpu_count():
        return "mixed_bfloat16" if gpu_capability() >= (8, 0) else "mixed_float16"
    flags = Path("/proc/cpuinfo")
    has_bfloat16 = flags.exists() and "avx512_bf16" in flags.read_text()
    return "onednn_bfloat16" if has_bfloat16 and BACKEND == "tensorflow" else "float32"
