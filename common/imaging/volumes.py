"""One volume to canonical order, and a mask back to the input's own grid.

Canonical is nibabel's "closest to RAS+": axis 0 runs to the patient's right, 1 to the front, 2 to
the head, as nearly as flips and swaps of axes allow (no voxel is interpolated). The affine takes
voxel indices, whole numbers at voxel centres, to millimetres: the sform if its code is above 0,
else the qform if its code is, else pixdim alone with x to the left (nibabel's ``get_best_affine``).

A grid covers its voxels to their outer edges: ``n`` voxels of index -0.5 to ``n - 0.5``.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

from common.base.errors import UnusableError, UserError
from common.base.files import write_bytes
from common.imaging.grids import resample, resample_labels
from common.imaging.volume_files import read_file
from common.imaging.volume_grid import Grid

GRID_TOLERANCE = 0.01
"""Two grids are equal if no corner voxel's centre is further off than this share of a voxel."""

# The fields of a header that describe the grid; no other is copied (descriptions, file names).
_GRID_FIELDS = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
    "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in canonical order, and the way back to the input's own.

    Attributes:
        path: The file.
        voxels: ``(x, y, z)`` float32, RAS+ as the module says, scaled by scl_slope and scl_inter;
            in memory the axes keep the order of the file.
        affine: ``(4, 4)``, canonical indices to mm.
        spacing_mm: Distance of voxels along x, y, z.
        original: The input's own grid.
        orientation: ``(3, 2)``, nibabel's orientation of the input's axes.
        grid_header: A NIfTI header's bytes, with the input's grid and nothing else: for
            `write_mask`, also where the input is not available.
        doubt: What is odd in a volume that can be used, in words; "" for nothing.
    """

    path: Path
    voxels: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    original: Grid
    orientation: np.ndarray
    grid_header: bytes
    doubt: str = ""


def read_volume(path: Path) -> Volume:
    """Read an image of any of the formats.

    Args:
        path: `.nii`, `.nii.gz` or `.hdr` with `.img`, NIfTI-1 or 2, either byte order; `.nrrd`,
            `.mha` or `.mhd`, where SimpleITK is installed (the extra ``volumes``); or a folder with
            the DICOM slices of one series. A fourth axis of length 1 is dropped.

    Returns:
        The volume; see `Volume`. A voxel that is NaN or beyond float32 has the value of the least
        that is a number, or of the greatest in place of +infinity, and `Volume.doubt` says so.

    Raises:
        UserError: The file is not there, is no volume or is damaged; it has two axes, several
            channels, or colours; its affine is degenerate; no voxel is a number. Of a series, a
            slice is missing, or of another series.
    """
    path = Path(path)
    values, grid, header = read_file(path)
    orientation = orientations.io_orientation(grid.affine)
    with np.errstate(over="ignore", invalid="ignore"):  # float64 beyond float32, and loud NaN
        voxels = orientations.apply_orientation(values, orientation).astype(np.float32, "K")
    doubt = _made_finite(path, voxels) if values.dtype.kind == "f" else ""
    affine = grid.affine @ orientations.inv_ornt_aff(orientation, grid.shape)
    return Volume(
        path=path,
        voxels=voxels,
        affine=affine,
        spacing_mm=_spacing_mm(affine),
        original=grid,
        orientation=orientation,
        grid_header=_grid_header(header, grid.shape),
        doubt=doubt,
    )


def _made_finite(path: Path, voxels: np.ndarray) -> str:
    """Give voxels that are no numbers a value, in place; what was done, "" for nothing."""
    finite = np.isfinite(voxels)
    if finite.all():
        return ""
    numbers = voxels[finite]
    if not numbers.size:
        raise UnusableError(
            f"{path}: all its voxels are NaN or infinite; export it again", "NaN or infinite"
        )
    low, high = float(numbers.min()), float(numbers.max())
    np.nan_to_num(voxels, copy=False, nan=low, posinf=high, neginf=low)
    count = f"{voxels.size - numbers.size} of {voxels.size} voxels"
    return f"{count} are NaN or infinite; taken for its least or greatest value"


def read_mask(path: Path, like: Volume, labels: Mapping[int, str] | None = None) -> np.ndarray:
    """Read the mask of a volume.

    Args:
        path: The mask's file; its axes may be in another order than the image's.
        like: The volume; the mask must lie on its grid, to `GRID_TOLERANCE` of a voxel.
        labels: The values that may occur, with their names; None for any of 0 to 255.

    Returns:
        ``like.voxels.shape`` uint8, canonical.

    Raises:
        UserError: As for `read_volume`; or the mask lies on another grid (shape, spacing,
            direction or origin), or holds a value that is no whole number, or is not in ``labels``.
    """
    path = Path(path)
    values, grid, _ = read_file(path)
    if grid.shape == like.original.shape and _offset(grid.affine, like.original) <= GRID_TOLERANCE:
        orientation = like.orientation
    else:
        orientation = orientations.io_orientation(grid.affine)
    affine = grid.affine @ orientations.inv_ornt_aff(orientation, grid.shape)
    values = orientations.apply_orientation(values, orientation)
    _check_same_grid(path, Grid(values.shape, affine), like)
    known = np.isin(np.arange(256), range(256) if labels is None else list(labels))
    if values.dtype == np.uint8 and (known[: int(values.max()) + 1].all() or known[values].all()):
        return np.asarray(values.copy("K"))
    # A mask saved with scl_slope has 255 x 0.003921569 for 1.
    present = np.unique(values).astype(float)
    whole = np.where(np.abs(present - np.rint(present)) < 1e-4, np.rint(present), present)
    unknown = present[~np.isin(whole, list(labels if labels is not None else range(256)))]
    if unknown.size:
        names = ", ".join(f"{value:g}" for value in unknown[:5])
        more = f" and {unknown.size - 5} more" if unknown.size > 5 else ""
        allowed = ", ".join(str(label) for label in sorted(labels)) if labels else "0 to 255"
        raise UnusableError(
            f"{path}: holds the values {names}{more}, its labels are {allowed}; correct the mask "
            "or the dataset's labels",
            "mask values",
        )
    return np.asarray(np.rint(values).astype(np.uint8))


# ---- Between grids


def resample_volume(
    volume: Volume, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Bring a volume to a working spacing.

    The extent is kept to its edges in a whole number of voxels, so the new spacing is only near
    ``spacing_mm``; the returned affine has it exactly.

    Args:
        volume: The volume.
        spacing_mm: The wanted spacing along x, y, z.

    Returns:
        The array ``(x, y, z)`` and its affine ``(4, 4)``.
    """
    shape, affine = _grid_at(volume, spacing_mm)
    return resample(volume.voxels, shape), affine


