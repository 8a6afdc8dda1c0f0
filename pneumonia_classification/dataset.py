"""The record of a film and its label: how it is made, read and batched."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.base.files import write_bytes, write_csv
from common.base.printing import as_printed, print_paths, print_settings
from common.base.tables import Table, print_table
from common.datasets.boxes import boxes_as_text, boxes_of_text
from common.datasets.class_folders import OFFICIAL
from common.datasets.class_names import is_normal
from common.datasets.classes import Classes
from common.datasets.image_table import FILE, LABEL, PATH, PATIENT
from common.datasets.layouts import WORDS, index_films
from common.datasets.splits import TEST, VALIDATION, split_order
from common.imaging.image_files import as_text, path_from
from common.imaging.letterbox import Letterbox
from common.records.findings import sizes_of
from common.records.mapped import MappedRecords
from common.records.offline_copies import augmentor_copy
from common.records.outcomes import REMARK
from common.records.prepared import Prepared
from common.records.preparing import Preparation, preparation
from common.records.stored_images import FILMS, film_features, png, stored_pixels
from pneumonia_classification.config import PROJECT, PrepareSettings, TrainSettings
from synthetic_sample.make_sample import make_sample

if TYPE_CHECKING:
    import tensorflow as tf

    from common.training.on_device import Kernels
    from common.training.pipeline import Samples, Training

CASES_PER_SHARD = 512
"""Films in one TFRecord file."""

MAX_COPIES = 3
"""Augmentor's copies of a case, at most, where the settings leave their number open."""

_TWO = Classes()


