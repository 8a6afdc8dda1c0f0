"""Leases of runs: who of several workers, on one machine or more, trains which.

A lease is the hidden file ``.lease`` in a run's folder, one line: host, process, a word of its own
and when it was taken. Its holder renews its time every `BEAT_S` seconds. It is stale where its
process has ended, if that was on this machine, or where it was not renewed for `STALE_S`. Who finds
a stale one claims it by a rename, which only one can do (POSIX).

Two times of one file system are compared, which on a file server are the server's, whatever the
clocks of the machines say.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from common.base.files import is_locked
from common.base.locks import BEAT_S, STALE_S, host

NAME = ".lease"


class Lease:
    """A lease that this process holds.

    Args:
        file: The lease's file.
        text: What it says.
        before: Who held it until it went stale, in words; "" if nobody did.
    """

    def __init__(self, file: Path, text: str, before: str) -> None:
        self.before = before
        self._file, self._text, self._beat = file, text, time.monotonic()

    def renew(self) -> bool:
        """Say that its holder goes on, where that is due; gives whether it still is this one's."""
        if time.monotonic() - self._beat < BEAT_S:
            return True
        self._beat = time.monotonic()
        with suppress(OSError):
            os.utime(self._file)
        return self.is_held

    @property
    def is_held(self) -> bool:
        """Whether no other worker has claimed it."""
        return _text_of(self._file) == self._text

    def release(self) -> None:
        """Let another worker have it."""
        if self.is_held:
            self._file.unlink(missing_ok=True)


def take_lease(run: Path) -> Lease | None:
    """Take the lease of a run; None where another worker holds it, or trains the run.

    Args:
        run: The run's folder; it is created.
    """
    run.mkdir(parents=True, exist_ok=True)
    file = run / NAME
    is_there = file.exists()
    # Read first, so that what is renewed or claimed meanwhile is no longer what was read.
    before = _text_of(file)
    if is_there and not _is_stale(file, before):
        return None
    # A training may outlive its worker by a moment. (Not asked before: to ask takes the lock for a
    # moment, in which a training that begins would be refused.)
    if is_locked(run) or (is_there and not _is_claimed(file, before)):
        return None
    text = f"{host()} {os.getpid()} {uuid.uuid4().hex} {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n"
    try:
        with open(file, "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return None
    holder = _Holder.read(before)
    return Lease(file, text, f"process {holder.process} on {holder.host}" if before else "")


class _Holder(NamedTuple):
    host: str
    process: int

    @classmethod
    def read(cls, text: str) -> _Holder:
        """Who holds a lease; nobody who is known where the text was cut."""
        words = text.split()
        is_whole = len(words) == 4 and words[1].isdecimal()
        return cls(words[0], int(words[1])) if is_whole else cls("another machine", 0)


def _is_stale(file: Path, text: str) -> bool:
    holder = _Holder.read(text)
    if holder.host == host() and not _is_running(holder.process):
        return True
    try:
        with tempfile.TemporaryFile(dir=file.parent) as now, open(file, "rb") as lease:
            now.write(b"0")
            now.flush()
            return os.fstat(now.fileno()).st_mtime - os.fstat(lease.fileno()).st_mtime > STALE_S
    except FileNotFoundError:
        return False


def _is_claimed(file: Path, text: str) -> bool:
    """Whether this process was the one that took a stale lease away."""
    aside = file.with_name(f"{NAME}.{uuid.uuid4().hex}")
    try:
        file.rename(aside)
    except FileNotFoundError:
        return False
    # Where another took it over in this moment, it stays theirs.
    is_stale = _text_of(aside) == text
    if not is_stale:
        with suppress(OSError):
            os.link(aside, file)
    aside.unlink()
    return is_stale


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _text_of(file: Path) -> str:
    """What the file says; opened anew, so that a network file system asks its server."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
