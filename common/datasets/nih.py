"""A folder in the layout of NIH ChestX-ray14 to a table of cases.

``Data_Entry_2017.csv`` (or ``Data_Entry_2017_v2020.csv``, or the ``sample_labels.csv`` of Kaggle's
sample) names the images, their findings and patients; the images are in ``images/``, in
``images_001/images/`` and so on, or anywhere below. ``train_val_list.txt`` and ``test_list.txt``
are the official split (Wang et al. 2017, CVPR, 2097-2106).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd

from common.base.errors import UserError
from common.datasets.class_folders import OFFICIAL
from common.datasets.class_names import numbered_classes
from common.datasets.csv_tables import (
    NOTHING,
    list_columns,
    list_names,
    named_file,
    read_csv,
    usable_id,
    whole,
)
from common.datasets.images import Columns, find_films, frame_of, rows_in, rows_of
from common.datasets.splits import TEST, TRAIN
from common.imaging.dicom import plausible_age
from common.imaging.image_files import FILMS, image_id

TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv", "sample_labels.csv")
"""The names of the table; the first that is there counts."""

LISTS = {"train_val_list.txt": TRAIN, "test_list.txt": TEST}
"""The lists of the official split, which names no validation split."""

IMAGE, LABELS, PATIENT = "Image Index", "Finding Labels", "Patient ID"
NO_FINDING = "No Finding"
FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema"),
    *("Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"),
    *("Pneumonia", "Pneumothorax"),
)
"""The 14 findings."""

# What the table of NIH says of an image.
_CELLS = ("label", "left_out", "boxes", "finding", "view", "sex", "age_years")


def index_nih(
    source: Path, patients: Path | None = None, pattern: str = "", positive: str = ""
) -> pd.DataFrame:
    """List the images of an NIH folder with their findings.

    Args:
        source: The folder.
        patients: As in `common.datasets.rsna.index_pneumonia`; None for the table's Patient ID.
        pattern: As of `common.datasets.images.patient_in_name`.
        positive: A finding that is asked alone: an image has it or not. "": all 14 at once.

    Returns:
        As `common.datasets.rsna.index_pneumonia`, without boxes. ``label`` is text, the findings
        of an image joined by "|", "" for none; ``.attrs["classes"]`` are the 14 findings and
        ``.attrs["exclusive"]`` is False. With ``positive`` it is 0 or 1, as there. ``view``,
        ``sex`` and ``age_years`` are the table's. `OFFICIAL` is a column where a list is there.

    Raises:
        UserError: The table or the images are not there, or ``positive`` is no finding.
    """
    source = Path(source)
    file = named_file(source, TABLES) or source / TABLES[0]
    _, rows = read_csv(file, [IMAGE, LABELS, PATIENT])
    reasons: dict[str, str] = {}
    listed: dict[str, dict[str, str]] = {}
    labels: dict[str, str] = {}
    for line, row in rows:
        case = image_id(row[IMAGE])
        if not usable_id(case):
            reasons[f"row {line} of {file.name}"] = "unusable id"
            continue
        named = {_finding(name.strip()) for name in row[LABELS].split("|")} - {"", NO_FINDING}
        label = "|".join(sorted(named))
        if labels.setdefault(case, label) != label:
            reasons[case] = "conflicting labels"
        listed.setdefault(case, row)
    films = find_films(source)
    if not films.by_id:
        raise UserError(
            f"{source}: no {FILMS} files are there; expected them in images/ or "
            f"images_001/images/; found {list_names(source)}"
        )
    films.match(file, listed)
    official, otherwise = _official(source)
    # Eight digits, as in the name of an image and in RSNA's mapping of its challenge.
    known_patients = {case: _patient(row[PATIENT]) for case, row in listed.items()}
    names = set(films.by_id) | set(listed) | set(reasons)
    table, known = rows_of(films, names, reasons, patients, pattern, known_patients)
    classes = sorted(set(FINDINGS).union(*(label.split("|") for label in labels.values())) - {""})
    chosen = [name for name in classes if name.casefold() == positive.casefold()]
    if positive and not chosen:
        raise UserError(
            f"--positive-class {positive}: is no finding of {file.name}; "
            f"choose among {', '.join(classes)}"
        )
    cells: Columns = {name: [] for name in (*_CELLS, OFFICIAL)}
    for entry in rows_in(table):
        case = entry["case"]
        row = listed.get(case, {})
        label = labels.get(case, "")
        entry["label"] = int(chosen[0] in label.split("|")) if chosen else label
        if case not in labels:
            entry["label"] = -1 if chosen else ""
            entry["left_out"] = entry["left_out"] or "no label"
        entry["boxes"], entry["finding"] = [], label or (NO_FINDING if case in labels else "")
        entry["view"] = entry["view"] or _view(row.get("View Position", ""))
        entry["sex"] = entry["sex"] or {"M": "M", "F": "F"}.get(row.get("Patient Gender", ""), "")
        if math.isnan(entry["age_years"]):
            entry["age_years"] = _age(row.get("Patient Age", ""))
        entry[OFFICIAL] = official.get(case, otherwise)
        for name, column in cells.items():
            column.append(entry[name])
    table |= cells
    own = ["boxes", OFFICIAL] if official else ["boxes"]
    frame = frame_of(table, own, films, known)
    frame.attrs |= {"classes": classes, "exclusive": False}
    frame.attrs |= {"table": file.name, "listed": len(listed)}
    if chosen:
        negative = f"no {chosen[0]}"
        classes = numbered_classes([negative, *chosen], chosen[0])
        frame.attrs |= {"classes": classes, "exclusive": True}
    return frame


def _official(source: Path) -> tuple[dict[str, str], str]:
    """The split of each image by the lists that are there, and that of an image in none of them.

    Where only one of the two lists is there, what it does not name is in the other's split.
    """
    files = {split: named_file(source, [name]) for name, split in LISTS.items()}
    absent = [split for split, file in files.items() if file is None]
    splits: dict[str, str] = {}
    for split, file in files.items():
        if file is None:
            continue
        try:
            lines = file.read_text(encoding="utf-8-sig").split()
        except UnicodeDecodeError:
            raise UserError(f"{file}: no text in UTF-8; fetch it again") from None
        for line in lines:
            if splits.setdefault(image_id(line), split) != split:
                both = list_columns([line])
                raise UserError(f"{file}: {both} is in {' and in '.join(LISTS)}; fetch both again")
    return splits, absent[0] if len(absent) == 1 else ""


def _finding(name: str) -> str:
    """A finding as the table of 2017 writes it."""
    published = {known.casefold(): known for known in (*FINDINGS, NO_FINDING)}
    for text in (name.casefold(), name.casefold().replace(" ", "_")):
        name = published.get(text, name)
    return name


def _patient(text: str) -> str:
    return "" if text.casefold() in {"", *NOTHING} else whole(text).zfill(8)


def _view(text: str) -> str:
    return text.upper() if text.upper() in ("PA", "AP", "LL", "RL") else ""


def _age(text: str) -> float:
    """Years; in the table of 2017 "058Y", in that of 2020 "58"."""
    match = re.fullmatch(r"(\d{1,3})Y?", text.upper(), re.ASCII)
    return plausible_age(int(match[1])) if match else math.nan
