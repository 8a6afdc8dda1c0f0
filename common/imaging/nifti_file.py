"""One NIfTI file to values that can be trusted: what it declares is what it holds.

A file may be cut, altered, or made to harm. Its declared sizes are compared with its bytes before
memory is taken, and every failure of nibabel becomes a `UserError` that names the file. Whether it
is compressed, and whether its voxels have a file of their own, is told by its bytes, not its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.arrayproxy import ArrayProxy

from common.base.errors import UserError
from common.imaging.foreign_files import foreign_content
from common.imaging.library_warnings import unprinted_warnings
from common.imaging.volume_grid import Grid, checked_grid, three_axes
from common.imaging.volume_names import NIFTI_SUFFIXES

# Deflate packs at most 1032 bytes into one (zlib's technical details).
_MAX_INFLATION = 1032
# Millimetres per unit of length of a header; an unknown unit is taken for millimetres.
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_GZIP = b"\x1f\x8b"
# Bytes that hold a header of either version.
_START = 544


class _Opened(NamedTuple):
    """A file whose header was read and held against its size.

    Attributes:
        path: The file that holds the voxels.
        content: It, inflated as it is read.
        is_packed: Whether it is compressed.
        header: The header, with the offset at which the voxels do lie.
        grid: Where they lie in the patient.
    """

    path: Path
    content: IO[bytes]
    is_packed: bool
    header: nib.Nifti1Header
    grid: Grid

    @property
    def declared_bytes(self) -> int:
        """The bytes of the content up to the end of its voxels, as declared."""
        return _declared_bytes(self.header)


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
    with _named(path), _open(path) as opened:
        content = BytesIO(_inflate(path, opened)) if opened.is_packed else opened.content
        values = np.asanyarray(ArrayProxy(content, opened.header, mmap=False))
        return values.reshape(opened.grid.shape), opened.grid, opened.header


def read_start(path: Path) -> tuple[Grid, np.ndarray]:
    """Read the beginning of a file, which takes less time than the whole of it.

    Args:
        path: As for `read_nifti`.

    Returns:
        The grid, and the values ``(i, j)`` of the first slice.

    Raises:
        UserError: As for `read_nifti`, as far as the file's beginning shows it.
    """
    with _named(path), _open(path) as opened:
        values = ArrayProxy(opened.content, opened.header, mmap=False)[:, :, 0]
        return opened.grid, np.asanyarray(values).reshape(opened.grid.shape[:2])


@contextmanager
def _open(path: Path) -> Iterator[_Opened]:
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        raise UserError(f"{path}: not a NIfTI file; expected {', '.join(NIFTI_SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    voxels = path
    with _content(path) as (content, _):
        start = content.read(_START)
        kind = _kind(start)
        if kind is None and path.suffix.lower() == ".img":
            with _content(_beside(path, ".hdr")) as (content, _):
                start = content.read(_START)
                kind = _kind(start)
        if kind is None:
            what, mend = foreign_content(start)
            problem = f": it is {what}; {mend}" if what else "; fetch it again or leave it out"
            raise UserError(f"{path}: not readable as NIfTI{problem}")
        header = kind(start[: kind.sizeof_hdr], check=False)
        if header["magic"].item() != kind.single_magic:
            voxels = _beside(path, ".img")
        elif header["vox_offset"] == 0:
            header["vox_offset"] = _end_of_extensions(content, header)
        elif header["vox_offset"] < kind.single_vox_offset:
            place = f"{header['vox_offset']:g}"
            raise UserError(
                f"{path}: its voxels begin at {place} (vox_offset), in its header; write it again"
            )
        header.check_fix()
    with _content(voxels) as (content, is_packed):
        shape = _check(path, header, voxels.stat().st_size, is_packed)
        unit = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
        affine = np.diag([unit, unit, unit, 1.0]) @ header.get_best_affine()
        grid = checked_grid(path, shape, affine)
        yield _Opened(voxels, content, is_packed, header, grid)


@contextmanager
def _content(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """A file, inflated as it is read where it is compressed, and whether it is."""
    with open(path, "rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        yield (cast(IO[bytes], igzip.IGzipFile(fileobj=file)) if is_packed else file), is_packed


def _kind(start: bytes) -> type[nib.Nifti1Header] | None:
    """The class of the header that a content begins with, None if it begins with none."""
    kinds: tuple[type[nib.Nifti1Header], ...] = (nib.Nifti1Header, nib.Nifti2Header)
    return next((kind for kind in kinds if kind.may_contain_header(start)), None)


def _beside(path: Path, suffix: str) -> Path:
    """The other file of a pair, in capitals where this one is."""
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def _end_of_extensions(content: IO[bytes], header: nib.Nifti1Header) -> int:
    """Where the voxels lie that a header leaves at 0: behind it and its extensions."""
    content.seek(header.sizeof_hdr)
    place = header.sizeof_hdr + 4
    if content.read(4)[:1] > b"\0":
        order: Literal["little", "big"] = "little" if header.endianness == "<" else "big"
        # Of an extension: its size, a multiple of 16, and its code, one of some 50.
        while len(lengths := content.read(8)) == 8:
            size = int.from_bytes(lengths[:4], order)
            if size < 16 or size % 16 or int.from_bytes(lengths[4:], order) > 100:
                break
            place += size
            content.seek(place)
    return place


def _check(
    path: Path, header: nib.Nifti1Header, size: int, is_packed: bool
) -> tuple[int, int, int]:
    """Compare what a header declares with the file, before memory is taken; the 3-D shape."""
    dtype = header.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise UserError(f"{path}: its voxels are colours or complex numbers; convert it to grey")
    shape = three_axes(path, header.get_data_shape())
    needed = _declared_bytes(header)
    if needed > size * (_MAX_INFLATION if is_packed else 1):
        raise UserError(f"{path}: cut short, it declares {needed} bytes; fetch it again")
    return shape


def _declared_bytes(header: nib.Nifti1Header) -> int:
    count: int = math.prod(header.get_data_shape())
    return int(header.get_data_offset()) + count * int(header.get_data_dtype().itemsize)


def _inflate(path: Path, opened: _Opened) -> bytes:
    """The whole of a gzip file, so that its checksum is verified."""
    limit = opened.declared_bytes + (1 << 24)  # little or nothing follows the voxels
    # The first member in one go, which is faster; the others in time linear in their number.
    member = isal_zlib.decompressobj(wbits=31)
    content: bytes = member.decompress(opened.path.read_bytes(), limit)
    if len(content) < limit and not member.eof:
        raise EOFError
    if rest := member.unused_data.lstrip(b"\0"):
        content += igzip.IGzipFile(fileobj=BytesIO(rest)).read(limit - len(content))
    if len(content) >= limit:
        raise UserError(f"{path}: holds more than its header declares; fetch it again")
    return content


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any failure of a library into one that names the file."""
    try:
        with unprinted_warnings():
            yield
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions") from None
    except FileNotFoundError:
        raise UserError(f"{path}: its .img or .hdr is not next to it; fetch both") from None
    except (EOFError, OSError, isal_zlib.error):  # type: ignore[misc]  # a class, whatever its stub says
        raise UserError(f"{path}: cut short or damaged; fetch it again") from None
    except Exception as error:
        problem = f"not readable as NIfTI ({type(error).__name__})"
        raise UserError(f"{path}: {problem}; fetch it again or leave it out") from None
