"""A folder in the layout of the RSNA Pneumonia Detection Challenge to a table of cases.

The images, one DICOM, PNG or JPEG file each, are in ``stage_2_train_images/`` (else
``stage_1_train_images/``, ``images/``, ``train/``, else in the folder itself) or below. Next to it
the CSV files of the challenge are read, those of its second stage or of its first:

* ``stage_2_train_labels.csv``: patientId, Target, and x, y, width, height: one box per row;
* ``stage_2_detailed_class_info.csv``, if it is there: patientId, class;
* ``rsna_heart_detection.csv``: name, x0, y0, w, h, and img_shape_x, img_shape_y if the boxes are
  in pixels of another grid than the image's own (1 and 1: in fractions of the image);
* the file that says who is on an image, if it is there (`common.datasets.patients`), since a
  challenge "patientId" names an image, and a patient may have several.

Either table may have a column ``patient``, and the other corner of a box (xmax, ymax) in place of
its size. A file is found by listing the folder: no id of a CSV ever becomes a path. A bad case is
left out, with the reason; `UserError` is for a folder, a CSV or a column that is not there, and for
a cell that is no number.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from common.base.errors import UserError
from common.datasets.boxes import (
    FAR,
    Box,
    box_fault,
    box_of,
    edges_of,
    keep_once,
    refuse_fractions,
    resize_boxes,
)
from common.datasets.csv_tables import (
    Row,
    first_rows,
    list_columns,
    list_csv,
    list_names,
    named_file,
    number_in,
    read_csv,
    usable_id,
)
from common.datasets.images import Films, find_films, frame_of, rows_in, rows_of
from common.datasets.repairs import note_repair
from common.imaging.image_files import FILMS, PICTURE_SUFFIXES, image_id

LABELS = ("stage_2_train_labels.csv", "stage_1_train_labels.csv")
CLASSES = ("stage_2_detailed_class_info.csv", "stage_1_detailed_class_info.csv")
HEARTS = "rsna_heart_detection.csv"
"""The CSV files of a challenge folder, as the module's docstring describes them."""

IMAGE_FOLDERS = ("stage_2_train_images", "stage_1_train_images", "images", "train")
"""Where the images are: in the first of these that has any, else in the folder itself."""

TEST_FOLDERS = ("stage_2_test_images", "stage_1_test_images", "test")
"""The images without labels."""

# The Target that goes with a class, in lower case.
_TARGETS = {"normal": 0, "no lung opacity / not normal": 0, "lung opacity": 1}


