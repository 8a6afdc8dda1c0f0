"""Every test file of pydicom and nibabel: read as the library itself reads it, or why not.

python -m tests.tools.bundled
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from common.base.errors import UserError
from common.imaging.dicom import read_radiograph
from common.imaging.volumes import read_volume
from tests.helpers.fixtures import quiet

_PYDICOM = Path(pydicom.__file__).parent / "data"
_NIBABEL = Path(nib.__file__).parent
_LUMINANCE = (0.299, 0.587, 0.114)


def _files(*folders: Path) -> list[Path]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if path.suffix not in (".py", ".pyc"))


DICOM = _files(*(_PYDICOM / name for name in ("test_files", "charset_files", "palettes")))
"""What pydicom's `get_testdata_files`, `get_charset_files` and `get_palette_files` draw on."""

NIFTI = _files(*_NIBABEL.rglob("tests/data"))
"""Every test file of nibabel, of whatever format."""


@quiet()
def picture(path: Path) -> np.ndarray | None:
    """What pydicom makes of a DICOM file.

    Returns:
        ``(rows, columns)`` float, 0 to 255, high is radiodense; NaN where there is padding. None
        where pydicom gives no pixels, or those of several frames.
    """
    try:
        dataset = pydicom.dcmread(path, force=True)
        # The Y of YBR_FULL is the luminance (PS3.3 C.7.6.3.1.2): by way of RGB some of it is cut.
        is_ybr = str(dataset.get("PhotometricInterpretation")).startswith("YBR_FULL")
        stored = pixel_array(dataset, raw=is_ybr)
    except Exception:
        return None
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        return None
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        full = np.iinfo(stored.dtype).max
        if is_ybr:
            return stored[..., 0].astype(float) * 255 / full
        return stored[..., :3] @ np.array(_LUMINANCE) * 255 / full
    display = apply_modality_lut(stored, dataset).astype(float)
    padding = dataset.get("PixelPaddingValue")
    visible = stored != padding if padding is not None else np.ones(stored.shape, bool)
    if dataset.get("WindowCenter") is not None:
        # pydicom brings a window to the range of the stored values, rescaled (PS3.3 C.11.2.1.2).
        low, high = _range(dataset)
        low, high = (apply_modality_lut(np.array(end), dataset) for end in (low, high))
        display = apply_voi_lut(display, dataset)
    elif dataset.BitsStored <= 8:
        low, high = _range(dataset)
    else:
        low, high = display[visible].min(), display[visible].max()
    display = (display - low) / (high - low) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        display = 255 - display
    return np.where(visible, display, np.nan)


def _range(dataset: pydicom.Dataset) -> tuple[float, float]:
    if dataset.PixelRepresentation:
        return -(2.0 ** (dataset.BitsStored - 1)), 2.0 ** (dataset.BitsStored - 1) - 1
    return 0.0, 2.0**dataset.BitsStored - 1


@quiet()
def volume(path: Path) -> np.ndarray | None:
    """What nibabel makes of a NIfTI file, closest to RAS+; None where it is no grey volume."""
    try:
        image = nib.load(path)
        if not isinstance(image, (nib.Nifti1Pair, nib.Nifti2Pair)) or len(image.shape) != 3:
            return None
        return nib.as_closest_canonical(image).get_fdata()
    except Exception:
        return None


@quiet()
def as_dicom(path: Path) -> str:
    """How this repository reads a file: "read", or the reason of its refusal."""
    try:
        pixels = read_radiograph(path).pixels
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    expected = picture(path)
    # Half a grey level is the rounding to whole ones.
    right = np.nan_to_num(np.abs(pixels - expected)).max() <= 0.501
    return "read" if right and not pixels[np.isnan(expected)].any() else "read wrongly"


@quiet()
def as_nifti(path: Path) -> str:
    """The same of a NIfTI file."""
    try:
        voxels = read_volume(path).voxels
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    expected = volume(path).astype(np.float32)
    # What is no number gets a value, and a doubt.
    same = np.isfinite(voxels).all() and (voxels == expected)[np.isfinite(expected)].all()
    return "read" if same else "read wrongly"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for name, files, outcome in (("pydicom", DICOM, as_dicom), ("nibabel", NIFTI, as_nifti)):
        outcomes = [outcome(path) for path in files]
        print(f"\n{len(files)} test files of {name}:")
        for result, count in Counter(outcomes).most_common():
            print(f"  {count:>4}  {result}")
        for path, result in zip(files, outcomes, strict=True):
            root = _PYDICOM if name == "pydicom" else _NIBABEL
            print(f"  {path.relative_to(root)}: {result}")


if __name__ == "__main__":
    main()
