"""One NIfTI file to values that can be trusted: what it declares is what it holds.

A file may be cut, altered, or made to harm. Its declared sizes are compared with its bytes before
memory is taken, and every failure of nibabel becomes a `UserError` that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel import imageglobals
from nibabel.arrayproxy import ArrayProxy

from common.base.errors import UserError
from common.imaging.nifti_names import SUFFIXES

MAX_VOXELS = 1 << 28
"""512 x 512 x 1024, one GiB of float32: a header that declares more is refused."""

# Deflate packs at most 1032 bytes into one (zlib's technical details).
_MAX_INFLATION = 1032
# Millimetres per unit of length of a header; an unknown unit is taken for millimetres.
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: ``shape`` (3 numbers) and ``affine`` ``(4, 4)``, indices to mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def read_nifti(path: Path) -> tuple[np.ndarray, Grid, nib.Nifti1Header]:
    """Read a whole file.

    Args:
        path: `.nii`, `.nii.gz`, or `.hdr` with `.img`.

    Returns:
        The values ``(i, j, k)`` in the file's own order, their grid in mm, and the header.

    Raises:
        UserError: The file is not there, is no NIfTI, is damaged or declares what it does not
            hold; it has no three axes, or colours; its affine is degenerate.
    """
    with _named(path):
        image, grid = _open(path)
        if path.name.lower().endswith(".gz"):
            image = type(cast(nib.Nifti1Image, image)).from_bytes(_inflate(path, image))
        return np.asanyarray(image.dataobj).reshape(grid.shape), grid, image.header


def read_start(path: Path) -> tuple[Grid, np.ndarray]:
    """Read the beginning of a file, which takes less time than the whole of it.

    Args:
        path: As for `read_nifti`.

    Returns:
        The grid, and the values ``(i, j)`` of the first slice.

    Raises:
        UserError: As for `read_nifti`, as far as the file's beginning shows it.
    """
    with _named(path):
        image, grid = _open(path)
        return grid, np.asanyarray(image.dataobj[:, :, 0]).reshape(grid.shape[:2])


def _open(path: Path) -> tuple[nib.Nifti1Pair, Grid]:
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"{path}: not a NIfTI file; expected {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    image = nib.load(path, mmap=False)
    if not isinstance(image, (nib.Nifti1Pair, nib.Nifti2Pair)):
        raise UserError(f"{path}: not a NIfTI file; convert it to .nii.gz")
    shape = _check(path, image)
    unit = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ image.affine
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    good = np.isfinite(affine).all() and (lengths > 1e-6).all() and (lengths < 1e6).all()
    # The volume of a voxel, as a share of a box with its edges: 1 for right angles.
    if not good or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise UserError(
            f"{path}: its affine is degenerate (an axis without length or direction); correct its "
            "sform or qform"
        )
    return image, Grid(shape, affine)


def _check(path: Path, image: nib.Nifti1Pair) -> tuple[int, int, int]:
    """Compare what a header declares with the file, before memory is taken; the 3-D shape."""
    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise UserError(f"{path}: its voxels are colours or complex numbers; convert it to grey")
    if len(shape) < 3:
        raise UserError(f"{path}: has {len(shape)} axes, a volume has 3; stack the slices first")
    if any(length != 1 for length in shape[3:]):
        raise UserError(
            f"{path}: has the shape {shape}, several channels or times; write the one that is "
            "meant to a file of its own"
        )
    count = math.prod(shape)
    if not 0 < count <= MAX_VOXELS:
        raise UserError(f"{path}: declares the shape {shape}, 1 to {MAX_VOXELS} voxels are read")
    compressed = path.name.lower().endswith(".gz")
    size = Path(str(image.file_map["image"].filename)).stat().st_size
    needed = _declared_bytes(image)
    if needed > size * (_MAX_INFLATION if compressed else 1):
        raise UserError(f"{path}: cut short, it declares {needed} bytes; fetch it again")
    return shape[0], shape[1], shape[2]


def _declared_bytes(image: nib.Nifti1Pair) -> int:
    """What a header declares: the bytes of the content up to the end of its voxels."""
    voxels = cast(ArrayProxy, image.dataobj)
    return int(voxels.offset) + math.prod(image.shape) * int(image.get_data_dtype().itemsize)


def _inflate(path: Path, image: nib.Nifti1Pair) -> bytes:
    """The whole of a gzip file, so that its checksum is verified; in one go, which is faster."""
    limit = _declared_bytes(image) + (1 << 24)  # little or nothing follows the voxels
    content, rest = b"", path.read_bytes()
    while rest:
        member = isal_zlib.decompressobj(wbits=31)
        content += member.decompress(rest, limit - len(content))
        if len(content) >= limit:
            raise UserError(f"{path}: holds more than its header declares; fetch it again")
        if not member.eof:
            raise EOFError
        rest = member.unused_data.lstrip(b"\0")
    return content


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any failure of a library into one that names the file."""
    # nibabel logs what it corrects in a header; its own suppressor leaves Python's last resort.
    before, imageglobals.logger.disabled = imageglobals.logger.disabled, True
    try:
        yield
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions") from None
    except FileNotFoundError:
        raise UserError(f"{path}: its .img or .hdr is not beside it; fetch both") from None
    except (EOFError, OSError, isal_zlib.error):  # type: ignore[misc]  # a class, whatever its stub says
        raise UserError(f"{path}: cut short or damaged; fetch it again") from None
    except Exception as error:
        problem = f"not readable as NIfTI ({type(error).__name__})"
        raise UserError(f"{path}: {problem}; fetch it again or leave it out") from None
    finally:
        imageglobals.logger.disabled = before
