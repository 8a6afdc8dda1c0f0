"""From uploaded files to what the page of `common.app` shows of them.

An upload lies in a temporary folder of its own for as long as its answer takes, under a number if
its name is not plain. It is read in a process that may be ended, and predicted as predict.py does.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from PIL import Image

from common.base.errors import UserError
from common.base.files import write_csv
from common.base.processes import Pool
from common.datasets.published import is_public
from common.imaging.films import read_film_header
from common.imaging.image_files import FILM_SUFFIXES, as_text
from common.imaging.volume_files import read_start
from common.imaging.volume_names import NIFTI_SUFFIXES, volume_of
from common.prediction.inputs import MAX_NAME
from common.prediction.predictions import TABLE, read_or_error
from common.prediction.predictor import Answer, Drawing, Predictor

MAX_BYTES = 1 << 29
"""Of an upload, all files together."""
MAX_FILES = 4000
"""Of an upload: the slices of a series."""

# A file that declares more pixels or voxels than this, and than so many for each of its bytes, is
# made to take memory: films and volumes are compressed to a tenth or so.
_SMALL = 1 << 24
_MAX_PER_BYTE = 100
_SUFFIXES = sorted((*FILM_SUFFIXES, *NIFTI_SUFFIXES), key=len, reverse=True)


def read_upload(item: tuple[Callable[[Path], Any], Path, bool]) -> tuple[Any, str, list[str]]:
    """Read a file, or the folder of a series, in a process of `common.base.processes.pool`.

    Args:
        item: What reads it, its place, and whether it is a volume.

    Returns:
        As `common.prediction.predictions.read_or_error`.
    """
    read, path, is_volume = item
    return read_or_error(partial(_read_checked, read, is_volume), path)


def refuse_bomb(path: Path, is_volume: bool) -> None:
    """Refuse a file that declares far more than its bytes can hold of an image.

    Raises:
        UserError: It does, or its header can't be read.
    """
    if is_volume:
        if not (path.is_dir() or path.name.lower().endswith(NIFTI_SUFFIXES)):
            return  # no volume, as its reader will say
        count = math.prod(read_start(path)[0].shape)
    else:
        header = read_film_header(path)
        count = header.rows * header.columns
    parts = path.iterdir() if path.is_dir() else [path]
    size = sum(part.stat().st_size for part in parts)
    if count > max(_SMALL, _MAX_PER_BYTE * size):
        what = "voxels" if is_volume else "pixels"
        raise UserError(
            f"{path}: declares {count:,} {what} in {size:,} bytes, as no image is compressed; "
            "leave it out"
        )


def _read_checked(read: Callable[[Path], Any], is_volume: bool, path: Path) -> Any:
    refuse_bomb(path, is_volume)
    return read(path)


class Uploads:
    """Answers uploads, several at once: read side by side, predicted one after the other.

    Args:
        predictors: Of the runs on the page.
        processes: They call `read_upload`.
    """

    def __init__(self, predictors: Sequence[Predictor], processes: Pool) -> None:
        self._predictors, self._processes = predictors, processes
        self._numbers = itertools.count(1)
        # Neither Keras nor matplotlib is made for several threads.
        self._one_at_a_time = threading.Lock()

    def answer(self, number: int, files: Sequence[tuple[str, IO[bytes]]]) -> dict[str, Any]:
        """What a run says of an upload.

        Args:
            number: Of the run.
            files: The name and the content of each: of one film, one volume, or all slices of one
                series.

        Returns:
            ``file``, its name in the table; ``head`` and ``line`` of that table, as predict.py
            writes it; and ``error`` in words, or ``name``, that of its picture and mask without the
            suffix, ``words``, ``cells`` (pairs of a column and its value), ``doubt``, ``warnings``,
            ``picture`` and ``slices`` as data URIs, and ``mask``, a NIfTI file in base64, "" of a
            film.
        """
        predictor = self._predictors[number]
        file, name = _public_names(files, next(self._numbers))
        with TemporaryDirectory(prefix="upload-") as temporary:
            folder = Path(temporary)
            try:
                path = _stored(folder / "in", files, predictor.has_masks)
                item = (predictor.read, path, predictor.has_masks)
                [(content, error, warnings)] = self._processes.submit([item]).result()
                if error:
                    raise UserError(error)
                doubt = predictor.doubt(content)
                with self._one_at_a_time:
                    [answer] = predictor.predict([content])
                    picture = folder / f"{name}.png"
                    predictor.draw([Drawing(picture, answer, name, doubt)])
            except UserError as error:
                row = {"file": file, "error": str(error)}
                return {**row, **_table(folder, predictor, row)}
            row = {"file": file, **answer.row, "doubt": doubt, "picture": picture.name}
            mask = folder / f"{name}.nii.gz"
            if predictor.has_masks:
                predictor.write_mask(mask, answer)
                row["mask"] = mask.name
            return {
                **{"file": file, "name": name, **_table(folder, predictor, row)},
                **{"words": answer.words, "cells": [*answer.row.items()], "doubt": doubt},
                "warnings": warnings,
                "picture": _uri("png", picture.read_bytes()),
                "slices": _slices(predictor, answer),
                "mask": _base64(mask.read_bytes()) if predictor.has_masks else "",
            }


def _public_names(files: Sequence[tuple[str, IO[bytes]]], number: int) -> tuple[str, str]:
    """An upload's name in the table, and that of its picture; numbers where its own may be of one.

    A series has as many names as slices, and none.
    """
    own = as_text(files[0][0])
    stem = own[: len(own) - len(_suffix(own))][:MAX_NAME]
    is_kept = len(files) == 1 and stem and is_public(own)
    return (own, stem) if is_kept else (f"upload-{number}", f"upload-{number}")


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")


def _stored(folder: Path, files: Sequence[tuple[str, IO[bytes]]], is_volume: bool) -> Path:
    """Store an upload; gives what is predicted of it: a file, or the folder of a series."""
    if len(files) > 1 and not is_volume:
        raise UserError(f"{len(files)} files at once, and a film is one; send each by itself")
    folder.mkdir()
    for number, (name, content) in enumerate(files):
        # A plain name is kept, since a line on what is wrong names it.
        is_plain = re.fullmatch(r"[A-Za-z0-9_-]{1,60}(\.\w{1,5}){0,2}", name) and is_public(name)
        path = folder / (name if is_plain else f"{number}{_suffix(name)}")
        if path.exists():
            path = folder / f"upload-{number}{_suffix(name)}"
        with open(path, "wb") as file:
            shutil.copyfileobj(content, file)
    if len(files) > 1:
        return folder
    return volume_of(path) if is_volume else path


def _table(folder: Path, predictor: Predictor, row: Mapping[str, Any]) -> dict[str, str]:
    """The head and the line of predictions.csv for a row."""
    write_csv(folder / TABLE, ["file", *predictor.columns, "error"], [row])
    head, _, line = (folder / TABLE).read_text(encoding="utf-8").partition("\n")
    return {"head": f"{head}\n", "line": line}


def _slices(predictor: Predictor, answer: Answer) -> list[str]:
    uris = []
    for pixels in predictor.slices(answer):
        content = BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=88)
        uris.append(_uri("jpeg", content.getvalue()))
    return uris


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{_base64(content)}"


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
