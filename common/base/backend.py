"""TensorFlow, started quietly, and whether there is a GPU."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, without its start-up lines.

    TensorFlow writes them below Python, before any logger is set up, and they bury a script's own
    lines. A failing import still raises its error. A second call does nothing.

    Keras reads no keras.json, in which another project's channels_first or float16 may stand.
    """
    if "tensorflow" in sys.modules:
        return
    with _silent_standard_error():
        with _keras_home(os.devnull):
            import keras  # noqa: F401
            import tensorflow as tf

        tf.config.list_physical_devices()
        tf.constant(0)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA card, without starting TensorFlow."""
    return any(Path(place).exists() for place in ("/dev/nvidia0", "/proc/driver/nvidia/gpus"))


@contextmanager
def _keras_home(folder: str) -> Iterator[None]:
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = folder
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if before is not None:
            os.environ["KERAS_HOME"] = before


@contextmanager
def _silent_standard_error() -> Iterator[None]:
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
