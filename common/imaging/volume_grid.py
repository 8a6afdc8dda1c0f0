"""Where the voxels of a volume lie, held to what can be read, whatever the format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from common.base.errors import UserError

MAX_VOXELS = 1 << 28
"""512 x 512 x 1024, one GiB of float32: a header that declares more is refused."""

# A kilometre: a header's numbers of 64 bits may be such that one of 32 bits cannot hold them.
_MAX_MM = 1e6


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: ``shape`` (3 numbers) and ``affine`` ``(4, 4)``, indices to mm, RAS+."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def three_axes(path: Path, shape: Sequence[int]) -> tuple[int, int, int]:
    """The three axes of a declared shape; those behind have to be of length 1.

    Raises:
        UserError: It has other axes, no voxel, or more than `MAX_VOXELS`.
    """
    shape = tuple(int(length) for length in shape)
    if len(shape) < 3:
        raise UserError(f"{path}: has {len(shape)} axes, a volume has 3; stack the slices first")
    if any(length != 1 for length in shape[3:]):
        raise UserError(
            f"{path}: has the shape {shape}, several channels or times; write the one that is "
            "meant to a file of its own"
        )
    if not 0 < math.prod(shape) <= MAX_VOXELS:
        raise UserError(f"{path}: declares the shape {shape}, 1 to {MAX_VOXELS} voxels are read")
    return shape[0], shape[1], shape[2]


def checked_grid(path: Path, shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    """A grid whose axes have lengths and three directions, near the scanner.

    Raises:
        UserError: The affine is degenerate.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    good = (np.abs(affine) < _MAX_MM).all() and (lengths > 1e-6).all() and (lengths < _MAX_MM).all()
    # The volume of a voxel, as a share of a box with its edges: 1 for right angles.
    if not good or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise UserError(
            f"{path}: its affine is degenerate (an axis without length or direction, or an origin "
            "a kilometre away); correct the header (of NIfTI the sform or qform)"
        )
    return Grid(shape, affine)


def placed(
    path: Path, shape: tuple[int, int, int], affine: np.ndarray
) -> tuple[Grid, nib.Nifti1Header]:
    """The grid of a volume that is no NIfTI, and the NIfTI header that places a mask like it.

    Axes of DICOM and ITK run to the patient's left, back and head (LPS), those of NIfTI to the
    right, front and head (RAS).

    Args:
        path: The volume, for a message.
        shape: The lengths of its axes.
        affine: ``(4, 4)``, indices to mm, LPS+; a header holds it as float32, and so does the grid.

    Raises:
        UserError: As for `checked_grid`.
    """
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    checked_grid(path, shape, affine)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    return Grid(shape, header.get_best_affine()), header
