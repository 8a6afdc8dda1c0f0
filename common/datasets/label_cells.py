"""Several labels of one image as tables write them: in a cell, in a column or in a row each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from common.base.errors import UserError
from common.datasets.class_names import is_normal, label_of, same_letters, split_named
from common.datasets.classes import BETWEEN
from common.datasets.csv_tables import NOTHING, plain, whole
from common.datasets.repairs import note_repair

_SIGNS = "|;"
# Python's and JSON's lists, tuples and sets, and NumPy's arrays, which have no commas.
_LIST = re.compile(r"\[(.*)\]|\((.*)\)|\{(.*)\}", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
# The cells of a finding's column: present, absent, uncertain, not mentioned.
_PRESENT, _ABSENT, _UNCERTAIN = {"1", "true", "yes"}, {"0", "false", "no"}, {"-1"}
_CELLS = _PRESENT | _ABSENT | _UNCERTAIN | NOTHING | {""}
# Columns that may hold 0 and 1 and are no findings, without case and punctuation.
_NO_FINDINGS = re.compile(
    r"(image|study|series|subject|patient|row|file)?(id|index|no|number)|(nih)?patient|person"
    r"|subject|sex|gender|male|female|age"
    r"|followup|view|viewposition|frontal|lateral|frontallateral|appa|fold|unnamed\d*|"
    r"target|labels?|class|classes|split|isvalid|istest|istrain",
)
# What a table of findings has beside them: where each is.
_BOX = {"x", "xmin", "x0", "left", "bbox", "bboxxywh"}


def parts_of(label: str) -> list[str]:
    """The labels in a cell: those between "|" or ";", each as `label_of` reads it."""
    return [label_of(part.strip()) for part in re.split(f"[{_SIGNS}]", label)]


def are_several(labels: Iterable[str]) -> bool:
    """Whether some of these cells hold several labels, by `parts_of`."""
    return any(sign in label for label in labels for sign in _SIGNS)


def without_lists(file: Path, labels: Sequence[str]) -> list[str]:
    """The labels of a column, lists written out as `parts_of` reads them.

    ``['pneumonia', 'effusion']`` is what pandas writes of a column of lists, as PadChest has it
    (Bustos et al. 2020, 10.1016/j.media.2020.101797); ``[]`` is a label without any name.

    Args:
        file: Their table.
        labels: The cells.

    Returns:
        The cells as they are where not all that hold anything are lists.

    Raises:
        UserError: The lists are places for classes, without their names: [0, 1, 0]; or a comma may
            part several labels of a cell, or a number's decimals.
    """
    matches = [_LIST.fullmatch(label) for label in labels]
    count = sum(match is not None for match in matches)
    if not count or count < sum(map(bool, labels)):
        _refuse_commas(file, {*labels})
        return [*labels]
    note_repair(file, "labels that are lists, several names in one cell", count)
    inner = ["".join(filter(None, match.groups())) if match else "" for match in matches]
    places = {tuple(re.split(r"[\s,]+", text.strip())) for text in inner if text.strip()}
    if len({*map(len, places)}) == 1 and {*chain(*places)} <= {"0", "1"} and len(min(places)) > 1:
        raise UserError(
            f"{file}: its labels are lists of {len(min(places))} zeros and ones, a place for each "
            "class, and the classes have no names; write the name of each image's class"
        )
    return [BETWEEN.join(sorted({*filter(None, map(label_of, _names(text)))})) for text in inner]


def _refuse_commas(file: Path, labels: set[str]) -> None:
    """Raise a `UserError` for a label of numbers, or of other cells' labels, with commas between.

    "Pneumonia, viral" may be one class; "0,1" may be 0.1, or 0 and 1.
    """
    known = {label.casefold() for label in labels}
    for label in sorted(label for label in labels if "," in label):
        parts = [part.strip().casefold() for part in label.split(",")]
        if all(part and (part in known or re.fullmatch(r"[+-]?\d+", part)) for part in parts):
            raise UserError(
                f"{file}: the comma in the label {ascii(label)[1:-1][:40]} may part several labels "
                "or decimals; write several with | between them, and decimals with a point"
            )


def _names(text: str) -> list[str]:
    quoted = ["".join(pair).strip() for pair in _QUOTED.findall(text)]
    return quoted or [name.strip() for name in text.split(",")]


def finding_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], are_all: bool = True
) -> list[int]:
    """The columns of a table that are a finding each: two or more, of 1, 0, -1 and nothing.

    CheXpert's table has them (Irvin et al. 2019, arXiv:1901.07031).

    Args:
        header: Its columns.
        rows: Its cells.
        are_all: Whether these are all its rows; the first ones may have no finding.

    Returns:
        The places of the columns; none where one alone looks so, or no cell says present.
    """
    places = [
        place
        for place, (name, *cells) in enumerate(zip(header, *rows, strict=True))
        if _may_be_finding(name)
        and {_plain(cell) for cell in cells} <= _CELLS
        and any(_plain(cell) in _PRESENT | _ABSENT for cell in cells)
    ]
    is_present = any(_plain(row[place]) in _PRESENT for row in rows for place in places)
    return places if len(places) > 1 and (is_present or not are_all) else []


def _may_be_finding(name: str) -> bool:
    return bool(name) and not _NO_FINDINGS.fullmatch(plain(name)) and not split_named(name)[0]


def refuse_odd_cells(
    file: Path,
    header: Sequence[str],
    names: Sequence[str],
    lines: Sequence[int],
    rows: Sequence[Sequence[str]],
) -> None:
    """Raise a `UserError` for a column that is a finding's but for one cell in twenty or fewer.

    Args:
        file: The table.
        header: Its columns.
        names: Those that are read as findings.
        lines: (rows,) the number of each row.
        rows: (rows, columns) the cells.
    """
    for name, *cells in zip(header, *rows, strict=True):
        if name in names or not _may_be_finding(name):
            continue
        odd = [place for place, cell in enumerate(cells) if _plain(cell) not in _CELLS]
        told = sum(_plain(cell) in _PRESENT | _ABSENT for cell in cells)
        if odd and len(odd) * 20 <= told:
            cell = ascii(cells[odd[0]])[1:-1][:40]
            raise UserError(
                f"{file}: row {lines[odd[0]]}: {name} is {cell}, and 1, 0, -1 or nothing in "
                f"{len(cells) - len(odd)} of {len(cells)} rows; correct it, or take the column out"
            )


def from_columns(file: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The labels of rows that have a column for each finding.

    Uncertain (-1) and blank are read as absent: the first is U-Zeros of Irvin et al. 2019, who
    found no policy that is the best for all findings; the second is a finding that the report does
    not mention. Both are counted.

    Args:
        file: Their table.
        names: The findings.
        rows: (rows, findings) their cells.

    Returns:
        The names of those that are present, with "|" between them; "" for none.
    """
    cells = [[_plain(cell) for cell in row] for row in rows]
    uncertain = sum(cell in _UNCERTAIN for row in cells for cell in row)
    blank = sum(cell in NOTHING | {""} for row in cells for cell in row)
    note_repair(file, f"a column for each of {len(names)} labels, read as one column of labels")
    note_repair(file, "uncertain labels (-1), read as absent (U-Zeros)", uncertain)
    note_repair(file, "blank labels, read as absent", blank)
    return [
        BETWEEN.join(
            name for name, cell in zip(names, row, strict=True) if cell in _PRESENT
        )
        for row in cells
    ]  # fmt: skip


def _plain(cell: str) -> str:
    return whole(cell).casefold()


def are_rows_of_findings(header: Sequence[str]) -> bool:
    """Whether a table has a row for each finding of an image: it says where each is."""
    return bool({plain(name) for name in header} & _BOX)


def as_sets(labels: Sequence[str]) -> list[set[str]]:
    """The labels of each cell, in their commonest spelling; what is called normal is none."""
    parts = [parts_of(label) for label in labels]
    names = same_letters(name for own in parts for name in sorted(set(own)) if name)
    # A 0 next to another label is the first of the classes' numbers.
    is_class = any("0" in own and {*own} - {"0", ""} for own in parts)
    return [
        {
            names[name]
            for name in own
            if name and (not is_normal(name) or (is_class and name == "0"))
        }
        for own in parts
    ]
