"""TensorFlow started where it is used, and quietly."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, without its start-up lines.

    They are written below Python, before any logger is set up, and bury what a script says.
    An import that fails still says why. Does nothing the second time.
    """
    if "tensorflow" in sys.modules:
        return
    with _standard_error_kept_aside():
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.constant(0)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA card, asked without starting TensorFlow."""
    return any(Path(place).exists() for place in ("/dev/nvidia0", "/proc/driver/nvidia/gpus"))


@contextmanager
def _standard_error_kept_aside() -> Iterator[None]:
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
