"""A table, printed in a terminal or written into a page: the same cells in the same order."""

from __future__ import annotations

import re
from dataclasses import dataclass

MISSING = "-"
"""The cell of an absent value."""

# A cell that begins with a number.
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+( .*)?")


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header, all of the same length.

    Attributes:
        title: The title above it; "" for none.
        head: One title per column.
        rows: One cell per column in each row; `MISSING` for an absent value.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_number(self, column: int) -> bool:
        """Whether every cell of a column begins with a number, or is absent."""
        cells = {row[column] for row in self.rows} - {MISSING, ""}
        return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)

    def without_repeated(self, column: int) -> Table:
        """Without a column that repeats the one before it in every row."""
        if any(row[column] != row[column - 1] for row in self.rows):
            return self
        head, *rows = (row[:column] + row[column + 1 :] for row in (self.head, *self.rows))
        return Table(self.title, head, tuple(rows))


def print_table(table: Table) -> None:
    """Print a table after an empty line: title, header and rows, with aligned columns."""
    lines = [table.head, *table.rows] if any(table.head) else list(table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    if table.title:
        print(f"  {table.title}")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"  {'  '.join(cells).rstrip()}")
