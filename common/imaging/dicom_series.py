"""A folder with the DICOM slices of one series to one volume, sorted by position (C.7.6.2.1.1).

Neither names nor InstanceNumber decide an order: only where a slice lies along the normal of all.
Values are those of the modality LUT or rescale (C.11.1), each slice's own. DICOM's axes are LPS;
`common.imaging.volume_grid.placed` turns them to RAS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.processing import apply_modality_lut
from pydicom.tag import Tag

from common.base.errors import UserError
from common.imaging.decoders import stored_pixels
from common.imaging.dicom import PIXEL_TAGS, stored_bits
from common.imaging.dicom_file import GREY, check, named, parse, quiet, text
from common.imaging.image_files import list_files
from common.imaging.volume_grid import Grid, placed, three_axes
from common.imaging.volume_names import is_slice

_HEADER_TAGS = [
    *map(Tag, ("Rows", "Columns", "NumberOfFrames", "PixelSpacing", "SeriesInstanceUID")),
    *map(Tag, ("ImagePositionPatient", "ImageOrientationPatient")),
]
_PATIENT = Tag("PatientID")
# Slices are evenly spaced where no place is further off than this share of their distance: files
# with a decimal of 0.1 mm are, and one missing slice of five is not.
_UNEVEN = 0.25


class _Slice(NamedTuple):
    """A slice, by its header.

    Attributes:
        path: Its file.
        series: Whose it is; compared and never written.
        size: Rows and columns.
        spacing_mm: Distance of rows, then of columns.
        axes: ``(2, 3)``, the directions along a row and down a column, LPS.
        position: ``(3,)``, its first pixel's centre in mm, LPS.
    """

    path: Path
    series: str
    size: tuple[int, int]
    spacing_mm: np.ndarray
    axes: np.ndarray
    position: np.ndarray


def read_series(folder: Path) -> tuple[np.ndarray, Grid, nib.Nifti1Header]:
    """Read the slices of a folder, and of those in it, which are one series.

    Args:
        folder: What is no DICOM image in it is not read.

    Returns:
        The values ``(i, j, k)`` float32, along a row, down a column and from slice to slice, their
        grid in RAS+ mm, and a NIfTI header of that grid.

    Raises:
        UserError: It holds no slices, one alone or several series; a slice is missing, can't be
            read or does not say where it lies.
    """
    slices, grid, header = _series(folder)
    values = np.empty(grid.shape, np.float32, order="F")
    for number, piece in enumerate(slices):
        values[:, :, number] = _values(folder, piece.path)
    return values, grid, header


def read_start(folder: Path) -> tuple[Grid, np.ndarray]:
    """The grid of a series, and the values ``(i, j)`` of its first slice.

    Raises:
        UserError: As for `read_series`, as far as headers show it.
    """
    slices, grid, _ = _series(folder)
    return grid, _values(folder, slices[0].path)


def slice_paths(folder: Path) -> list[Path]:
    """The files of a series' slices, in the order of `read_series`.

    Raises:
        UserError: As for `read_series`, as far as headers show it.
    """
    return [piece.path for piece in _series(folder)[0]]


def patient_of(folder: Path) -> str:
    """The PatientID of a series, by the first of its slices; "" where that does not say it.

    It identifies: compare it, never write it.
    """
    with suppress(UserError, StopIteration):
        path = next(_slices(folder))
        with quiet(), named(path, "its header can't be read"):
            return text(
                parse(path, [*_HEADER_TAGS, _PATIENT], stop_before_pixels=True), "PatientID"
            )
    return ""


def _slices(folder: Path) -> Iterator[Path]:
    for path in list_files(folder).files:
        if is_slice(path) and _may_be_image(path):
            yield path


def _series(folder: Path) -> tuple[list[_Slice], Grid, nib.Nifti1Header]:
    paths = list(_slices(folder))
    if not paths:
        raise UserError(f"{folder}: holds no DICOM slices; give the folder of a series")
    slices = [_header(folder, path) for path in paths]
    _check_alike(folder, slices, "series", lambda piece: piece.series)
    _check_alike(folder, slices, "sizes", lambda piece: piece.size)
    _check_alike(folder, slices, "spacings", lambda piece: piece.spacing_mm)
    _check_alike(folder, slices, "directions", lambda piece: piece.axes)
    if len(slices) == 1:
        raise UserError(
            f"{folder}: holds one slice, a volume has several; give the folder of the whole series"
        )
    normal = np.cross(*slices[0].axes)
    slices.sort(key=lambda piece: float(piece.position @ normal))
    _check_even(folder, slices, normal)
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    # The first index counts the columns (C.7.6.2.1.1, Equation C.7.6.2.1-1).
    affine[:3, :2] = (first.axes * first.spacing_mm[::-1, None]).T
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    shape = three_axes(folder, (first.size[1], first.size[0], len(slices)))
    return slices, *placed(folder, shape, affine)


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    """Name the folder first where a slice of it is refused, as a volume is known by its folder."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{folder}: {str(error).replace(f'{folder}{os.sep}', '')}") from None


