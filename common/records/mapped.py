"""Single records of TFRecord shards, found by their number.

A record is its length (8 bytes, little-endian), that length's checksum (4), its bytes, and theirs
(4): tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.base.memory import free_memory

_LENGTH, _BEFORE, _AFTER = 8, 12, 4

Places = tuple[np.ndarray, np.ndarray]
"""Of every record of a file, where its bytes begin and how many there are, (n,) int64."""


class MappedRecords(Sequence[bytes]):
    """The records of some shards, mapped into memory: the system keeps what it has room for.

    The shards' checksums are those of the manifest, held by `Prepared.shards`.

    Args:
        files: From `Prepared.shards`, in order.

    Raises:
        ValueError: A file is no TFRecord file.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        # There is no map of an empty file.
        self.files = files = [file for file in files if file.stat().st_size]
        self._maps = [_mapped(file) for file in files]
        places = [_places(view, file) for view, file in zip(self._maps, files, strict=True)]
        self._ends = np.cumsum([len(starts) for starts, _ in places], dtype=np.int64)
        self._starts = np.concatenate([np.empty(0, np.int64), *(p[0] for p in places)])
        self._lengths = np.concatenate([np.empty(0, np.int64), *(p[1] for p in places)])

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, length = self._starts[number], self._lengths[number]
        file = np.searchsorted(self._ends, number, side="right")
        return self._maps[file][start : start + length]

    def announce(self, first: int, last: int) -> None:
        """Let the system read the records from ``first`` to before ``last`` in one go."""
        files = np.searchsorted(self._ends, [first, last - 1], side="right")
        for file in range(files[0], files[1] + 1):
            begin = max(first, self._ends[file - 1] if file else 0)
            end = min(last, self._ends[file]) - 1
            start = self._starts[begin] // mmap.PAGESIZE * mmap.PAGESIZE
            size = self._starts[end] + self._lengths[end] - start
            self._maps[file].madvise(mmap.MADV_WILLNEED, int(start), int(size))

    @property
    def are_quick_to_find(self) -> bool:
        """Whether any record is as quick to read as the next.

        True where the shards take at most half of the memory that is free, or lie on a disk that
        does not turn.
        """
        size = sum(file.stat().st_size for file in self.files)
        return size <= free_memory() / 2 or not any(map(_turns, self.files))


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _places(view: mmap.mmap, file: Path) -> Places:
    starts, lengths, position = [], [], 0
    while position < len(view):
        length = int.from_bytes(view[position : position + _LENGTH], "little")
        starts.append(position + _BEFORE)
        lengths.append(length)
        position += _BEFORE + length + _AFTER
    if position != len(view):
        raise ValueError(f"{file}: is no TFRecord file")
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _turns(file: Path) -> bool:
    """Whether a file lies on a turning disk, or where the system does not say: on a network."""
    device = file.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (block, block.parent):
        if (folder / "queue/rotational").is_file():
            return (folder / "queue/rotational").read_text().strip() == "1"
    return True
