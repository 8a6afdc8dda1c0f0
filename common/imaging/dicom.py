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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from common.base.errors import UserError
from common.imaging.decoders import stored_pixels
from common.imaging.dicom_file import check, named, parse, quiet, text
from common.imaging.film_kinds import KIND_TAGS, film_doubt
from common.imaging.film_origin import ORIGIN_TAGS, film_origin, film_view
from common.imaging.frames import bare_jpeg, frame_header
from common.imaging.lookup_tables import LUMINANCE, display, palette

# Of an enhanced object of one frame, what stands elsewhere in others (PS3.3 C.7.6.16.2).
_GROUPS = [*map(Tag, ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"))]
HEADER_TAGS = [
    *map(Tag, ("Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "PatientID")),
    *map(Tag, ("PatientSex", "PatientAge", "ViewPosition", "SeriesDescription")),
    *_GROUPS,
]
"""The elements that a `Header` needs."""
PIXEL_TAGS = [
    *(Tag(number) for number in DicomDictionary if number >> 16 == 0x0028),
    *map(Tag, ("ImagerPixelSpacing", "PresentationLUTShape", "PixelData")),
    *map(Tag, ("FloatPixelData", "DoubleFloatPixelData")),
    *KIND_TAGS,
]
"""The elements that a picture needs: group 0028, its display and kind, and the pixels."""

_IN_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope"),
}

# Elements that change grey values between the file and the screen.
_CHANGING = [
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "PixelPaddingValue", "PresentationLUTShape"),
]

# Transfer syntaxes with loss.
_LOSSY = (
    *(uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless),
    *(uid.JPEG2000, uid.HTJ2K),
)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A picture for display.

    Attributes:
        pixels: ``(rows, columns)`` uint8, 0 to 255, high is radiodense (bone is bright).
        spacing_mm: Distance of rows, then of columns: PixelSpacing, else ImagerPixelSpacing, which
            a projection magnifies (PS3.3 10.7.1.3); None if absent.
        jpeg: The frame's own JPEG Baseline bytes if decoding them gives exactly ``pixels``,
            else None. Comments and application segments, which may hold text, are left out.
        origin: Where it comes from (`film_origin.film_origin`).
        doubt: Why it may be no frontal chest film, "" for no reason (`film_kinds.film_doubt`).
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    jpeg: bytes | None
    doubt: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """What a table of cases needs from a file, read without its pixels.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        patient: PatientID, "" if absent. It identifies: group by it, never write it.
        view: ViewPosition ("PA", "AP", "LL", ...), else that of a SeriesDescription "view: PA", as
            the challenge has it; "" if neither is a defined term.
        sex: "F", "M", or "" for anything else.
        age_years: 0 to 90, where 90 is 90 or more; NaN if absent or impossible. Known forms:
            "062Y", "18M", "3W", "5D" and the challenge's "62".
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
        return header_of(parse(path, HEADER_TAGS, stop_before_pixels=True))


def header_of(dataset: Dataset) -> Header:
    """The header of a dataset with `HEADER_TAGS`; call it within `quiet` and `named`."""
    _take_from_groups(dataset)
    sex = text(dataset, "PatientSex").upper()
    return Header(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        patient=text(dataset, "PatientID"),
        view=film_view(dataset),
        sex=sex if sex in ("F", "M") else "",
        age_years=_age_years(text(dataset, "PatientAge")),
        spacing_mm=_spacing_mm(dataset),
    )


def read_radiograph(path: Path) -> Radiograph:
    """Read a DICOM file of one frame to the picture for display.

    Grey: modality, VOI, scaling and inversion in the order of this module's docstring; the first of
    several windows that can be used, a VOI LUT before a window. Without either the displayed range
    is that of BitsStored for data of up to 8 bits (8-bit pixels pass unchanged), else from the
    least to the greatest value that is not padding. Pixels from PixelPaddingValue to
    PixelPaddingRangeLimit (C.7.5.1.1.2) are left out of the range and displayed as 0. An image of a
    single value, without a window, is 0 throughout. PresentationLUTShape decides on the inversion,
    where it is there, and MONOCHROME1 where it is not.

    Colour (RGB, YBR, palette) becomes its Rec. 601 luminance. A JPEG's own markers count before the
    label that the DICOM header gives its colours.

    Raises:
        UserError: The file is not there, is no DICOM image, has several frames, is cut short,
            declares what it does not hold, or is of a transfer syntax that nothing here decodes.
    """
    path = Path(path)
    with quiet(), named(path, "its header can't be read"):
        dataset = parse(path, [*PIXEL_TAGS, *ORIGIN_TAGS, *_GROUPS])
        frame = check(path, dataset)
        _take_from_groups(dataset)
        if (header := frame_header(frame)) and header.is_8_bit_dct:
            _believe_jpeg(dataset)
        syntax = dataset.file_meta.TransferSyntaxUID
    with quiet(), named(path, f"its pixels ({syntax.name}) can't be decoded"):
        jpeg = None
        if syntax == uid.JPEGBaseline8Bit and dataset.SamplesPerPixel == 1:
            frame = bare_jpeg(frame)
            jpeg = frame if header and header.is_8_bit_dct else None
        stored = stored_pixels(dataset, frame)
    if stored.ndim != (2 if dataset.SamplesPerPixel == 1 else 3):
        raise UserError(f"{path}: colour and grey contradict each other; fetch it again")
    with quiet(), named(path, "its pixels can't be brought to a picture"):
        if _is_displayed_as_stored(stored, dataset):
            pixels = stored
        elif stored.ndim == 2:
            pixels = _by_table(path, stored_bits(path, stored, dataset), dataset)
        else:
            pixels = _luminance(stored_bits(path, stored, dataset), dataset)
        spacing_mm, origin = _spacing_mm(dataset), film_origin(dataset)
        doubt = film_doubt(dataset, stored.ndim == 3)
    exact = jpeg is not None and (pixels is stored or np.array_equal(stored, pixels))
    return Radiograph(pixels, spacing_mm, jpeg if exact else None, doubt, origin)


# ---- What other elements say of the pixels


def _take_from_groups(dataset: Dataset) -> None:
    """Bring to the top what functional groups say of the one frame, its own group first."""
    for groups in [dataset[tag].value for tag in _GROUPS if tag in dataset]:
        if not isinstance(groups, Sequence) or not groups:
            continue
        for sequence, names in _IN_GROUPS.items():
            for item in (groups[0].get(sequence) or ())[:1]:
                for name in names:
                    if dataset.get(name) is None and item.get(name) is not None:
                        setattr(dataset, name, item[name].value)


def _believe_jpeg(dataset: Dataset) -> None:
    """Let a film be of 8 bits without a sign, as its JPEG is (PS3.5 8.2.1).

    Converters that make a JPEG of a deeper film leave its header behind, whose window and rescale
    are of values that are no longer there.
    """
    dataset.PixelRepresentation = 0
    if dataset.BitsStored > 8:
        dataset.BitsStored, dataset.HighBit = 8, 7
        for name in _CHANGING:
            if name in dataset and name != "PresentationLUTShape":
                del dataset[name]


# ---- From stored values to displayed ones


def _is_displayed_as_stored(stored: np.ndarray, dataset: Dataset) -> bool:
    """Whether `_by_table` would change nothing: so it is for every film of the challenge."""
    return (
        stored.dtype == np.uint8
        and (dataset.BitsStored, dataset.PixelRepresentation) == (8, 0)
        and dataset.PhotometricInterpretation == "MONOCHROME2"
        and all(dataset.get(name) is None for name in _CHANGING)
    )


def stored_bits(path: Path, words: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The BitsStored bits of each word up to HighBit (PS3.5 8.1.1), their sign extended.

    Bits above and below them are no pixels. A HighBit that the words disprove is not believed.
    """
    bits, width = int(dataset.BitsStored), 8 * words.itemsize
    syntax = dataset.file_meta.TransferSyntaxUID
    high = dataset.get("HighBit")
    below = 0 if high is None else int(high) + 1 - bits
    if not 0 <= below <= width - bits:
        if below < 0 and not _fits(words, bits + below):
            raise UserError(f"{path}: its HighBit is below its BitsStored; convert it")
        below = 0
    elif below and (words & ((1 << below) - 1)).any() and _fits(words, bits):
        below = 0
    if width <= bits:
        return words
    if syntax in _LOSSY and not (below or dataset.PixelRepresentation):
        # A code with loss may go beyond the greatest value, and means no small one.
        stored = np.minimum(words, (1 << bits) - 1)
    else:
        above = width - bits - below
        stored = (words << above) >> (above + below)
    padding = dataset.get("PixelPaddingValue")
    if padding is not None:
        # Words of padding may use the bits above, which no pixel does.
        padding = _same_bits(int(padding), dataset)
        least = -(1 << (bits - 1)) if dataset.PixelRepresentation else 0
        if not least <= padding < least + (1 << bits) and (words == padding).any():
            stored = np.where(words == padding, padding, stored.astype(np.int32))
    return np.asarray(stored)


def _fits(words: np.ndarray, bits: int) -> bool:
    """Whether no word needs more than these bits."""
    if bits < 1:
        return False
    sign = 1 << (bits - 1) if words.dtype.kind == "i" else 0
    return bool(-sign <= words.min() and words.max() < (sign or 1 << bits))


def _by_table(path: Path, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
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
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        table = np.rint(palette(path, values, occurs, dataset) * 255).astype(np.uint8)
    elif occurs.any():
        with np.errstate(over="ignore"):
            grey, low, high = display(path, values, occurs, dataset)
        if not np.isfinite([*grey[occurs], low, high]).all():
            raise UserError(f"{path}: its rescale or window is not a number; leave it out")
        if low != high:
            scaled = np.nan_to_num((grey - low) / (high - low) * 255)
            table = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
            if _is_inverse(dataset):
                table = 255 - table
    table[padding] = 0
    return np.asarray(table[index])


def _is_inverse(dataset: Dataset) -> bool:
    """Whether the least value is white, by PresentationLUTShape first (C.8.11.3.1.2).

    INVERSE goes with MONOCHROME1 and is the same inversion, not a second one. Where the two
    disagree, viewers such as dcm4che and Weasis follow the shape.
    """
    shape = text(dataset, "PresentationLUTShape").upper()
    if shape in ("IDENTITY", "INVERSE"):
        return shape == "INVERSE"
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1")


def _padding(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Which of the stored values ``(n,)`` are padding (C.7.5.1.1.2): ``(n,)`` booleans."""
    ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    if ends[0] is None or dataset.PhotometricInterpretation == "PALETTE COLOR":
        return np.zeros(len(values), bool)
    ends = [_same_bits(int(end), dataset) for end in ends if end is not None]
    return np.asarray((values >= min(ends)) & (values <= max(ends)))


def _same_bits(number: int, dataset: Dataset) -> int:
    """A number with the sign that the pixels have: 63536 is -2000, and -1 is 65535."""
    for bits in (int(dataset.BitsStored), int(dataset.BitsAllocated)):
        if -(1 << (bits - 1)) <= number < 1 << bits:
            least = -(1 << (bits - 1)) if dataset.PixelRepresentation else 0
            return (number - least) % (1 << bits) + least
    return number


def _luminance(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """``(rows, columns, 3)`` RGB or YBR_FULL to uint8 luminance."""
    full = 2 ** int(dataset.BitsStored) - 1
    if (
        dataset.PhotometricInterpretation == "YBR_FULL"
        or (stored[..., 1:] == (full + 1) // 2).all()
    ):
        # Also where a grey film as YCbCr is labelled RGB: its chroma is in the middle throughout.
        scaled = stored[..., 0].astype(np.float32) * (255 / full)
    else:
        scaled = stored.astype(np.float32) @ (LUMINANCE * 255 / full)
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
    return plausible_age(int(match[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12}.get(match[2], 1))


def plausible_age(years: float) -> float:
    """An age in years as it may be written: NaN over 120, and 90 for all from 90 on.

    A greater age may tell who somebody is (HIPAA's safe harbour, 45 CFR 164.514(b)(2)(i)(C)).
    """
    return min(years, 90) if years <= 120 else math.nan
