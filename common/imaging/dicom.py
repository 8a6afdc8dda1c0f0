"""One DICOM file to the picture that its maker meant, by the standard.

The order is that of PS3.4 N.2.1: modality LUT or rescale (PS3.3 C.11.1), then VOI LUT or window
(C.11.2), then 0 to 255, and MONOCHROME1 inverted last (C.7.6.3.1.2), so that in every picture
high is radiodense. Overlays and presentation states are not drawn.

Only the elements named here are read: a name, a birth date or an accession number never comes
into memory. The one that identifies, ``Header.patient``, groups cases and must never be written.
No message quotes an element's value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.tag import Tag

from common.base.errors import UserError
from common.imaging.dicom_file import GREY, bare_jpeg, check, named, parse, quiet, text

# Rec. 601, the Y of YBR_FULL (C.7.6.3.1.2).
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
# The defined terms of C.8.1.1.4.
_VIEWS = ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO")

_HEADER_TAGS = [
    *map(Tag, ("Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "PatientID")),
    *map(Tag, ("PatientSex", "PatientAge", "ViewPosition", "SeriesDescription")),
]
# Packages that read further transfer syntaxes. They are not requirements: libjpeg is under the GPL.
# Not python-gdcm, which reads much of this too: it ends the process on some damaged files.
_FURTHER_DECODERS = {
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(uid.JPEG2000TransferSyntaxes, "pylibjpeg pylibjpeg-openjpeg"),
    **dict.fromkeys(uid.JPEGTransferSyntaxes[1:], "pylibjpeg pylibjpeg-libjpeg"),
}
PIXEL_TAGS = [
    *(Tag(number) for number in DicomDictionary if number >> 16 == 0x0028),
    *map(Tag, ("ImagerPixelSpacing", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")),
    Tag("PixelData"),
]
"""The elements that a picture needs: group 0028, which describes the pixels, and the pixels."""

# Elements that change grey values between the file and the screen.
_CHANGING = [
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "PixelPaddingValue"),
]


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A picture for display.

    Attributes:
        pixels: ``(rows, columns)`` uint8, 0 to 255, high is radiodense (bone is bright).
        spacing_mm: Distance of rows, then of columns: PixelSpacing, else ImagerPixelSpacing, which
            a projection magnifies (PS3.3 10.7.1.3); None if absent.
        jpeg: The frame's own JPEG Baseline bytes if decoding them gives exactly ``pixels``,
            else None. Comments and application segments, which may hold text, are left out.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    jpeg: bytes | None


@dataclass(frozen=True)
class Header:
    """What a table of cases needs from a file, read without its pixels.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        patient: PatientID, "" if absent. It identifies: group by it, never write it.
        view: ViewPosition ("PA", "AP", "LL", ...), else that of a SeriesDescription "view: PA", as
            the challenge has it; "" if neither is a defined term.
        sex: "F", "M", or "" for anything else.
        age_years: 0 to 120, NaN if absent or impossible. Known forms: "062Y", "18M", "3W", "5D"
            and the challenge's "62".
        spacing_mm: As in `Radiograph`.
    """

    rows: int
    columns: int
    patient: str = field(repr=False)
    view: str
    sex: str
    age_years: float
    spacing_mm: tuple[float, float] | None


def read_header(path: Path) -> Header:
    """Read a DICOM file, with or without preamble and file meta (PS3.10 7.1), up to its pixels.

    Raises:
        UserError: The file is not there, is no DICOM image, or can't be parsed.
    """
    path = Path(path)
    with quiet(), named(path, "its header can't be read"):
        dataset = parse(path, _HEADER_TAGS, stop_before_pixels=True)
        match = re.search(r"\bVIEW:\s*([A-Z]+)", text(dataset, "SeriesDescription").upper())
        views = (text(dataset, "ViewPosition").upper(), match[1] if match else "")
        sex = text(dataset, "PatientSex").upper()
        return Header(
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            patient=text(dataset, "PatientID"),
            view=next((view for view in views if view in _VIEWS), ""),
            sex=sex if sex in ("F", "M") else "",
            age_years=_age_years(text(dataset, "PatientAge")),
            spacing_mm=_spacing_mm(dataset),
        )


def read_radiograph(path: Path) -> Radiograph:
    """Read a DICOM file of one frame to the picture for display.

    Grey: modality, VOI, scaling and inversion in the order of this module's docstring; the first of
    several windows, a VOI LUT before a window. Without either the displayed range is that of
    BitsStored for data of up to 8 bits (8-bit pixels pass unchanged), else from the least to the
    greatest value that is not padding. Pixels from PixelPaddingValue to PixelPaddingRangeLimit
    (C.7.5.1.1.2) are left out of the range and displayed as 0. An image of a single value, without
    a window, is 0 throughout.

    Colour (RGB, YBR, palette) becomes its Rec. 601 luminance.

    Raises:
        UserError: The file is not there, is no DICOM image, has several frames, is cut short,
            declares what it does not hold, or needs a decoder that is not installed.
    """
    path = Path(path)
    jpeg = None
    with quiet(), named(path, "its header can't be read"):
        dataset = parse(path, PIXEL_TAGS)
        check(path, dataset)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax == uid.JPEGBaseline8Bit and dataset.SamplesPerPixel == 1:
            jpeg = bare_jpeg(get_frame(dataset.PixelData, 0, number_of_frames=1))
        name, package = syntax.name, _FURTHER_DECODERS.get(syntax)
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            raise UserError(f"{path}: pydicom has no decoder for {name}; convert it") from None
    if not available:
        raise UserError(f"{path}: no installed decoder reads {name}: pip install {package}")
    problem = f"its pixels ({name}) can't be decoded"
    if package:
        problem += f", unless by: pip install {package}"
    if jpeg is not None:
        # By Pillow, whatever else is installed: pylibjpeg differs by one in 3 % of the pixels;
        # TensorFlow's decoder (dct_method="INTEGER_ACCURATE") agrees with Pillow.
        with named(path, problem):
            stored = np.asarray(Image.open(BytesIO(jpeg), formats=("JPEG",)))
    else:
        with quiet(), named(path, problem):
            stored = dataset.pixel_array
    if stored.ndim != (2 if dataset.SamplesPerPixel == 1 else 3):
        raise UserError(f"{path}: colour and grey contradict each other; fetch it again")
    with quiet(), named(path, "its pixels can't be brought to a picture"):
        if _is_displayed_as_stored(stored, dataset):
            pixels = stored
        elif dataset.PhotometricInterpretation in GREY:
            pixels = _grey(path, stored, dataset)
        else:
            pixels = _luminance(stored, dataset)
        spacing_mm = _spacing_mm(dataset)
    exact = jpeg is not None and (pixels is stored or np.array_equal(stored, pixels))
    return Radiograph(pixels, spacing_mm, jpeg if exact else None)


# ---- From stored values to displayed ones


def _is_displayed_as_stored(stored: np.ndarray, dataset: Dataset) -> bool:
    """Whether `_grey` would change nothing: so it is for every film of the challenge."""
    return (
        stored.dtype == np.uint8
        and (dataset.BitsStored, dataset.PixelRepresentation) == (8, 0)
        and dataset.PhotometricInterpretation == "MONOCHROME2"
        and all(dataset.get(name) is None for name in _CHANGING)
    )


def _grey(path: Path, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """``(rows, columns)`` stored values to uint8, by a table from value to grey."""
    lowest, highest = int(stored.min()), int(stored.max())
    if highest - lowest < max(1 << 16, stored.size):
        values = np.arange(lowest, highest + 1)
        index = stored.astype(np.int64 if stored.itemsize > 2 else np.int32) - lowest
    else:
        values, index = np.unique(stored, return_inverse=True)
        index = index.reshape(stored.shape)
    padding = _padding(values, dataset)
    occurs = (np.bincount(index.ravel(), minlength=len(values)) > 0) & ~padding
    table = np.zeros(len(values), np.uint8)
    if occurs.any():
        with np.errstate(over="ignore"):
            grey, low, high = _display(path, values.astype(np.float64), occurs, dataset)
        if not np.isfinite([*grey[occurs], low, high]).all():
            raise UserError(f"{path}: its rescale or window is not a number; leave it out")
        if low != high:
            scaled = np.nan_to_num((grey - low) / (high - low) * 255)
            table = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                table = 255 - table
    table[padding] = 0
    return np.asarray(table[index])


def _display(
    path: Path, values: np.ndarray, occurs: np.ndarray, dataset: Dataset
) -> tuple[np.ndarray, float, float]:
    """Stored values ``(n,)`` float64 to (values for display, the darkest, the brightest).

    ``occurs``, ``(n,)`` booleans, marks the values that the image has, padding apart.
    """
    modality_lut, voi_lut = dataset.get("ModalityLUTSequence"), dataset.get("VOILUTSequence")
    little_endian = dataset.file_meta.TransferSyntaxUID.is_little_endian

    def rescale(values: np.ndarray) -> np.ndarray:
        absent = dataset.get("RescaleSlope") is None or dataset.get("RescaleIntercept") is None
        return values if absent else apply_modality_lut(values, dataset)

    modality = _look_up(values, modality_lut[0], little_endian) if modality_lut else rescale(values)
    if voi_lut:
        # C.11.2.1.1: unsigned; the descriptor's third value is the number of bits.
        brightest = 2.0 ** int(voi_lut[0].LUTDescriptor[2]) - 1
        return _look_up(modality, voi_lut[0], little_endian), 0.0, brightest
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        dataset.VOILUTFunction = text(dataset, "VOILUTFunction").upper() or "LINEAR"
        try:
            # pydicom's result has its own range: the ends are the values beyond the window.
            low, high = apply_voi_lut(np.array([-np.inf, np.inf]), dataset)
            return apply_voi_lut(modality, dataset), float(low), float(high)
        except ValueError:
            # C.11.2.1.2.1, C.11.2.1.3: a width of 1 or more (LINEAR), or of more than 0.
            raise UserError(
                f"{path}: its window is not legal; correct (0028,1051), (0028,1056)"
            ) from None
    bits = int(dataset.BitsStored)
    if bits <= 8 and not modality_lut:
        first = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
        ends = rescale(np.array([first, first + 2**bits - 1], np.float64))
        return modality, float(ends.min()), float(ends.max())
    return modality, float(modality[occurs].min()), float(modality[occurs].max())


def _look_up(values: np.ndarray, item: Dataset, little_endian: bool) -> np.ndarray:
    """Apply a LUT (C.11.1.1, C.11.2.1.1); values beyond it get its first or its last entry.

    Not by pydicom, which wraps values that an 8-bit LUT's own type can't hold, and knows no
    modality LUT of 12 bits.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count, data = count or 1 << 16, item.LUTData
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) < 2 * count
        data = np.frombuffer(data, np.uint8 if packed else "<u2" if little_endian else ">u2")
    table = np.atleast_1d(np.asarray(data, np.float64))[:count]
    return np.asarray(table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)])


