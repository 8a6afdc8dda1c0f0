"""A CSV file as people publish it to rows, and the ids that may stand in one."""

from __future__ import annotations

import csv
import math
import unicodedata
from pathlib import Path

from common.base.errors import UserError

MAX_ID_BYTES = 200
"""Of an id, in UTF-8: a file's name has at most 255 bytes."""

Row = tuple[int, dict[str, str]]
"""A row of a CSV file: its line, and its stripped cells by column."""

# Categories of Unicode: control, format, surrogate, private, unassigned, separators of lines.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def usable_id(name: str) -> bool:
    """Whether an id may be used in a file name, a CSV and a page.

    False for an empty id, one that begins with a dot, holds a path separator or an unprintable
    character, or has more than `MAX_ID_BYTES`.
    """
    return (
        0 < len(name.encode("utf-8", "surrogateescape")) <= MAX_ID_BYTES
        and not name.startswith(".")
        and not any(c in "/\\" or unicodedata.category(c) in _UNPRINTABLE for c in name)
    )


def read_csv(path: Path, columns: list[str]) -> tuple[list[str], list[Row]]:
    """Read a CSV file in UTF-8 that has ``columns``, and perhaps others: its columns, its rows.

    Raises:
        UserError: It is not there, is no such CSV, lacks a column, or has no rows.
    """
    expected = f"expected a CSV file with the columns {', '.join(columns)}"
    if not path.is_file():
        names = list_names(path.parent)
        raise UserError(f"{path}: there is no such file; {expected}; found {names}")
    rows: list[Row] = []
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
        names = list_columns(header)
        raise UserError(f"{path}: the column {missing[0]} is missing; {expected}; found {names}")
    if not rows:
        raise UserError(f"{path}: has no rows; {expected}")
    return header, rows


def list_columns(columns: list[str]) -> str:
    """The first columns of a file, for a message."""
    return ", ".join(ascii(column)[1:-1][:40] for column in columns[:12]) or "none"


def number_in(row: dict[str, str], column: str, file: Path, line: int) -> float:
    """The number in a cell, NaN if empty; `UserError` for anything else."""
    try:
        number = float(row[column] or "nan")
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise UserError(f"{file}: row {line}: {column} is not a number; correct it")
    return number


def list_names(folder: Path) -> str:
    """The first names in a folder, for a message."""
    names = sorted(ascii(path.name)[1:-1] for path in folder.iterdir())
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "nothing"