def resample_mask(
    mask: np.ndarray, volume: Volume, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Bring a volume's mask to the grid of `resample_volume`, by `resample_labels`.

    Args:
        mask: ``volume.voxels.shape`` uint8.
        volume: The volume.
        spacing_mm: As in `resample_volume`.

    Returns:
        The mask ``(x, y, z)`` uint8 and its affine ``(4, 4)``.
    """
    shape, affine = _grid_at(volume, spacing_mm)
    return resample_labels(mask, shape), affine


def write_mask(path: Path, mask_canonical: np.ndarray, grid_header: bytes) -> None:
    """Write a mask in the input's own grid: its order of axes, affine, sform and qform codes.

    Nothing else of the input's header is written: no description, no file name, no extension.

    Args:
        path: Ends in `.nii` or `.nii.gz`; written whole or not at all, the same bytes each time.
        mask_canonical: 0 to 255, of the volume's canonical shape.
        grid_header: `Volume.grid_header` of the volume.

    Raises:
        UserError: The suffix is neither of the two.
        ValueError: The mask has another shape than the volume.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: a mask is written as .nii or .nii.gz; name it so")
    image_class = _image_class(grid_header)
    header = image_class.header_class(grid_header)
    mask = in_file_order(mask_canonical, grid_header)
    # Without the affine nibabel takes the codes and the two forms from the header as they are.
    content = image_class(np.ascontiguousarray(mask), None, header).to_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    write_bytes(path, content)


def in_file_order(mask_canonical: np.ndarray, grid_header: bytes) -> np.ndarray:
    """A mask (x, y, z) in the order of the input's own axes, (i, j, k) uint8.

    Args:
        mask_canonical: 0 to 255, of the volume's canonical shape.
        grid_header: `Volume.grid_header` of the volume.

    Raises:
        ValueError: The mask has another shape than the volume.
    """
    header = _image_class(grid_header).header_class(grid_header)
    orientation = orientations.io_orientation(header.get_best_affine())
    back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientation)
    mask = orientations.apply_orientation(np.asarray(mask_canonical).astype(np.uint8), back)
    if mask.shape != header.get_data_shape():
        raise ValueError(
            f"the mask must have the volume's shape, {header.get_data_shape()} in the order of its "
            f"file. Received: {mask.shape}"
        )
    return np.asarray(mask)


