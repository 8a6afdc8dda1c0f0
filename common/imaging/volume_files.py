"""A volume of any format that is read, in the order and on the grid of its file."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from common.imaging import dicom_series, nifti_file
from common.imaging.itk_file import read_itk
from common.imaging.volume_grid import Grid
from common.imaging.volume_names import ITK_SUFFIXES


def read_file(path: Path) -> tuple[np.ndarray, Grid, nib.Nifti1Header]:
    """Read a whole volume.

    Args:
        path: A NIfTI, NRRD or MetaImage file, or a folder with the DICOM slices of one series.

    Returns:
        The values ``(i, j, k)`` in the file's own order, their grid in RAS+ mm, and a NIfTI header
        of that grid.

    Raises:
        UserError: It is not there, can't be read, or declares what it does not hold.
    """
    if path.is_dir():
        return dicom_series.read_series(path)
    if path.name.lower().endswith(ITK_SUFFIXES):
        return read_itk(path)
    return nifti_file.read_nifti(path)


def read_start(path: Path) -> tuple[Grid, np.ndarray]:
    """The grid of a volume, and the values ``(i, j)`` of its first slice, read as far as needed.

    Raises:
        UserError: As for `read_file`, as far as the beginning shows it.
    """
    if path.is_dir():
        return dicom_series.read_start(path)
    if path.name.lower().endswith(ITK_SUFFIXES):
        values, grid, _ = read_itk(path)
        return grid, values[:, :, 0]
    return nifti_file.read_start(path)
