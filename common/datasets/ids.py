"""Ids of ours, for what has no published one: ``id-map.csv``, which is kept and not handed on.

An id is the beginning of an HMAC (RFC 2104, with SHA-256) of a file's path from the folder that was
named: without the key nobody finds a name by trying names. The key, and the table of all ids and
their files, lie beside what the scripts write, for their owner alone. The same table gives the same
file its id again, from whichever folder it was reached and wherever it was moved, so that
predictions join with it.

    id,name,path,folder
    key,3f9c0a...,,
    b81d0c52aa19,ERIKA_1,films/ERIKA_1.dcm,/data/hospital

Two tables are merged by writing the rows of one below those of the other: all ids stay, and the
first key makes the new ones.
"""

from __future__ import annotations

import csv
import filecmp
import hashlib
import hmac
import io
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

from common.base.errors import UserError
from common.base.files import atomic_write, decoded
from common.base.locks import exclusive, take
from common.imaging.image_files import ID_MAP, as_text, is_written

COLUMNS = ("id", "name", "path", "folder")
DIGITS = 12
"""Of an id, hexadecimal; the first is a letter, so that no spreadsheet takes an id for a number."""

# The id of the row that holds the key, 64 hexadecimal digits, as its name.
_KEY = "key"


def table_beside(folder: Path) -> Path:
    """The usual table of a folder that a script writes: beside it, and in nothing that is written.

    That is beside the run, for predictions and evaluations within a run.
    """
    folder = outer = Path(os.path.realpath(folder))
    for parent in folder.parents:
        with suppress(OSError):
            if is_written(entry.name for entry in parent.iterdir()):
                outer = parent
    return outer.parent / ID_MAP


class _Row(NamedTuple):
    """What an id is of: the name of a case, and its path from a folder."""

    name: str
    path: str
    folder: str

    @property
    def place(self) -> str:
        return f"{self.folder}/{self.path}"


class IdTable:
    """The ids of ours in one table, which is made where the first is needed.

    Args:
        given: The table that the user named, if any.
        folder: The folder that is written, beside which the table lies else.

    Attributes:
        file: Where the table is.
        is_used: Whether it was needed.

    Raises:
        UserError: The one that was given is not there.
    """

    def __init__(self, given: Path | None, folder: Path) -> None:
        self.file = Path(os.path.realpath(given)) if given else table_beside(folder)
        self._rows: dict[str, _Row] = {}
        self._keys: list[str] = []
        self.is_used = False
        # By id the file that has it now: two names may differ in nothing but their encoding.
        self._taken: dict[str, tuple[str, str]] = {}
        if given and not self.file.is_file():
            raise UserError(
                f"{given}: there is no such table of ids; give --ids the {ID_MAP} of an earlier "
                "preparation or prediction, or an empty file for a new one"
            )

    @property
    def key_id(self) -> str:
        """What tells the key from others, and not what it is; of a table that was used."""
        return self.keyed("which key")

    def keyed(self, text: str) -> str:
        """The HMAC of a text, 64 hexadecimal digits; of a table that was used."""
        return hmac.new(bytes.fromhex(self._keys[0]), text.encode(), hashlib.sha256).hexdigest()

    def ids_of(self, folder: Path, files: Sequence[tuple[str, str]]) -> list[str]:
        """The id of each file, the same whenever it is asked; new ones are written.

        Args:
            folder: The folder that the user named.
            files: Name and path of each, the path from ``folder`` and with ``/``; what has no file
                has its name for a path.

        Raises:
            UserError: The table cannot be read, holds an id twice or cannot be written.
        """
        root = as_text(Path(os.path.realpath(folder)).as_posix())
        rows = [_Row(as_text(name), as_text(path), root) for name, path in files]
        try:
            with self._lock():
                before = self._read()
                by_place = {row.place: own for own, row in reversed(self._rows.items())}
                ids = [
                    self._id_of(row, by_place.get(row.place, ""), (str(folder), path))
                    for row, (_, path) in zip(rows, files, strict=True)
                ]
                if (self._keys, self._rows) != before:
                    self._write()
        except OSError as error:
            raise UserError(
                f"{self.file}: the table of ids cannot be used ({error.strerror}); give --ids a "
                "file, empty for a new table, that you may read and write"
            ) from None
        if not self.is_used:
            self.is_used = True
            print(
                "  ids: names of files, cases or patients may tell who somebody is; what is "
                f"written has ids of ours in their place.\n  {self.file} holds the names and the "
                "key: keep it for --ids, and do not hand it on",
                flush=True,
            )
        return ids

    def _id_of(self, row: _Row, known: str, file: tuple[str, str]) -> str:
        own = known
        if not known or self._taken.get(known, file) != file:
            own = next(id_ for id_ in self._ids(row) if self._is_free(id_, row, file))
        if own not in self._rows or not Path(self._rows[own].place).exists():
            self._rows[own] = row
        self._taken[own] = file
        return own

    def _ids(self, row: _Row) -> Iterator[str]:
        for number in count():
            digest = self.keyed(f"{row.path}\n{number}" if number else row.path)
            if match := re.search(f"[a-f].{{{DIGITS - 1}}}", digest):
                yield match[0]

    def _is_free(self, own: str, row: _Row, file: tuple[str, str]) -> bool:
        """Whether an id is of nothing else; an old place or a copy of the file is nothing else."""
        if self._taken.get(own, file) != file:
            return False
        known = self._rows.get(own)
        return known is None or (known.path == row.path and _are_one(known.place, row.place))

    def _read(self) -> tuple[list[str], dict[str, _Row]]:
        """Read the table, with a new key where it has none; gives what it held."""
        self._keys, self._rows = [], {}
        text = decoded(self.file.read_bytes())[0] if self.file.exists() else ""
        head = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
        if text and not {*COLUMNS} <= {*(reader.fieldnames or ())}:
            raise UserError(
                f"{self.file}: is no table of ids, whose columns are {', '.join(COLUMNS)}; give "
                f"--ids an {ID_MAP}"
            )
        for cells in reader:
            own, row = cells["id"] or "", _Row(*(cells[name] or "" for name in COLUMNS[1:]))
            if own == _KEY and re.fullmatch("[0-9a-f]{64}", row.name):
                self._keys.append(row.name)
            elif own not in ("", _KEY, COLUMNS[0]) and self._rows.setdefault(own, row) != row:
                raise UserError(
                    f"{self.file}: holds the id {own} twice, of two files; take one row away"
                )
        before = [*self._keys], {**self._rows}
        self._keys = self._keys or [secrets.token_hex(32)]
        return before

    def _write(self) -> None:
        keys = [(_KEY, key, "", "") for key in self._keys]
        with atomic_write(self.file) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                rows = ((own, *row) for own, row in self._rows.items())
                writer.writerows([COLUMNS, *keys, *rows])

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Wait until no other script has the table; in a folder that is only read, do not."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file.parent, os.O_RDONLY)
        with ExitStack() as stack:
            stack.callback(os.close, descriptor)
            if take(descriptor, wait=True) is None and os.access(self.file.parent, os.W_OK):
                held = self.file.with_name(f".{self.file.name}.held")
                stack.enter_context(exclusive(held, wait=True))
            yield


def _are_one(known: str, place: str) -> bool:
    """Whether a file at a new place is the one that is known: moved, or a copy."""
    old, new = Path(known), Path(place)
    if not old.exists():
        return True
    if old.is_dir() and new.is_dir():  # the slices of a volume
        return filecmp.dircmp(old, new).diff_files == [] and _names(old) == _names(new)
    return old.is_file() and new.is_file() and filecmp.cmp(old, new, shallow=False)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
