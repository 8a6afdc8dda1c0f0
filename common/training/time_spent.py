"""Where the time of an epoch went: ``train.py --profile``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from common.training.callbacks import SaveProgress, Unread

SLOW_INPUT = 0.1
"""A larger share of the steps' time that goes into waiting for input is worth some work."""


class TimeSpent(keras.callbacks.Callback):
    """Prints what took the time of the first epoch that begins here; the first callback.

    Each of its steps is waited for, so that the time it takes is its own on a card too.

    Args:
        progress: Counts the seconds of saving.
    """

    def __init__(self, progress: SaveProgress) -> None:
        super().__init__()
        self._progress = progress
        self._waited = 0.0
        self._seconds: dict[str, float] | None = {}
        self._has_timed = False

    def timed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches, the wait for which is counted; without this it is part of the steps."""
        self._has_timed = True

        def wait_for_each() -> Iterator[Any]:
            reader = iter(batches)
            while True:
                begin = time.perf_counter()
                batch = next(reader, None)
                self._waited += time.perf_counter() - begin
                if batch is None:
                    return
                yield batch

        return tf.data.Dataset.from_generator(
            wait_for_each, output_signature=batches.element_spec
        ).with_options(batches.options())

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._print()
        if self._seconds == {}:
            self._epoch, self._begin = epoch + 1, time.perf_counter()
            self._saved = self._progress.saving_seconds

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._step_begin, self._waited = time.perf_counter(), 0.0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Unread]) -> None:
        """Add the step to those of its kind."""
        if self._seconds is None:
            return
        float(logs["loss"].value)
        seconds = time.perf_counter() - self._step_begin
        is_first = "first step" not in self._seconds
        self._add("first step" if is_first else "waiting for input", self._waited)
        self._add("first step" if is_first else "steps", seconds - self._waited)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._test_begin = time.perf_counter()

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._seconds is not None:
            self._add("validation", time.perf_counter() - self._test_begin)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._print()

    def _add(self, name: str, seconds: float) -> None:
        assert self._seconds is not None
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def _print(self) -> None:
        if not self._seconds:
            return
        parts, self._seconds = self._seconds, None
        total = time.perf_counter() - self._begin
        parts["saving"] = self._progress.saving_seconds - self._saved
        parts["the rest"] = total - sum(parts.values())
        if not self._has_timed:
            parts.pop("waiting for input", None)
        titles = {
            "first step": "first step, traced and compiled",
            "waiting for input": "waiting for input",
            "steps": "steps" if self._has_timed else "steps, and waiting for input",
            "validation": "validation",
            "saving": "saving the model and where it stands",
            "the rest": "TensorBoard and the rest",
        }
        print(f"  where the {total:.1f} seconds of epoch {self._epoch} went:")
        for name in [name for name in titles if name in parts]:
            print(f"    {titles[name]:<38} {parts[name]:8.2f} s  {parts[name] / total:4.0%}")
        waiting, steps = parts.get("waiting for input", 0.0), parts.get("steps", 0.0)
        if waiting > SLOW_INPUT * (waiting + steps):
            print(
                "    the device waits for its input: give it more cores, or augment on the device "
                "(--augment device)"
            )
        print(end="", flush=True)
