"""Locks between scripts, on one machine or on several that share a file system.

Where the file system offers ``flock``, the lock is the operating system's, and ends with the
process. Where it does not (Lustre without its option ``flock``, some NFS), it is a file that only
one can create (POSIX ``O_EXCL``). It says who holds it, and its holder counts up in it every
`BEAT_S` seconds: whoever finds it looks on, and takes over a file that stood still for `STALE_S`,
whose holder was killed. No clocks are compared.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

BEAT_S, STALE_S = 5.0, 60.0

# What flock says where there are no locks; NFS has none on a folder.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_LOOK_S = 0.2
_DIGITS = 12


class TakenError(Exception):
    """Another script holds a file; the message says which."""


def host() -> str:
    """A short name of this machine, as part of a file's name."""
    return socket.gethostname().partition(".")[0][:20]


def holder() -> str:
    """This process in words."""
    started = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"process {os.getpid()} on {socket.gethostname()}, started {started},"


def take(descriptor: int, wait: bool = False) -> bool | None:
    """Take the operating system's lock of an open file or folder.

    Args:
        descriptor: Of the file; the lock ends when it is closed.
        wait: Whether to wait until it is free.

    Returns:
        Whether no other process has it; None where the file system has no such locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


@contextmanager
def exclusive(file: Path, wait: bool = False) -> Iterator[None]:
    """Hold a file that only one can create, where `take` gives None.

    Args:
        file: The file; it goes at the end of the block.
        wait: Whether to wait until it is free, else only whether its holder goes on.

    Raises:
        TakenError: Its holder goes on, and ``wait`` is not set.
    """
    mine = f" {uuid.uuid4().hex} {holder()}\n".encode()
    while not _created(file, mine):
        _look_on(file, wait)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(file, mine, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _read(file)[_DIGITS:] == mine:
            file.unlink(missing_ok=True)


def is_beating(file: Path) -> bool:
    """Whether a file of `exclusive` was written lately, by this machine's clock."""
    try:
        return time.time() - file.stat().st_mtime < STALE_S
    except OSError:
        return False


def _created(file: Path, mine: bytes) -> bool:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as opened:
        opened.write(b"0" * _DIGITS + mine)
    return True


def _look_on(file: Path, wait: bool) -> None:
    """Return when the file is free or was taken from a holder that stood still."""
    before, since, is_said = _read(file), time.monotonic(), False
    while time.monotonic() - since < STALE_S:
        if not (now := _read(file)) and not file.exists():
            return
        if now != before:
            # What was empty was only being created.
            if before and not wait:
                raise TakenError(now[_DIGITS:].decode(errors="replace").strip().partition(" ")[2])
            before, since = now, time.monotonic()
        elif not is_said and time.monotonic() - since > BEAT_S / 2:
            print(f"{file}: is there; looks {STALE_S:.0f} s whether its holder goes on", flush=True)
            is_said = True
        time.sleep(_LOOK_S)
    aside = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        file.rename(aside)
        if _read(aside) != before:  # another took it over in this moment: it stays theirs
            with suppress(OSError):
                os.link(aside, file)
        aside.unlink()


def _beat(file: Path, mine: bytes, ended: threading.Event) -> None:
    """Count up in the file until the block ends; end this process where the file is another's."""
    count = 0
    while not ended.wait(BEAT_S):
        count += 1
        with suppress(OSError), open(file, "r+b") as opened:
            if opened.read()[_DIGITS:] == mine:
                opened.seek(0)
                opened.write(f"{count:0{_DIGITS}d}".encode())
                continue
        if file.exists() and _read(file)[_DIGITS:] != mine:
            print(f"{file}: was taken over while this process stood still", file=sys.stderr)
            # Sent to the process, this thread could get it, and the main one would sleep on.
            signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGTERM)
            return


def _read(file: Path) -> bytes:
    """What the file holds; opened anew each time, so that a network file system asks its server."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
