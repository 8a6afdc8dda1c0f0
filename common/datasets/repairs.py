"""What is repaired in a dataset while it is listed, noted for the check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

TABLE = "repaired table"
"""The check that a repaired table is a finding of."""

_REPAIRS: ContextVar[dict[Repair, None] | None] = ContextVar("repairs", default=None)


class Repair(NamedTuple):
    """A repair.

    Attributes:
        where: A case, or a table's name.
        check: What found it.
        detail: What was repaired, in words; quotes no cell.
    """

    where: str
    check: str
    detail: str


@contextmanager
def noted_repairs() -> Iterator[dict[Repair, None]]:
    """Note the repairs within the block, each once, as the keys of what is given."""
    repairs: dict[Repair, None] = {}
    token = _REPAIRS.set(repairs)
    try:
        yield repairs
    finally:
        _REPAIRS.reset(token)


def note(repair: Repair) -> None:
    """Note a repair where somebody asks for them (`noted_repairs`)."""
    repairs = _REPAIRS.get()
    if repairs is not None:
        repairs[repair] = None


def note_repair(file: Path, what: str, count: int | None = None) -> None:
    """Note a repair of a table, if there is one.

    Args:
        file: The table.
        what: In words.
        count: How often; 0 notes nothing.
    """
    if count != 0:
        note(Repair(file.name, TABLE, what if count is None else f"{what}: {count}"))