def prepare(
    settings: PrepareSettings,
    all_test: bool = False,
    accept: Callable[[Classes], object] | None = None,
) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.
        accept: Is called with the classes before any film is prepared, and may raise.

    Returns:
        The prepared folder.
    """
    print_settings("Prepare radiographs for pneumonia classification", settings, PROJECT)
    with preparation(
        PROJECT, settings, make_sample, all_test, duplicates="dealt together"
    ) as steps:
        source, folder = steps.source.folder, steps.folder
        if steps.is_finished:
            return folder

        # -- Index: which cases there are, and which patient each has.
        cases = index_films(
            source,
            settings.patients,
            settings.layout,
            settings.patient_pattern,
            settings.positive_class,
        )
        if settings.own_split:
            cases = cases.drop(columns=OFFICIAL, errors="ignore")
        classes = Classes.described(cases.attrs)
        _print_layout(
            WORDS[cases.attrs["layout"]], classes, bool(settings.positive_class) or all_test
        )
        if accept:
            accept(classes)

        # -- Check: what files, names and labels say; the pixels are checked where they are read.
        usable = steps.check(cases, sizes_of(cases), ["label"])

        # -- Split: by patient, those who share a film as one, before anything is augmented.
        strata = _strata(usable, classes) + usable["view"]
        usable = steps.split(cases, strata, partial(_tails, seed=settings.seed, classes=classes))

        # -- Write: the cases, then Augmentor's copies of the positives that may train.
        copies = {} if all_test or settings.check else _copies(usable, classes, settings.copies)
        columns = ["label", "boxes", "rows", "columns", "patient"]
        jobs = steps.jobs(usable, columns, copies)
        decode = partial(
            decode_case,
            source=source,
            folder=folder,
            image_size=settings.image_size,
            stretch=settings.proportions == "stretch",
            classes=classes,
        )
        shards = steps.write(cases, jobs, decode, CASES_PER_SHARD, FILMS)

        # -- Look for shortcuts: whether the label can be read from how its films were taken.
        # scikit-learn takes a second to import, and decoding processes import this module.
        from common.scores.expected import print_expected
        from common.scores.shortcuts import find_shortcuts, print_shortcuts

        shortcuts = find_shortcuts(steps.statistics, cases, settings.seed, classes)
        if not all_test:
            print_shortcuts(shortcuts)
        if settings.check:
            readable = cases[cases["left_out"] == ""]
            truth = classes.truth(readable["label"])
            print_expected(readable, settings.test_share, truth, classes.names[-truth.shape[1] :])
            return folder

        # -- Report: tables, counts, the disk that was saved.
        cases["boxes"] = cases["boxes"].map(boxes_as_text)
        left_out = set(cases.loc[cases["left_out"] != "", "case"])
        _write_images(steps, jobs, left_out, classes)
        groups = {"positive": "label == 1", "negative": "label == 0"}
        steps.print_cases(cases, groups if classes.are_two else {}, "label", ["label"])
        _print_classes(cases, classes, copies, sum(1 for job in jobs if job["copy"]))
        steps.finish(cases, shards, shortcuts=shortcuts, **classes.description)
    tables = ("cases.csv", "images.csv", "cohort.csv", "acquisition.csv", "manifest.json")
    print_paths([folder / name for name in tables])
    return folder


def decode_case(
    job: Mapping[str, Any],
    source: Path,
    folder: Path,
    image_size: int,
    stretch: bool,
    classes: Classes = _TWO,
) -> dict[str, Any]:
    """One job to the features of its record: a case, or Augmentor's copy of one.

    Args:
        job: A row of the table of cases, with ``copy`` (0 for the case itself) and its ``seed``.
        source: The dataset's folder.
        folder: The prepared folder, where a copy is also kept as a picture.
        image_size: Side of the stored square in pixels.
        stretch: Whether a film's proportions are given up to fill it.
        classes: What its label is of.

    Raises:
        UserError: The image cannot be read.
    """
    features = film_features(source / job["path"], image_size, stretch, not job["copy"])
    square = Letterbox(int(job["rows"]), int(job["columns"]), image_size, stretch)
    boxes = square.to_fractions(np.array(job["boxes"]).reshape(-1, 4))
    if job["copy"]:
        # Augmentor does not tell how it transformed the film.
        boxes = boxes[:0]
        encoded = png(augmentor_copy(stored_pixels(features["image"]), job["seed"]))
        write_bytes(folder / _copy_path(job), encoded)
        features["image"] = encoded
        features.pop(REMARK, None)  # it is the case's own
    label = classes.truth([job["label"]])[0]
    return {**features, "label": label, "case": job["case"], "boxes": boxes}


def _print_layout(layout: str, classes: Classes, is_chosen: bool) -> None:
    """Print the layout and the classes, and which is positive where no name says so."""
    names = [*map(as_printed, classes.names)]
    print(f"\nlayout: {layout}; classes: {', '.join(names)}", flush=True)
    known = sum(is_normal(name, classes.names) for name in classes.names) == 1
    if classes.are_two and not known and not is_chosen:
        print(
            f"  positive: {names[1]}, the second by its name, since neither is called normal; "
            f"--positive-class '{names[0]}' takes the other",
            flush=True,
        )


def _tails(
    statistics: pd.DataFrame, cases: pd.DataFrame, share: float, seed: int, classes: Classes
) -> pd.Series[str]:
    if not classes.are_two:
        raise UserError(f"--split-by shortcut: needs two classes, not the {classes}; name a column")
    # scikit-learn takes a second to import, and decoding processes import this module.
    from common.scores.shortcuts import tails

    return tails(statistics, cases, share, seed)


def boxes_in_square(
    case: Mapping[Hashable, Any], prepared: Prepared, image_size: int
) -> np.ndarray:
    """The boxes (n, 4) of a row of ``cases.csv`` in fractions of the square that a model sees."""
    boxes = boxes_of_text(case["boxes"] if isinstance(case["boxes"], str) else "")
    stretch = prepared.manifest["settings"]["proportions"] == "stretch"
    square = Letterbox(int(case["rows"]), int(case["columns"]), image_size, stretch)
    return square.to_fractions(np.array(boxes).reshape(-1, 4))


def classes_of(prepared: Prepared) -> Classes:
    """What the labels of prepared data tell apart."""
    return Classes.described(prepared.manifest)


def images_and_labels(
    prepared: Prepared, splits: list[str], image_size: int, records: range | None = None
) -> tf.data.Dataset:
    """Every record in order: ``image`` (image_size, image_size, 1), ``label`` (outputs,), ``case``.

    ``records`` says which, by their numbers; None for all.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    from common.training import pipeline

    outputs = classes_of(prepared).outputs
    return pipeline.radiographs(prepared, splits, image_size, {"label": outputs}, records)


