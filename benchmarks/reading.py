"""tf.data to the model, next to bare records and to PyTorch's DataLoader with MONAI."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, in_turn_with_torch, timed
from common.base.backend import start_tensorflow
from common.datasets.splits import training_splits
from common.records.prepared import open_prepared
from pneumonia_classification.config import TrainSettings

BATCH = 16
PROJECT = "pneumonia_classification"


def rows(options: Options) -> Iterator[Row]:
    """Images per second into batches, from the second epoch on."""
    start_tensorflow()
    import tensorflow as tf

    from common.training.pipeline import Training
    from pneumonia_classification.dataset import images_and_labels, samples, training_data

    prepared = open_prepared(datasets.prepared(options, PROJECT), PROJECT)
    splits, _ = training_splits(prepared.splits)
    image_size = prepared.manifest["settings"]["image_size"]
    files = [str(file) for file in prepared.shards(splits)]
    steps = options.size(300, 40)
    images = steps * BATCH
    settings = TrainSettings(epochs=1_000_000)

    def bare() -> None:
        records = tf.data.TFRecordDataset(files).repeat().take(images)
        records.batch(BATCH).reduce(0, lambda n, batch: n + 1)

    def reading(batches: tf.data.Dataset) -> Callable[[], float]:
        # One iterator over all epochs, as in fit.
        source = iter(batches)
        return timed(lambda: [next(source) for _ in range(steps)])

    films = samples(prepared, splits, image_size)
    as_stored = Training(films, BATCH, 0, settings.epochs, lambda batch, seed: batch)
    read, plain = in_turn(timed(bare), reading(as_stored.batches()))
    stage = f"tf.data, no augmentation, {image_size} x {image_size}"
    against = "bare TFRecordDataset of the same shards"
    yield compared(stage, against, images / plain, images / read, "images/s", 0.6)
    array = options.work / "films.npy"
    stored = images_and_labels(prepared, splits, image_size)
    np.save(array, [record["image"][..., 0] for record in stored])
    augmented = training_data(prepared, splits, image_size, BATCH, settings)
    run = reading(augmented.batches())
    seconds, torch_seconds = in_turn_with_torch(options, run, "loader", array, BATCH, steps)
    array.unlink()
    stage = f"tf.data, with augmentation, {image_size} x {image_size}"
    against = "DataLoader, two workers, MONAI's CacheDataset, the same augmentation"
    theirs = torch_seconds and images / torch_seconds
    yield compared(stage, against, images / seconds, theirs, "images/s", 1.0)
