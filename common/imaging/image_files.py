"""Which files of a folder are films, and what their id is: the one answer for every script.

A folder is walked with all that lies below it and behind its links, each file once. Links to one
file elsewhere are several files: stores of content hold what is equal once, as git-annex, DataLad
and the cache of Hugging Face do. What the scripts of this repository wrote, hidden files and what a
Mac or Windows adds are no part of a dataset.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common.imaging.dicom_names import SUFFIXES as DICOM_SUFFIXES
from common.imaging.dicom_names import is_dicom, is_index

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
FILM_SUFFIXES = (*DICOM_SUFFIXES, *PICTURE_SUFFIXES)
"""Endings of the names of films, in any case; DICOM needs none."""

ID_MAP = "id-map.csv"
"""The name of the table of names and ids (`common.datasets.ids`), which is no part of a dataset."""

FILMS = "DICOM, PNG or JPEG"
"""The kinds of films, in words."""

# How a PNG and a JPEG begin.
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# By these files a folder is known that prepare_data.py, train.py or predict.py wrote.
_WRITTEN = (
    *(("manifest.json", "cases.csv"), ("unfinished.json",), ("findings.csv", ".lock")),
    *(("config.json", "history.csv"), ("predictions.json", "predictions.csv")),
    *(("unfinished.jsonl",), ("part.json",)),
)
_OF_SYSTEMS = {"__MACOSX", "Thumbs.db", "desktop.ini"}

BY_SCRIPTS = "a folder that a script of this repository wrote"
"""Why such a folder is not listed."""

_STALE, _CLOSED = "a link that leads nowhere", "a folder that may not be opened"


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: Sorted; the paths begin with the folder's own.
        faults: What could not be followed or opened, or was written by a script, and why.
    """

    files: list[Path]
    faults: dict[Path, str]


def list_files(folder: Path, skip: Iterable[Path] = (), written: bool = False) -> Listing:
    """List the files in a folder and below it, each once.

    Links to files and folders are followed; where one leads to what is there anyway, or back up,
    the other name counts. Of a folder one name counts, and every link to a file that is not there.

    Args:
        folder: The folder, which is listed whoever wrote it.
        skip: Folders to leave out.
        written: Whether folders that these scripts wrote count.
    """
    paths, faults = list_paths(folder, skip, written)
    return Listing([*map(Path, paths)], faults)


def list_paths(
    folder: Path, skip: Iterable[Path] = (), written: bool = False
) -> tuple[list[str], dict[Path, str]]:
    """`list_files` with its files as text, a fifth of the memory, in the same order."""
    faults: dict[Path, str] = {}
    files = (path for path, _ in _walk(folder, skip, written, faults))
    # As paths are sorted, part by part.
    return sorted(files, key=lambda path: path.replace(os.sep, "\0")), faults


def places_of(files: Sequence[str]) -> list[str]:
    """The place of each of some files, which is one however a file of these is reached.

    It is the real path; but that of a link to a file that is none of these is the link's own.
    """
    known = functools.cache(_real_folder_and_links)
    places: list[str] = []
    links: dict[int, str] = {}
    for file in files:
        folder, name = os.path.split(file)
        real, names = known(folder)
        if name in names:
            links[len(places)] = file
        is_plain = name not in ("", "..")
        places.append(f"{real}{os.sep}{name}" if is_plain else os.path.realpath(file))
    own = {place for number, place in enumerate(places) if number not in links}
    for number, file in links.items():
        real = os.path.realpath(file)
        if real in own or not Path(real).is_file():
            places[number] = real
    return places


