"""Prepare the RSNA Pneumonia Detection Challenge: DICOM and labels to TFRecords.

Reads a folder with stage_2_train_images/ and stage_2_train_labels.csv. Writes cases.csv (every
case and its split), images.csv (image_path, label: what trains, Augmentor's copies among it),
augmented/ (the copies), records/ and manifest.json. Started again, it goes on, or says that all
is there.

    python prepare_data.py --source data/raw/rsna-pneumonia --prepared data/prepared/pneumonia
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.printing import print_paths, print_settings
from pneumonia_classification.config import PROJECT, PrepareSettings

CASES_A_SHARD = 512
MOST_COPIES = 3


def main() -> None:
    """The script."""
    prepare(parse(PROJECT, "prepare", __doc__))


def prepare(settings: PrepareSettings, all_test: bool = False) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.

    Returns:
        The prepared folder.
    """
    from common.base.files import lock_folder
    from common.datasets.rsna import index_pneumonia
    from common.records import preparing
    from common.records.findings import DatasetCheck, sizes_of
    from common.records.shards import finish

    print_settings("Prepare radiographs for pneumonia classification", settings)
    source = preparing.find_source(PROJECT, settings)
    folder = settings.prepared or PROJECT.prepared(source.synthetic)
    all_test = all_test or settings.check
    with lock_folder(folder):
        begun = preparing.begin(folder, source, settings, all_test, duplicates="dealt together")
        if begun is None:
            return folder
        key, decides = begun

        # -- Index: which cases there are, and whose they are.
        cases = index_pneumonia(source.folder, settings.patients)
        cases["split"] = ""
        cases["duplicate_of"] = preparing.duplicates(cases, source.folder, settings)

        # -- Check: what files, names and labels say; the pixels are looked at where they are read.
        check = DatasetCheck(source.folder, folder, settings)
        check.look(cases, sizes_of(cases), ["label"])
        left = check.usable(cases)

        # -- Split: by patient, those who share a film as one, before anything is augmented.
        strata = left["label"].astype(str) + left["view"]
        cases.loc[left.index, "split"] = preparing.split(left, strata, settings, all_test)
        left = cases.loc[left.index]

        # -- Write: the cases, then Augmentor's copies of the positives that may train.
        copies = 0 if all_test else _copies_a_positive(left, settings.copies)
        of_case = ["label", "boxes", "rows", "columns"]
        jobs = preparing.jobs(left, of_case, copies, settings.seed, of="label == 1")
        decode = partial(
            decode_case,
            source=source.folder,
            folder=folder,
            side=settings.image_size,
            stretch=settings.proportions == "stretch",
        )
        shards, unreadable = check.decode(jobs, decode, CASES_A_SHARD)
        preparing.leave_out(cases, unreadable)
        left = check.usable(cases)
        if settings.check:
            check.tell(cases)
            return folder

        # -- Tell: tables, counts, the disk that was saved.
        cases["boxes"] = cases["boxes"].map(boxes_as_text)
        preparing.write_cases(folder, cases)
        _write_images(folder, source.folder, jobs, unreadable)
        groups = {"positive": "label == 1", "negative": "label == 0"}
        preparing.print_splits(cases, groups, settings)
        preparing.print_duplicates(cases, "label", ["label"])
        if copies:
            made = sum(1 for job in jobs if job["copy"])
            print(f"  Augmentor: {copies} copies of each positive that trains, {made} in all")
        check.tell(cases)
        disk = preparing.print_disk(source.folder, list(left["path"]), shards)
        finish(
            folder,
            preparing.manifest(PROJECT, source, key, decides, cases, shards, disk),
        )
    print_paths([folder / name for name in ("cases.csv", "images.csv", "manifest.json")])
    return folder


def decode_case(
    job: Mapping[str, Any], source: Path, folder: Path, side: int, stretch: bool
) -> dict[str, Any]:
    """One job to the features of its record: a case, or Augmentor's copy of one.

    Args:
        job: A row of the table of cases, with ``copy`` (0 for the case itself) and its ``seed``.
        source: The dataset's folder.
        folder: The prepared folder, where a copy is also kept as a picture.
        side: Side of the stored square in pixels.
        stretch: Whether a film's proportions are given up to fill it.

    Raises:
        UserError: The image cannot be read.
    """
    import numpy as np

    from common.base.files import write_bytes
    from common.imaging.letterbox import Letterbox
    from common.records.offline_copies import augmentor_copy
    from common.records.stored_images import png, stored_image, stored_pixels

    encoded = stored_image(source / job["path"], side, stretch)
    square = Letterbox(int(job["rows"]), int(job["columns"]), side, stretch)
    boxes = square.to_fractions(np.array(job["boxes"]).reshape(-1, 4))
    if job["copy"]:
        # Augmentor moves the film and tells nobody where to.
        boxes = boxes[:0]
        encoded = png(augmentor_copy(stored_pixels(encoded), job["seed"]))
        write_bytes(folder / _copy_path(job), encoded)
    return {"image": encoded, "label": float(job["label"]), "case": job["case"], "boxes": boxes}


def boxes_as_text(boxes: list[tuple[float, float, float, float]]) -> str:
    """Boxes as one cell of a CSV: ``x0 y0 x1 y1;x0 y0 x1 y1``."""
    return ";".join(" ".join(f"{edge:g}" for edge in box) for box in boxes)


def _copies_a_positive(cases: Any, wanted: int) -> int:
    if wanted >= 0:
        return wanted
    train = cases[~cases["split"].isin(("test", "validation"))]
    positives = int((train["label"] == 1).sum())
    if positives == 0:
        raise UserError(
            "the training split has no positive case: is Target 1 in stage_2_train_labels.csv?"
        )
    return max(0, min(MOST_COPIES, round((len(train) - positives) / positives) - 1))


def _copy_path(job: Mapping[str, Any]) -> str:
    return f"augmented/{Path(job['path']).stem}-{job['copy']}.png"


def _write_images(
    folder: Path, source: Path, jobs: list[dict[str, Any]], unreadable: Mapping[str, str]
) -> None:
    from common.base.files import write_csv

    rows = [
        {
            "image_path": _copy_path(job) if job["copy"] else str(source.resolve() / job["path"]),
            "label": int(job["label"]),
        }
        for job in jobs
        if job["case"] not in unreadable and job["split"] not in ("test", "validation")
    ]
    write_csv(folder / "images.csv", ("image_path", "label"), rows)


if __name__ == "__main__":
    run_script(main)
