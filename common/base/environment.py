"""What a shell decides: of what changes results, only what config.json records."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

TENSORFLOW = "tensorflow"
"""The backend of Keras where none is chosen; it reads the data on every other one too."""

JAX = "jax"
"""The backend that trains on several hosts."""

BACKENDS = {TENSORFLOW: "tensorflow==2.21.0", JAX: "jax==0.10.2", "torch": "torch==2.15.0"}
"""Those that KERAS_BACKEND may name, which are names of packages, with what pip installs."""

RANK = "TRAINING_RANK"
"""Set in a process that `common.base.rank_process` has started, to what ``--hosts`` takes."""

# Keras reads them when it is imported, TensorFlow the last: trainings cut short, another Keras.
_SHIELDED = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
    "TF_USE_LEGACY_KERAS",
)
# How those begin that set the backend, threads, kernels and compilers: of Keras, TensorFlow, XLA,
# CUDA, oneDNN, JAX, PyTorch, OpenMP and NumPy. TF_ alone would be Terraform's too, whose variables
# hold secrets, and JAX_ that of a cluster's addresses.
_RECORDED = (
    *("KERAS_BACKEND", "JAX_DEFAULT_", "JAX_ENABLE_", "PYTORCH_", "TORCH_ALLOW_", "TORCH_BLAS_"),
    *("TF_AUTO_MIXED_", "TF_CONV2D_", "TF_CUDNN_", "TF_DATA_EXPERIMENT_", "TF_DETERMINISTIC_"),
    *("TF_DISABLE_", "TF_ENABLE_", "TF_FP16_", "TF_GPU_THREAD_", "TF_JIT_", "TF_MATMUL_"),
    *("TF_NUM_", "TF_ONEDNN_", "TF_SET_ONEDNN_", "TF_USE_", "TF_XLA_", "XLA_"),
    *("CUBLAS_", "CUDNN_", "NVIDIA_TF32_", "DNNL_", "ONEDNN_"),
    *("OMP_", "MKL_", "OPENBLAS_", "GOTO_NUM_THREADS", "NPY_"),
)


def backend() -> str:
    """The backend that Keras computes on: what KERAS_BACKEND names, else TensorFlow."""
    return os.environ.get("KERAS_BACKEND") or TENSORFLOW


def backend_fault() -> str:
    """What is wrong with KERAS_BACKEND, in a line; "" for nothing."""
    name = backend()
    if name not in BACKENDS:
        return f"KERAS_BACKEND={name}: is none of {', '.join(BACKENDS)}"
    if name != TENSORFLOW and find_spec(name) is None:
        install = f"{sys.executable} -m pip install {BACKENDS[name]}"
        return f"KERAS_BACKEND={name}: {name} is not installed for this Python; run: {install}"
    return ""


def shield_from_environment() -> None:
    """Take the variables away that would change what a script does, before Keras is imported."""
    for name in _SHIELDED:
        os.environ.pop(name, None)


def recorded_environment() -> dict[str, str]:
    """The variables that are set and may change a result's last digits, or its speed, by name."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_RECORDED) and name not in _SHIELDED
    }
