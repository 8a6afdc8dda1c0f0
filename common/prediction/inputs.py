"""The files to predict, from the files and folders that the user names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from common.base.errors import UserError
from common.base.parts import PARTS
from common.datasets.ids import IdTable
from common.datasets.published import is_public_path
from common.imaging.image_files import BY_SCRIPTS, as_text, list_files, places_of
from common.imaging.volume_names import stem

WRITTEN = ("pictures", "masks", "dicom")
"""Folders of an output, whose files are never inputs."""

MAX_NAME = 100
"""Characters of `Input.name`; a file's own name may be as long as the file system allows."""


@dataclass(frozen=True)
class Input:
    """A file to predict, or a folder that is one volume.

    Attributes:
        number: Its number, from 0.
        path: Its place.
        display: Its name on the screen: its path below the folder that all files share, as text
            that can be written anywhere.
        file: Its name in what is written: the same, or an id where a name in it may be somebody's.
        name: The unique name of its picture and mask, without the suffix, of such text too.
    """

    number: int
    path: Path
    display: str
    file: str
    name: str


def find_inputs(
    paths: Sequence[Path],
    kind: str,
    is_kind: Callable[[Path], bool],
    suffixes: Sequence[str],
    output: Path,
    whole: Callable[[Path], Path] = lambda path: path,
    ids: Path | None = None,
) -> list[Input]:
    """List the files to predict, each once.

    Args:
        paths: Files, which are all taken, and folders, which are searched, links followed
            (`common.imaging.image_files.list_files`); what is not followed is printed.
        kind: The kind of the files, such as DICOM.
        is_kind: Whether a file in a folder is of that kind.
        suffixes: Ends of file names, such as ``.nii.gz``, that a name in the output leaves out.
        output: The folder of the predictions; its masks, pictures and parts are never inputs.
        whole: From a file to what is predicted as one with it: a folder, or the file itself.
        ids: The table of ids that the user named, if any (`common.datasets.ids`).

    Raises:
        UserError: There is no such table, no path is given, one does not exist, or the folders
            hold no file of the kind.
    """
    if not paths:
        raise UserError("no INPUT: name files or folders, such as: predict.py films/ --run RUN")
    written = [output / name for name in (*WRITTEN, PARTS)]
    # The path that was given, by what is predicted as one.
    given: dict[Path, Path] = {}
    table = IdTable(ids, output)
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
        chosen = [path]
        if path.is_dir():
            listing = list_files(path, written)
            chosen = [file for file in listing.files if is_kind(file)]
            for fault, why in listing.faults.items():
                if why == BY_SCRIPTS and fault.resolve() == output.resolve():
                    continue
                print(f"  not followed: {as_text(str(fault))}: {why}", flush=True)
        for file in map(whole, chosen):
            given.setdefault(file, path)
    # By its place, which counts a file once; its name is the one that was given, since the target
    # of a link may have a meaningless name.
    files: dict[str, Path] = {}
    folders: dict[Path, Path] = {}
    for place, (file, path) in zip(places_of([*map(str, given)]), given.items(), strict=True):
        known = files.setdefault(place, file.absolute())
        is_below = file != path and file.is_relative_to(path)
        folders.setdefault(known, path if is_below else file.parent)
    if not files:
        raise UserError(f"{paths[0]}: holds no {kind} file")
    shared = os.path.commonpath([path.parent for path in files.values()])
    inputs: list[Input] = []
    taken: set[str] = set()
    # The last number behind each name: in an export every patient may have a file 1.dcm.
    numbers: dict[str, int] = {}
    places: set[str] = set()
    for path in files.values():
        own = as_text(path.name)
        name = base = (stem(own, suffixes) or own)[:MAX_NAME]
        # Names that differ in case alone are equal on some file systems.
        number = numbers.get(base.lower(), 1)
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        numbers[base.lower()] = number
        place = as_text(os.path.relpath(path, shared))
        if place in places:  # the same name in another encoding or form
            place = f"{place} ({len(inputs) + 1})"
        places.add(place)
        inputs.append(Input(len(inputs), path, place, place, name))
    return _named(inputs, folders, table)


def _named(inputs: list[Input], folders: Mapping[Path, Path], table: IdTable) -> list[Input]:
    """The same, those with an id for a name whose names may be somebody's.

    Args:
        inputs: All of them.
        folders: By the path of each the folder that the user named.
        table: The table of ids.
    """
    by_folder: dict[Path, list[Input]] = {}
    for file in inputs:
        if not is_public_path(Path(file.file).as_posix()):
            folder = folders[file.path].absolute()
            by_folder.setdefault(folder, []).append(file)
    for folder, files in by_folder.items():
        paths = [Path(os.path.relpath(file.path, folder)).as_posix() for file in files]
        own = [(PurePosixPath(path).name, path) for path in paths]
        for file, id_ in zip(files, table.ids_of(folder, own), strict=True):
            inputs[file.number] = replace(file, file=id_, name=id_)
    return inputs
