"""A CSV file as people and spreadsheets write it to rows, and the ids that may stand in one.

What has one meaning is read, and noted (`common.datasets.repairs`): another delimiter or encoding,
decimal commas, words for an empty cell, blank rows, delimiters at the end of a row, a header that
is repeated, and columns under another well-known name. All else is refused by row and column.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from common.base.errors import UserError
from common.base.files import decoded
from common.datasets.repairs import note_repair, noted_repairs
from common.imaging.foreign_files import foreign_content
from common.imaging.image_files import ID_MAP

MAX_ID_BYTES = 200
"""Of an id, in UTF-8: a file's name has at most 255 bytes."""

Row = tuple[int, dict[str, str]]
"""A row of a CSV file: its line, and its stripped cells by column."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
"""Endings of the names of archives, in lower case."""

# Of a file's beginning, in bytes.
_HEAD = 200_000
# Categories of Unicode: control, format, surrogate, private, unassigned, separators of lines.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

NOTHING = {"na", "n/a", "<na>", "#n/a", "nan", "none", "null", "nil", "\\n"}
"""Words for an empty cell, in lower case, as R, pandas, spreadsheets and databases write them."""

# What Excel exports of a cell that it is to take for text.
_TEXT = re.compile(r'="(.*)"')
# Numbers with a decimal comma, with thousands too; and those whose comma may part either.
_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
# A long number of which a spreadsheet kept the first digits.
_ROUNDED = re.compile(r"\d[.,]\d+e\+\d+", re.IGNORECASE)

# By column, its other names, the likelier first: two of one line may both be meant. Without case,
# blanks and punctuation.
_IMAGE = ("image", "imageid", "imagename", "imageindex", "filename", "file", "name", "id")
_OTHER_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    # Of the challenge's tables: an image. Next to one, "patient_id" is a person.
    "patientId": (_IMAGE, ("patientid",)),
    "name": (("name",), _IMAGE, ("patientid",)),
    "case": (("case", "caseid"), (*_IMAGE, "volume"), ("patientid",)),
    "patient": (("patient",), ("nihpatient",), ("patientid",), ("person", "subject", "subjectid")),
    "Target": (("target",), ("label", "class", "pneumonia")),
    "split": (("split",), ("set", "subset", "partition", "fold", "datasettype")),
    "image_path": (
        ("imagepath",),
        ("path", "filepath", "imgpath", "imagefile"),
        ("filename", "file"),
        ("image", "imagename", "imageindex", "img", "xrayimagename"),
        ("imageid", "id", "name"),
        ("patientid",),
    ),
    "label": (
        ("label",),
        ("labels", "class", "classes", "classname", "category", "target", "findinglabels")
        + ("diagnosis", "finding", "findings"),
    ),
    "x": (("x",), ("x0", "xmin", "left"), ("x1",)),
    "y": (("y",), ("y0", "ymin", "top"), ("y1",)),
    "x0": (("x0",), ("x", "xmin", "left"), ("x1",)),
    "y0": (("y0",), ("y", "ymin", "top"), ("y1",)),
    "xmax": (("xmax",), ("x2", "right"), ("x1",)),
    "ymax": (("ymax",), ("y2", "bottom"), ("y1",)),
    "width": (("width",), ("w",)),
    "height": (("height",), ("h",)),
    "w": (("w",), ("width",)),
    "h": (("h",), ("height",)),
    # Of the image; "width" where that of the box has its own column.
    "img_shape_x": (("imgshapex",), ("imagewidth", "imgwidth", "originalwidth"), ("width",)),
    "img_shape_y": (("imgshapey",), ("imageheight", "imgheight", "originalheight"), ("height",)),
}
# The columns, by the names that are asked for, whose cells are read as numbers.
_NUMBERS = {"Target", "x", "y", "x0", "y0", "xmax", "ymax", "width", "height", "w", "h"}
_NUMBERS |= {"img_shape_x", "img_shape_y"}
# Next to the other corner of a box, "width" is that of the image.
_CORNER = {"x1", "x2", "xmax", "right"}


def usable_id(name: str) -> bool:
    """Whether an id may be used in a file name, a CSV and a page.

    False for an empty id, one that begins with a dot, holds a path separator or an unprintable
    character, or has more than `MAX_ID_BYTES`.
    """
    return (
        0 < len(name.encode("utf-8", "surrogateescape")) <= MAX_ID_BYTES
        and not name.startswith(".")
        and not ("/" in name or "\\" in name)
        and (
            (name.isascii() and name.isprintable())
            or not any(unicodedata.category(c) in _UNPRINTABLE for c in name)
        )
    )


def read_csv(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> tuple[list[str], list[Row]]:
    """Read a CSV file: its columns, by the names that are asked for, and its rows.

    Only what is read as a number may have a decimal comma, and only that and what is optional a
    word for nothing: an id, a label or a column that nobody asks for stands as it is written.

    Args:
        path: The file.
        columns: What it must have; the first is the id of its rows.
        optional: What it may have under another name too.

    Raises:
        UserError: It is not there, is no such CSV, lacks a column, has two that may be the one, or
            has no rows; a row has too few or too many cells.
    """
    expected = f"expected a CSV file with the columns {', '.join(columns)}"
    if not path.is_file():
        names = list_names(path.parent)
        raise UserError(f"{path}: there is no such file; {expected}; found {names}")
    text = _text(path, path.read_bytes())
    delimiter = _delimiter(text, [*columns, *optional])
    header, table = _cells(path, text, delimiter, expected)
    renamed = rename(path, header, columns, optional)
    if missing := [column for column in columns if column not in renamed]:
        names = list_columns(header)
        raise UserError(f"{path}: the column {missing[0]} is missing; {expected}; found {names}")
    if not table:
        raise UserError(f"{path}: has no rows; {expected}")
    _refuse_rounded(path, table, renamed.index(columns[0]), columns[0])
    repaired = {*_NUMBERS.intersection(columns), *optional}
    places = {name: place for place, name in enumerate(renamed) if name in repaired}
    _repair_numbers(path, table, places, delimiter)
    if delimiter != ",":
        note_repair(path, f"rows with {_DELIMITERS[delimiter]} between their cells", len(table))
    return renamed, [(line, dict(zip(renamed, cells, strict=True))) for line, cells in table]


def first_rows(path: Path, columns: Sequence[str], most: int = 100) -> list[list[str]]:
    """The header of a CSV file as it stands, and its first rows, read as `read_csv` would.

    Args:
        path: The file.
        columns: Those that are looked for, by which the delimiter is known.
        most: The number of rows.

    Returns:
        Stripped cells, in each row as many as in the header or more; no rows for a file of another
        kind, an empty one and one that may not be read.
    """
    try:
        with open(path, "rb") as file, noted_repairs():
            content = file.read(_HEAD)
            if len(content) == _HEAD:
                content = content[: content.rfind(b"\n") + 1]
            text = _text(path, content)
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, columns))
            rows = ([cell.strip().strip("\ufeff") for cell in row] for row in reader)
            filled = (row for row in rows if any(row) and not row[0].startswith("sep="))
            first = list(islice(filled, most + 1))
    except (OSError, UserError, csv.Error):
        return []
    return [row + [""] * (len(first[0]) - len(row)) for row in first]


def list_csv(folder: Path) -> list[Path]:
    """The CSV files in a folder, sorted, without hidden ones; none where it may not be opened."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return []
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv"))]
    files = [folder / name for name in tables if not name.startswith(".") and name != ID_MAP]
    return sorted(path for path in files if path.is_file())


