"""The peak of memory between two points of a program."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from common.base.backend import has_gpu
from common.models.backends import BACKEND, gpu_count

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def begin_peak() -> None:
    """Forget the peak so far: that of the GPU where there is one, else of this process."""
    if _is_on_gpu() and BACKEND == "tensorflow":
        tf.config.experimental.reset_memory_stats("GPU:0")
    elif _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_mib() -> int | None:
    """The most memory in MiB that was in use at once since `begin_peak`.

    Of the first GPU where there is one, else of this process, its libraries included (the
    kernel's VmHWM); None where the system does not say, which is any but Linux, and on a GPU where
    Keras computes on another backend than TensorFlow.
    """
    if _is_on_gpu():
        if BACKEND != "tensorflow":
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) >> 20
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) >> 10


def _is_on_gpu() -> bool:
    return has_gpu() and gpu_count() > 0
