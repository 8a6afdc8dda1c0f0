"""The record of a film with the box of its heart: how it is made, read and batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.errors import UserError
from common.base.printing import print_paths, print_settings
from common.datasets.rsna import index_heart
from common.datasets.wrong_folder import BOXES, refuse_wrong_folder
from common.imaging.letterbox import Letterbox
from common.records.findings import sizes_of
from common.records.offline_copies import imgaug_copy
from common.records.outcomes import REMARK
from common.records.prepared import Prepared
from common.records.preparing import preparation
from common.records.stored_images import FILMS, film_features, png, stored_pixels
from heart_detection.config import PROJECT, PrepareSettings, TrainSettings
from synthetic_sample.make_sample import make_sample

if TYPE_CHECKING:
    import tensorflow as tf

    from common.training.pipeline import Samples, Training

CASES_PER_SHARD = 512
"""Films in one TFRecord file."""

BOX = ["x0", "y0", "x1", "y1"]
"""The columns of a box in ``cases.csv``, in the image's own pixels, half-open."""

# Copies on the sheet.
_SHEET_COPIES = 12


def prepare(settings: PrepareSettings, all_test: bool = False) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.

    Returns:
        The prepared folder.
    """
    print_settings("Prepare radiographs for heart detection", settings, PROJECT)
    with preparation(
        PROJECT, settings, make_sample, all_test, duplicates="dealt together"
    ) as steps:
        source, folder = steps.source, steps.folder
        if steps.is_finished:
            return folder

        # -- Index: which cases there are, which patient each has, and where the heart is.
        refuse_wrong_folder(source.folder, BOXES)
        cases = index_heart(source.folder, settings.patients, settings.label)

        # -- Check: what files, names and labels say; the pixels are checked where they are read.
        usable = steps.check(cases, sizes_of(cases), BOX)

        # -- Split: by patient, those who share a film as one, before anything is augmented.
        usable = steps.split(cases, usable["view"])

        # -- Write: the cases, then imgaug's copies of those that may train.
        jobs = steps.jobs(usable, ["rows", "columns", *BOX], settings.copies)
        decode = partial(decode_case, source=source.folder, image_size=settings.image_size)
        shards = steps.write(cases, jobs, decode, CASES_PER_SHARD, FILMS)
        if settings.check:
            # SciPy takes a second to import, and decoding processes import this module.
            from common.scores.expected import print_expected

            readable = cases[cases["left_out"] == ""]
            print_expected(readable, settings.test_share, mean=("mean IoU", 0.85, 0.06))
            return folder

        # -- Report: tables, counts, the disk that was saved, how the copies look.
        steps.print_cases(cases, {}, "box", BOX)
        if cases.attrs.get("images_without_box"):
            print(f"  {cases.attrs['images_without_box']} images have no box and are no cases")
        if cases.attrs.get("boxes_of_other_labels"):
            boxes = cases.attrs["boxes_of_other_labels"]
            print(f"  {boxes} boxes have another label than {settings.label!r} and are left")
        copies = [job for job in jobs if job["copy"]]
        sheet = [_draw_copies(folder, copies, decode, source.synthetic)] if copies else []
        steps.finish(cases, shards)
    print_paths([*(folder / name for name in ("cases.csv", "cohort.csv", "manifest.json")), *sheet])
    return folder


def decode_case(job: Mapping[str, Any], source: Path, image_size: int) -> dict[str, Any]:
    """One job to the features of its record: a case, or imgaug's copy of one.

    Args:
        job: A row of the table of cases, with ``copy`` (0 for the case itself) and its ``seed``.
        source: The dataset's folder.
        image_size: Side of the stored square in pixels.

    Returns:
        `film_features`, ``box`` ((x0, y0, x1, y1) in fractions of the side) and ``case``.

    Raises:
        UserError: The image cannot be read, or the copy's box left it three times.
    """
    features = film_features(source / job["path"], image_size)
    square = Letterbox(job["rows"], job["columns"], image_size)
    box = square.to_fractions(np.array([job[edge] for edge in BOX]))
    if job["copy"]:
        pixels = stored_pixels(features["image"])
        tries = (imgaug_copy(pixels, box, job["seed"] + n) for n in range(3))
        copy = next((copy for copy in tries if copy is not None), None)
        if copy is None:
            raise UserError("the box lies too near to the image's edge for a shifted copy")
        features["image"], box = png(copy[0]), copy[1]
        features.pop(REMARK, None)  # it is the case's own
    return {**features, "box": box, "case": job["case"]}


def images_and_boxes(
    prepared: Prepared, splits: list[str], image_size: int, records: range | None = None
) -> tf.data.Dataset:
    """Every record in order: ``image`` (image_size, image_size, 1), ``box`` (4,), ``case``.

    ``records`` says which, by their numbers; None for all.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    from common.training import pipeline

    return pipeline.radiographs(prepared, splits, image_size, {"box": 4}, records)


def samples(prepared: Prepared, splits: list[str], image_size: int) -> Samples:
    """The records of `images_and_boxes`, in any order."""
    from common.training import pipeline

    decode = pipeline.film_decoder(prepared, image_size, {"box": 4})
    return pipeline.in_records(prepared, splits, decode)


def training_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int, settings: TrainSettings
) -> Training:
    """Shuffled, augmented batches.

    Images (batch, image_size, image_size, 1) in 0..255 and boxes (batch, 4), (x0, y0, x1, y1) in
    fractions of the side, transformed together.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    from common.training import augment, on_device, pipeline

    ranges = augment.Ranges.of_settings(settings, gamma=settings.contrast)
    kernels = on_device.kernels(settings)

    def drawn(batch: dict[str, tf.Tensor], draws: augment.Draws) -> dict[str, Any]:
        draws = augment.keep_inside(draws, batch["box"])
        box = augment.transform_boxes(batch["box"], draws)
        return {"image": batch["image"], "box": box, "draws": draws}

    def augmented(inputs: dict[str, Any]) -> tuple[Any, Any]:
        images = kernels.transform_images(inputs["image"], inputs["draws"])
        return kernels.change_intensities(images, inputs["draws"]), inputs["box"]

    films = samples(prepared, splits, image_size)
    return pipeline.augmented_training(films, batch_size, settings, ranges, drawn, augmented)


def validation_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int
) -> tf.data.Dataset:
    """Batches as `training_data` gives them, in order and as they are, with weights."""
    from common.training import pipeline

    held_out = samples(prepared, splits, image_size)
    return pipeline.validation(held_out, batch_size, lambda batch: (batch["image"], batch["box"]))


def _draw_copies(
    folder: Path,
    copies: Sequence[Mapping[str, Any]],
    decode: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    synthetic: bool,
) -> Path:
    """Draw a sheet of copies with their boxes, so that a box that was moved wrongly is seen."""
    # Drawing needs matplotlib, which no decoding process does.
    from common.reporting.figures import film_sheet

    films = []
    for job in copies[:_SHEET_COPIES]:
        try:
            films.append(decode(job))
        except UserError:
            continue
    images = [stored_pixels(film["image"]) for film in films]
    return film_sheet(
        folder / "augmented_samples.png",
        images,
        [film["box"][None] * image.shape[0] for film, image in zip(films, images, strict=True)],
        [film["case"][:16] for film in films],
        synthetic,
    )