def index_pneumonia(source: Path, patients: Path | None = None, pattern: str = "") -> pd.DataFrame:
    """List the images of a challenge folder with their labels.

    Args:
        source: The folder.
        patients: As ``file`` of `common.datasets.patients.find_patients`. An image that it lacks
            is grouped by its PatientID.
        pattern: As of `common.datasets.images.patient_in_name`; "" for PatientID.

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

        ``.attrs`` holds `common.datasets.patients.Patients.attributes`, and ``classes``, the
        names of the labels 0 and 1.

    Raises:
        UserError: See the module's docstring; or all boxes are fractions.
    """
    films = _open(source)
    file = find_labels(films.source) or films.source / LABELS[0]
    cells = ("x", "y", "width", "height")
    columns, rows = read_csv(file, ["patientId", "Target"], [*cells, *FAR, "patient"])
    edges = edges_of(columns, cells, file, len(rows))
    labels: dict[str, set[int]] = defaultdict(set)
    boxes: dict[str, list[Box]] = defaultdict(list)
    reasons: dict[str, str] = {}
    listed: dict[str, str] = {}
    for line, case, row in _usable(rows, "patientId", file, reasons, listed):
        target = number_in(row, "Target", file, line)
        if not math.isnan(target):
            if target not in (0, 1):
                raise UserError(f"{file}: row {line}: Target is neither 0 nor 1; correct it")
            labels[case].add(int(target))
        numbers = [number_in(row, name, file, line) for name in edges]
        # Some tables have 0 in each cell where there is no box.
        if any(number and not math.isnan(number) for number in numbers):
            boxes[case].append(box_of(numbers, edges))
    keep_once(boxes, file)
    refuse_fractions(boxes, file, "write them in pixels, or take their columns away")
    findings = _findings(films.source, reasons)
    for case, targets in labels.items():
        of_class = _TARGETS.get(findings.get(case, "").lower(), -1)
        if len(targets) > 1 or (targets == {0} and boxes[case]):
            reasons[case] = "conflicting labels"
        elif targets == {1 - of_class}:
            what = f"Target {1 - of_class}, and class {findings[case]}"
            reasons.setdefault(case, f"conflicting labels: {what}")
    _keep(films, file, labels)
    in_table = set(labels) | set(reasons)
    names = in_table | set(films.by_id)
    table, known = rows_of(films, names, reasons, patients, pattern, listed)
    resized = resize_boxes(boxes, rows_in(table), file, LABELS)
    left_out = []
    for entry in rows_in(table):
        case = entry["case"]
        faults = [box_fault(box, entry, 1.0, 1.0, edges) for box in resized.get(case, ())]
        checks = [entry["left_out"], "" if labels[case] else "no label", *faults]
        left_out.append(next(filter(None, checks), ""))
    targets_of = [labels[case] for case in table["case"]]
    table |= {
        "label": [next(iter(own)) if len(own) == 1 else -1 for own in targets_of],
        "boxes": [resized.get(case, []) for case in table["case"]],
        "finding": [findings.get(case, "") for case in table["case"]],
        "left_out": left_out,
    }
    frame = frame_of(table, ["boxes"], films, known)
    frame.attrs |= {"classes": ["negative", "positive"], "exclusive": True}
    frame.attrs |= {"table": file.name, "listed": len(in_table)}
    return frame


def find_labels(source: Path) -> Path | None:
    """The table of labels: one of `LABELS`, else the one CSV file with the columns of these."""
    if file := named_file(source, LABELS):
        return file
    columns = ["patientId", "Target"]
    files = [path for path in list_csv(source) if {*columns} <= {*_header(path, columns)}]
    return files[0] if len(files) == 1 else None


def _header(path: Path, columns: Sequence[str]) -> list[str]:
    return next(iter(first_rows(path, columns, 1)), [])


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
    films = _open(source)
    file = _table_of(films.source, (HEARTS,))
    cells = ("x0", "y0", "w", "h")
    shape = ["img_shape_x", "img_shape_y"]
    if not file.is_file():
        read_csv(file, ["name", *cells])  # refuses, and says what is expected
    columns, rows = read_csv(file, ["name"], [*cells, *FAR, *shape, "label", "patient"])
    edges = edges_of(columns, cells, file, len(rows))
    if not set(shape) & set(columns):
        shape = []
    if not edges or not set(shape) <= set(columns):
        read_csv(file, ["name", *(edges or cells), *shape])  # refuses, and says what is missing
    boxes: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    reasons: dict[str, str] = {}
    listed: dict[str, str] = {}
    other_labels: list[str] = []
    for line, case, row in _usable(rows, "name", file, reasons, listed):
        if (row.get("label") or label).lower() == label.lower():
            numbers = [number_in(row, name, file, line) for name in (*edges, *shape)]
            boxes[case].append((*box_of(numbers[:4], edges), *numbers[4:]))
        else:
            other_labels.append(row["label"])
    keep_once(boxes, file)
    refuse_fractions(
        boxes,
        file,
        "write them in pixels or, where x0 and y0 are the upper left corner, put 1 into the "
        "columns img_shape_x and img_shape_y of each row",
    )
    if other_labels and not boxes:
        labels = list_columns(sorted(set(other_labels)))
        raise UserError(
            f"{file}: no box is labelled {label!r}; choose with --label among its labels: {labels}"
        )
    names = set(boxes) | set(reasons)
    _keep(films, file, boxes)
    table, known = rows_of(films, names, reasons, patients, listed=listed)
    findings = _findings(films.source, {})
    no_box: Box = (math.nan,) * 4
    left_out, kept_boxes = [], []
    for entry in rows_in(table):
        case_boxes = boxes.get(entry["case"], [])
        fault = entry["left_out"] or ("several boxes" if len(case_boxes) > 1 else "")
        if fault:
            left_out.append(fault)
            kept_boxes.append(no_box)
            continue
        x0, y0, x1, y1, *grid = case_boxes[0]
        grid_x, grid_y = grid or (entry["columns"], entry["rows"])
        across = entry["columns"] / grid_x if grid_x > 0 else math.nan
        down = entry["rows"] / grid_y if grid_y > 0 else math.nan
        box = (x0 * across, y0 * down, x1 * across, y1 * down)
        # A grid of 1 is no grid of pixels: the box is in fractions.
        pixel = (across, down) if (grid_x, grid_y) != (1, 1) else (1.0, 1.0)
        left_out.append(box_fault(box, entry, *pixel, edges))
        kept_boxes.append(no_box if left_out[-1] else box)
    table |= {"left_out": left_out, "finding": [findings.get(case, "") for case in table["case"]]}
    corners = ["x0", "y0", "x1", "y1"]
    for place, edge in enumerate(corners):
        table[edge] = [box[place] for box in kept_boxes]
    frame = frame_of(table, corners, films, known)
    frame.attrs |= {"table": file.name, "listed": len(names)}
    frame.attrs["images_without_box"] = len(set(films.by_id) - set(boxes))
    frame.attrs["boxes_of_other_labels"] = len(other_labels)
    return frame


