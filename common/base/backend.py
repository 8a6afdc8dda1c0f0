"""TensorFlow and the backend of Keras, started quietly, and whether there is a GPU."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.base import hosts
from common.base.environment import TENSORFLOW, backend

CPU = "cpu"
"""The device that no graphics card is."""


def start_tensorflow(device: str = "auto") -> None:
    """Import TensorFlow and let it look for devices, without its start-up lines.

    TensorFlow writes them below Python, before any logger is set up, and they bury a script's own
    lines. A failing import still raises its error. A second call does nothing. Where Keras computes
    on another backend, TensorFlow reads the data and leaves the graphics cards to that one. Where
    several ranks train (`common.base.hosts`), they find each other.

    Args:
        device: "cpu" hides every graphics card; else all that are visible are used.
    """
    if device == CPU:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        # Without a card JAX's CUDA would be an error.
        os.environ["JAX_PLATFORMS"] = CPU
    if "tensorflow" in sys.modules:
        return
    hosts.join()
    import_tensorflow()
    import tensorflow as tf

    with _silent(2):
        if device == CPU or backend() != TENSORFLOW:
            # The driver, if it was asked before, no longer reads the environment.
            tf.config.set_visible_devices([], "GPU")
        tf.config.list_physical_devices()
        tf.constant(0)
    if hosts.present() is not None:
        # Gloo prints when its first sum is computed.
        with _silent(1):
            hosts.divide_batches()


def import_tensorflow() -> None:
    """Import Keras, with its backend, and TensorFlow, which looks for no device yet.

    Keras reads no keras.json, in which another project's channels_first or float16 may stand.
    """
    with _silent(2), _keras_home(os.devnull):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA card that is not hidden, without starting TensorFlow."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    return _card_count() > 0


@functools.cache
def _card_count() -> int:
    """The cards that NVIDIA's driver shows; 0 where there is no driver."""
    try:
        # What the driver installs, on Windows's Linux too, where no device file is.
        return cards_of(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return 0


def cards_of(driver: Any) -> int:
    """The cards that a driver shows, by its own interface (cuInit, cuDeviceGetCount).

    https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html
    """
    count = ctypes.c_int(0)
    try:
        failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    except AttributeError:  # no such driver
        return 0
    return 0 if failed else count.value


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
def _silent(descriptor: int) -> Iterator[None]:
    """Print nothing to standard output (1) or standard error (2), from C++ either."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved, null = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(null)
