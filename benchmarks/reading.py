"""tf.data to the model, beside bare records and beside PyTorch's DataLoader with MONAI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.measuring import (
    MissingError,
    Options,
    Row,
    compared,
    in_turn,
    timed,
    torch_side,
)

BATCH = 16
PROJECT = "pneumonia_classification"


def rows(options: Options) -> Iterator[Row]:
    """Images a second into batches, from the second epoch on."""
    import numpy as np
    import tensorflow as tf

    from common.base.backend import start_tensorflow
    from common.datasets.splits import training_splits
    from common.records.shards import open_prepared
    from pneumonia_classification.config import TrainSettings
    from pneumonia_classification.train import training_data

    start_tensorflow()
    prepared = open_prepared(datasets.prepared(options, PROJECT), PROJECT)
    splits, _ = training_splits(prepared.splits, 0)
    side, films = prepared.manifest["settings"]["image_size"], prepared.count(splits)
    files = [str(file) for file in prepared.shards(splits)]
    steps = options.size(300, 40)
    settings = TrainSettings(epochs=1_000_000)

    def bare() -> None:
        wanted = steps * BATCH
        read = tf.data.TFRecordDataset(files).repeat().take(wanted)
        read.batch(BATCH).reduce(0, lambda n, batch: n + 1)

    def ours(chosen: TrainSettings) -> Any:
        # One iterator over all epochs, as in fit.
        source = iter(
            training_data(prepared, splits, side, films // BATCH, BATCH, chosen).batches()
        )
        return timed(lambda: [next(source) for _ in range(steps)])

    def as_stored() -> Any:
        records = _records(prepared, splits, side).repeat().batch(BATCH).prefetch(2)
        source = iter(records)
        return timed(lambda: [next(source) for _ in range(steps)])

    read, plain = in_turn(timed(bare), as_stored())
    yield compared(
        f"tf.data, no augmentation, {side} x {side}",
        "bare TFRecordDataset of the same shards",
        steps * BATCH / plain,
        steps * BATCH / read,
        "images/s",
        0.6,
    )
    array = options.work / "films.npy"
    np.save(array, [one["image"][..., 0] for one in _records(prepared, splits, side)])
    augmented = ours(settings)
    try:
        with torch_side(options, "loader", array, BATCH, steps) as theirs:
            seconds = in_turn(augmented, theirs)
        other = steps * BATCH / seconds[1]
    except MissingError as missing:
        print(f"   PyTorch not measured: {missing}")
        seconds, other = in_turn(augmented), None
    Path(array).unlink()
    yield compared(
        f"tf.data, with augmentation, {side} x {side}",
        "DataLoader, two workers, MONAI's CacheDataset, the same augmentation",
        steps * BATCH / seconds[0],
        other,
        "images/s",
        1.0,
    )


def _records(prepared: Any, splits: list[str], side: int) -> Any:
    from pneumonia_classification.train import images_and_labels

    return images_and_labels(prepared, splits, side)
