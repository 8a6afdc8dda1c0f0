"""The paths in a table to the films of a dataset.

A path is from the table's folder, from the dataset's, or of another machine: then it is the file
below the dataset's folder whose path ends as it does, beyond the folder that all paths of the table
begin with. Windows' separators are read too, other letters, and a name without its suffix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from common.datasets.class_names import is_masks
from common.datasets.other_ids import restore_zeros
from common.imaging.image_files import as_text, image_id, is_film, list_files, list_paths


def posix(path: str) -> str:
    """A path with "/" between its parts, which Windows parts by backslashes."""
    return path.replace("\\", "/") if "\\" in path else path


def files_of(source: Path, paths: Sequence[str]) -> tuple[list[str | None], set[str], int]:
    """The film of each path of a table.

    Args:
        source: The dataset's folder.
        paths: As they stand in the table.

    Returns:
        The films, as text, None where there is none; those whose name differs in letters; and how
        many are found by a number that lost its leading zeros.
    """
    # One look at the folder knows most of them; the others are hidden, or lie elsewhere.
    listed = set(list_paths(source)[0])
    begin = str(source / "_")[:-1]
    files = [
        file if file in listed and is_film(file) else _from_source(source, path)
        for path, file in ((path, begin + path) for path in paths)
    ]
    repaired: set[str] = set()
    if all(files):
        return files, repaired, 0
    films = _by_ends(source)
    every = [parts_of_path(path) for path in paths]
    foreign = _begin(every, films)
    for place, parts in enumerate(every):
        if files[place] is None and (file := _longest_end(parts, films, foreign)):
            files[place] = str(file)
            if image_id(file.name) != image_id(parts[-1]):
                repaired.add(str(file))
    lacking = {
        place: every[place][-1] for place, file in enumerate(files) if file is None and every[place]
    }
    alone = [(key[0], same[0]) for key, same in films.items() if len(key) == len(same) == 1]
    by_name = {name: film.file for name, film in alone if not film.is_mask}
    zeros = restore_zeros({image_id(name) for name in lacking.values()}, by_name)
    for place, name in lacking.items():
        if own := zeros.get(image_id(name)):
            files[place] = str(by_name[own])
    return files, repaired, len(zeros)


def _from_source(source: Path, path: str) -> str | None:
    """The film that a path leads to from the dataset's folder, as it stands or with "/"."""
    for form in {path: None, posix(path): None}:
        if form and (file := source / form).is_file():
            return str(file) if is_film(file) else None
    return None


def parts_of_path(path: str) -> tuple[str, ...]:
    """The parts of a path as text."""
    return tuple(as_text(part) for part in PurePosixPath(posix(path)).parts)


def _common(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all these begin with."""
    levels = zip(*folders, strict=False)
    return tuple(level[0] for level in takewhile(lambda level: len({*level}) == 1, levels))


def _begin(paths: Sequence[tuple[str, ...]], ends: Mapping[tuple[str, ...], Any]) -> int:
    """How many folders that all paths begin with are another machine's.

    Those at the end that are in the dataset too are its own: images/, next to which masks/ has
    files of the same names.
    """
    common = _common(parts[:-1] for parts in paths if parts)
    own = {folder for key in ends for folder in key[:-1]}
    lenient = begin = len(common)
    while begin and common[begin - 1].casefold() in own:
        begin -= 1
    is_found = any(_longest_end(parts, ends, begin) for parts in paths)
    return begin if is_found else lenient


def _key(parts: Sequence[str]) -> tuple[str, ...]:
    """A path without upper case and the film's suffix."""
    return (*(part.casefold() for part in parts[:-1]), image_id(parts[-1]).casefold())


class _Film(NamedTuple):
    """A film below the dataset's folder, and whether it lies in a folder of masks among others."""

    file: Path
    is_mask: bool


def _by_ends(source: Path) -> dict[tuple[str, ...], list[_Film]]:
    """The films below a folder by every end of their path: of a/b.png that of b.png and its own."""
    ends: dict[tuple[str, ...], list[_Film]] = defaultdict(list)
    files = [*filter(is_film, list_files(source).files)]
    keys = [_key([as_text(part) for part in file.relative_to(source).parts]) for file in files]
    are_masks = [any(map(is_masks, key[:-1])) for key in keys]
    if all(are_masks):
        are_masks = [False] * len(files)
    for film, key in zip(map(_Film, files, are_masks), keys, strict=True):
        for start in range(len(key)):
            ends[key[start:]].append(film)
    return ends


def _longest_end(
    parts: tuple[str, ...], ends: Mapping[tuple[str, ...], list[_Film]], begin: int
) -> Path | None:
    """The one film whose path ends as these parts do, by as many of them as possible.

    Those from ``begin`` on must be in it: a film of equal name in another folder is another film,
    and so is its mask, unless the path names that folder.
    """
    best: list[_Film] = []
    key = _key(parts) if parts else ()
    for start in reversed(range(len(key))):
        if not (same := ends.get(key[start:], [])):
            break
        best = same if start <= begin else []
    if not any(map(is_masks, key[:-1])):
        best = [film for film in best if not film.is_mask]
    if len(best) > 1:
        best = [film for film in best if as_text(film.file.name) == parts[-1]]
    return best[0].file if len(best) == 1 else None
