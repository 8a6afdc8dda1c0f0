"""Our side of `time_to_score`: the atrium's U-Net, with the settings of its --preset cpu.

    python -m benchmarks.keras_score PREPARED SPLIT MINUTES [MINUTES ...]

The minutes rise. At each the averaged weights are kept; the last ends the training.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from atrium_segmentation import inference, networks, slices
from atrium_segmentation.config import PROJECT, EvaluateSettings, TrainSettings
from atrium_segmentation.dataset import Volumes
from common.datasets.splits import training_splits
from common.models.fused import fuse_batch_normalization
from common.records.prepared import open_prepared
from common.scores.volumes import dice
from common.training.precision import set_precision

_STEPS = 100


def main() -> None:
    """Train, and print for each of the minutes the Dice of each volume of the split, as JSON."""
    prepared = open_prepared(Path(sys.argv[1]), PROJECT.name)
    preset = PROJECT.presets["cpu"]
    settings = dataclasses.replace(preset.train, epochs=1_000_000)
    evaluate = preset.evaluate
    assert isinstance(settings, TrainSettings) and isinstance(evaluate, EvaluateSettings)
    train, _ = training_splits(prepared.splits)
    set_precision(settings.precision)
    keras.utils.set_random_seed(settings.seed)
    model = fuse_batch_normalization(networks.build("unet", 1, settings))
    adam = keras.optimizers.Adam(
        settings.learning_rate, use_ema=True, ema_momentum=settings.ema_momentum
    )
    model.compile(adam, **networks.losses(settings, 1, 1))
    size, batch = settings.image_size, settings.batch_size
    training = slices.training_data(Volumes(prepared, train), size, batch, settings, 1)
    clock = _Clock([float(minute) for minute in sys.argv[3:]], settings.learning_rate)
    model.fit(
        training.batches(), steps_per_epoch=_STEPS, epochs=settings.epochs, callbacks=[clock],
        shuffle=False, verbose=0,
    )  # fmt: skip
    scored = Volumes(prepared, [sys.argv[2]])
    dices: list[list[float]] = []
    for weights in clock.snapshots:
        model.set_weights(weights)
        dices.append([])
        for volume in scored:
            image, neighbours = volume["image"], settings.neighbours
            outputs = inference.predict_plane(model, image, "axial", neighbours, evaluate)
            dices[-1].append(dice(volume["mask"] > 0, outputs[..., 0] >= 0.5))
    print(json.dumps(dices), flush=True)


class _Clock(keras.callbacks.Callback):
    """The learning rate by the time that has passed, and the averaged weights at some minutes."""

    def __init__(self, minutes: Sequence[float], learning_rate: float) -> None:
        super().__init__()
        self.minutes, self.learning_rate = minutes, learning_rate
        self.snapshots: list[list[np.ndarray]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.began = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        progress = (time.monotonic() - self.began) / (60 * self.minutes[-1])
        self.model.optimizer.learning_rate.assign(self.learning_rate * _rate_at(progress))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        passed = (time.monotonic() - self.began) / 60
        for _ in range(sum(passed >= minute for minute in self.minutes) - len(self.snapshots)):
            self.snapshots.append(self._averaged())
        self.model.stop_training = len(self.snapshots) == len(self.minutes)

    def _averaged(self) -> list[np.ndarray]:
        weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        averaged = self.model.get_weights()
        self.model.set_weights(weights)
        return averaged


def _rate_at(progress: float) -> float:
    """The share of the learning rate after a share of the time: warm-up, then a cosine."""
    cosine = float(1 + np.cos(np.pi * (min(progress, 1.0) - 0.05) / 0.95)) / 2
    return min(progress / 0.05, cosine)


if __name__ == "__main__":
    main()