def _image_class(grid_header: bytes) -> type[nib.Nifti1Image]:
    is_nifti2 = len(grid_header) == nib.Nifti2Header.template_dtype.itemsize
    return nib.Nifti2Image if is_nifti2 else nib.Nifti1Image


def _grid_header(header: nib.Nifti1Header, shape: tuple[int, int, int]) -> bytes:
    is_nifti2 = isinstance(header, nib.Nifti2Header)
    clean: nib.Nifti1Header = nib.Nifti2Header() if is_nifti2 else nib.Nifti1Header()
    clean.set_data_dtype(np.uint8)
    clean.set_data_shape(shape)
    for name in _GRID_FIELDS:
        clean[name] = header[name]
    clean["pixdim"][:4] = header["pixdim"][:4]
    return bytes(clean.binaryblock)


# ---- Geometry


def _check_same_grid(path: Path, grid: Grid, like: Volume) -> None:
    if tuple(grid.shape) == like.voxels.shape:
        image = Grid(like.voxels.shape, like.affine)
        if _offset(grid.affine, image) <= GRID_TOLERANCE:
            return
        difference = _difference(grid.affine, like.affine)
    else:
        difference = f"shape {tuple(grid.shape)}, not {like.voxels.shape}"
    raise UnusableError(
        f"{path}: does not lie on the grid of {like.path}: {difference}", "mask on another grid"
    )


def _difference(affine: np.ndarray, reference: np.ndarray) -> str:
    """In words, how an affine differs from the reference."""
    spacing, expected = np.array(_spacing_mm(affine)), np.array(_spacing_mm(reference))
    if not np.allclose(spacing, expected, rtol=1e-3):
        return f"spacing {np.round(spacing, 4)} mm, not {np.round(expected, 4)} mm"
    if not np.allclose(affine[:3, :3] / spacing, reference[:3, :3] / expected, atol=1e-3):
        return "its axes have another direction"
    return f"origin {np.round(affine[:3, 3], 3)} mm, not {np.round(reference[:3, 3], 3)} mm"


def _offset(affine: np.ndarray, grid: Grid) -> float:
    """The largest distance of two corner voxels, as a share of the smallest spacing."""
    corners = np.array(np.meshgrid(*[(0, length - 1) for length in grid.shape], [1])).reshape(4, -1)
    offsets_mm = ((affine - grid.affine) @ corners)[:3]
    return float(np.sqrt((offsets_mm**2).sum(axis=0)).max() / min(_spacing_mm(grid.affine)))


def _spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def _grid_at(
    volume: Volume, spacing_mm: tuple[float, float, float]
) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of a grid of this spacing over the volume's extent, and its affine."""
    shape = tuple(
        max(1, round(length * old / new))
        for length, old, new in zip(volume.voxels.shape, volume.spacing_mm, spacing_mm, strict=True)
    )
    scale = np.array(volume.voxels.shape) / np.array(shape)
    step = np.diag([*scale, 1.0])
    step[:3, 3] = (scale - 1) / 2
    return shape, volume.affine @ step