def named_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files that is in a folder, in any case of letters; None for none."""
    if there := [folder / name for name in names if (folder / name).is_file()]:
        return there[0]
    try:
        with os.scandir(folder) as entries:
            by_name = {entry.name.lower(): entry.name for entry in entries}
    except OSError:
        return None
    there = [folder / by_name[name.lower()] for name in names if name.lower() in by_name]
    return next((path for path in there if path.is_file()), None)


def whole(text: str) -> str:
    """A cell without the ".0" that pandas writes behind a whole number."""
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", text) if "." in text else text


def list_columns(columns: Sequence[str]) -> str:
    """The first columns of a file, for a message."""
    return ", ".join(ascii(column)[1:-1][:40] for column in columns[:12]) or "none"


def number_in(row: dict[str, str], column: str, file: Path, line: int) -> float:
    """The number in a cell, NaN if empty; `UserError` for anything else."""
    try:
        number = float("nan" if row[column].lower() in NOTHING else row[column] or "nan")
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise UserError(f"{file}: row {line}: {column} is not a number; correct it")
    return number


def list_names(folder: Path) -> str:
    """The first names in a folder, for the end of a message; and that an archive is one."""
    names = sorted(ascii(path.name)[1:-1] for path in folder.iterdir())
    archives = [name for name in names if name.lower().endswith(ARCHIVES)]
    hint = f"; unpack {archives[0]} there" if archives else ""
    return ((", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "nothing") + hint


# ---- From bytes to cells


def _text(path: Path, content: bytes) -> str:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        is_excel = content[:1] != b"P" or b"xl/" in content
        what = "an Excel workbook" if is_excel else "a ZIP archive or workbook"
        mend = "save it in Excel as 'CSV UTF-8'" if is_excel else "unpack it, or save it as CSV"
        raise UserError(f"{path}: is {what} under the name of a CSV; {mend}")
    what, mend = foreign_content(content[:500])
    if content and what not in ("", "a text"):
        what = "compressed by gzip" if "gzip" in what else what
        raise UserError(f"{path}: no CSV but {what}; {mend}")
    text, encoding = decoded(content)
    if encoding:
        note_repair(path, f"in {encoding}, not in UTF-8")
    return text


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """What parts the cells, by the header: it names most of the columns, and most in all."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    if stated := re.fullmatch(r'"?sep=(.)"?', line.strip(" \r\n")):  # Excel's own first line
        return stated[1] if stated[1] in _DELIMITERS else ","
    names = {plain(name) for name in columns}
    names |= {name for column in columns for tier in _OTHER_NAMES.get(column, ()) for name in tier}

    def match(delimiter: str) -> tuple[int, int]:
        header = next(csv.reader([line], delimiter=delimiter), [])
        return len(names & set(map(plain, header))), len(header)

    return max(_DELIMITERS, key=match)


