"""Prepare chest radiographs with heart boxes: DICOM and boxes to TFRecords.

Reads a folder with stage_2_train_images/ and rsna_heart_detection.csv. Writes cases.csv (every
case, its box in the image's own pixels, and its split), records/, manifest.json and
augmented_samples.png, a sheet of imgaug's copies with their boxes. Started again, it goes on, or
says that all is there.

    python prepare_data.py --source data/raw/rsna-pneumonia --prepared data/prepared/heart
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.printing import print_paths, print_settings
from heart_detection.config import PROJECT, PrepareSettings

CASES_A_SHARD = 512
SHOWN_COPIES = 12
BOX = ["x0", "y0", "x1", "y1"]


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
    from common.datasets.rsna import index_heart
    from common.records import preparing
    from common.records.findings import DatasetCheck, sizes_of
    from common.records.shards import finish

    print_settings("Prepare radiographs for heart detection", settings)
    source = preparing.find_source(PROJECT, settings)
    folder = settings.prepared or PROJECT.prepared(source.synthetic)
    all_test = all_test or settings.check
    with lock_folder(folder):
        begun = preparing.begin(folder, source, settings, all_test, duplicates="dealt together")
        if begun is None:
            return folder
        key, decides = begun

        # -- Index: which cases there are, whose they are, and where the heart is.
        cases = index_heart(source.folder, settings.patients, settings.label)
        cases["split"] = ""
        cases["duplicate_of"] = preparing.duplicates(cases, source.folder, settings)

        # -- Check: what files, names and labels say; the pixels are looked at where they are read.
        check = DatasetCheck(source.folder, folder, settings)
        check.look(cases, sizes_of(cases), BOX)
        left = check.usable(cases)

        # -- Split: by patient, those who share a film as one, before anything is augmented.
        cases.loc[left.index, "split"] = preparing.split(left, left["view"], settings, all_test)
        left = cases.loc[left.index]

        # -- Write: the cases, then imgaug's copies of those that may train.
        copies = 0 if all_test else settings.copies
        jobs = preparing.jobs(left, ["rows", "columns", *BOX], copies, settings.seed)
        decode = partial(decode_case, source=source.folder, side=settings.image_size)
        shards, unreadable = check.decode(jobs, decode, CASES_A_SHARD)
        preparing.leave_out(cases, unreadable)
        left = check.usable(cases)
        if settings.check:
            check.tell(cases)
            return folder

        # -- Tell: tables, counts, the disk that was saved, how the copies look.
        preparing.write_cases(folder, cases)
        preparing.print_splits(cases, {}, settings)
        preparing.print_duplicates(cases, "box", BOX)
        if cases.attrs.get("images_without_box"):
            print(f"  {cases.attrs['images_without_box']} images have no box and are no cases")
        if cases.attrs.get("boxes_of_other_labels"):
            others = cases.attrs["boxes_of_other_labels"]
            print(f"  {others} boxes have another label than {settings.label!r} and are left")
        sheet = [_draw_copies(folder, jobs, decode, source.synthetic)] if copies else []
        check.tell(cases)
        disk = preparing.print_disk(source.folder, list(left["path"]), shards)
        finish(
            folder,
            preparing.manifest(PROJECT, source, key, decides, cases, shards, disk),
        )
    print_paths([folder / "cases.csv", folder / "manifest.json", *sheet])
    return folder


def decode_case(job: Mapping[str, Any], source: Path, side: int) -> dict[str, Any]:
    """One job to the features of its record: a case, or imgaug's copy of one.

    Args:
        job: A row of the table of cases, with ``copy`` (0 for the case itself) and its ``seed``.
        source: The dataset's folder.
        side: Side of the stored square in pixels.

    Returns:
        ``image``, ``box`` ((x0, y0, x1, y1) in fractions of the side) and ``case``.

    Raises:
        UserError: The image cannot be read, or the copy's box left it three times.
    """
    import numpy as np

    from common.imaging.letterbox import Letterbox
    from common.records.offline_copies import imgaug_copy
    from common.records.stored_images import png, stored_image, stored_pixels

    encoded = stored_image(source / job["path"], side)
    square = Letterbox(job["rows"], job["columns"], side)
    box = square.to_fractions(np.array([job[edge] for edge in BOX]))
    if job["copy"]:
        tries = (imgaug_copy(stored_pixels(encoded), box, job["seed"] + n) for n in range(3))
        made = next((one for one in tries if one is not None), None)
        if made is None:
            raise UserError("the box lies too near to the image's edge for a shifted copy")
        encoded, box = png(made[0]), made[1]
    return {"image": encoded, "box": box, "case": job["case"]}


def _draw_copies(folder: Path, jobs: Any, decode: Any, synthetic: bool) -> Path:
    """A sheet of copies with their boxes, so that a box that was moved wrongly is seen."""
    from common.records.stored_images import stored_pixels
    from common.reporting.figures import film_sheet

    shown = []
    for job in [job for job in jobs if job["copy"]][:SHOWN_COPIES]:
        try:
            shown.append(decode(job))
        except UserError:
            continue
    images = [stored_pixels(one["image"]) for one in shown]
    return film_sheet(
        folder / "augmented_samples.png",
        images,
        [one["box"][None] * image.shape[0] for one, image in zip(shown, images, strict=True)],
        [one["case"][:16] for one in shown],
        synthetic,
    )


if __name__ == "__main__":
    run_script(main)