def _padding(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which of the stored values ``(n,)`` are padding (C.7.5.1.1.2): ``(n,)`` booleans."""
    ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(len(values), bool)
    ends = [int(end) for end in ends if end is not None]
    if dataset.PixelRepresentation:
        # Writers often give a signed image's padding as unsigned: 63536 for -2000.
        bits = int(dataset.BitsAllocated)
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return np.asarray((values >= min(ends)) & (values <= max(ends)))


def _luminance(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """``(rows, columns, 3)`` RGB, or ``(rows, columns)`` palette indices, to uint8 luminance."""
    full = 2 ** int(dataset.BitsStored) - 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)[..., :3]
        full = np.iinfo(stored.dtype).max
    scaled = stored.astype(np.float32) @ (_LUMINANCE * 255 / full)
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)


# ---- Small readers of elements


def _spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            row_mm, column_mm = (float(number) for number in dataset.get(name) or ())
        except (TypeError, ValueError):
            continue
        if 0 < row_mm < math.inf and 0 < column_mm < math.inf:
            return row_mm, column_mm
    return None


def _age_years(age: str) -> float:
    """An age string (AS of PS3.5 6.2), or a bare number of years, to years."""
    match = re.fullmatch(r"(\d{1,3})([DWMY]?)", age.upper(), re.ASCII)
    if not match:
        return math.nan
    years = int(match[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12}.get(match[2], 1)
    return years if years <= 120 else math.nan
