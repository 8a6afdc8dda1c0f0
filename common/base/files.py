"""Atomic files, locked folders, hashes and versions.

A file is written under a temporary name, flushed to the disk and renamed. A reader therefore sees
the old file or the new one, never half of one, even if the writer is killed (POSIX ``rename`` is
atomic within one file system).
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from common.base.environment import backend
from common.base.errors import UserError, disk_fault
from common.base.formats import check_version
from common.base.locks import TakenError, exclusive, holder, host, is_beating, take

ROOT = Path(__file__).resolve().parents[2]
"""The repository: the folder of README.md."""

# The files of a folder's lock, the second where its file system has no locks.
_LOCK, _HELD = ".lock", ".lock.held"
# Seconds of a wait that no line tells of.
_PATIENCE_S = 2.0
# The name of a temporary file.
_PART = re.compile(r"\..*\.\d+\.part(\..+)?")
# Packages that affect a result.
_REPORTED_PACKAGES = ("tensorflow", "keras", "numpy", "pydicom", "nibabel", "scikit-learn")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix, by which many writers choose the format.

    Args:
        path: The file to write; its folder is created.

    Yields:
        The temporary path, in the same folder. If the block raises, the temporary file is removed
        and ``path`` stays as it was.

    Raises:
        OSError: The disk failed, whatever type the writer raised; the error names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    # On Linux a thread's number is no other's on its machine; a folder may be several machines'.
    writer = f"{host()}.{threading.get_native_id()}"
    temporary = path.with_name(f".{path.name[: -len(suffix) or None]}.{writer}.part{suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except Exception as error:
        code = disk_fault(error)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk: only then does a rename outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot flush a folder, and need not.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of killed writers, but not in a subfolder that has a lock."""
    for entry in list(Path(folder).iterdir()):
        if _PART.fullmatch(entry.name):
            entry.unlink(missing_ok=True)
        elif entry.is_dir() and not entry.is_symlink() and not (entry / ".lock").exists():
            remove_partial_files(entry)


def visible_names(folder: Path) -> list[str]:
    """The sorted names in a folder without hidden ones, such as a lock."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file as UTF-8, atomically; bytes of a name that are none are escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON file atomically, keys in the given order; NaN becomes null."""
    write_text(path, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def decoded(content: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding, "" for UTF-8 with or without a byte order mark.

    Windows writes UTF-16 and, in western countries, cp1252: what is no UTF-8 is taken for that.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace"), "UTF-16"
    for encoding, zeros in (("utf-16-le", content[1:40:2]), ("utf-16-be", content[:40:2])):
        if len(zeros) > 2 and not any(zeros):
            return content.decode(encoding, "replace"), "UTF-16"
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace"), "cp1252"


def read_json(path: Path) -> Any:
    """Read a JSON file, as `decoded` reads text.

    Raises:
        UserError: The file is missing, is not JSON or is of a newer version of its format.
    """
    path = Path(path)
    text = ""
    try:
        text = decoded(path.read_bytes())[0]
        content = json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not readable as JSON ({_json_fault(text, error)})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); make it again") from None
    check_version(path, content)
    return content


def _json_fault(text: str, error: json.JSONDecodeError) -> str:
    """Where a text is no JSON and, for what editors and people add to one, what to take away."""

    def line(place: int) -> int:
        return text.count("\n", 0, place) + 1

    if comment := re.compile(r"\s*(//|/\*|#)").match(text, error.pos):
        return f"line {line(comment.start(1))}: a comment, and JSON has none; take it away"
    # Python 3.13 points at the comma, others at what follows it.
    comma = text.rfind(",", 0, error.pos + 1)
    if comma >= 0 and re.compile(r",\s*[\]}]").match(text, comma):
        return f"line {line(comma)}: a comma before a closing bracket; take it away"
    return f"line {error.lineno}, column {error.colno}: {error.msg}; correct it, or make it again"


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[Any, Any]]) -> None:
    """Write a CSV file as `write_text`, with a header line; a missing value is an empty cell."""
    with _csv_file(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_cells(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file as `write_csv`, from the cells of each row in the order of the columns."""
    with _csv_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@contextmanager
def _csv_file(path: Path) -> Iterator[TextIO]:
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


@contextmanager
def lock_folder(folder: Path, wait: bool = False) -> Iterator[None]:
    """Lock a folder, so that two scripts never write into it at once.

    A lock ends with its process, even if that is killed (`common.base.locks`).

    Args:
        folder: The folder to lock; it is created.
        wait: Whether to wait as long as another process has the lock; after two seconds a line says
            so.

    Raises:
        UserError: Another process has the lock, and ``wait`` is not set; the message names process,
            host and start.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, and a folder is wanted; choose another place")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        taken, until = take(lock), time.monotonic() + _PATIENCE_S
        while taken is False and wait and time.monotonic() < until:
            time.sleep(0.02)
            taken = take(lock)
        if taken is False:
            held = _is_held(folder, os.pread(lock, 1000, 0).decode(errors="replace"))
            if not wait:
                raise held
            print(f"\n{str(held).partition(';')[0]}; waits until it ends", flush=True)
            take(lock, wait=True)
        if taken is None:
            try:
                stack.enter_context(exclusive(folder / _HELD, wait))
            except TakenError as error:
                raise _is_held(folder, str(error)) from None
        try:
            os.truncate(lock, 0)
            os.write(lock, holder().encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process has locked a folder (`lock_folder`)."""
    try:
        lock = os.open(Path(folder) / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        taken = take(lock)
        return is_beating(Path(folder) / _HELD) if taken is None else not taken
    finally:
        os.close(lock)


def _is_held(folder: Path, by: str) -> UserError:
    return UserError(
        f"{folder}: {by or 'another process'} is writing here; wait until it ends, or choose "
        "another folder"
    )


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_key(content: Any) -> str:
    """A key of JSON-like content, 16 hexadecimal digits: equal content has an equal key."""
    return hashlib.sha256(json.dumps(_plain(content), sort_keys=True).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect a result, and the commit."""
    installed = {"python": platform.python_version()}
    for package in dict.fromkeys((*_REPORTED_PACKAGES, backend())):
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = ""
    installed["commit"] = _commit()
    return installed


def _commit() -> str:
    """The repository's commit, with ``-dirty`` if changed; ``unknown`` if it is no clone."""

    def git(*arguments: str) -> str:
        process = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        )
        return process.stdout.strip()

    try:
        # An unpacked copy may lie in another repository, whose commit says nothing about this one.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return "unknown"
        changed = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "HEAD") + changed
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _plain(content: Any) -> Any:
    """Content as plain JSON types, which have no NaN, no path and no NumPy number or array."""
    if type(content) in (str, int, bool):
        return content
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, Path):
        return str(content)
    if hasattr(content, "tolist"):
        return _plain(content.tolist())
    if isinstance(content, float) and content != content:
        return None
    return content
