"""A film as its file stores it: what tells equal pixels without decoding them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from common.base.errors import UserError
from common.base.files import sha256
from common.imaging.dicom import HEADER_TAGS, PIXEL_TAGS, Header, header_of, read_header
from common.imaging.dicom_file import check, named, parse, quiet, text
from common.imaging.films import is_plain
from common.imaging.frames import bare_jpeg
from common.imaging.pictures import read_picture_header

# Elements of group 0028 that differ from film to film and change no pixel.
_NOT_PIXELS = frozenset(
    map(
        Tag,
        (
            *("PixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"),
            *("SmallestImagePixelValue", "LargestImagePixelValue", "WindowCenterWidthExplanation"),
            *("BurnedInAnnotation", "LossyImageCompressionRatio"),
        ),
    )
)


class Stored(NamedTuple):
    """A film as it is stored: two that are equal have equal pixels.

    Attributes:
        size: Rows and columns, in words.
        coding: How bytes become pixels: PNG, JPEG, or a digest of a DICOM file's transfer syntax,
            depth, window and the like.
        data: A digest of the bytes.
    """

    size: str
    coding: str
    data: str


def read_stored(path: Path) -> tuple[Header, Stored | None]:
    """A film's header, and how it is stored; None where its pixels are not as it declares.

    Raises:
        UserError: As `common.imaging.films.read_film_header`.
    """
    if is_plain(path):
        with named(path, "it can't be read"):
            header, coding = read_picture_header(path)
            return header, Stored(_size(header), coding, sha256(path))
    try:
        with quiet(), named(path, "its header can't be read"):
            dataset = parse(path, [*HEADER_TAGS, *PIXEL_TAGS])
            # Before `header_of`, which brings to the top what belongs to the frames.
            frame = check(path, dataset)
            coding, data = _coding(dataset), _digest(_data(dataset, frame))
            header = header_of(dataset)
    except UserError:
        return read_header(path), None
    return header, Stored(_size(header), coding, data)


def _size(header: Header) -> str:
    return f"{header.rows} x {header.columns}"


def _coding(dataset: Dataset) -> str:
    syntax, shape = dataset.file_meta.TransferSyntaxUID, text(dataset, "PresentationLUTShape")
    parts = [f"{syntax} {shape}"]
    # As they stand in the file, where nothing has asked for their value yet: to convert them
    # takes as long as to read the film.
    for tag in sorted(dataset.keys()):
        if tag.group == 0x0028 and tag not in _NOT_PIXELS:
            element = dataset.get_item(tag)
            parts.append(f"{tag} {element.VR if element else ''} {element and element.value!r}")
    return _digest("\n".join(parts).encode())


def _data(dataset: Dataset, frame: bytes) -> bytes:
    # As `read_radiograph` decodes it: an encoder's notes on itself or on the time are no pixels.
    if dataset.file_meta.TransferSyntaxUID == uid.JPEGBaseline8Bit and dataset.SamplesPerPixel == 1:
        return bare_jpeg(frame)
    return frame or bytes(dataset.PixelData)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
