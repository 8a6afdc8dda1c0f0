"""What is wrong with a folder that is no dataset, in one sentence with what to do."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from common.base.errors import UserError
from common.datasets.class_folders import class_folders, split_folders, visible_folders
from common.datasets.class_names import is_class, is_normal
from common.datasets.csv_tables import ARCHIVES, named_file
from common.datasets.decathlon import DATASET, MASKS, volume_folder
from common.datasets.decathlon import IMAGES as VOLUME_FOLDER
from common.datasets.image_table import find_tables
from common.datasets.nih import TABLES as NIH_TABLES
from common.datasets.patient_folders import refuse_patient_folders
from common.datasets.rsna import HEARTS, find_labels
from common.datasets.rsna import LABELS as RSNA_TABLES
from common.imaging.image_files import is_film, is_written
from common.imaging.volume_names import is_volume
from common.imaging.volume_names import stem as volume_stem

FILMS, BOXES, VOLUMES = "films", "boxes", "volumes"
"""The kinds of datasets: films with labels, films with a heart's box, volumes with masks."""

# What each kind is known by, in words.
_WORDS = {
    FILMS: "films with labels",
    BOXES: f"films with {HEARTS}",
    VOLUMES: f"volumes in {VOLUME_FOLDER}/ and {MASKS}/",
}
# Folders and files that are looked at around a folder that is none.
_MOST = 50


def refuse_wrong_folder(source: Path, wanted: str) -> None:
    """Raise a `UserError` for a folder that is no dataset of a kind, where it is known what it is.

    Args:
        source: The folder, which is there.
        wanted: `FILMS`, `BOXES` or `VOLUMES`.

    Raises:
        UserError: It is one level above or below the dataset's, was written by these scripts, is
            a dataset of another kind, or an archive that was not unpacked.
    """
    source = Path(source)
    is_wanted = _KINDS[wanted]
    # Of films it was looked for more thoroughly.
    if wanted != FILMS and is_wanted(source):
        return
    if is_written(entry.name for entry in source.iterdir()):
        raise UserError(
            f"{source}: was written by a script of this repository; give --source the dataset's "
            "own folder"
        )
    if whole := _whole(source.resolve(), wanted):
        raise UserError(f"{source}: is a part of a dataset; give --source {whole}")
    inner = [folder for folder in islice(visible_folders(source), _MOST) if is_wanted(folder)]
    if not inner:
        below = [f for folder in visible_folders(source)[:_MOST] for f in visible_folders(folder)]
        inner = [folder for folder in below[:_MOST] if is_wanted(folder)]
    for folder in inner if wanted == FILMS else ():
        if not _has_tables(folder):
            refuse_patient_folders(folder)
    if len(inner) == 1:
        raise UserError(f"{source}: holds the dataset's folder; give --source {inner[0]}")
    if inner:
        names = ", ".join(ascii(folder.name)[1:-1] for folder in inner[:3])
        raise UserError(
            f"{source}: holds {len(inner)} datasets ({names}); give --source one of them"
        )
    if wanted == VOLUMES:
        _refuse_folders_of_cases(source)
    example = f" ({RSNA_TABLES[0]})" if wanted == FILMS else ""
    for kind, is_kind in _KINDS.items():
        if is_kind(source):
            raise UserError(
                f"{source}: holds {_WORDS[kind]}, and {_WORDS[wanted]}{example} are wanted; give "
                "--source another folder, or prepare this one with the project that it is for "
                "(README.md)"
            )
    files = sorted(entry.name for entry in source.iterdir() if entry.is_file())
    archives = [name for name in files if name.lower().endswith(ARCHIVES)]
    if archives:
        name = ascii(archives[0])[1:-1]
        raise UserError(f"{source}: holds {name}, not unpacked; unpack it there")


def _refuse_folders_of_cases(source: Path) -> None:
    """Raise a `UserError` where each case has a folder of its own, with the same names in each."""
    folders = [source, *visible_folders(source)[:_MOST]]
    below = [path for folder in folders for path in visible_folders(folder)[:_MOST]]
    names = {path: tuple(sorted(filter(is_volume, _files(path)))) for path in below}
    sets = Counter(tuple(file.name for file in files) for files in names.values())
    same, count = max(sets.items(), key=lambda item: (len(item[0]) > 1, item[1]), default=((), 0))
    if len(same) < 2 or count < 2:
        return
    first = next(path for path, files in names.items() if tuple(f.name for f in files) == same)
    mend = "put the images into imagesTr/ and the masks into labelsTr/, each named after its case"
    if {volume_stem(name).lower() for name in same} >= {"lgemri", "laendo"}:
        mend = f"convert it: python -m data.convert la2018 {str(source)!r} data/raw/la2018"
    raise UserError(
        f"{source}: has a folder for each case, such as {first.relative_to(source)} with "
        f"{' and '.join(same[:3])}, and {_WORDS[VOLUMES]} are wanted; {mend}"
    )


def holds_dataset(folder: Path) -> bool:
    """Whether a folder in a folder has the tables of a dataset, or a split of its own."""
    inner = islice(visible_folders(folder), _MOST)
    return any(_has_tables(path) or bool(split_folders(path)) for path in inner)


def _has_films(folder: Path) -> bool:
    """Whether a folder is a dataset of films, by its tables or by folders of films in it."""
    if _has_tables(folder) or split_folders(folder):
        return True
    return len(_of_films(folder)) > 1 and not holds_dataset(folder)


def _has_tables(folder: Path) -> bool:
    if find_labels(folder) or named_file(folder, NIH_TABLES):
        return True
    return not is_written(file.name for file in _files(folder)) and bool(find_tables(folder))


def _of_films(folder: Path) -> list[Path]:
    """The folders in a folder that may be classes and hold films, not looking far."""
    inner = [own.folder for own in class_folders(folder)[:_MOST] if is_class(own.name)]
    return [path for path in inner if any(map(_holds_films, (path, *visible_folders(path)[:3])))]


def _holds_films(folder: Path) -> bool:
    return any(file.is_file() and is_film(file) for file in islice(_files(folder), _MOST))


def _has_boxes(folder: Path) -> bool:
    return named_file(folder, [HEARTS]) is not None


def _has_volumes(folder: Path) -> bool:
    return (folder / DATASET).is_file() or volume_folder(folder, VOLUME_FOLDER).is_dir()


_KINDS: Mapping[str, Callable[[Path], bool]] = MappingProxyType(
    {FILMS: _has_films, BOXES: _has_boxes, VOLUMES: _has_volumes}
)


def _whole(folder: Path, wanted: str) -> Path | None:
    """The dataset one or two levels above that a folder is a part of, None for none."""
    if not _is_part(folder, wanted):
        return None
    for parent in (folder.parent, folder.parent.parent):
        is_split = parent in split_folders(parent.parent)
        if wanted == FILMS and not is_split:
            # Folders of films next to each other are classes where their names say so.
            siblings = [path.name for path in visible_folders(parent)[:_MOST]]
            if not _has_tables(parent) and not any(map(is_normal, siblings)):
                continue
        if _KINDS[wanted](parent):
            return parent.parent if is_split else parent
    return None


def _is_part(folder: Path, wanted: str) -> bool:
    """Whether a folder holds images itself, as a part of a dataset does."""
    is_image = is_volume if wanted == VOLUMES else is_film
    return any(file.is_file() and is_image(file) for file in islice(_files(folder), _MOST))


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in islice(entries, _MOST)]
    except OSError:
        return []
