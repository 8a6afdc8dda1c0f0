"""One NRRD or MetaImage file to values that can be trusted, by SimpleITK, which is an extra.

ITK's axes are DICOM's, LPS; `volume_grid.placed` turns them to RAS.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import isal_zlib

from common.base.errors import NotInstalledError, UserError
from common.imaging.foreign_files import foreign_content
from common.imaging.volume_grid import Grid, placed, three_axes

# A header ends well before; what follows is the voxels, where they are in the same file.
_START = 1 << 14
# A text header to its end, whether its voxels are compressed, and the file that holds them.
_HEADER = re.compile(
    rb"NRRD000\d.*?(\r?\n\r?\n|\Z)|(?=.*^\s*NDims\s*=).*?^ElementDataFile\s*=[^\n]*(\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_PACKED = re.compile(rb"^(encoding:\s*(gz|bz)|CompressedData\s*=\s*True)", re.M | re.I)
_TEXT = re.compile(rb"^(encoding:\s*(te?xt|ascii|hex)|BinaryData\s*=\s*False)", re.M | re.I)
_AXES = re.compile(rb"^\s*(?:dimension:|NDims\s*=)[ \t]*([^\r\n]*)", re.M | re.I)
_FILE = re.compile(rb"^(?:data ?file:|ElementDataFile\s*=)[ \t]*([^\r\n]+)", re.M | re.I)


def read_itk(path: Path) -> tuple[np.ndarray, Grid, nib.Nifti1Header]:
    """Read a whole file.

    Args:
        path: `.nrrd`, `.mha`, or `.mhd` with the file that it names.

    Returns:
        The values ``(i, j, k)`` in the file's own order, their grid in RAS+ mm, and a NIfTI header
        of that grid.

    Raises:
        NotInstalledError: SimpleITK is not installed.
        UserError: The file is not there, is another, is damaged or declares what it does not hold;
            it has no three axes, or colours.
    """
    try:
        import SimpleITK as sitk
    except ModuleNotFoundError:
        raise NotInstalledError(
            f"{path}: SimpleITK, which reads {path.suffix}, is not installed; "
            'pip install -e ".[volumes]" in this repository, or convert it to .nii.gz'
        ) from None
    try:
        voxels, start, is_packed = _place_of_voxels(path)
        reader = sitk.ImageFileReader()
        # By name: ITK's own choice knows no names in capitals.
        reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1:
            raise UserError(f"{path}: its voxels are colours or vectors; convert it to grey")
        shape = three_axes(path, reader.GetSize())
        item_bytes = sitk.Image([1] * 3, reader.GetPixelID()).GetSizeOfPixelComponent()
        needed = math.prod(shape) * item_bytes
        _check_voxels(path, voxels, start, is_packed, needed)
        image = reader.Execute()
        values = sitk.GetArrayFromImage(image).T.reshape(shape, order="F")
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions") from None
    except Exception:
        # What ITK says quotes the machine's folders.
        raise UserError(f"{path}: cut short, damaged or unknown; fetch it again") from None
    if values.dtype.kind not in "iuf":
        raise UserError(f"{path}: its voxels are complex numbers; convert it to grey")
    axes = len(image.GetSize())
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (axes, axes))[:3, :3] @ np.diag(
        image.GetSpacing()[:3]
    )
    affine[:3, 3] = image.GetOrigin()[:3]
    return values, *placed(path, shape, affine)


def _place_of_voxels(path: Path) -> tuple[Path, int, bool]:
    """The file that holds the voxels, where in it they begin, and whether they are compressed.

    Raises:
        UserError: The file is not there, is another or text; the one that it names is not there.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    with open(path, "rb") as file:
        start = file.read(_START)
    header = _HEADER.match(start)
    if header is None:
        what, mend = foreign_content(start[:500])
        problem = f": it is {what}; {mend}" if what else "; fetch it again or leave it out"
        raise UserError(f"{path}: not readable as {path.suffix}{problem}")
    # MetaIO ends the process on others: "NDims = 65535".
    if not all(re.fullmatch(rb"[1-9]\s*", axes) for axes in _AXES.findall(header[0])):
        raise UserError(f"{path}: declares no number of axes, or over 9; fetch it again")
    if _TEXT.search(header[0]):
        raise UserError(f"{path}: its voxels are written as text; write it again as binary")
    is_packed, match = bool(_PACKED.search(header[0])), _FILE.search(header[0])
    name = match[1].decode("utf-8", "replace").strip() if match else "LOCAL"
    if name.upper().startswith("LIST") or "%" in name:
        raise UserError(f"{path}: its voxels are in several files; write it again as one")
    if name.upper() == "LOCAL":
        return path, header.end(), is_packed
    if not (path.parent / name).is_file():
        raise UserError(f"{path}: its voxels, {name}, are not next to it; fetch both")
    return path.parent / name, 0, is_packed


def _check_voxels(path: Path, voxels: Path, start: int, is_packed: bool, needed: int) -> None:
    """Hold voxels against their declared size, and compressed ones against their checksum.

    ITK looks at neither: of a damaged file it reads what it can, and the rest is what was there.
    """
    if not is_packed:
        stored = voxels.stat().st_size - start
    else:
        content = voxels.read_bytes()[start:]
        member = isal_zlib.decompressobj(wbits=31 if content[:2] == b"\x1f\x8b" else 15)
        stored = len(member.decompress(content, needed))
        while not member.eof and member.decompress(member.unconsumed_tail, 1 << 16):
            pass
        stored = stored if member.eof else 0
    if stored < needed:
        raise UserError(f"{path}: cut short, it declares {needed} bytes of voxels; fetch it again")
