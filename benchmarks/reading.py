"""tf.data to the model, next to bare records and to PyTorch's DataLoader with MONAI."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, in_turn_with_torch, timed
from common.base.backend import start_tensorflow
from common.datasets.splits import training_splits
from common.records.shards import open_prepared
from pneumonia_classification.config import TrainSettings

BATCH = 16
PROJECT = "pneumonia_classification"


def rows(options: Options) -> Iterator[Row]:
    """Images per second into batches, from the second epoch on."""
    start_tensorflow()
    import tensorflow as tf

    from pneumonia_classification.dataset import images_and_labels, training_data

    prepared = open_prepared(datasets.prepared(options, PROJECT), PROJECT)
    splits, _ = training_splits(prepared.splits, 0)
    image_size, films = prepared.manifest["settings"]["image_size"], prepared.count(splits)
    files = [str(file) for file in prepared.shards(splits)]
    steps = options.size(300, 40)
    settings = TrainSettings(epochs=1_000_000)

    def bare() -> None:
        records = tf.data.TFRecordDataset(files).repeat().take(steps * BATCH)
        records.batch(BATCH).reduce(0, lambda n, batch: n + 1)

    def augmented() -> Callable[[], float]:
        # One iterator over all epochs, as in fit.
        source = iter(
            training_data(prepared, splits, image_size, films // BATCH, BATCH, settings).batches()
        )
        return timed(lambda: [next(source) for _ in range(steps)])

    def as_stored() -> Callable[[], float]:
        records = images_and_labels(prepared, splits, image_size).repeat().batch(BATCH).prefetch(2)
        source = iter(records)
        return timed(lambda: [next(source) for _ in range(steps)])

    read, plain = in_turn(timed(bare), as_stored())
    yield compared(
        f"tf.data, no augmentation, {image_size} x {image_size}",
        "bare TFRecordDataset of the same shards",
        steps * BATCH / plain,
        steps * BATCH / read,
        "images/s",
        0.6,
    )
    array = options.work / "films.npy"
    stored = images_and_labels(prepared, splits, image_size)
    np.save(array, [record["image"][..., 0] for record in stored])
    seconds, torch_seconds = in_turn_with_torch(options, augmented(), "loader", array, BATCH, steps)
    array.unlink()
    yield compared(
        f"tf.data, with augmentation, {image_size} x {image_size}",
        "DataLoader, two workers, MONAI's CacheDataset, the same augmentation",
        steps * BATCH / seconds,
        torch_seconds and steps * BATCH / torch_seconds,
        "images/s",
        1.0,
    )
