"""Our side of the trainings, in a process of its own: prints "ready", then works line by line.

python -m benchmarks.keras_side step unet 16 20
python -m benchmarks.keras_side fit PREPARED pneumonia_classification STEPS files
python -m benchmarks.keras_side fit PREPARED pneumonia_classification STEPS memory
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrium_segmentation import networks, slices
from atrium_segmentation.dataset import Volumes
from common.datasets.splits import training_splits
from common.models.fcn8 import build_fcn8
from common.models.film_networks import build_classifier
from common.models.fused import fuse_batch_normalization
from common.models.unet import build_unet
from common.records.prepared import Prepared, open_prepared
from common.training.precision import set_precision

FILM_SIZE, SLICE_SIZE, CHANNELS = 224, 96, 5
"""Side of films and of slices in pixels, and slices per image, as --preset cpu has them."""

_FOR_EVER = 1_000_000


def step(network: str, batch: str, steps: str) -> None:
    """Training steps on one batch that lies in memory."""
    set_precision("auto")
    model = fuse_batch_normalization(_network(network))
    model.compile(keras.optimizers.Adam(1e-4), loss="binary_crossentropy", jit_compile="auto")
    rng = np.random.default_rng(0)
    size, channels = (FILM_SIZE, 1) if network == "resnet50" else (SLICE_SIZE, CHANNELS)
    images = rng.uniform(0, 255, (int(batch), size, size, channels)).astype(np.float32)
    shape = (int(batch), 1) if network == "resnet50" else (int(batch), size, size, 1)
    targets = rng.integers(0, 2, shape).astype(np.float32)
    data = tf.data.Dataset.from_tensors((images, targets)).repeat()
    _answer(model, data, int(steps))


def fit(folder: str, name: str, steps: str, data_source: str) -> None:
    """A project's own training.

    Args:
        folder: The prepared data.
        name: The project.
        steps: Steps per epoch.
        data_source: ``files``, its own data and augmentation; or ``memory``, one batch of them.
    """
    project = importlib.import_module(f"{name}.config").PROJECT
    settings = dataclasses.replace(project.presets["cpu"].train, epochs=_FOR_EVER)
    prepared = open_prepared(Path(folder), name)
    splits, _ = training_splits(prepared.splits)
    set_precision(settings.precision)
    model, training, losses = _project(name, prepared, splits, settings)
    fuse_batch_normalization(model).compile(keras.optimizers.Adam(1e-4), **losses)
    data = training.batches()
    if data_source == "memory":
        data = tf.data.Dataset.from_tensors(next(iter(data))).repeat()
    _answer(model, data, int(steps))


def _project(name: str, prepared: Prepared, splits: list[str], settings: Any) -> Any:
    """A project's model, its training data, and its losses, as its train.py has them."""
    size, batch = settings.image_size, settings.batch_size
    if name == "atrium_segmentation":
        training = slices.training_data(Volumes(prepared, splits), size, batch, settings, 1)
        return networks.build("unet", 1, settings), training, networks.losses(settings, 1, 1)
    dataset = importlib.import_module(f"{name}.dataset")
    training = dataset.training_data(prepared, splits, size, batch, settings)
    project = importlib.import_module(f"{name}.networks")
    return project.build(size, "none", settings), training, project.losses(settings)


class _Gate(keras.callbacks.Callback):
    """An epoch waits for a line, and answers with the seconds that it took."""

    def on_train_begin(self, logs: Any = None) -> None:
        print("ready", flush=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not sys.stdin.readline():
            raise SystemExit
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        print(time.perf_counter() - self.began, flush=True)


def _answer(model: keras.Model, data: tf.data.Dataset, steps: int) -> None:
    model.fit(
        data, steps_per_epoch=steps, epochs=_FOR_EVER, callbacks=[_Gate()], shuffle=False, verbose=0
    )


def _network(name: str) -> keras.Model:
    if name == "unet":
        return build_unet(CHANNELS, 1, width=16, depth=4)
    if name == "fcn8":
        return build_fcn8(CHANNELS, 1, width=16)
    return build_classifier(FILM_SIZE, weights="none")


if __name__ == "__main__":
    (step if sys.argv[1] == "step" else fit)(*sys.argv[2:])
