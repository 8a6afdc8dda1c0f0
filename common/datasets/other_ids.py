"""The ids of a table that are no film's name: which film is meant, or why none is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from common.base.errors import UserError
from common.imaging.film_origin import read_element
from common.imaging.films import is_plain
from common.imaging.image_files import image_id

# What a table may know films by, and what is no name of one: each may have several.
_KEYS = ("AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "PatientID")
# Of so many files at most it is looked up.
_MOST = 500
# A name as a spreadsheet leaves it: a number, or a date in words or numbers, in some languages.
_MONTHS = "jan|f[eé]b|m[aä]r|mrz|a[pvb]r|ma[yi]|ju[nil]|a[uog][ogû]|sep|o[ck]t|nov|d[ei][czs]"
_CHANGED = re.compile(
    r"\d+([.,]\d+)?|\d{1,4}([-./ ])\d{1,2}\2\d{1,4}"
    rf"|.{{0,5}}\b({_MONTHS})[a-zäéû]*\b.{{0,6}}",
    re.IGNORECASE,
)


def restore_zeros(names: Iterable[str], films: Iterable[str]) -> dict[str, str]:
    """The film of each number of a table that lost its leading zeros, as in a spreadsheet.

    Args:
        names: The ids that are no film's.
        films: The ids of the films.

    Returns:
        By such an id that of its film; none where the films' numbers have several lengths, so
        that 1 may be 01 or 001.
    """
    numbers: dict[int, list[str]] = defaultdict(list)
    for film in films:
        if film.isascii() and film.isdigit():
            numbers[int(film)].append(film)
    if len({len(film) for same in numbers.values() for film in same}) != 1:
        return {}
    digits = [name for name in names if name.isascii() and name.isdigit()]
    likely = {name: numbers.get(int(name), []) for name in digits}
    return {
        name: same[0]
        for name, same in likely.items()
        if len(same) == 1 and len(name) < len(same[0])
    }


def refuse_other_ids(table: Path, names: Collection[str], files: Sequence[Path]) -> NoReturn:
    """Raise the `UserError` of a table none of whose ids is a film's.

    What identifies a patient is not quoted.

    Args:
        table: The table.
        names: Its ids.
        files: The films.
    """
    for key in _KEYS:
        if {*names} & {_element(file, key) for file in files[:_MOST]}:
            raise UserError(
                f"{table}: its ids are the films' {key}, which may be that of several films; give "
                "the SOPInstanceUID of each film in the column patientId, next to Target, or the "
                "path of its file in the column image_path, next to label"
            )
    own, other = ascii(min(names))[1:-1], ascii(min(image_id(file.name) for file in files))[1:-1]
    changed = sum(_CHANGED.fullmatch(name) is not None for name in names) > len(names) / 2
    mend = "give --source the folder of these films and their own table"
    if changed:
        mend = (
            "a spreadsheet may have made numbers or dates of them: write the table again, and "
            f"import the column of names as text; else {mend}"
        )
    raise UserError(
        f"{table}: none of its {len(names)} ids, such as {own}, is that of a film, such as {other};"
        f" {mend}"
    )


def _element(file: Path, key: str) -> str:
    try:
        return "" if is_plain(file) else read_element(file, key)
    except UserError:
        return ""
