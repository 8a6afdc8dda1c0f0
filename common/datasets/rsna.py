"""A folder in the layout of the RSNA Pneumonia Detection Challenge to a table of cases.

The images are in ``stage_2_train_images/`` (else ``images/``, else the folder itself), one DICOM
file per image. Next to it the CSV files of the challenge are read:

* ``stage_2_train_labels.csv``: patientId, Target, and x, y, width, height: one box per row;
* ``stage_2_detailed_class_info.csv``, if it is there: patientId, class;
* ``rsna_heart_detection.csv``: name, x0, y0, w, h, and img_shape_x, img_shape_y if the boxes are
  in pixels of another grid than the image's own;
* the file that says who is on an image, if it is there (`common.datasets.patients`), since a
  challenge "patientId" names an image, and a patient may have several.

A file is found by listing the folder: no id of a CSV ever becomes a path. A bad case is left out,
with the reason; `UserError` is for a folder, a CSV or a column that is not there, and for a cell
that is no number.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.processes import each
from common.datasets.csv_tables import Row, list_columns, list_names, number_in, read_csv, usable_id
from common.datasets.patients import Patients, find_patients, numbered
from common.imaging.dicom import Header, read_header

LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
HEARTS = "rsna_heart_detection.csv"
"""The CSV files of a challenge folder, as the module's docstring describes them."""

IMAGE_FOLDERS = ("stage_2_train_images", "images")
"""Where the images are: in the first of these that is there, else in the folder itself."""

Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in the image's own pixels, half-open."""

# From this number of headers on, half a millisecond each, processes share the work.
_POOL_FROM = 5000
# What the table holds of an image without a readable header.
_UNKNOWN = Header(0, 0, "", "", "", math.nan, None)
# The columns that every table has: of the case, the attributes of a file's header, its spacing.
_COMMON = ["case", "path", "patient"]
_FROM_HEADER = ["view", "sex", "age_years", "rows", "columns"]
_SPACING = ["row_mm", "column_mm"]


