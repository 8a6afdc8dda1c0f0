"""Films that are shown exactly alike, and the patients who must therefore be dealt together.

Equal means equal pixels as `common.imaging.dicom.read_radiograph` gives them. To decode a whole set
for that would double the time to prepare it, so what is stored is compared first: equal bytes in
equal coding are equal pixels. Films are decoded only where bytes cannot tell, which is where films
of one size are coded in several ways. Films of one size, all coded in one way, are taken to be
different where their bytes are; an encoder that wrote the same pixels in other bytes of the same
coding is not seen through.

Volumes are equal where their shape and every value are, in the order of the file. Only those whose
first slices are equal are read whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from common.base.errors import UserError
from common.base.processes import each
from common.imaging.dicom import PIXEL_TAGS, read_radiograph
from common.imaging.dicom_file import bare_jpeg, check, named, parse, quiet
from common.imaging.nifti_file import read_nifti, read_start

_READ_POOL_FROM = 3000  # files, some two milliseconds each
_DECODE_POOL_FROM = 500  # films, some ten milliseconds each
_VOLUME_POOL_FROM = 50  # volumes, some hundred milliseconds each

# Of group 0028, what differs from film to film and changes no pixel.
_NOT_SHOWN = (
    *("PixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "WindowCenterWidthExplanation"),
    *("BurnedInAnnotation", "LossyImageCompressionRatio"),
)


class _Stored(NamedTuple):
    """A film as it is stored: two that are equal in all are shown alike.

    Attributes:
        size: Rows and columns.
        coding: How bytes become pixels: transfer syntax, depth, window and the like, as a digest.
        data: Of the bytes, a digest.
    """

    size: tuple[int, int]
    coding: str
    data: str


def find_duplicates(cases: pd.DataFrame, source: Path, workers: int = 0) -> pd.Series:
    """Find films with exactly equal pixels.

    Args:
        cases: With ``case``, a name that no other has, and ``path``, relative to ``source``.
        source: The dataset's folder.
        workers: Processes; 0 is one a core.

    Returns:
        (cases,) the first case, by sorted name, with the same pixels; "" for that case itself,
        for a film that no other equals, and for a file that cannot be read.
    """
    ordered = cases.sort_values("case")
    files = [source / path for path in ordered["path"]]
    stored = each(_stored, files, _READ_POOL_FROM, workers, desc="compare bytes", unit="file")
    alike, codings = defaultdict(list), defaultdict(set)
    for file, film in zip(files, stored, strict=True):
        if film is not None:
            alike[film].append(file)
            codings[film.size].add(film.coding)
    # Also those with equal bytes: what cannot be decoded equals nothing.
    doubtful = [
        film for film, same in alike.items() if len(same) > 1 or len(codings[film.size]) > 1
    ]
    firsts = [alike[film][0] for film in doubtful]
    shown = each(_shown, firsts, _DECODE_POOL_FROM, workers, desc="compare pixels", unit="film")
    pixels = dict(zip(doubtful, shown, strict=True))
    first: dict[str, str] = {}
    duplicate_of = []
    for case, film in zip(ordered["case"], stored, strict=True):
        seen = pixels.get(film)
        original = case if seen is None else first.setdefault(seen, case)
        duplicate_of.append("" if original == case else original)
    return pd.Series(duplicate_of, ordered.index, dtype=object).reindex(cases.index)


def find_duplicate_volumes(cases: pd.DataFrame, source: Path, workers: int = 0) -> pd.DataFrame:
    """Find volumes with exactly equal voxels.

    Args:
        cases: As for `find_duplicates`, with the paths of NIfTI files.
        source: The dataset's folder.
        workers: Processes; 0 is one a core.

    Returns:
        (cases,) ``duplicate_of``, as from `find_duplicates`, and ``size``: shape and spacing in
        words, "" for a file that cannot be read.
    """
    ordered = cases.sort_values("case")
    files = [source / path for path in ordered["path"]]
    bar = {"workers": workers, "unit": "volume"}
    starts = each(_start, files, _VOLUME_POOL_FROM, desc="compare starts", **bar)
    counts = Counter(starts)
    doubtful = [f for f, start in zip(files, starts, strict=True) if start and counts[start] > 1]
    whole = each(_voxels, doubtful, _VOLUME_POOL_FROM, desc="compare volumes", **bar)
    voxels = dict(zip(doubtful, whole, strict=True))
    first: dict[str, str] = {}
    rows = []
    for case, file, start in zip(ordered["case"], files, starts, strict=True):
        seen = voxels.get(file)
        original = case if seen is None else first.setdefault(seen, case)
        rows.append(("" if original == case else original, start[0] if start else ""))
    found = pd.DataFrame(rows, ordered.index, ["duplicate_of", "size"], dtype=object)
    return found.reindex(cases.index)


def _stored(path: Path) -> _Stored | None:
    """What a file holds, not decoded; None where it cannot be read."""
    try:
        with quiet(), named(path, "its header can't be read"):
            dataset = parse(path, PIXEL_TAGS)
            check(path, dataset)
            size = int(dataset.Rows), int(dataset.Columns)
            return _Stored(size, _coding(dataset), _digest(_data(dataset)))
    except UserError:
        return None


def _coding(dataset: Dataset) -> str:
    how = dataset.group_dataset(0x0028)
    for name in _NOT_SHOWN:
        how.pop(name, None)
    return _digest(f"{dataset.file_meta.TransferSyntaxUID} {how.to_json()}".encode())


def _data(dataset: Dataset) -> bytes:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return dataset.PixelData
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    # As `read_radiograph` decodes it: what an encoder notes of itself or of the time is no pixel.
    grey_jpeg = syntax == uid.JPEGBaseline8Bit and dataset.SamplesPerPixel == 1
    return bare_jpeg(frame) if grey_jpeg else frame


def _shown(path: Path) -> str | None:
    """The digest of a film's pixels; None where it cannot be decoded."""
    try:
        pixels = read_radiograph(path).pixels
    except UserError:
        return None
    return f"{pixels.shape} {_digest(pixels.tobytes())}"


def _start(path: Path) -> tuple[str, str] | None:
    """A volume's size in words and the digest of its first slice; None where it can't be read."""
    try:
        grid, values = read_start(path)
    except UserError:
        return None
    shape = " x ".join(map(str, grid.shape))
    spacing = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(grid.affine[:3, :3], axis=0))
    return f"{shape} of {spacing} mm", _digest_of(values)


def _voxels(path: Path) -> str | None:
    """The digest of a volume's values; None where it can't be read."""
    try:
        values = read_nifti(path)[0]
    except UserError:
        return None
    return f"{values.shape} {_digest_of(values)}"


def _digest_of(values: np.ndarray) -> str:
    # Of one type and order, so that 1 is 1 however it is stored. Not every NaN is silent.
    with np.errstate(invalid="ignore"):
        return _digest(np.ascontiguousarray(values, "<f8").tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