def samples(
    prepared: Prepared, splits: list[str], image_size: int, with_region: bool = False
) -> Samples:
    """The records of `images_and_labels`, in any order; ``region`` as of `film_decoder`."""
    from common.training import pipeline

    outputs = classes_of(prepared).outputs
    decode = pipeline.film_decoder(prepared, image_size, {"label": outputs}, with_region)
    return pipeline.in_records(prepared, splits, decode)


def training_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int, settings: TrainSettings
) -> Training:
    """Shuffled, augmented batches.

    Images (batch, image_size, image_size, 1) in 0..255 and labels (batch, outputs). With
    ``box_weight`` the targets are the labels and the share of every place of the last features that
    lies in a radiologist's box, (batch, places, places, 1). With class weights the weights of the
    samples, (batch, 1), come third.
    """
    # A decoding process imports this module, and must not load TensorFlow.
    import tensorflow as tf

    from common.training import augment, on_device, pipeline

    ranges, kernels = augment.Ranges.of_settings(settings), on_device.kernels(settings)
    classes = classes_of(prepared)
    labels = _labels(prepared, splits)
    counts = np.maximum(np.bincount(labels, minlength=len(classes.names)), 1)
    balanced = tf.constant(len(labels) / len(counts) / counts, tf.float32)
    films = samples(prepared, splits, image_size, settings.box_weight > 0)
    if settings.balance == "oversampling":
        films = dataclasses.replace(films, times=(counts.max() / counts)[labels])

    def drawn(batch: dict[str, tf.Tensor], draws: augment.Draws) -> dict[str, Any]:
        inputs: dict[str, Any] = {**batch, "draws": draws, "weights": ()}
        del inputs["case"]
        if settings.balance == "weights":
            label = batch["label"] if classes.are_two else tf.argmax(batch["label"], 1)[:, None]
            weights = tf.gather(balanced, tf.cast(label, tf.int32))
            both = weights, tf.ones_like(weights)
            inputs["weights"] = (both if settings.box_weight else weights,)
        return inputs

    def augmented(inputs: dict[str, Any]) -> tuple[Any, ...]:
        draws = inputs["draws"]
        for name in inputs.keys() & {"image", "region"}:
            inputs = {**inputs, name: kernels.transform_images(inputs[name], draws)}
        images = kernels.change_intensities(inputs["image"], draws)
        return images, _targets(inputs, image_size, kernels), *inputs["weights"]

    return pipeline.augmented_training(
        films, batch_size, settings, ranges, drawn, augmented, settings.mixup
    )


def validation_data(
    prepared: Prepared, splits: list[str], image_size: int, batch_size: int, settings: TrainSettings
) -> tf.data.Dataset:
    """Batches as `training_data` gives them, in order and as they are, with weights."""
    from common.training import on_device, pipeline

    films = samples(prepared, splits, image_size, settings.box_weight > 0)
    return pipeline.validation(
        films,
        batch_size,
        lambda batch: (batch["image"], _targets(batch, image_size, on_device.HOST)),
    )


