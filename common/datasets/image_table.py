"""A CSV of (image_path, label) to a table of cases: the article's, and what prepare_data.py writes.

Which file a path is of: `common.datasets.table_paths`. Labels in lists, or in a column or a row
each: `common.datasets.label_cells`.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from common.base.errors import UserError
from common.datasets.class_folders import OFFICIAL
from common.datasets.class_names import class_column, label_of, split_named
from common.datasets.classes import BETWEEN
from common.datasets.csv_tables import (
    NOTHING,
    Row,
    first_rows,
    list_columns,
    list_csv,
    read_csv,
    rename,
    whole,
)
from common.datasets.images import OTHER_CASE, films_of, frame_of, rows_of
from common.datasets.label_cells import (
    are_rows_of_findings,
    are_several,
    as_sets,
    finding_columns,
    from_columns,
    parts_of,
    refuse_odd_cells,
    without_lists,
)
from common.datasets.other_ids import refuse_other_ids
from common.datasets.repairs import Repair, note, note_repair, noted_repairs
from common.datasets.rsna import CLASSES, HEARTS
from common.datasets.table_paths import files_of, parts_of_path, posix
from common.imaging.image_files import (
    as_text,
    file_name,
    films_among,
    image_id,
    is_film,
    list_files,
    places_of,
)

FILE = "images.csv"
"""The table's usual name."""

PATH, LABEL = "image_path", "label"
PATIENT, SPLIT = "patient", "split"
"""Columns: the first two are needed."""


class _Row(NamedTuple):
    """A row of a table: its file and line, its path, and what its other cells mean."""

    file: Path
    line: int
    path: str
    label: str
    patient: str
    split: str
    is_labelled: bool
    """Whether its cell says which labels hold, also none."""

    @property
    def labels(self) -> frozenset[str]:
        """Its labels in small letters."""
        return frozenset(part.casefold() for part in parts_of(self.label))


class _Rows(NamedTuple):
    """The rows of the tables that are read.

    Attributes:
        tables: Their files.
        rows: The rows.
        is_open: Whether an image may have any number of labels, also none, by how they are written.
        are_findings: Whether a row is a finding of its image, which may have several.
    """

    tables: list[Path]
    rows: list[_Row]
    is_open: bool
    are_findings: bool


def find_tables(source: Path) -> list[Path]:
    """The tables of a folder.

    They are `FILE`, else all CSV files with its two columns by any known name, else those with a
    column for each label.
    """
    files = _csv_files(source)
    named = [file for file in files if file.name.lower() == FILE]
    tables = [file for file in named or files if not _lacking(file)]
    headers = {file: next(iter(first_rows(file, [PATH, LABEL])), []) for file in tables}
    labelled = [file for file in tables if LABEL in _renamed(file, headers[file])]
    return labelled or tables


def refuse_unread_tables(source: Path, patients: Path | None = None) -> None:
    """Raise a `UserError` where a CSV file names films of a folder and is no table that is read.

    Args:
        source: The folder.
        patients: A table that is read for something else.

    Raises:
        UserError: There is such a file; the message says what its columns should be called.
    """
    others = [] if patients is None else [Path(patients).resolve()]
    files = [file for file in _csv_files(source) if file.resolve() not in others and _lacking(file)]
    for file in naming_films(source, files):
        raise UserError(
            f"{file}: names films and cannot be read as their labels: {_lacking(file)}; call its "
            f"columns {PATH} and {LABEL}, or choose with --layout what is read in its place"
        )


def naming_films(source: Path, files: Sequence[Path]) -> list[Path]:
    """Those of some CSV files whose first rows name films below a folder.

    They do so in the column of paths, or in any where no column is called so.
    """
    columns_of: dict[Path, list[tuple[str, ...]]] = {}
    for file in files:
        header, *rows = first_rows(file, [PATH, LABEL]) or [[]]
        columns = list(zip(*rows, strict=False))
        if not _lacking(file):
            columns = [columns[_renamed(file, header).index(PATH)]] if columns else []
        columns_of[file] = columns
    cells = {cell for columns in columns_of.values() for column in columns for cell in column}
    films = films_among(source, {_film_in(cell) for cell in cells if cell})
    return [
        file
        for file, columns in columns_of.items()
        if any(_names(column, films) for column in columns)
    ]


def _film_in(cell: str) -> str:
    """The id of the film that a cell may name."""
    return image_id(["", *parts_of_path(cell)][-1])


def _names(column: Sequence[str], films: Collection[str]) -> bool:
    """Whether most of a column's cells are films; of numbers all, and each once."""
    cells = {cell for cell in column if cell}
    named = {cell for cell in cells if _film_in(cell) in films}
    if all(cell.isdigit() for cell in cells):
        return len(named) == len(cells) == len(column)
    return len(named) * 2 >= len(cells)


def _csv_files(source: Path) -> list[Path]:
    # The labels of the hearts' table are those of their boxes, and the challenge's classes stand
    # next to its labels.
    return [path for path in list_csv(source) if path.name.lower() not in (HEARTS, *CLASSES)]