def _cells(
    path: Path, text: str, delimiter: str, expected: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the first line and the cells of each row."""
    header: list[str] = []
    table: list[tuple[int, list[str]]] = []
    blank = repeated = longer = start = 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for raw in reader:
            line, start = start + 1, reader.line_num
            cells = [_TEXT.sub(r"\1", cell.strip().strip("\ufeff")) for cell in raw]
            if not any(cells):
                blank += bool(cells)
            elif not header:
                header = [] if line == 1 and cells[0].startswith("sep=") else cells
            elif cells == header:
                repeated += 1
            elif len(cells) < len(header) or any(cells[len(header) :]):
                torn = " (is a quote not closed?)" if "\n" in "".join(raw) else ""
                raise UserError(
                    f"{path}: row {line} has {len(cells)} cells, its header {len(header)}{torn}; "
                    "correct it or fetch the file again"
                )
            else:
                longer += len(cells) > len(header)
                table.append((line, cells[: len(header)]))
    except csv.Error as error:
        raise UserError(f"{path}: row {start + 1} is no CSV ({error}); {expected}") from None
    note_repair(path, "blank rows", blank)
    note_repair(path, "the header, once more", repeated)
    note_repair(path, "rows with delimiters at their end", longer)
    return header, table


# ---- From cells to what they mean


def plain(name: str) -> str:
    """A name without case, blanks and punctuation."""
    return "".join(c for c in name.casefold() if c.isalnum())


def rename(
    path: Path, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """The header of a CSV file with the names that are asked for, where one column can be meant.

    Args:
        path: The file.
        header: Its columns as they stand.
        columns: Those that are needed.
        optional: Those that may be there.

    Raises:
        UserError: Several columns may be the one.
    """
    renamed = list(header)
    bare = [plain(name) for name in header]
    for column in (*columns, *optional):
        if header.count(column) > 1:
            raise UserError(f"{path}: has two columns {column}; take one away")
        if column in renamed:
            continue
        for names in _OTHER_NAMES.get(column, ((plain(column),),)):
            if column in ("width", "height", "w", "h") and _CORNER & set(bare):
                continue
            places = [
                place
                for place, name in enumerate(bare)
                if name in names
                and renamed[place] == header[place]
                # What is asked for by its own name is no other column.
                and header[place] not in (*columns, *optional)
            ]
            if len(places) > 1:
                both = list_columns([header[place] for place in places])
                raise UserError(
                    f"{path}: several columns may be {column}: {both}; call the right one {column}"
                )
            if places:
                note_repair(path, f"{header[places[0]][:40]!a} for the column {column}")
                renamed[places[0]] = column
                break
    return renamed


def _refuse_rounded(path: Path, table: list[tuple[int, list[str]]], place: int, name: str) -> None:
    for line, cells in table:
        if _ROUNDED.fullmatch(cells[place]):
            raise UserError(
                f"{path}: row {line}: {name} is a number that a spreadsheet has rounded; fetch the "
                "file again, and import this column as text"
            )


def _repair_numbers(
    path: Path, table: list[tuple[int, list[str]]], columns: dict[str, int], delimiter: str
) -> None:
    """Decimal commas and words for nothing, in those of some columns that hold numbers alone."""
    empty = commas = 0
    for name, place in columns.items():
        cells = [cells[place] for _, cells in table]
        is_number = name in _NUMBERS
        with_comma = [i for i, cell in enumerate(cells) if is_number and _COMMA.fullmatch(cell)]
        without = [number for number, cell in enumerate(cells) if cell.lower() in NOTHING]
        # What pandas reads as a number, or as nothing.
        others = set(range(len(cells))) - {*with_comma, *without}
        if not (with_comma or without) or not all(_is_number(cells[i]) for i in others):
            continue
        doubtful = [i for i in with_comma if delimiter != ";" and _THOUSANDS.fullmatch(cells[i])]
        if doubtful and len(doubtful) == len(with_comma):
            raise UserError(
                f"{path}: row {table[doubtful[0]][0]}: the comma in {name} may part decimals "
                "or thousands; write decimals with a point"
            )
        for i in with_comma:
            table[i][1][place] = cells[i].replace(".", "").replace(",", ".")
        for i in without:
            table[i][1][place] = ""
        empty, commas = empty + len(without), commas + len(with_comma)
    note_repair(path, "cells with NA or another word for an empty one", empty)
    note_repair(path, "numbers with a decimal comma", commas)


def _is_number(cell: str) -> bool:
    try:
        return cell == "" or math.isfinite(float(cell))
    except ValueError:
        return False
