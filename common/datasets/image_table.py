"""A CSV of (image_path, label) to a table of cases: the article's, and what prepare_data.py writes.

A path is from the table's folder, from the dataset's, or of another machine: then it is the file
below the dataset's folder whose path ends as it does, beyond the folder that all paths of the table
begin with. Windows' separators are read too, other letters, and a name without its suffix.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from common.base.errors import UserError
from common.datasets.class_folders import OFFICIAL
from common.datasets.class_names import class_column, is_normal, label_of, same_letters, split_named
from common.datasets.classes import BETWEEN
from common.datasets.csv_tables import first_rows, list_columns, list_csv, read_csv, rename, whole
from common.datasets.images import (
    COMMON,
    FROM_HEADER,
    OTHER_CASE,
    SPACING,
    films_of,
    frame_of,
    rows_of,
)
from common.datasets.repairs import Repair, note, noted_repairs
from common.datasets.rsna import CLASSES, HEARTS
from common.imaging.image_files import as_text, image_id, is_film, list_files

FILE = "images.csv"
"""The table's usual name."""

PATH, LABEL = "image_path", "label"
PATIENT, SPLIT = "patient", "split"
"""Columns: the first two are needed."""

# Between several labels of one image.
_MULTIPLE = "|;"


class _Row(NamedTuple):
    """A row of a table: its file and line, its path, and what its other cells mean."""

    file: Path
    line: int
    path: str
    label: str
    patient: str
    split: str

    @property
    def meaning(self) -> tuple[str, str, str]:
        """What rows of one image must agree on."""
        return self.label.casefold(), self.patient, self.split


def find_tables(source: Path) -> list[Path]:
    """The tables of a folder: `FILE`, else all CSV files with its two columns by any known name."""
    files = _csv_files(source)
    named = [file for file in files if file.name.lower() == FILE]
    return [file for file in named or files if not _lacking(file)]


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
    below = list_files(source).files if files else []
    films = {image_id(path.name) for path in below if is_film(path)}
    naming = []
    for file in files:
        header, *rows = first_rows(file, [PATH, LABEL])
        columns = list(zip(*rows, strict=False))
        if not _lacking(file):
            columns = [columns[_renamed(file, header).index(PATH)]] if columns else []
        if any(_names(column, films) for column in columns):
            naming.append(file)
    return naming


def _names(column: Sequence[str], films: Collection[str]) -> bool:
    """Whether most of a column's cells are films; of numbers all, and each once."""
    cells = {cell for cell in column if cell}
    named = {cell for cell in cells if image_id(["", *_parts(cell)][-1]) in films}
    if all(cell.isdigit() for cell in cells):
        return len(named) == len(cells) == len(column)
    return len(named) * 2 >= len(cells)


def _csv_files(source: Path) -> list[Path]:
    # The labels of the hearts' table are those of their boxes, and the challenge's classes stand
    # next to its labels.
    return [path for path in list_csv(source) if path.name.lower() not in (HEARTS, *CLASSES)]


