"""A table of cases as rows, few of which are dicts at a time: a million take a GiB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.files import write_csv

_AT_ONCE = 10_000


def rows_of(table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """The rows of a table, as ``to_dict("records")`` gives them."""
    for start in range(0, len(table), _AT_ONCE):
        yield from table.iloc[start : start + _AT_ONCE].to_dict("records")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as `write_csv`, without its index."""
    write_csv(path, table.columns, rows_of(table))
