"""An archive unpacked into a new folder: nothing outside of it, no links, nothing replaced."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from common.base.errors import UserError
from common.base.progress import progress
from data.room import require_room

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class Entry:
    """A file in an archive, by its path with ``/`` and its size in bytes."""

    name: str
    size: int


def unpack(archive: Path, folder: Path, needs: Sequence[str]) -> None:
    """Unpack a tar or zip archive so that the dataset lies in the folder itself.

    What archives of a Mac hold besides (``__MACOSX``, ``._NAME``, ``.DS_Store``) is left out, and
    so are the folders above the dataset. The files are written next to the folder first, so that
    none in it is half a file. What is there already is never replaced.

    Args:
        archive: The file, told by its content.
        folder: Is made; where it is there, what it lacks is added.
        needs: What must lie in the folder, by names; it is how the dataset is found.

    Raises:
        UserError: The archive is broken, holds no such dataset, or a link or a path that leads
            out; a file is there with other content; there is no room.
    """
    try:
        with _opened(archive) as (entries, read):
            files = _files_of(entries, needs, archive)
            missing = _missing(folder, files, archive)
            require_room(folder.parent, sum(entry.size for entry in missing.values()))
            unfinished = folder.with_name(f".{folder.name}.unpacking")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            for path, entry in progress(missing.items(), desc="unpacking", unit="file"):
                target = unfinished.joinpath(*path.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with read(entry) as source, open(target, "xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
            if folder.exists():
                for path in missing:
                    target = folder.joinpath(*path.parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    unfinished.joinpath(*path.parts).rename(target)
                shutil.rmtree(unfinished, ignore_errors=True)
            else:
                unfinished.rename(folder)
    except _BROKEN as error:
        raise UserError(
            f"{archive}: is no whole archive ({type(error).__name__}); move it away and start the "
            "same command again"
        ) from None


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[Entry], Callable[[Entry], IO[bytes]]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as of_zip:
            yield list(_zip_entries(of_zip, archive)), lambda entry: of_zip.open(entry.name)
    else:
        with tarfile.open(archive) as of_tar:
            members = list(_tar_members(of_tar, archive))
            by_name = {member.name: member for member in members}

            def read(entry: Entry) -> IO[bytes]:
                content = of_tar.extractfile(by_name[entry.name])
                if content is None:
                    raise tarfile.ReadError(entry.name)
                return content

            yield [Entry(member.name, member.size) for member in members], read


def _zip_entries(archive: zipfile.ZipFile, file: Path) -> Iterator[Entry]:
    for info in archive.infolist():
        # The upper half is what Unix says of a file; 0 where the archive is from elsewhere.
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(file, info.filename, "a link or a device")
        if not info.is_dir() and _is_wanted(info.filename, file):
            yield Entry(info.filename, info.file_size)


def _tar_members(archive: tarfile.TarFile, file: Path) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if not member.isreg() and not member.isdir():
            raise _unsafe(file, member.name, "a link or a device")
        if member.isreg() and _is_wanted(member.name, file):
            yield member


def _is_wanted(name: str, file: Path) -> bool:
    """Whether a file belongs to a dataset; one that leads out of the folder is refused."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        raise _unsafe(file, name, "a path that leads out of the folder")
    return not any(part == "__MACOSX" or part.startswith("._") for part in parts) and (
        parts[-1] != ".DS_Store"
    )


def _unsafe(file: Path, name: str, what: str) -> UserError:
    return UserError(
        f"{file}: holds {what}, {ascii(name)[1:-1]}, so nothing of it is unpacked; fetch it anew "
        "from the dataset's page"
    )


def _files_of(
    entries: Sequence[Entry], needs: Sequence[str], archive: Path
) -> dict[PurePosixPath, Entry]:
    """The files of the dataset, by their paths from the folder that holds what is needed.

    Of several such folders it is the uppermost; those within it are copies, and left out.
    """
    inside: dict[PurePosixPath, set[str]] = {}
    paths = {PurePosixPath(entry.name): entry for entry in entries}
    for path in paths:
        for parent in path.parents:
            inside.setdefault(parent, set()).add(path.relative_to(parent).parts[0])
    places = [place for place, names in inside.items() if names >= set(needs)]
    if not places:
        top = ", ".join(sorted(inside.get(PurePosixPath("."), set()))[:5]) or "nothing"
        raise UserError(
            f"{archive}: does not hold {', '.join(needs)}; found {ascii(top)[1:-1]}; is it the "
            "archive of another dataset?"
        )
    inner, *copies = sorted(places, key=lambda place: (len(place.parts), str(place)))
    return {
        path.relative_to(inner): entry
        for path, entry in paths.items()
        if path.is_relative_to(inner) and not any(map(path.is_relative_to, copies))
    }


def _missing(
    folder: Path, files: dict[PurePosixPath, Entry], archive: Path
) -> dict[PurePosixPath, Entry]:
    """The files of an archive that a folder lacks.

    Raises:
        UserError: It holds some of them in another size.
    """
    there = {
        path: place for path in files if os.path.lexists(place := folder.joinpath(*path.parts))
    }
    other = [
        str(path)
        for path, place in there.items()
        if not place.is_file() or place.stat().st_size != files[path].size
    ]
    if other:
        raise UserError(
            f"{folder}: {len(other)} of the {len(files)} files of {archive.name} are there already "
            f"with other content, such as {ascii(other[0])[1:-1]}; nothing was changed: move the "
            "folder away, or choose another place with --to FOLDER"
        )
    return {path: entry for path, entry in files.items() if path not in there}
