"""A folder in the layout of the RSNA Pneumonia Detection Challenge to a table of cases.

Read are ``stage_2_train_images/`` (else ``images/``, else the folder itself) with one DICOM file
an image, and beside it, as the challenge has them,

* ``stage_2_train_labels.csv``: patientId, Target, and x, y, width, height of a box, one a row;
* ``stage_2_detailed_class_info.csv``, if it is there: patientId, class;
* ``rsna_heart_detection.csv``: name, x0, y0, w, h, and img_shape_x, img_shape_y if the boxes are
  in pixels of another grid than the image's own;
* ``nih_patients.csv``, if it is there: patientId and whose it is, for a challenge "patientId"
  names an image, and one patient has several.

A file is found by listing the folder: no id of a CSV ever becomes a path. A bad case is left out,
with the reason; `UserError` is for a folder, a CSV or a column that is not there, and for a cell
that is no number.
"""

from __future__ import annotations

import csv
import math
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.processes import each
from common.imaging.dicom import Header, read_header

LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
HEARTS = "rsna_heart_detection.csv"
PATIENTS = "nih_patients.csv"
IMAGE_FOLDERS = ("stage_2_train_images", "images")

MAX_ID_BYTES = 200
"""Of an id, in UTF-8: a file's name has at most 255 bytes."""

_POOL_FROM = 5000  # headers, half a millisecond each
_UNKNOWN = Header(0, 0, "", "", "", math.nan, None)
_COMMON = ["case", "path", "patient"]
_DESCRIBED = ["view", "sex", "age_years", "rows", "columns", "row_mm", "column_mm"]

Box = tuple[float, float, float, float]


