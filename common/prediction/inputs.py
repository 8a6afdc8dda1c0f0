"""Which files are meant by the files and folders that predict.py is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.base.errors import UserError

WRITTEN = ("pictures", "masks")
"""Folders of an output whose files are no input."""

LONGEST_NAME = 100
"""Of what is written of a file; its own name may take all that the file system allows."""


@dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
        number: Its place among all, from 0.
        path: Where it is.
        file: What the table calls it: its path below the folder that all files share.
        name: What is drawn and written of it is called so, and nothing of another file is.
    """

    number: int
    path: Path
    file: str
    name: str


def find_inputs(
    given: Sequence[Path],
    kind: str,
    is_one: Callable[[Path], bool],
    suffixes: Sequence[str],
    output: Path,
) -> list[Input]:
    """The files that are meant, each once.

    Args:
        given: Files, which are taken as they are, and folders, which are looked through.
        kind: What the files are called, such as DICOM.
        is_one: Whether a file in a folder is of that kind.
        suffixes: Ends of file names that name no case, such as ``.nii.gz``.
        output: Where predictions go; masks and pictures that lie there are no input.

    Raises:
        UserError: None is given, one is not there, or the folders hold no file of the kind.
    """
    if not given:
        raise UserError("no INPUT: name files or folders, such as: predict.py films/ --run RUN")
    written, found = {output.resolve() / name for name in WRITTEN}, {}
    for one in given:
        if not one.exists():
            raise UserError(f"{one}: there is no such file or folder")
        wanted = [one]
        if one.is_dir():
            files = (path for path in sorted(one.rglob("*")) if path.is_file())
            wanted = [p for p in files if written.isdisjoint(p.resolve().parents) and is_one(p)]
        for path in wanted:
            # By the name that it was given by, for a link may lead to one that says nothing.
            found.setdefault(path.resolve(), path.absolute())
    if not found:
        raise UserError(f"{given[0]}: holds no {kind} file")
    shared = os.path.commonpath([path.parent for path in found.values()])
    inputs, taken = [], set()
    for path in found.values():
        stem = next((path.name[: -len(s)] for s in suffixes if path.name.lower().endswith(s)), "")
        name = stem = (stem or path.name)[:LONGEST_NAME]
        # Names that differ in case alone are one on some file systems.
        while name.lower() in taken:
            number = int(name[len(stem) + 1 :] or 1) + 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        inputs.append(Input(len(inputs), path, os.path.relpath(path, shared), name))
    return inputs