def _lacking(file: Path) -> str:
    """Why a CSV file is no table of images and labels by its header, "" where it is one."""
    header, *rows = first_rows(file, [PATH, LABEL]) or [[]]
    try:
        columns = _renamed(file, header)
    except UserError as error:
        return str(error).removeprefix(f"{file}: ").partition(";")[0]
    missing = [name for name in (PATH, LABEL) if name not in columns]
    if missing == [LABEL] and finding_columns(
        columns, [row[: len(columns)] for row in rows], are_all=False
    ):
        return ""
    return f"none of {list_columns(header)} is the column {missing[0]}" if missing else ""


def _renamed(file: Path, header: Sequence[str]) -> list[str]:
    with noted_repairs():  # they are noted where the table is read
        return rename(file, header, [PATH, LABEL], [PATIENT, SPLIT])


def index_csv(
    source: Path, patients: Path | None = None, pattern: str = "", positive: str = ""
) -> pd.DataFrame:
    """List the images of a CSV of image_path and label.

    Args:
        source: The folder with the table.
        patients: As in `common.datasets.rsna.index_pneumonia`; None for a column ``patient``.
        pattern: As of `common.datasets.images.patient_in_name`.
        positive: As of `common.datasets.class_names.numbered_classes`.

    Returns:
        As `common.datasets.class_folders.index_folders`; `OFFICIAL` is the column ``split``, if
        there is one, or where the tables are train.csv, val.csv and test.csv, their names. Labels
        with "|" or ";" in them are several at once: ``label`` is then text with "|" and
        ``.attrs["exclusive"]`` is False, as of `common.datasets.nih.index_nih`. So are lists, a
        column for each label, and rows that each say where a finding of their image is, unless
        every image has exactly one. An image with two labels, patients or splits is left out.

    Raises:
        UserError: There is no such table, or several; or a cell is not what it should be.
    """
    source = Path(source)
    tables, rows, is_open, are_findings = _read(source)
    files, repaired, zeros = files_of(source, [row.path for row in rows])
    absent: set[str] = set()
    note_repair(tables[0], "paths whose leading zeros were lost, as in a spreadsheet", zeros)
    if not any(files) and (there := list(filter(is_film, list_files(source).files))):
        refuse_other_ids(tables[0], {row.path for row in rows}, there)
    # By the place of a file, else by the path as it stands in the table.
    by_file: dict[str, list[_Row]] = defaultdict(list)
    first: dict[str, str] = {}
    paths = [
        file or os.path.normpath(source / as_text(posix(row.path)))
        for row, file in zip(rows, files, strict=True)
    ]
    for row, file, path, place in zip(rows, files, paths, places_of(paths), strict=True):
        place = first.setdefault(place, path)
        by_file[place].append(row)
        if file is None and not Path(place).is_file():
            absent.add(place)
    are_numbers = {row.label for row in rows} <= {"", "-1", "0", "1"}
    has_patients, has_split = any(row.patient for row in rows), any(row.split for row in rows)
    del rows, files, first, paths  # of a million rows some hundred MiB
    films = films_of(source, by_file)
    of_case = {case: by_file[paths[0]] for case, paths in films.by_id.items()}
    reasons: dict[str, str] = {}
    for case, entries in of_case.items():
        file = films.by_id[case][0]
        if file in repaired:
            note(Repair(case, OTHER_CASE, f"its file is {ascii(file_name(file))[1:-1]}"))
        # A finding and none are no two labels.
        is_both = are_numbers and {row.label for row in entries} >= {"0", "1"}
        if are_findings and not is_both:
            together = BETWEEN.join(dict.fromkeys(row.label for row in entries if row.label))
            of_case[case] = entries = [
                row._replace(label=together, is_labelled=any(row.is_labelled for row in entries))
                for row in entries
            ]
        if file in absent:
            reasons[case] = "no image"
            films.by_id[case] = []
        if conflict := _conflict(entries):
            reasons[case] = f"conflicting labels: {conflict}"
    listed = {case: entries[0].patient for case, entries in of_case.items()}
    listed = listed if has_patients else {}
    table, known = rows_of(films, of_case, reasons, patients, pattern, listed)
    nothing = _Row(source, 0, "", "", "", "", is_labelled=False)
    cells = [of_case.get(case, [nothing])[0] for case in table["case"]]
    labels, classes, exclusive = _labels([row.label for row in cells], positive, is_open)
    table |= {"label": labels, "boxes": [[] for _ in cells], "finding": [""] * len(cells)}
    table[OFFICIAL] = [row.split for row in cells]
    table["left_out"] = [
        reason or ("no label" if label == -1 or not row.is_labelled else "")
        for reason, label, row in zip(table["left_out"], labels, cells, strict=True)
    ]
    own = ["boxes", OFFICIAL] if has_split else ["boxes"]
    frame = frame_of(table, own, films, known)
    frame.attrs |= {"classes": classes, "exclusive": exclusive}
    frame.attrs |= {"table": " and ".join(file.name for file in tables), "listed": len(of_case)}
    return frame


