"""The record of a film and its label: how it is made, read and batched."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.base.files import write_bytes, write_csv
from common.base.printing import print_paths, print_settings
from common.datasets.rsna import index_pneumonia
from common.datasets.splits import TEST, VALIDATION
from common.imaging.letterbox import Letterbox
from common.records.findings import sizes_of
from common.records.mapped import MappedRecords
from common.records.offline_copies import augmentor_copy
from common.records.prepared import Prepared
from common.records.preparing import preparation
from common.records.stored_images import film_features, png, stored_pixels
from pneumonia_classification.config import PROJECT, PrepareSettings, TrainSettings
from synthetic_sample.make_sample import make_sample

if TYPE_CHECKING:
    import tensorflow as tf

    from common.training.pipeline import Samples, Training

CASES_PER_SHARD = 512
"""Films in one TFRecord file."""

MAX_COPIES = 3
"""Augmentor's copies of a positive, at most, where the settings leave their number open."""


def prepare(settings: PrepareSettings, all_test: bool = False) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.

    Returns:
        The prepared folder.
    """
    print_settings("Prepare radiographs for pneumonia classification", settings)
    with preparation(
        PROJECT, settings, make_sample, all_test, duplicates="dealt together"
    ) as steps:
        source, folder = steps.source.folder, steps.folder
        if steps.is_finished:
            return folder

        # -- Index: which cases there are, and which patient each has.
        cases = index_pneumonia(source, settings.patients)

        # -- Check: what files, names and labels say; the pixels are checked where they are read.
        usable = steps.check(cases, sizes_of(cases), ["label"])

        # -- Split: by patient, those who share a film as one, before anything is augmented.
        usable = steps.split(cases, usable["label"].astype(str) + usable["view"])

        # -- Write: the cases, then Augmentor's copies of the positives that may train.
        copies = 0 if all_test or settings.check else _copies_per_positive(usable, settings.copies)
        columns = ["label", "boxes", "rows", "columns"]
        jobs = steps.jobs(usable, columns, copies, query="label == 1")
        decode = partial(
            decode_case,
            source=source,
            folder=folder,
            image_size=settings.image_size,
            stretch=settings.proportions == "stretch",
        )
        shards = steps.write(cases, jobs, decode, CASES_PER_SHARD)
        if settings.check:
            return folder

        # -- Report: tables, counts, the disk that was saved.
        cases["boxes"] = cases["boxes"].map(boxes_as_text)
        _write_images(folder, source, jobs, set(cases.loc[cases["left_out"] != "", "case"]))
        groups = {"positive": "label == 1", "negative": "label == 0"}
        steps.print_cases(cases, groups, "label", ["label"])
        if copies:
            count = sum(1 for job in jobs if job["copy"])
            print(f"  Augmentor: {copies} copies of each positive that trains, {count} in all")
        steps.finish(cases, shards)
    print_paths(
        [folder / name for name in ("cases.csv", "images.csv", "cohort.csv", "manifest.json")]
    )
    return folder


def decode_case(
    job: Mapping[str, Any], source: Path, folder: Path, image_size: int, stretch: bool
) -> dict[str, Any]:
    """One job to the features of its record: a case, or Augmentor's copy of one.

    Args:
        job: A row of the table of cases, with ``copy`` (0 for the case itself) and its ``seed``.
        source: The dataset's folder.
        folder: The prepared folder, where a copy is also kept as a picture.
        image_size: Side of the stored square in pixels.
        stretch: Whether a film's proportions are given up to fill it.

    Raises:
        UserError: The image cannot be read.
    """
    features = film_features(source / job["path"], image_size, stretch)
    square = Letterbox(int(job["rows"]), int(job["columns"]), image_size, stretch)
    boxes = square.to_fractions(np.array(job["boxes"]).reshape(-1, 4))
    if job["copy"]:
        # Augmentor does not tell how it transformed the film.
        boxes = boxes[:0]
        encoded = png(augmentor_copy(stored_pixels(features["image"]), job["seed"]))
        write_bytes(folder / _copy_path(job), encoded)
        features["image"] = encoded
    return {**features, "label": float(job["label"]), "case": job["case"], "boxes": boxes}


def boxes_as_text(boxes: list[tuple[float, float, float, float]]) -> str:
    """Boxes as one cell of a CSV: ``x0 y0 x1 y1;x0 y0 x1 y1``."""
    return ";".join(" ".join(f"{edge:g}" for edge in box) for box in boxes)


def boxes_in_square(
    case: Mapping[Hashable, Any], prepared: Prepared, image_size: int
) -> np.ndarray:
    """The boxes (n, 4) of a row of ``cases.csv`` in fractions of the square that a model sees."""
    text = case["boxes"] if isinstance(case["boxes"], str) else ""
    boxes = [[float(edge) for edge in box.split()] for box in text.split(";") if box]
    stretch = prepared.manifest["settings"]["proportions"] == "stretch"
    square = Letterbox(int(case["rows"]), int(case["columns"]), image_size, stretch)
    return square.to_fractions(np.array(boxes).reshape(-1, 4))


def images_and_labels(
    prepared: Prepared, splits: list[str], image_size: int, with_region: bool = False
) -> tf.data.Dataset:
    """Every record in order: ``image`` (image_size, image_size, 1), ``label`` (1,), ``case``.

    With a region ``region`` too: 255 where a radiologist's box is, in the image's shape.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    from common.training import pipeline

    return pipeline.radiographs(prepared, splits, image_size, "label", 1, with_region)