def _may_be_image(path: Path) -> bool:
    """Whether a DICOM file is an image for all that its meta says: no report, no index."""
    try:
        with quiet():
            kind = read_file_meta_info(path).MediaStorageSOPClassUID
            return kind.name == kind or "Image Storage" in kind.name
    except Exception:
        return True  # without meta, or broken: what reads it says so


def _header(folder: Path, path: Path) -> _Slice:
    with _within(folder), quiet(), named(path, "its header can't be read"):
        dataset = parse(path, _HEADER_TAGS, stop_before_pixels=True)
        if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
            raise UserError(f"{path}: has {frames} frames, a slice has one; convert it by dcm2niix")
        axes = _numbers(path, dataset, "ImageOrientationPatient", 6).reshape(2, 3)
        if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-2):
            raise UserError(f"{path}: its ImageOrientationPatient is no two directions; correct it")
        return _Slice(
            path=path,
            series=text(dataset, "SeriesInstanceUID"),
            size=(int(dataset.Rows), int(dataset.Columns)),
            spacing_mm=_numbers(path, dataset, "PixelSpacing", 2),
            axes=axes / np.linalg.norm(axes, axis=1, keepdims=True),
            position=_numbers(path, dataset, "ImagePositionPatient", 3),
        )


def _numbers(path: Path, dataset: Dataset, name: str, count: int) -> np.ndarray:
    try:
        numbers = np.array([float(number) for number in dataset.get(name) or ()])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UserError(
            f"{path}: does not say where it lies ({name}); export the original slices, or leave "
            "it out"
        )
    return numbers


def _values(folder: Path, path: Path) -> np.ndarray:
    """A slice's values ``(columns, rows)``, rescaled."""
    with _within(folder), quiet(), named(path, "its pixels can't be read"):
        dataset = parse(path, PIXEL_TAGS)
        frame = check(path, dataset)
        if dataset.PhotometricInterpretation not in GREY:
            raise UserError(f"{path}: is in colour, a slice is grey; leave it out")
        stored = stored_bits(path, stored_pixels(dataset, frame), dataset)
        values = apply_modality_lut(stored, dataset)
        if values.shape != (dataset.Rows, dataset.Columns):
            raise UserError(f"{path}: holds other pixels than it declares; fetch it again")
        return np.asarray(values.T, np.float32)


# ---- Whether slices are one volume


def _check_alike(
    folder: Path, slices: list[_Slice], what: str, value: Callable[[_Slice], object]
) -> None:
    """Refuse slices that differ in a value, and name one of each kind."""
    kinds: list[list[_Slice]] = []
    for piece in slices:
        kind = next((kind for kind in kinds if _alike(value(kind[0]), value(piece))), None)
        if kind is None:
            kinds.append([piece])
        else:
            kind.append(piece)
    if len(kinds) > 1:
        examples = ", ".join(
            f"{len(kind)} such as {kind[0].path.relative_to(folder)}" for kind in kinds[:4]
        )
        raise UserError(
            f"{folder}: holds slices of {len(kinds)} {what} ({examples}); move those of each "
            "series to a folder of its own"
        )


def _alike(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.allclose(a, b, rtol=1e-3, atol=1e-3))
    return a == b


def _check_even(folder: Path, slices: list[_Slice], normal: np.ndarray) -> None:
    """Refuse sorted slices of which one is missing, is there twice or lies beside the others."""
    positions = np.array([piece.position for piece in slices])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    names = [str(piece.path.relative_to(folder)) for piece in slices]

    def pair(number: int) -> str:
        return " and ".join(sorted(names[number : number + 2]))

    twice = int(np.argmin(gaps))
    if gaps[twice] < max(0.01 * usual, 1e-4):
        raise UserError(
            f"{folder}: {pair(twice)} lie at one position (a copy, or several times or echoes in a "
            "series); leave in the folder those of one volume"
        )
    even = np.linspace(positions[0], positions[-1], len(slices))
    apart = np.linalg.norm(positions - even, axis=1)
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[worst] - usual) > _UNEVEN * usual:
        raise UserError(
            f"{folder}: a gap of {gaps[worst]:.4g} mm between {pair(worst)}, where slices are "
            f"{usual:.4g} mm apart: one is missing, or another series is among them; copy the "
            "whole series again"
        )
    if apart.max() > _UNEVEN * usual:
        raise UserError(
            f"{folder}: {names[int(np.argmax(apart))]} lies {apart.max():.4g} mm off the line of "
            "the other slices; move what is of another series to a folder of its own"
        )
