"""A table of cases as rows, few of which are there at a time: a million dicts take a GiB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.base.files import write_cells

_AT_ONCE = 10_000


def rows_of(table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """The rows of a table, as ``to_dict("records")`` gives them."""
    names = list(table)
    return (dict(zip(names, cells, strict=True)) for cells in _cells(table))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as `common.base.files.write_csv`, without its index."""
    write_cells(path, table.columns, _cells(table))


def _cells(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """The cells of each row, as Python's own numbers and texts."""
    for start in range(0, len(table), _AT_ONCE):
        part = table.iloc[start : start + _AT_ONCE]
        yield from zip(*(_values(column) for _, column in part.items()), strict=True)


def _values(column: pd.Series) -> list[Any]:
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.tolist()
    # An array of texts gives one after the other slowly.
    values = column.to_numpy(object)
    return [value.item() if isinstance(value, np.generic) else value for value in values]
