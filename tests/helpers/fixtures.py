"""DICOM and NIfTI files that tests make on the spot, and the real data where it is there."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

from tests.helpers import needs

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def real_data(name: str) -> Path:
    """A folder of the real data; skips the test where it is absent."""
    if not (REAL_DATA / name).is_dir():
        needs.other_machine(f"the real data {name} is not beside the repository")
    return REAL_DATA / name


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns of what a test writes wrong on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def jpeg_bytes(pixels: np.ndarray, **options) -> bytes:
    """A grey image as JPEG Baseline."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def soft_image(rows: int = 40, columns: int = 56) -> np.ndarray:
    """Smooth uint8 content that differs in every direction, 0 and 255 included."""
    y, x = np.mgrid[:rows, :columns]
    image = 128 + 80 * np.sin(x / 9) + 60 * np.cos(y / 7 + x / 30)
    return np.clip(image, 0, 255).astype(np.uint8)


@quiet()
def write_dicom(
    path: Path,
    pixels: np.ndarray,
    syntax: str = uid.ExplicitVRLittleEndian,
    photometric: str = "MONOCHROME2",
    bits: int | None = None,
    jpeg: bytes | None = None,
    bare: bool = False,
    **elements,
) -> Path:
    """Write ``(rows, columns)`` or ``(rows, columns, 3)`` pixels; with ``jpeg``, these bytes.

    ``elements`` are set last, by keyword; None takes an element away. ``bare`` leaves preamble and
    file meta out.
    """
    dataset = Dataset()
    dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientID = "Q-1"
    dataset.PatientName = "Recognisable^Person"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    syntax = uid.UID(uid.JPEGBaseline8Bit if jpeg else syntax)
    little = syntax.is_little_endian
    stored = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    dataset.PixelData = encapsulate([jpeg]) if jpeg else stored + b"\0" * (len(stored) % 2)
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for name, value in elements.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    if bare:
        dataset.save_as(
            path, implicit_vr=syntax.is_implicit_VR, little_endian=little, enforce_file_format=False
        )
        return path
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_nifti(
    path: Path, values: np.ndarray, affine: np.ndarray | None = None, kind=nib.Nifti1Image
) -> Path:
    """Write an array with its affine as sform and qform."""
    kind(values, np.eye(4) if affine is None else affine).to_filename(path)
    return path