def _targets(batch: Mapping[str, Any], image_size: int, kernels: Kernels) -> Any:
    """The labels and, where records have a region, its share of every place of the features."""
    if "region" not in batch:
        return batch["label"]
    return batch["label"], kernels.shares(batch["region"], -(-image_size // 32))


def _labels(prepared: Prepared, splits: list[str]) -> np.ndarray:
    """The stratum of every record of some splits, in order, with Augmentor's copies: (n,) int."""
    import tensorflow as tf

    examples = map(tf.train.Example.FromString, MappedRecords(prepared.shards(splits)))
    truth = np.array([list(e.features.feature["label"].float_list.value) for e in examples])
    return classes_of(prepared).strata(truth)


def _strata(cases: pd.DataFrame, classes: Classes) -> pd.Series[str]:
    """What keeps its share in every split: a label; of several in one case the rarest."""
    strata = classes.strata(classes.truth(cases["label"]))
    if classes.exclusive:
        return pd.Series(strata, cases.index).astype(str)
    # A patient's rarest label sorts last, and so is the one that counts.
    rarity = np.argsort(np.argsort(-np.bincount(strata, minlength=len(classes.names) + 1)))
    return pd.Series(rarity[strata], cases.index).map("{:03d}".format)


def _copies(cases: pd.DataFrame, classes: Classes, copies: int) -> dict[str, int]:
    """The number of Augmentor's copies by case: of positives, or of all but the commonest class."""
    train = cases[~cases["split"].isin((TEST, VALIDATION))]
    truth = classes.truth(train["label"])
    strata, counts = classes.strata(truth), truth.sum(axis=0)
    if classes.are_two:
        counts = np.bincount(strata, minlength=2)
    if copies < 0 and classes.are_two and not counts[1]:
        raise UserError(
            "the training split has no positive case: is Target 1 in stage_2_train_labels.csv?"
        )
    commonest = 0 if classes.are_two else int(np.argmax(counts))
    ratios = np.clip(np.rint(counts[commonest] / np.maximum(counts, 1)) - 1, 0, MAX_COPIES)
    number = ratios.astype(int) if copies < 0 else np.full(len(counts), copies)
    # None of the commonest, and none of a case that has no label.
    number = np.append(np.where(np.arange(len(number)) == commonest, 0, number), 0)
    return dict(zip(train["case"].to_numpy(object), number[strata].tolist(), strict=True))


def _print_classes(
    cases: pd.DataFrame, classes: Classes, copies: Mapping[str, int], count: int
) -> None:
    """Print the cases of each class by split, where there are several, and Augmentor's copies."""
    most = max(copies.values(), default=0)
    if classes.are_two:
        if most:
            print(f"  Augmentor: {most} copies of each positive that trains, {count} in all")
        return
    usable = cases[cases["left_out"] == ""]
    splits = split_order(usable["split"].unique())
    truth = classes.truth(usable["label"])
    rows = [
        (name, *(str(int(column[usable["split"] == split].sum())) for split in splits))
        for name, column in zip(classes.names, truth.T, strict=True)
    ]
    if not classes.exclusive:
        bare = truth.sum(axis=1) == 0
        rows.append(("none", *(str((bare & (usable["split"] == split)).sum()) for split in splits)))
    print_table(Table("", ("class" if classes.exclusive else "label", *splits), tuple(rows)))
    if count:
        print(f"  Augmentor: up to {most} copies of each case of a rarer class, {count} in all")


def _copy_path(job: Mapping[str, Any]) -> str:
    return f"augmented/{job['case']}-{job['copy']}.png"


def _write_images(
    steps: Preparation,
    jobs: Sequence[Mapping[str, Any]],
    left_out: set[str],
    classes: Classes,
) -> None:
    @functools.cache
    def from_table(folder: str) -> str:
        return path_from(steps.folder, steps.source.folder / folder)

    def path(job: Mapping[str, Any]) -> str:
        """From the table's folder; a film whose path may name somebody is called by its id."""
        written = steps.written_path(job["path"], job["case"])
        if written != job["path"]:
            return written
        folder, _, name = written.rpartition("/")
        return f"{from_table(folder)}/{name}".removeprefix("./")

    rows = (
        {
            PATH: as_text(_copy_path(job) if job["copy"] else path(job)),
            LABEL: classes.in_table(job["label"]),
            PATIENT: job["patient"],
        }
        for job in jobs
        if job["case"] not in left_out and job["split"] not in (TEST, VALIDATION)
    )
    write_csv(steps.folder / FILE, (PATH, LABEL, PATIENT), rows)
