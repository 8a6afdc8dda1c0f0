"""A folder in the layout of the Medical Segmentation Decathlon to a table of cases.

``imagesTr/`` and ``labelsTr/`` hold one NIfTI per case, under the same name; ``dataset.json`` lists
them and names the labels. An image may carry nnU-Net's channel suffix ``_0000``. Hidden files are
ignored: archives made on a Mac hold a ``._la_003.nii.gz``, no NIfTI, next to every volume.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.files import read_json
from common.datasets.csv_tables import usable_id
from common.datasets.patients import find_patients, numbered

IMAGES = "imagesTr"
MASKS = "labelsTr"
DATASET = "dataset.json"
"""The names in a decathlon folder, as the module's docstring describes them."""

_UNKNOWN = "nothing here says whose a volume is, so one volume per patient is assumed"
# nnU-Net's number of a channel.
_CHANNEL = re.compile(r"_(\d{4})$")


def index_volumes(
    source: Path, patients: Path | None = None
) -> tuple[pd.DataFrame, dict[int, str]]:
    """List the volumes of a decathlon folder with their masks.

    Args:
        source: The folder. The training list of ``dataset.json`` names the volumes that count;
            without the file (or without a list in it, as nnU-Net writes it) all do.
        patients: A CSV of case and patient, since the layout says of no volume whose it is.

    Returns:
        One row per case, sorted by case, and the labels' names by value ({0: background,
        1: foreground} without a dataset.json). Columns:

        * ``case``: the file's name without suffix, and without channel if the mask has none;
        * ``path``, ``mask_path``: from ``source``, with ``/``; "" if there is none;
        * ``patient``: the case, or by ``patients`` "P00001", ...; ``patient_hash`` as in
          `common.datasets.rsna.index_pneumonia`;
        * ``left_out``: "", or why the case can't be used: no image, no mask, not in dataset.json,
          outside the dataset, several channels, several files, unusable id.

        ``.attrs`` holds `common.datasets.patients.Patients.attributes`.

    Raises:
        UserError: The folder, its images or masks are not there, or dataset.json is broken.
    """
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    files, masks = _files(source, IMAGES), _files(source, MASKS)
    listed, labels = _dataset(source)
    if not files:
        raise UserError(f"{source / IMAGES}: no .nii or .nii.gz files are there; expected volumes")

    known = set(masks) | {_stem(image) for image, _ in listed or ()}

    def case_of(stem: str) -> str:
        # Not every _0001 is a channel: a dataset may number its patients so.
        short = _CHANNEL.sub("", stem)
        return short if stem not in masks and short in known else stem

    images: dict[str, list[str]] = {}
    for stem, paths in files.items():
        images.setdefault(case_of(stem), []).extend(paths)
    rows: dict[str, dict[str, str]] = {}
    for number, (image, mask) in enumerate(listed or (), 1):
        case = case_of(_stem(image))
        if not _inside(image) or not _inside(mask):
            rows[f"entry {number} of {DATASET}"] = _row("", "", "outside the dataset")
        elif not usable_id(case):
            rows[f"entry {number} of {DATASET}"] = _row("", "", "unusable id")
        else:
            rows[case] = _paired(images.get(case, []), masks.get(_stem(mask), []))
    # Without a list a mask alone is a case too; with a list it may belong to an image of another
    # name.
    unlisted = set(images) | (set(masks) if listed is None else set())
    for number, case in enumerate(sorted(unlisted - set(rows)), 1):
        if not usable_id(case):
            rows[f"unusable name {number}"] = _row("", "", "unusable id")
        else:
            rows[case] = _paired(images.get(case, []), masks.get(case, []))
            if listed is not None:
                rows[case]["left_out"] = f"not in {DATASET}"
    cases = sorted(rows)
    frame = pd.DataFrame([{"case": case, "patient": case, **rows[case]} for case in cases])
    with_image = {case: "" for case in cases if rows[case]["path"]}
    named = find_patients(source, patients, with_image, _stem, "case")
    if named.known_from:
        frame["patient"] = numbered([named.keys.get(case, f" {case}") for case in cases])
    frame["patient_hash"] = [named.hashes.get(case, "") for case in cases]
    frame.attrs |= named.attributes
    if not named.known_from:
        frame.attrs["patients_remark"] = _UNKNOWN
    columns = ["case", "path", "mask_path", "patient", "left_out", "patient_hash"]
    return frame.reindex(columns=columns), labels


def _files(source: Path, folder: str) -> dict[str, list[str]]:
    """The NIfTI files of a folder by name without suffix, as paths from ``source``."""
    if not (source / folder).is_dir():
        names = ", ".join(sorted(ascii(path.name)[1:-1] for path in source.iterdir())[:8])
        raise UserError(
            f"{source / folder}: there is no such folder; expected {IMAGES}/ and {MASKS}/ in "
            f"{source}; found {names or 'nothing'}"
        )
    files: dict[str, list[str]] = {}
    for file in sorted((source / folder).iterdir()):
        if (
            file.name.endswith((".nii", ".nii.gz"))
            and not file.name.startswith(".")
            and file.is_file()
        ):
            files.setdefault(_stem(file.name), []).append(f"{folder}/{file.name}")
    return files


def _stem(path: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", PurePosixPath(path).name)


def _paired(images: list[str], masks: list[str]) -> dict[str, str]:
    reason = ""
    if not images or not masks:
        reason = "no mask" if images else "no image"
    elif len({_stem(image) for image in images}) > 1:
        reason = "several channels"
    elif len(images) > 1 or len(masks) > 1:
        reason = "several files"
    return _row(images[0] if images else "", masks[0] if masks else "", reason)


def _row(image: str, mask: str, reason: str) -> dict[str, str]:
    return {"path": image, "mask_path": mask, "left_out": reason}


def _inside(path: str) -> bool:
    """Whether a path of dataset.json stays in the folder, by its text alone."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path


def _dataset(source: Path) -> tuple[list[tuple[str, str]] | None, dict[int, str]]:
    """The (image, mask) pairs that dataset.json lists, None without a list, and the labels."""
    path = source / DATASET
    if not path.is_file():
        return None, {0: "background", 1: "foreground"}
    content = read_json(path)
    try:
        labels = _labels(content["labels"])
        training = content.get("training")
        if training is None:
            return None, labels
        listed = [(str(entry["image"]), str(entry["label"])) for entry in training]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise UserError(
            f'{path}: expected "labels" as {{"0": "background", "1": "..."}} and "training" as a '
            'list of {"image": "...", "label": "..."}; correct it, or take the file away to use '
            "every volume"
        ) from None
    return listed, labels


def _labels(content: dict[str, Any]) -> dict[int, str]:
    """Names by value: the decathlon writes {"0": name}, nnU-Net {name: 0}."""
    pairs = list(content.items())
    if all(str(key).isdigit() for key, _ in pairs):
        labels = {int(key): str(name) for key, name in pairs}
    else:
        labels = {int(value): str(name) for name, value in pairs}
    if 0 not in labels or len(labels) < 2 or not all(0 <= value <= 255 for value in labels):
        raise ValueError
    return dict(sorted(labels.items()))