def _real_folder_and_links(folder: str) -> tuple[str, frozenset[str]]:
    """A folder's real path, and the names in it that are links."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            links = frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        links = frozenset()
    return os.path.realpath(folder), links


def file_facts(folder: Path, skip: Iterable[Path] = ()) -> list[tuple[str, int, int]]:
    """The path from a folder, the bytes and the time in ns of each of its files, sorted by path.

    They are those of `list_files`.
    """
    files = []
    for path, entry in _walk(folder, skip, False, {}):
        status = entry.stat() if entry else Path(path).stat()
        files.append((path_from(folder, path), status.st_size, status.st_mtime_ns))
    return sorted(files)


def holds_films(folder: Path) -> bool:
    """Whether a film is in a folder or below it."""
    return any(is_film(path) for path, _ in _walk(folder, (), False, {}))


def films_among(folder: Path, names: Collection[str]) -> set[str]:
    """Those of some ids (`image_id`) that a film in a folder or below it has."""
    missing, there = set(names), set()
    for path, _ in _walk(folder, (), False, {}):
        if not missing:
            break
        own = image_id(file_name(path))
        if own in missing and is_film(path):
            missing.remove(own)
            there.add(own)
    return there


def _walk(
    folder: Path, skip: Iterable[Path], written: bool, faults: dict[Path, str]
) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """The path of each file, and its entry where it is no link.

    The arguments are those of `list_files`, whose faults are added to ``faults``.
    """
    root = os.path.realpath(folder)
    skipped = {os.path.realpath(path) for path in skip}
    seen: set[str] = set()
    # The real paths of files under their own names, and links to files with theirs.
    own: set[str] = set()
    linked: list[tuple[str, str]] = []
    links = deque([(Path(folder), root)])
    # What lies here comes before what a link leads to.
    while links:
        link, real = links.popleft()
        if link.is_file():
            linked.append((str(link), real))
            continue
        if not link.is_dir():
            # A device or a pipe is no file either, and leads nowhere.
            faults[link] = _STALE
            continue
        folders = [(link, real)]
        while folders:
            place, real = folders.pop()
            if real in seen or real in skipped:
                continue
            seen.add(real)
            try:
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError:
                faults[place] = _CLOSED
                continue
            if place != folder and not written and is_written(entry.name for entry in entries):
                faults[place] = BY_SCRIPTS
                continue
            # As a path of its own would be written.
            begin = str(place / "_")[:-1]
            inner = []
            for entry in entries:
                if is_hidden(entry.name) or entry.name == ID_MAP:
                    continue
                below = f"{real}{os.sep}{entry.name}"
                if entry.is_symlink():
                    target = os.path.realpath(begin + entry.name)
                    # What the folder itself is in would bring all that lies next to it.
                    if not f"{root}{os.sep}".startswith(f"{target.rstrip(os.sep)}{os.sep}"):
                        links.append((place / entry.name, target))
                elif entry.is_dir():
                    inner.append((place / entry.name, below))
                elif entry.is_file():
                    own.add(below)
                    yield begin + entry.name, entry
            folders += reversed(inner)
    yield from ((path, None) for path, real in linked if real not in own)


def file_name(path: str) -> str:
    """The name at the end of a file's path, which is no `Path` where there are a million."""
    return path.rpartition(os.sep)[2]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or what a Mac or Windows adds."""
    return name.startswith(".") or name in _OF_SYSTEMS


def path_from(source: Path, file: Path | str) -> str:
    """A file's path from a folder, with ``/``."""
    path, begin = str(file), f"{source}{os.sep}"
    # `relpath` takes a while, and a million files are below the folder as they were listed.
    inside = path[len(begin) :]
    if path.startswith(begin) and not inside.startswith(".") and f"{os.sep}." not in inside:
        return inside.replace(os.sep, "/")
    return Path(os.path.relpath(file, source)).as_posix()


def is_written(names: Iterable[str]) -> bool:
    """Whether these are the names in a folder that a script of this repository wrote."""
    there = set(names)
    return any(there.issuperset(marks) for marks in _WRITTEN)


def is_output(folder: Path) -> bool:
    """Whether a script of this repository wrote a folder, which may hold a million names."""
    return any(all(os.path.lexists(folder / mark) for mark in marks) for marks in _WRITTEN)


def is_film(path: Path | str) -> bool:
    """Whether a file is a film by its name or first bytes; True if it can't be read.

    What is called a film and is none, as after an interrupted copy, is read, and refused by name.
    The index of an export, DICOMDIR, is none.
    """
    # Of a million films most are known by their names, which need no path of its own.
    name = file_name(str(path)).lower()
    if name.startswith(".") or (name.startswith("dicomdir") and is_index(Path(path))):
        return False
    if name.endswith(PICTURE_SUFFIXES):
        return True
    return is_dicom(Path(path)) or is_picture(Path(path))


def is_picture(path: Path) -> bool:
    """Whether a file begins as a PNG or a JPEG does; False if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read(8).startswith(_PICTURES)
    except OSError:
        return False


def stem(name: str) -> str:
    """A file's name, or an id of a table, without the suffix of a film."""
    own, dot, suffix = name.rpartition(".")
    return own if dot + suffix.lower() in FILM_SUFFIXES else name


def image_id(name: str) -> str:
    """The id of a film by its file's name, or by a table's: `stem`, as `as_text` writes it.

    Of a path to a film, with its suffix, that is the name at its end.
    """
    own = stem(name)
    return as_text(own if own == name else re.split(r"[/\\]", own)[-1])


def as_text(name: str) -> str:
    """A file's name as text that can be written anywhere.

    Letters with accents are one character each (NFC), as most systems write them and a Mac does
    not. Bytes that are no UTF-8 are those of old archives, Windows-1252.
    """
    if name.isascii():
        return name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        name = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)