def index_pneumonia(source: Path, patients: Path | None = None) -> pd.DataFrame:
    """List the images of a challenge folder with their labels.

    Args:
        source: The folder.
        patients: A CSV of patientId and one other column, the patient; `PATIENTS` in ``source``
            if None and it is there. An image that it lacks is grouped by its PatientID.

    Returns:
        A row for every image and every labelled id, sorted by case:

        * ``case``: the image's file name without suffix; of an unusable id its row's number;
        * ``path``: of the file, from ``source``, with ``/``; "" without one;
        * ``patient``: "P00001", ..., numbered by the sorted PatientID or, better, the patient of
          ``patients``. An image with neither is a patient by itself;
        * ``label``: 1 pneumonia, 0 none, -1 not known;
        * ``view``, ``sex``, ``age_years``, ``rows``, ``columns``, and the spacing ``row_mm``,
          ``column_mm``: as in `common.imaging.dicom.Header`, "" or NaN (rows, columns: 0) if not
          known;
        * ``boxes``: a list of ``(x0, y0, x1, y1)`` in the image's own pixels, half-open, as
          published; a box may overshoot the image by a pixel;
        * ``finding``: the class of `CLASSES`, or "";
        * ``left_out``: "", or why the case can't be used.

    Raises:
        UserError: See the module.
    """
    source, images = _open(source)
    file = source / LABELS
    columns, rows = _read_csv(file, ["patientId", "Target"])
    has_boxes = {"x", "y", "width", "height"} <= set(columns)
    labels: dict[str, set[int]] = defaultdict(set)
    boxes: dict[str, list[Box]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for line, case, row in _usable(rows, "patientId", LABELS, reasons):
        target = _number(row, "Target", file, line)
        if not math.isnan(target):
            if target not in (0, 1):
                raise UserError(f"{file}: row {line}: Target is neither 0 nor 1; correct it")
            labels[case].add(int(target))
        if has_boxes:
            x, y, w, h = (_number(row, name, file, line) for name in ("x", "y", "width", "height"))
            if not all(math.isnan(part) for part in (x, y, w, h)):
                boxes[case].append((x, y, x + w, y + h))
    for case, found in labels.items():
        if len(found) > 1 or (found == {0} and boxes[case]):
            reasons[case] = "conflicting labels"
    findings = _findings(source, reasons)
    cases = _described(source, images, set(images) | set(labels) | set(reasons), reasons, patients)
    for case in cases:
        name = case["case"]
        case["label"] = next(iter(labels[name])) if len(labels[name]) == 1 else -1
        case["boxes"] = boxes[name]
        case["finding"] = findings.get(name, "")
        wrong = [_wrong_box(box, case, 1.0, 1.0) for box in boxes[name]]
        found = [case["left_out"], "" if labels[name] else "no label", *wrong]
        case["left_out"] = next(filter(None, found), "")
    return _frame(cases, [*_COMMON, "label", *_DESCRIBED, "boxes", "finding", "left_out"])


def index_heart(source: Path, patients: Path | None = None, label: str = "heart") -> pd.DataFrame:
    """List the images of a challenge folder that have a heart box.

    Args:
        source: The folder. In `HEARTS` a ``name`` may end in .dcm, .png, .jpg or .jpeg.
        patients: As in `index_pneumonia`.
        label: Where `HEARTS` has a ``label`` column, the boxes to take, in any case of letters;
            a box without a label is taken too.

    Returns:
        As `index_pneumonia`, without ``label`` and ``boxes``, with ``x0``, ``y0``, ``x1``, ``y1``
        (the image's own pixels, half-open; NaN without a box). A case with several boxes, with one
        without area, or with one that leaves the image by more than a pixel of the boxes' grid is
        left out; within that pixel the box stays as published. Images without a box are no cases:
        ``.attrs["images_without_box"]`` counts them, ``.attrs["boxes_of_other_labels"]`` the boxes
        that ``label`` left.

    Raises:
        UserError: See the module; and no box has that label.
    """
    source, images = _open(source)
    file = source / HEARTS
    names = ["name", "x0", "y0", "w", "h"]
    columns, rows = _read_csv(file, names)
    if "img_shape_x" in columns or "img_shape_y" in columns:
        names += ["img_shape_x", "img_shape_y"]
        columns, rows = _read_csv(file, names)
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    reasons: dict[str, str] = {}
    others: list[str] = []
    for line, case, row in _usable(rows, "name", HEARTS, reasons):
        if (row.get("label") or label).lower() == label.lower():
            boxes[case].append([_number(row, name, file, line) for name in names[1:]])
        else:
            others.append(row["label"])
    if others and not boxes:
        labels = _named_columns(sorted(set(others)))
        raise UserError(
            f"{file}: no box is labelled {label!r}; choose with --label among its labels: {labels}"
        )
    cases = _described(source, images, set(boxes) | set(reasons), reasons, patients)
    findings = _findings(source, {})
    for case in cases:
        found = boxes.get(case["case"], [])
        case.update(dict.fromkeys(("x0", "y0", "x1", "y1"), math.nan))
        case["finding"] = findings.get(case["case"], "")
        if len(found) > 1:
            case["left_out"] = case["left_out"] or "several boxes"
        if case["left_out"]:
            continue
        x0, y0, w, h, *grid = found[0]
        grid_x, grid_y = grid or (case["columns"], case["rows"])
        across = case["columns"] / grid_x if grid_x > 0 else math.nan
        down = case["rows"] / grid_y if grid_y > 0 else math.nan
        box = (x0 * across, y0 * down, (x0 + w) * across, (y0 + h) * down)
        case["left_out"] = _wrong_box(box, case, across, down)
        if not case["left_out"]:
            case.update(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    frame = _frame(cases, [*_COMMON, *_DESCRIBED, "x0", "y0", "x1", "y1", "finding", "left_out"])
    frame.attrs["images_without_box"] = len(set(images) - set(boxes))
    frame.attrs["boxes_of_other_labels"] = len(others)
    return frame


# ---- The folder and its files


def _open(source: Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder, and its images by name without suffix (more than one only by suffix's case)."""
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    folders = [source / name for name in IMAGE_FOLDERS if (source / name).is_dir()] or [source]
    images: dict[str, list[Path]] = defaultdict(list)
    with os.scandir(folders[0]) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            file = Path(entry.path)
            # Not the entry's own is_file, which falls over a link to itself.
            if file.suffix.lower() == ".dcm" and not file.name.startswith(".") and file.is_file():
                images[file.stem].append(file)
    if not images:
        looked = ", ".join(f"{name}/" for name in IMAGE_FOLDERS)
        raise UserError(
            f"{folders[0]}: no .dcm files are there; expected them in {looked} or {source} itself; "
            f"found {_listing(folders[0])}"
        )
    return source, dict(images)


def _listing(folder: Path) -> str:
    names = sorted(ascii(path.name)[1:-1] for path in folder.iterdir())
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "nothing"


def _described(
    source: Path,
    images: dict[str, list[Path]],
    names: Iterable[str],
    reasons: dict[str, str],
    patients: Path | None,
) -> list[dict[str, Any]]:
    """The columns that a file's header gives, for every name, sorted."""
    names = sorted(names)
    for number, name in enumerate(names):
        # A file name that can't be an id is known by its number from here on.
        if name in images and not usable_id(name):
            names[number] = f"unusable name {number + 1}"
            reasons[names[number]] = "unusable id"
    files = [images[name][0] for name in names if len(images.get(name, ())) == 1]
    headers = dict(zip(files, _headers(files), strict=True))
    owners = _owners(source, patients)
    cases, keys = [], []
    for name in names:
        found = images.get(name, [])
        header = headers.get(found[0]) if len(found) == 1 else None
        reason = reasons.get(name, "")
        if not reason and len(found) != 1:
            reason = "several files" if found else "no image"
        if not reason and isinstance(header, str):
            reason = f"unreadable: {header}"
        header = header if isinstance(header, Header) else _UNKNOWN
        spacing_mm = header.spacing_mm or (math.nan, math.nan)
        # A space before a name: no PatientID begins with one, so these are patients by themselves.
        keys.append(owners.get(name) or header.patient or f" {name}")
        cases.append(
            {
                "case": name,
                "path": found[0].relative_to(source).as_posix() if found else "",
                "view": header.view,
                "sex": header.sex,
                "age_years": header.age_years,
                "rows": header.rows,
                "columns": header.columns,
                "row_mm": spacing_mm[0],
                "column_mm": spacing_mm[1],
                "left_out": reason,
            }
        )
    numbers = {key: number for number, key in enumerate(sorted(set(keys)), 1)}
    for case, key in zip(cases, keys, strict=True):
        case["patient"] = f"P{numbers[key]:05d}"
    return cases


def _headers(files: list[Path]) -> list[Header | str]:
    """Every file's header, or why it can't be read, in the order of ``files``."""
    return each(_header_or_reason, files, _POOL_FROM, desc="headers", unit="file")


def _header_or_reason(path: Path) -> Header | str:
    try:
        return read_header(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


def _owners(source: Path, patients: Path | None) -> dict[str, str]:
    """The patient of each image by the mapping, {} without one."""
    if patients is None:
        if not (source / PATIENTS).is_file():
            return {}
        patients = source / PATIENTS
    columns, rows = _read_csv(Path(patients), ["patientId"])
    others = [column for column in columns if column != "patientId"]
    known = [c for c in ("patient", "nih_patient", "PatientID", "patient_id") if c in others]
    if not known and len(others) != 1:
        raise UserError(
            f"{patients}: expected the columns patientId and patient; found "
            f"{_named_columns(columns)}"
        )
    column = known[0] if known else others[0]
    return {_stem(row["patientId"]): row[column] for _, row in rows if row[column]}


def _findings(source: Path, reasons: dict[str, str]) -> dict[str, str]:
    if not (source / CLASSES).is_file():
        return {}
    findings: dict[str, str] = {}
    for _, row in _read_csv(source / CLASSES, ["patientId", "class"])[1]:
        name = _stem(row["patientId"])
        if findings.setdefault(name, row["class"]) != row["class"] and usable_id(name):
            reasons.setdefault(name, "conflicting labels")
    return findings


# ---- CSV files and what stands in them


def usable_id(name: str) -> bool:
    """Whether an id may be used in a file name, a CSV and a page.

    Not: an empty or dotted one, one with a path separator or an unprintable character (control,
    format and surrogate characters), or one of more than `MAX_ID_BYTES`.
    """
    return (
        0 < len(name.encode("utf-8", "surrogateescape")) <= MAX_ID_BYTES
        and not name.startswith(".")
        and not any(c in "/\\" or unicodedata.category(c) in _UNPRINTABLE for c in name)
    )


_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _read_csv(path: Path, columns: list[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """A CSV file to its columns and rows (line in the file, stripped cells by column)."""
    expected = f"expected a CSV file with the columns {', '.join(columns)}"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; {expected}; found {_listing(path.parent)}")
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}: row {reader.line_num} has {len(cells)} cells, its header "
                        f"{len(header)}; correct it or fetch the file again"
                    )
                rows.append(
                    (reader.line_num, dict(zip(header, map(str.strip, cells), strict=True)))
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no CSV in UTF-8 ({type(error).__name__}); {expected}") from None
    if missing := [column for column in columns if column not in header]:
        found = _named_columns(header)
        raise UserError(f"{path}: the column {missing[0]} is missing; {expected}; found {found}")
    if not rows:
        raise UserError(f"{path}: has no rows; {expected}")
    return header, rows


def _named_columns(columns: list[str]) -> str:
    return ", ".join(ascii(column)[1:-1][:40] for column in columns[:12]) or "none"


def _usable(
    rows: list[tuple[int, dict[str, str]]], column: str, file: str, reasons: dict[str, str]
) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield (line, case, cells) of the rows whose id can be used; note the others' reason."""
    for line, row in rows:
        case = _stem(row[column])
        if usable_id(case):
            yield line, case, row
        else:
            reasons[f"row {line} of {file}"] = "unusable id"


def _stem(name: str) -> str:
    return re.sub(r"\.(dcm|png|jpe?g)$", "", name, flags=re.IGNORECASE)


def _number(row: dict[str, str], column: str, file: Path, line: int) -> float:
    """A cell's number, NaN if empty."""
    try:
        number = float(row[column] or "nan")
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise UserError(f"{file}: row {line}: {column} is not a number; correct it")
    return number


def _wrong_box(box: Box, case: dict[str, Any], across: float, down: float) -> str:
    """Why a box can't be used, or ""; it may overshoot by one pixel of its own grid."""
    x0, y0, x1, y1 = box
    if any(math.isnan(part) for part in box):
        return "incomplete box"
    if x1 <= x0 or y1 <= y0:
        return "box without area"
    inside = x0 >= -across and x1 <= case["columns"] + across
    if not (inside and y0 >= -down and y1 <= case["rows"] + down):
        return "box leaves the image"
    return ""


def _frame(cases: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(cases, columns=columns)
    return frame.sort_values("case", kind="stable", ignore_index=True)