# ---- The folder and its files


def _open(source: Path) -> Films:
    """The films of a folder."""
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    skip = [source / name for name in TEST_FOLDERS]
    folders = [source / name for name in IMAGE_FOLDERS if (source / name).is_dir()]
    for folder in (*folders, source):
        films = find_films(source, folder, skip)
        if films.by_id:
            return films
    looked = ", ".join(f"{name}/" for name in IMAGE_FOLDERS)
    raise UserError(
        f"{(folders or [source])[0]}: no {FILMS} files are there; expected them in {looked} or "
        f"{source} itself; found {list_names((folders or [source])[0])}"
    )


def _table_of(source: Path, names: Sequence[str]) -> Path:
    """The first of these tables that is there, else the first."""
    return named_file(source, names) or source / names[0]


def _keep(films: Films, table: Path, named: Iterable[str]) -> None:
    """Match films and a table's ids (`Films.match`).

    Of pictures next to DICOM files those are kept that the table names and DICOM does not have.
    """
    named = set(named)
    films.match(table, named)
    plain = {
        name: [file for file in files if file.lower().endswith(PICTURE_SUFFIXES)]
        for name, files in films.by_id.items()
    }
    if all(len(plain[name]) == len(files) for name, files in films.by_id.items()):
        return
    for name, pictures in plain.items():
        others = [file for file in films.by_id[name] if file not in pictures]
        if others:
            films.by_id[name] = others
        elif name not in named:
            del films.by_id[name]


def _findings(source: Path, reasons: dict[str, str]) -> dict[str, str]:
    file = _table_of(source, CLASSES)
    if not file.is_file():
        return {}
    findings: dict[str, str] = {}
    for _, row in read_csv(file, ["patientId", "class"])[1]:
        name = image_id(row["patientId"])
        if findings.setdefault(name, row["class"]) != row["class"] and usable_id(name):
            reasons.setdefault(name, "conflicting labels")
    return findings


# ---- Rows and boxes


def _usable(
    rows: list[Row], column: str, file: Path, reasons: dict[str, str], listed: dict[str, str]
) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield (line, case, cells) of the rows with a usable id; note the reason for the rest.

    ``listed`` gets the patients of a column ``patient``. An id may begin with the images' folder.
    """
    with_folder = 0
    for line, row in rows:
        path = PurePosixPath(row[column].replace("\\", "/"))
        is_path = path.parent.name in IMAGE_FOLDERS and ".." not in path.parts
        with_folder += is_path
        case = image_id(path.name if is_path else row[column])
        if not usable_id(case):
            reasons[f"row {line} of {file.name}"] = "unusable id"
            continue
        patient = row.get("patient")
        if patient and listed.setdefault(case, patient) != patient:
            reasons[case] = "conflicting labels: two patients"
        yield line, case, row
    note_repair(file, "ids with a folder before them", with_folder)
