"""Our side of what is trained, in a process of its own: says "ready", then works line by line.

python -m benchmarks.keras_side step unet 16 20
python -m benchmarks.keras_side fit PREPARED pneumonia_classification STEPS
python -m benchmarks.keras_side memory PREPARED pneumonia_classification STEPS
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.base.backend import start_tensorflow
from common.training.precision import set_precision

SIDE, SLICE, CHANNELS = 224, 96, 5
"""Sides of films and slices in pixels, and slices seen as channels, as --preset cpu has them."""

_FOR_EVER = 1_000_000


def step(network: str, batch: str, steps: str) -> None:
    """Training steps on one batch that lies in memory."""
    import keras
    import tensorflow as tf

    from common.models.fused import fuse_batch_normalization

    set_precision("auto")
    model = fuse_batch_normalization(_network(network))
    model.compile(keras.optimizers.Adam(1e-4), loss="binary_crossentropy", jit_compile="auto")
    data = tf.data.Dataset.from_tensors(_made_up(network, int(batch))).repeat()
    _answer(model, data, int(steps))


def fit(folder: str, name: str, steps: str, of: str) -> None:
    """A project's own training.

    Args:
        folder: Its prepared data.
        name: The project.
        steps: Steps in an epoch.
        of: ``files``, its own data and augmentation; or ``memory``, one batch of them.
    """
    import keras
    import tensorflow as tf

    from common.datasets.splits import training_splits
    from common.models.fused import fuse_batch_normalization
    from common.records.shards import open_prepared

    project = importlib.import_module(f"{name}.config").PROJECT
    settings = dataclasses.replace(project.presets["cpu"].train, epochs=_FOR_EVER)
    prepared = open_prepared(Path(folder), name)
    splits, _ = training_splits(prepared.splits, 0)
    set_precision(settings.precision)
    model, training, losses = _project(name, prepared, splits, settings, int(steps))
    fuse_batch_normalization(model).compile(keras.optimizers.Adam(1e-4), **losses)
    data = training.batches()
    if of == "memory":
        data = tf.data.Dataset.from_tensors(next(iter(data))).repeat()
    _answer(model, data, int(steps))


def _project(name: str, prepared: Any, splits: list[str], settings: Any, steps: int) -> Any:
    """A project's model, its training data, and its losses, as its train.py has them."""
    train = importlib.import_module(f"{name}.train")
    side, size = settings.image_size, settings.batch_size
    if name == "atrium_segmentation":
        from atrium_segmentation import networks, slices

        training = slices.training_data(prepared, splits, side, steps, size, settings, 1)
        return networks.build("unet", 1, settings), training, train._losses(settings, 1, 1)
    training = train.training_data(prepared, splits, side, steps, size, settings)
    model = train._build(side, "none", settings)
    if name == "heart_detection":
        return model, training, {"loss": train._loss(settings), "metrics": train._metrics()}
    return model, training, train._losses(settings)


def _answer(model: Any, data: Any, steps: int) -> None:
    """One fit, an epoch of which waits for a line and answers with the seconds that it took."""
    import keras

    class Gate(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            print("ready", flush=True)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if not sys.stdin.readline():
                raise SystemExit
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            print(time.perf_counter() - self.began, flush=True)

    model.fit(
        data, steps_per_epoch=steps, epochs=_FOR_EVER, callbacks=[Gate()], shuffle=False, verbose=0
    )


def _network(name: str) -> Any:
    from common.models.fcn8 import build_fcn8
    from common.models.resnet50 import build_resnet50
    from common.models.unet import build_unet

    if name == "unet":
        return build_unet(CHANNELS, 1, width=16, depth=4)
    if name == "fcn8":
        return build_fcn8(CHANNELS, 1, width=16)
    return build_resnet50(SIDE, weights="none")


def _made_up(network: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if network == "resnet50":
        images = rng.uniform(0, 255, (batch, SIDE, SIDE, 1))
        targets = rng.integers(0, 2, (batch, 1))
    else:
        images = rng.uniform(0, 255, (batch, SLICE, SLICE, CHANNELS))
        targets = rng.integers(0, 2, (batch, SLICE, SLICE, 1))
    return images.astype(np.float32), targets.astype(np.float32)


if __name__ == "__main__":
    start_tensorflow()
    {"step": step, "fit": fit}[sys.argv[1]](*sys.argv[2:])
