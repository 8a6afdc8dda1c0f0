"""Folders by class to a table of cases: ``NORMAL/*.jpeg`` and ``PNEUMONIA/*.jpeg``, or any others.

The classes are the folders of the dataset, or those in ``train/``, ``val/`` and ``test/``, which
are then its official split, as Kaggle publishes Kermany's chest X-rays of children. What lies
deeper is of the class above it, segmentation masks excepted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from common.base.errors import UserError
from common.datasets.class_names import (
    is_class,
    is_masks,
    is_normal,
    numbered_classes,
    one_class,
    same_letters,
    split_named,
)
from common.datasets.csv_tables import list_names
from common.datasets.images import films_of, frame_of, rows_of
from common.imaging.image_files import (
    BY_SCRIPTS,
    FILMS,
    as_text,
    holds_films,
    image_id,
    is_film,
    is_hidden,
    is_output,
    list_files,
    places_of,
)

OFFICIAL = "official_split"
"""The column of a dataset's own split: train, validation, test, or "" where it names none."""

# What a mask is called next to its film.
_MASK_OF = re.compile(r"(.+?)[ _-]+(?:mask|seg|segmentation|gt)(?:[ _-]*\d+)?", re.IGNORECASE)

# Pictures that are not read: a folder of them is a class that would be missed, or a part of one.
_OTHER_PICTURES = (".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".dcm.gz")


def index_folders(
    source: Path, patients: Path | None = None, pattern: str = "", positive: str = ""
) -> pd.DataFrame:
    """List the films of a dataset whose folders are its classes.

    Args:
        source: The dataset's folder.
        patients: As in `common.datasets.rsna.index_pneumonia`.
        pattern: As of `common.datasets.images.patient_in_name`.
        positive: As of `common.datasets.class_names.numbered_classes`.

    Returns:
        As `common.datasets.rsna.index_pneumonia`, without boxes and findings: ``label`` is the
        number of the class in ``.attrs["classes"]``, ``.attrs["exclusive"]`` is True. Where the
        dataset has a split of its own, `OFFICIAL` is a column. The id of a film whose name is
        another's too begins with its folders. A file that links put into two classes or splits is
        left out.

    Raises:
        UserError: There are no folders of films, one class alone, a class whose files are none
            that are read, or one next to the folders of the split.
    """
    source = Path(source)
    kept = _sorted_in_folders(source)
    if not kept.class_of:
        raise UserError(
            f"{source}: no folder holds {FILMS} files; expected one for each class; "
            f"found {list_names(source)}"
        )
    names = same_letters(kept.class_of.values())
    classes = numbered_classes(set(names.values()), positive)
    if len(classes) < 2:
        raise UserError(one_class(source, classes[0], len(kept.class_of)))
    films = films_of(source, kept.class_of)
    films.faults |= kept.faults
    reasons = {
        case: "conflicting labels" for case, files in films.by_id.items() if kept.torn & {*files}
    }
    table, known = rows_of(films, films.by_id, reasons, patients, pattern)
    # Of one id there is one file.
    files = [
        films.by_id.get(case, [str(source / path)])[0]
        for case, path in zip(table["case"], table["path"], strict=True)
    ]
    number = {name: place for place, name in enumerate(classes)}
    table["label"] = [
        number[names[kept.class_of[file]]] if file in kept.class_of else -1 for file in files
    ]
    table |= {"boxes": [[] for _ in files], "finding": [""] * len(files)}
    table[OFFICIAL] = [kept.split_of.get(file, "") for file in files]
    own = ["boxes", OFFICIAL] if any(kept.split_of.values()) else ["boxes"]
    frame = frame_of(table, own, films, known)
    frame.attrs |= {"classes": classes, "exclusive": True}
    return frame


# ---- Which folders are splits and classes


class ClassFolder(NamedTuple):
    """A folder of one class.

    Attributes:
        folder: Where it is.
        name: The class.
        split: The dataset's own split that it is in, "" for none.
    """

    folder: Path
    name: str
    split: str


def class_folders(source: Path) -> list[ClassFolder]:
    """The folders of a dataset that may be classes: those of its splits, else its own."""
    splits = split_folders(source)
    return [
        ClassFolder(folder, as_text(folder.name).strip(), split)
        for base, split in splits.items() or [(source, "")]
        for folder in visible_folders(_undoubled(base, split))
    ]


def split_folders(source: Path) -> dict[Path, str]:
    """The folders of a dataset's own split that hold folders, with their splits.

    They are called train, val and test, or that with one word more, the same in all: seg_train and
    seg_test, but not test_positive and test_negative.
    """
    named = {folder: split_named(folder.name) for folder in visible_folders(source)}
    named = {path: own for path, own in named.items() if own[0] and visible_folders(path)}
    words = {words for _, words in named.values()}
    if words != {frozenset()} and (
        len(words) > 1 or len({split for split, _ in named.values()}) < 2
    ):
        named = {path: own for path, own in named.items() if not own[1]}
    return {path: split for path, (split, _) in named.items()}


def _undoubled(base: Path, split: str) -> Path:
    """A folder, or that of the same split which is all that it holds: train/train."""
    inner = visible_folders(base)
    return (
        inner[0] if split and len(inner) == 1 and split_named(inner[0].name)[0] == split else base
    )


def refuse_doubtful_classes(source: Path) -> None:
    """Raise a `UserError` where folders of films may be something other than classes.

    Raises:
        UserError: One is named as a split, as masks or as images, or all hold folders of the same
            names, as hospitals do that each have their classes.
    """
    mend = "or give --layout folders if these are the classes"
    folders = [own for own in class_folders(source) if holds_films(own.folder)]
    if parts := sorted({own.name for own in folders if not is_class(own.name)}):
        listed = ", ".join(ascii(name)[1:-1] for name in parts[:3])
        raise UserError(
            f"{source}: holds folders of films that are named like parts of a dataset, not like "
            f"classes ({listed}); put a folder for each class into train, val and test, move "
            f"others away, {mend}"
        )
    inner = [_names_below(own.folder) for own in folders]
    classes = {own.name.casefold() for own in folders}
    for own, names_in in zip(folders, inner, strict=True):
        for name in sorted(names_in & (classes - {own.name.casefold()})):
            raise UserError(
                f"{source}: {ascii(own.name)[1:-1]} holds a folder {ascii(name)[1:-1]}, which is "
                f"a class too; move it out, {mend}"
            )
    common = set.intersection(*inner) if inner else set()
    names = sorted({own.name for own in folders})
    # NORMAL is a class, whatever is in it.
    told = any(is_normal(name, names) for name in names) and not any(map(is_normal, common))
    told = told or all(split_named(name)[0] for name in common)
    if len(set.union(set(), *inner)) > 1 and not told:
        listed = ", ".join(ascii(name)[1:-1] for name in names[:3])
        raise UserError(
            f"{source}: {listed} each hold a folder {ascii(min(common))[1:-1]}, so which folders "
            "are the classes cannot be told; call the folders of a split train, val and test, give "
            f"--source one of them, {mend}"
        )


def _names_below(folder: Path) -> set[str]:
    names = {as_text(path.name).strip().casefold() for path in visible_folders(folder)}
    return {name for name in names if is_class(name) or split_named(name)[0]}


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder that may be part of a dataset, sorted."""
    return [path for path in _folders(folder) if not is_output(path)]


def _folders(folder: Path) -> list[Path]:
    """The same with those that a script of this repository wrote."""
    names = sorted(entry.name for entry in _entries(folder) if _is_folder(entry))
    return [folder / name for name in names if not is_hidden(name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # it may not be opened, or is none
        return []


# ---- Which films are in them


@dataclass
class _Sorted:
    """Films by their files: the class and the split of each, those in two, and what is no part."""

    class_of: dict[str, str] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)
    faults: dict[Path, str] = field(default_factory=dict)


def _sorted_in_folders(source: Path) -> _Sorted:
    kept = _Sorted()
    folders = class_folders(source)
    films: list[tuple[str, str, str]] = []
    for folder, name, split in folders:
        masks = list(_masks_in(folder))
        listing = list_files(folder, masks)
        kept.faults |= listing.faults | dict.fromkeys(masks, "segmentation masks are no films")
        inside = list(filter(is_film, listing.files))
        drawn = _masks_among(inside)
        kept.faults |= dict.fromkeys(drawn, "a segmentation mask is no film")
        inside = [film for film in inside if film not in drawn]
        kept.faults |= _other_pictures(folder, listing.files, is_all=not inside)
        films += ((str(film), name, split or _split_below(folder, film)) for film in inside)
    first: dict[str, str] = {}
    places = places_of([file for file, _, _ in films])
    for place, (path, name, own) in zip(places, films, strict=True):
        # A link may lead to a film that is in another folder too.
        file = first.setdefault(place, path)
        if file not in kept.class_of:
            kept.class_of[file], kept.split_of[file] = name, own
        elif (kept.class_of[file].casefold(), kept.split_of[file]) != (name.casefold(), own):
            kept.torn.add(file)
    if not any(own.split for own in folders) and not all(kept.split_of.values()):
        # A few folders of a class that are called test are no split.
        kept.split_of = {}
    kept.faults |= _outside(source, folders)
    return kept


def _split_below(folder: Path, film: Path) -> str:
    """The split of a film by the folder of its class's folder that it is in: NORMAL/test/1.png."""
    first, *below = film.relative_to(folder).parts
    split, words = split_named(first) if below else ("", frozenset())
    return "" if words else split


def _masks_in(folder: Path) -> Iterator[Path]:
    """The folders of segmentation masks next to the films of a class."""
    inner = visible_folders(folder)
    masks = [path for path in inner if is_masks(path.name)]
    if len(masks) < len(inner) or _has_films(folder):
        yield from masks


def _masks_among(films: list[Path]) -> set[Path]:
    """The films that are called like another in their folder, and a mask: 1.png and 1_mask.png."""
    stems = {(film.parent, image_id(film.name)) for film in films}
    parts = [(film, _MASK_OF.fullmatch(image_id(film.name))) for film in films]
    return {film for film, own in parts if own and (film.parent, own[1]) in stems}


def _outside(source: Path, folders: list[ClassFolder]) -> Iterator[tuple[Path, str]]:
    """The folders with films that are in none of a class, or that a script wrote, and why."""
    splits = split_folders(source)
    classes = {own.name.casefold() for own in folders}
    for folder in visible_folders(source) if splits else ():
        if folder in splits or not holds_films(folder):
            continue
        name = ascii(as_text(folder.name).strip())[1:-1]
        if name.casefold() in classes:
            beside = ", ".join(f"{path.name}/" for path in splits)
            raise UserError(
                f"{source}: the class {name} has a folder here and in {beside}; move its films "
                "into the one that is meant"
            )
        yield folder, "its films are in no folder of the split"
    for folder in {source, *splits, *(_undoubled(*own) for own in splits.items())}:
        if _has_films(folder):
            yield folder, "films that are in no folder of a class"
        yield from ((path, BY_SCRIPTS) for path in _folders(folder) if is_output(path))


def _has_films(folder: Path) -> bool:
    """Whether a film is in a folder itself."""
    paths = (Path(entry.path) for entry in _entries(folder))
    return any(path.is_file() and is_film(path) for path in paths)


def _other_pictures(folder: Path, files: list[Path], is_all: bool) -> dict[Path, str]:
    """What is said of a class with pictures that are not read; refused where they are all."""
    others = [file for file in files if file.name.lower().endswith(_OTHER_PICTURES)]
    others = [file for file in others if not is_film(file)]  # DICOM may be called anything
    if others and is_all:
        raise UserError(
            f"{folder}: none of its {len(files)} files is {FILMS}, such as "
            f"{ascii(others[0].name)[1:-1]}; convert them, or move the folder away"
        )
    names = [file.name.lower() for file in others]
    endings = [end for end in sorted(_OTHER_PICTURES) if any(name.endswith(end) for name in names)]
    what = f"{len(others)} of its {len(files)} files are pictures that are not read"
    return {folder: f"{what} ({', '.join(endings)}); convert them to {FILMS}"} if others else {}
