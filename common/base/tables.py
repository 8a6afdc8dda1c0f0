"""A table as it is printed and as it stands on a page: the same cells in the same order."""

from __future__ import annotations

import re
from dataclasses import dataclass

MISSING = "-"

_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+( .*)?")


@dataclass(frozen=True)
class Table:
    """Rows of equally many cells under a head.

    Attributes:
        title: Stands over it; "" for none.
        head: A title a column.
        rows: What is shown, a cell a column; `MISSING` where there is nothing.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_number(self, column: int) -> bool:
        """Whether every cell of a column begins with a number, or is missing."""
        cells = {row[column] for row in self.rows} - {MISSING, ""}
        return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def print_table(table: Table) -> None:
    """Print a table after an empty line: title, head and rows, columns under each other."""
    lines = [table.head, *table.rows] if any(table.head) else list(table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    if table.title:
        print(f"  {table.title}")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"  {'  '.join(cells).rstrip()}")