def samples(
    prepared: Prepared, splits: list[str], image_size: int, with_region: bool = False
) -> Samples:
    """The records of `images_and_labels`, in any order."""
    from common.training import pipeline

    decode = pipeline.film_decoder(prepared, image_size, "label", 1, with_region)
    return pipeline.in_records(prepared, splits, decode)


def training_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int, settings: TrainSettings
) -> Training:
    """Shuffled, augmented batches.

    Images (batch, image_size, image_size, 1) in 0..255 and labels (batch, 1). With
    ``box_weight`` the targets are the labels and the share of every place of the last features that
    lies in a radiologist's box, (batch, places, places, 1). With class weights the weights of the
    samples, (batch, 1), come third.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    import tensorflow as tf

    from common.training import augment, pipeline

    ranges = augment.Ranges.of_settings(settings)

    labels = _labels(prepared, splits)
    # By label, 0 and 1.
    counts = np.maximum(np.bincount(labels, minlength=2), 1)
    balanced = tf.constant(len(labels) / 2 / counts, tf.float32)
    films = samples(prepared, splits, image_size, settings.box_weight > 0)
    if settings.balance == "oversampling":
        films = dataclasses.replace(films, times=(counts.max() / counts)[labels])

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[Any, ...]:
        draws = augment.draw(ranges, batch_size, seed)
        transformed: dict[str, tf.Tensor] = {
            name: augment.transform_images(tf.cast(batch[name], tf.float32), draws)
            for name in ("image", "region")
            if name in batch
        }
        images = augment.change_intensities(transformed["image"], draws)
        inputs: tuple[Any, ...] = images, _targets({**batch, **transformed}, image_size)
        if settings.balance == "weights":
            weights = tf.gather(balanced, tf.cast(batch["label"], tf.int32))
            both = (weights, tf.ones_like(weights)) if settings.box_weight else weights
            inputs = *inputs, both
        return augment.mix(inputs, settings.mixup, seed) if settings.mixup else inputs

    return pipeline.Training(films, batch_size, settings.seed, settings.epochs, to_inputs)


def validation_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int, settings: TrainSettings
) -> tf.data.Dataset:
    """Batches as `training_data` gives them, in order and as they are, with weights."""
    from common.training import pipeline

    films = samples(prepared, splits, image_size, settings.box_weight > 0)
    return pipeline.validation(
        films, batch_size, lambda batch: (batch["image"], _targets(batch, image_size))
    )


def _targets(
    batch: dict[str, tf.Tensor], image_size: int
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """The labels and, where records have a region, its share of every place of the features."""
    import tensorflow as tf

    if "region" not in batch:
        return batch["label"]
    places = -(-image_size // 32)
    inside = tf.cast(batch["region"], tf.float32) / 255
    return batch["label"], tf.image.resize(inside, (places, places), "area")


def _labels(prepared: Prepared, splits: list[str]) -> np.ndarray:
    """The label of every record of some splits, in order, with Augmentor's copies: (n,) int."""
    import tensorflow as tf

    examples = map(tf.train.Example.FromString, MappedRecords(prepared.shards(splits)))
    return np.array([int(e.features.feature["label"].float_list.value[0]) for e in examples])


def _copies_per_positive(cases: pd.DataFrame, copies: int) -> int:
    if copies >= 0:
        return copies
    train = cases[~cases["split"].isin((TEST, VALIDATION))]
    positives = int((train["label"] == 1).sum())
    if positives == 0:
        raise UserError(
            "the training split has no positive case: is Target 1 in stage_2_train_labels.csv?"
        )
    return max(0, min(MAX_COPIES, round((len(train) - positives) / positives) - 1))


def _copy_path(job: Mapping[str, Any]) -> str:
    return f"augmented/{Path(job['path']).stem}-{job['copy']}.png"


def _write_images(
    folder: Path, source: Path, jobs: Sequence[Mapping[str, Any]], left_out: set[str]
) -> None:
    rows = [
        {
            "image_path": _copy_path(job) if job["copy"] else str(source.resolve() / job["path"]),
            "label": int(job["label"]),
        }
        for job in jobs
        if job["case"] not in left_out and job["split"] not in (TEST, VALIDATION)
    ]
    write_csv(folder / "images.csv", ("image_path", "label"), rows)