def _lacking(file: Path) -> str:
    """Why a CSV file is no table of images and labels by its header, "" where it is one."""
    header = next(iter(first_rows(file, [PATH, LABEL])), [])
    try:
        columns = _renamed(file, header)
    except UserError as error:
        return str(error).removeprefix(f"{file}: ").partition(";")[0]
    missing = [name for name in (PATH, LABEL) if name not in columns]
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
        positive: As of `common.datasets.class_folders.numbered_classes`.

    Returns:
        As `common.datasets.class_folders.index_folders`; `OFFICIAL` is the column ``split``, if
        there is one, or where the tables are train.csv, val.csv and test.csv, their names. Labels
        with "|" or ";" in them are several at once: ``label`` is then text with "|" and
        ``.attrs["exclusive"]`` is False, as of `common.datasets.nih.index_nih`. An image with two
        labels, patients or splits is left out.

    Raises:
        UserError: There is no such table, or several; or a cell is not what it should be.
    """
    source = Path(source)
    tables, rows = _read(source)
    files, repaired = _files_of(source, [row.path for row in rows])
    # By the place of a file, else by the path as it stands in the table.
    by_file: dict[Path, list[_Row]] = defaultdict(list)
    first: dict[str, Path] = {}
    for row, file in zip(rows, files, strict=True):
        place = file or Path(os.path.normpath(source / as_text(_posix(row.path))))
        by_file[first.setdefault(os.path.realpath(place), place)].append(row)
    films = films_of(source, by_file)
    of_case = {case: by_file[paths[0]] for case, paths in films.by_id.items()}
    reasons: dict[str, str] = {}
    for case, entries in of_case.items():
        file = films.by_id[case][0]
        if file in repaired:
            note(Repair(case, OTHER_CASE, f"its file is {ascii(file.name)[1:-1]}"))
        if len({row.meaning for row in entries}) > 1:
            reasons[case] = "conflicting labels"
        elif not file.is_file():
            reasons[case] = "no image"
            films.by_id[case] = []
    listed = {case: entries[0].patient for case, entries in of_case.items()}
    listed = listed if any(row.patient for row in rows) else {}
    table, known = rows_of(films, of_case, reasons, patients, pattern, listed)
    nothing = _Row(source, 0, "", "", "", "")
    cells = [of_case.get(entry["case"], [nothing])[0] for entry in table]
    numbers, classes, exclusive = _labels([row.label for row in cells], positive)
    for entry, number, row in zip(table, numbers, cells, strict=True):
        entry |= {"label": number, "boxes": [], "finding": "", OFFICIAL: row.split}
        if number == -1:
            entry["left_out"] = entry["left_out"] or "no label"
    own = [OFFICIAL] if any(row.split for row in rows) else []
    frame = frame_of(table, [*COMMON, "label", *FROM_HEADER, *SPACING, "boxes", *own], films, known)
    frame.attrs |= {"classes": classes, "exclusive": exclusive}
    frame.attrs |= {"table": " and ".join(file.name for file in tables), "listed": len(of_case)}
    return frame


# ---- The tables


def _read(source: Path) -> tuple[list[Path], list[_Row]]:
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
    rows = []
    for file, named in zip(tables, splits, strict=True):
        for line, row in read_csv(file, [PATH, LABEL], [PATIENT, SPLIT])[1]:
            split = _split(file, line, row[SPLIT]) if SPLIT in row else named * (len(tables) > 1)
            label, patient = label_of(row[LABEL]), whole(row.get(PATIENT, ""))
            rows.append(_Row(file, line, row[PATH], label, patient, split))
    return tables, rows


def _split(file: Path, line: int, text: str) -> str:
    split = split_named(text)[0] if text else ""
    if text and not split:
        raise UserError(f"{file}: row {line}: split is none of train, validation and test")
    return split


def _labels(labels: Sequence[str], positive: str) -> tuple[list[Any], list[str], bool]:
    """What `index_csv` gives for each label, the classes, and whether they exclude each other."""
    if {*labels} - {""} == {"-1", "0", "1"}:
        # As CheXpert has it: neither is known.
        labels = ["" if label == "-1" else label for label in labels]
    if not any(sign in label for label in labels for sign in _MULTIPLE):
        return *class_column(labels, positive), True
    parts = [
        {label_of(part.strip()) for part in re.split(f"[{_MULTIPLE}]", label)} for label in labels
    ]
    names = same_letters(name for own in parts for name in sorted(own) if name)
    # What is called normal has none of the others.
    sets = [{names[name] for name in own if name and not is_normal(name)} for own in parts]
    return [BETWEEN.join(sorted(own)) for own in sets], sorted(set().union(*sets)), False


# ---- From paths to files


def _posix(path: str) -> str:
    return path.replace("\\", "/") if "\\" in path else path


def _files_of(source: Path, paths: Sequence[str]) -> tuple[list[Path | None], set[Path]]:
    """The file of each path of a table, None where there is none; those of other letters."""
    films: dict[tuple[str, ...], list[Path]] | None = None
    files: list[Path | None] = []
    repaired = set()
    every = [_parts(path) for path in paths]
    begin = len(_common(parts[:-1] for parts in every if parts))
    for text, parts in zip(paths, every, strict=True):
        path = next((p for p in (text, _posix(text)) if p and (source / p).is_file()), "")
        if path and is_film(source / path):
            files.append(source / path)
            continue
        films = _by_ends(source) if films is None else films
        file = _longest_end(parts, films, begin)
        if file and image_id(file.name) != image_id(parts[-1]):
            repaired.add(file)
        files.append(file)
    return files, repaired


def _parts(path: str) -> tuple[str, ...]:
    return tuple(as_text(part) for part in PurePosixPath(_posix(path)).parts)


def _common(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all these begin with."""
    levels = zip(*folders, strict=False)
    return tuple(level[0] for level in takewhile(lambda level: len({*level}) == 1, levels))


def _key(parts: Sequence[str]) -> tuple[str, ...]:
    """A path without upper case and the film's suffix."""
    return (*(part.casefold() for part in parts[:-1]), image_id(parts[-1]).casefold())


def _by_ends(source: Path) -> dict[tuple[str, ...], list[Path]]:
    """The films below a folder by every end of their path: of a/b.png that of b.png and its own."""
    ends: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in filter(is_film, list_files(source).files):
        key = _key([as_text(part) for part in file.relative_to(source).parts])
        for start in range(len(key)):
            ends[key[start:]].append(file)
    return ends


def _longest_end(
    parts: tuple[str, ...], ends: dict[tuple[str, ...], list[Path]], begin: int
) -> Path | None:
    """The one film whose path ends as these parts do, by as many of them as possible.

    Those from ``begin`` on must be in it: a film of equal name in another folder is another film.
    """
    best: list[Path] = []
    key = _key(parts) if parts else ()
    for start in reversed(range(len(key))):
        if not (same := ends.get(key[start:], [])):
            break
        best = same if start <= begin else []
    if len(best) > 1:
        best = [file for file in best if as_text(file.name) == parts[-1]]
    return best[0] if len(best) == 1 else None