# ---- The tables


def _read(source: Path) -> _Rows:
    """The tables that are read, and their rows."""
    tables = find_tables(source)
    if not tables:
        # Where nothing looks like one, a file that is alone says what is wrong with it.
        files = _csv_files(source)
        tables = files if len(files) == 1 else [source / FILE]
    splits = [split_named(file.stem)[0] for file in tables]
    if len(tables) > 1 and (not all(splits) or len({*splits}) < len(splits)):
        names = ", ".join(ascii(file.name)[1:-1] for file in tables[:3])
        raise UserError(
            f"{source}: holds {len(tables)} tables of images ({names}); call the one that is meant "
            f"{FILE}, or those of a split train.csv, val.csv and test.csv"
        )
    rows: list[_Row] = []
    is_open = are_findings = False
    for file, named in zip(tables, splits, strict=True):
        columns, cells, labels = _read_labels(file)
        listed = without_lists(file, labels)
        _drop_folds(file, [row for _, row in cells])
        is_findings = are_rows_of_findings(columns)
        is_open |= listed != labels or is_findings or LABEL not in columns
        are_findings |= is_findings
        # Next to lists, of which one may be empty, a blank cell says nothing either.
        nothing = {*NOTHING, ""} if listed != labels else NOTHING
        for (line, row), label in zip(cells, listed, strict=True):
            split = _split(file, line, row[SPLIT]) if SPLIT in row else named * (len(tables) > 1)
            path = _in_split(source, file, row[PATH]) if len(tables) > 1 else row[PATH]
            patient = sys.intern(whole(row.get(PATIENT, "")))
            known = label or LABEL not in row or row[LABEL].casefold() not in nothing
            rows.append(_Row(file, line, path, sys.intern(label), patient, split, bool(known)))
        several = len(rows) - len({row.path for row in rows})
        if is_findings:
            note_repair(file, "rows of an image that has one already, its labels together", several)
    return _Rows(tables, rows, is_open, are_findings)


def _drop_folds(file: Path, rows: Sequence[dict[str, str]]) -> None:
    """Empty the splits of rows where all are numbers: folds, none of which is known as the test."""
    folds = [row[SPLIT] for row in rows if row.get(SPLIT)]
    if folds and all(re.fullmatch(r"\d+(\.0)?", fold) for fold in folds):
        note_repair(file, "numbers of folds, which name no split and are not used", len(folds))
        for row in rows:
            row[SPLIT] = ""


def _in_split(source: Path, file: Path, path: str) -> str:
    """A path in the table of a split, which may be from the split's folder: train/, train.csv."""
    inside = f"{file.stem}/{posix(path)}"
    is_inside = not (source / posix(path)).is_file() and (source / inside).is_file()
    return inside if is_inside else path


def _read_labels(file: Path) -> tuple[list[str], list[Row], list[str]]:
    """The columns and the rows of a table, and the label of each row."""
    header = next(iter(first_rows(file, [PATH, LABEL])), [])
    if LABEL in _renamed(file, header) or _lacking(file):
        columns, rows = read_csv(file, [PATH, LABEL], [PATIENT, SPLIT])
        return columns, rows, [label_of(row[LABEL]) for _, row in rows]
    columns, rows = read_csv(file, [PATH], [PATIENT, SPLIT])
    cells = [[row[name] for name in columns] for _, row in rows]
    names = [columns[place] for place in finding_columns(columns, cells)]
    refuse_odd_cells(file, columns, names, [line for line, _ in rows], cells)
    if not names:
        read_csv(file, [PATH, LABEL])  # refuses, and says what is missing
    return columns, rows, from_columns(file, names, [[row[n] for n in names] for _, row in rows])


def _conflict(entries: Sequence[_Row]) -> str:
    """In what the rows of one image differ, in words; "" where they agree."""
    if len(entries) == 1:
        return ""
    if len({row.labels for row in entries}) > 1:
        names = sorted({row.label for row in entries})
        return " and ".join(ascii(name)[1:-1][:40] or "none" for name in names[:3])
    if len({row.patient for row in entries}) > 1:
        return "two patients"
    return "two splits" if len({row.split for row in entries}) > 1 else ""


def _split(file: Path, line: int, text: str) -> str:
    split = split_named(text)[0] if text else ""
    if text and not split:
        raise UserError(f"{file}: row {line}: split is none of train, validation and test")
    return split


def _labels(
    labels: Sequence[str], positive: str, is_open: bool
) -> tuple[list[Any], list[str], bool]:
    """What `index_csv` gives for each label, the classes, and whether they exclude each other."""
    if {*labels} - {""} == {"-1", "0", "1"}:
        # As CheXpert has it: neither is known.
        labels = ["" if label == "-1" else label for label in labels]
    if not are_several(labels) and not (is_open and "" in labels):
        return *class_column(labels, positive), True
    sets = as_sets(labels)
    return [BETWEEN.join(sorted(own)) for own in sets], sorted(set().union(*sets)), False