def index_pneumonia(source: Path, patients: Path | None = None) -> pd.DataFrame:
    """List the images of a challenge folder with their labels.

    Args:
        source: The folder.
        patients: As ``file`` of `common.datasets.patients.find_patients`. An image that it lacks
            is grouped by its PatientID.

    Returns:
        One row per image and labelled id, sorted by case:

        * ``case``: the image's file name without suffix; the number of its row for an unusable id;
        * ``path``: of the file, from ``source``, with ``/``; "" without one;
        * ``patient``: "P00001", ..., numbered by the sorted PatientID or, better, the patient of
          ``patients``. An image with neither is its own patient. ``patient_hash`` is the same for
          a patient in every dataset, "" if unknown;
        * ``label``: 1 pneumonia, 0 no pneumonia, -1 unknown;
        * ``view``, ``sex``, ``age_years``, ``rows``, ``columns``, and the spacing ``row_mm``,
          ``column_mm``: as in `common.imaging.dicom.Header`, "" or NaN (rows, columns: 0) if
          unknown;
        * ``boxes``: a list of `Box`, as published; a box may overshoot the image by a pixel;
        * ``finding``: the class of `CLASSES`, or "";
        * ``left_out``: "", or why the case can't be used.

        ``.attrs`` holds `common.datasets.patients.Patients.attributes`.

    Raises:
        UserError: See the module's docstring.
    """
    source, images = _open(source)
    file = source / LABELS
    columns, rows = read_csv(file, ["patientId", "Target"])
    has_boxes = {"x", "y", "width", "height"} <= set(columns)
    labels: dict[str, set[int]] = defaultdict(set)
    boxes: dict[str, list[Box]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for line, case, row in _usable(rows, "patientId", LABELS, reasons):
        target = number_in(row, "Target", file, line)
        if not math.isnan(target):
            if target not in (0, 1):
                raise UserError(f"{file}: row {line}: Target is neither 0 nor 1; correct it")
            labels[case].add(int(target))
        if has_boxes:
            cells = ("x", "y", "width", "height")
            x, y, w, h = (number_in(row, name, file, line) for name in cells)
            if not all(map(math.isnan, (x, y, w, h))):
                boxes[case].append((x, y, x + w, y + h))
    for case, targets in labels.items():
        if len(targets) > 1 or (targets == {0} and boxes[case]):
            reasons[case] = "conflicting labels"
    findings = _findings(source, reasons)
    names = set(images) | set(labels) | set(reasons)
    table, known = _rows_from_headers(source, images, names, reasons, patients)
    for entry in table:
        case = entry["case"]
        entry["label"] = next(iter(labels[case])) if len(labels[case]) == 1 else -1
        entry["boxes"] = boxes[case]
        entry["finding"] = findings.get(case, "")
        faults = [_box_fault(box, entry, 1.0, 1.0) for box in boxes[case]]
        checks = [entry["left_out"], "" if labels[case] else "no label", *faults]
        entry["left_out"] = next(filter(None, checks), "")
    columns = [*_COMMON, "label", *_FROM_HEADER, *_SPACING, "boxes"]
    return _frame(table, columns, known)


def index_heart(source: Path, patients: Path | None = None, label: str = "heart") -> pd.DataFrame:
    """List the images of a challenge folder that have a heart box.

    Args:
        source: The folder. In `HEARTS` a ``name`` may end in .dcm, .png, .jpg or .jpeg.
        patients: As in `index_pneumonia`.
        label: Where `HEARTS` has a ``label`` column, the boxes to take, in any case of letters;
            a box without a label is taken too.

    Returns:
        As `index_pneumonia`, without ``label`` and ``boxes``, with ``x0``, ``y0``, ``x1``, ``y1``
        (a `Box`; NaN without one). A case with several boxes, with one without area, or with one
        that leaves the image by more than a pixel of the boxes' grid is left out; within that pixel
        the box stays as published. Images without a box are no cases: ``.attrs`` counts them as
        ``images_without_box``, and as ``boxes_of_other_labels`` the boxes without ``label``.

    Raises:
        UserError: See the module's docstring; or no box has that label.
    """
    source, images = _open(source)
    file = source / HEARTS
    needed = ["name", "x0", "y0", "w", "h"]
    columns, rows = read_csv(file, needed)
    if "img_shape_x" in columns or "img_shape_y" in columns:
        needed += ["img_shape_x", "img_shape_y"]
        columns, rows = read_csv(file, needed)
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    reasons: dict[str, str] = {}
    other_labels: list[str] = []
    for line, case, row in _usable(rows, "name", HEARTS, reasons):
        if (row.get("label") or label).lower() == label.lower():
            boxes[case].append([number_in(row, name, file, line) for name in needed[1:]])
        else:
            other_labels.append(row["label"])
    if other_labels and not boxes:
        labels = list_columns(sorted(set(other_labels)))
        raise UserError(
            f"{file}: no box is labelled {label!r}; choose with --label among its labels: {labels}"
        )
    names = set(boxes) | set(reasons)
    table, known = _rows_from_headers(source, images, names, reasons, patients)
    findings = _findings(source, {})
    for entry in table:
        case_boxes = boxes.get(entry["case"], [])
        entry.update(dict.fromkeys(("x0", "y0", "x1", "y1"), math.nan))
        entry["finding"] = findings.get(entry["case"], "")
        if len(case_boxes) > 1:
            entry["left_out"] = entry["left_out"] or "several boxes"
        if entry["left_out"]:
            continue
        x0, y0, w, h, *grid = case_boxes[0]
        grid_x, grid_y = grid or (entry["columns"], entry["rows"])
        across = entry["columns"] / grid_x if grid_x > 0 else math.nan
        down = entry["rows"] / grid_y if grid_y > 0 else math.nan
        box = (x0 * across, y0 * down, (x0 + w) * across, (y0 + h) * down)
        entry["left_out"] = _box_fault(box, entry, across, down)
        if not entry["left_out"]:
            entry.update(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    frame = _frame(table, [*_COMMON, *_FROM_HEADER, *_SPACING, "x0", "y0", "x1", "y1"], known)
    frame.attrs["images_without_box"] = len(set(images) - set(boxes))
    frame.attrs["boxes_of_other_labels"] = len(other_labels)
    return frame


# ---- The folder and its files


def _open(source: Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder, and its images by name without suffix: several if only the suffix differs."""
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    folders = [source / name for name in IMAGE_FOLDERS if (source / name).is_dir()] or [source]
    images: dict[str, list[Path]] = defaultdict(list)
    with os.scandir(folders[0]) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            file = Path(entry.path)
            # Not the entry's is_file, which raises for a link to itself.
            if file.suffix.lower() == ".dcm" and not file.name.startswith(".") and file.is_file():
                images[file.stem].append(file)
    if not images:
        looked = ", ".join(f"{name}/" for name in IMAGE_FOLDERS)
        raise UserError(
            f"{folders[0]}: no .dcm files are there; expected them in {looked} or {source} itself; "
            f"found {list_names(folders[0])}"
        )
    return source, dict(images)


def _rows_from_headers(
    source: Path,
    images: dict[str, list[Path]],
    names: Iterable[str],
    reasons: dict[str, str],
    patients: Path | None,
) -> tuple[list[dict[str, Any]], Patients]:
    """One row per name, sorted: what every table has, and ``left_out``; and who is on them."""
    names = sorted(names)
    for number, name in enumerate(names):
        # A file name that can't be an id is known by its number from here on.
        if name in images and not usable_id(name):
            names[number] = f"unusable name {number + 1}"
            reasons[names[number]] = "unusable id"
    files = [images[name][0] for name in names if len(images.get(name, ())) == 1]
    headers = each(_header_or_reason, files, _POOL_FROM, desc="headers", unit="file")
    by_path = dict(zip(files, headers, strict=True))
    ids = {file.stem: h.patient for file, h in by_path.items() if isinstance(h, Header)}
    known = find_patients(source, patients, ids, _stem)
    table: list[dict[str, Any]] = []
    for name in names:
        paths = images.get(name, [])
        header = by_path.get(paths[0]) if len(paths) == 1 else None
        reason = reasons.get(name, "")
        if not reason and len(paths) != 1:
            reason = "several files" if paths else "no image"
        if not reason and isinstance(header, str):
            reason = f"unreadable: {header}"
        header = header if isinstance(header, Header) else _UNKNOWN
        row_mm, column_mm = header.spacing_mm or (math.nan, math.nan)
        table.append(
            {
                "case": name,
                "path": paths[0].relative_to(source).as_posix() if paths else "",
                **{column: getattr(header, column) for column in _FROM_HEADER},
                **{"row_mm": row_mm, "column_mm": column_mm, "left_out": reason},
            }
        )
    keys = [known.keys.get(name, f" {name}") for name in names]
    for entry, patient in zip(table, numbered(keys), strict=True):
        entry |= {"patient": patient, "patient_hash": known.hashes.get(entry["case"], "")}
    return table, known


def _header_or_reason(path: Path) -> Header | str:
    """A file's header, or why it can't be read."""
    try:
        return read_header(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


def _findings(source: Path, reasons: dict[str, str]) -> dict[str, str]:
    if not (source / CLASSES).is_file():
        return {}
    findings: dict[str, str] = {}
    for _, row in read_csv(source / CLASSES, ["patientId", "class"])[1]:
        name = _stem(row["patientId"])
        if findings.setdefault(name, row["class"]) != row["class"] and usable_id(name):
            reasons.setdefault(name, "conflicting labels")
    return findings


# ---- Rows and boxes


def _usable(
    rows: list[Row], column: str, file: str, reasons: dict[str, str]
) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield (line, case, cells) of the rows with a usable id; note the reason for the rest."""
    for line, row in rows:
        case = _stem(row[column])
        if usable_id(case):
            yield line, case, row
        else:
            reasons[f"row {line} of {file}"] = "unusable id"


def _stem(name: str) -> str:
    return re.sub(r"\.(dcm|png|jpe?g)$", "", name, flags=re.IGNORECASE)


def _box_fault(box: Box, case: Mapping[str, Any], across: float, down: float) -> str:
    """Why a box can't be used, or ""; it may overshoot by one pixel of its own grid.

    Such a pixel is ``across`` wide and ``down`` high, in the image's own pixels.
    """
    x0, y0, x1, y1 = box
    if any(math.isnan(part) for part in box):
        return "incomplete box"
    if x1 <= x0 or y1 <= y0:
        return "box without area"
    inside = x0 >= -across and x1 <= case["columns"] + across
    if not (inside and y0 >= -down and y1 <= case["rows"] + down):
        return "box leaves the image"
    return ""


def _frame(table: list[dict[str, Any]], columns: list[str], known: Patients) -> pd.DataFrame:
    frame = pd.DataFrame(table, columns=[*columns, "finding", "left_out", "patient_hash"])
    frame.attrs |= known.attributes
    return frame.sort_values("case", kind="stable", ignore_index=True)
