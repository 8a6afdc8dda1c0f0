"""One DICOM file to a dataset that can be trusted: what it declares is what it holds.

A file may be cut, altered, or made to harm. Its declared sizes are compared with its bytes before
memory is taken, only the requested elements are read, and every failure of pydicom or Pillow
becomes a `UserError` that names the file and quotes no element's value.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag

from common.base.errors import UserError
from common.imaging.dicom_names import begins_as_dicom

MAX_ROWS = 20_000
MAX_PIXELS = 1 << 26
MAX_BYTES = 1 << 29
"""A radiograph has some 20 million pixels. What declares more than these limits is refused."""

# A JPEG block of 64 pixels takes a bit for its DC and one for its end, RLE two bytes for 128: a
# header that declares more is false, and is refused before memory is taken for it.
_MAX_PIXELS_PER_BYTE = 256
_BOUNDED = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.RLELossless)

GREY = ("MONOCHROME1", "MONOCHROME2")
"""The photometric interpretations of grey images (C.7.6.3.1.2)."""

# Photometric interpretations that are read, by SamplesPerPixel.
_KNOWN = {1: (*GREY, "PALETTE COLOR"), 3: ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")}


def parse(path: Path, tags: list[BaseTag], stop_before_pixels: bool = False) -> Dataset:
    """Read these elements of a DICOM image; call it within `quiet` and `named`.

    Args:
        path: With the preamble and file meta of PS3.10 7.1, or a bare dataset.
        tags: Of the elements to read. No other comes into memory.
        stop_before_pixels: Whether the pixels stay unread.

    Returns:
        The dataset, with ``file_meta.TransferSyntaxUID`` set, and Rows and Columns in the limits.

    Raises:
        UserError: The file is not there, is no DICOM image or declares what no radiograph has.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: over {MAX_BYTES >> 20} MiB, no radiograph is; leave it out")
    with open(path, "rb") as file:
        head = file.read(1024)
    has_preamble = head[128:132] == b"DICM"
    if not begins_as_dicom(head):
        raise UserError(f"{path}: not a DICOM file; leave it out")
    if uid.DeflatedExplicitVRLittleEndian.encode() in head:
        _check_inflated(path, 144 + int.from_bytes(head[140:144], "little"))
    dataset = pydicom.dcmread(
        path, stop_before_pixels=stop_before_pixels, specific_tags=tags, force=not has_preamble
    )
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UserError(
            f"{path}: no DICOM image, or it is cut short (no Rows and Columns); leave it out"
        )
    if "TransferSyntaxUID" not in dataset.file_meta:
        if (dataset.get("PixelData") or b"")[:4] == b"\xfe\xff\x00\xe0":
            raise UserError(f"{path}: compressed, without a TransferSyntaxUID; write it again")
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not (0 < rows <= MAX_ROWS and 0 < columns <= MAX_ROWS and rows * columns <= MAX_PIXELS):
        raise UserError(f"{path}: declares {rows} x {columns} pixels, no radiograph; leave it out")
    return dataset


def _check_inflated(path: Path, start: int) -> None:
    """Refuse a deflated dataset (PS3.5 A.5) that would take more memory than a radiograph."""
    inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with open(path, "rb") as file:
        file.seek(start)
        while block := inflating.unconsumed_tail or file.read(1 << 16):
            size += len(inflating.decompress(block, 1 << 20))
            if size > MAX_BYTES:
                raise UserError(f"{path}: inflates to more than a radiograph has; leave it out")


def check(path: Path, dataset: Dataset) -> None:
    """Compare what a dataset declares of its pixels with its bytes; fill in absent elements.

    Raises:
        UserError: It has no pixels, several frames, fewer bytes than it declares, or a photometric
            interpretation, depth or transfer syntax that is not known.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    declared = f"{path}: declares {rows} x {columns} pixels"
    if not dataset.get("PixelData"):
        raise UserError(f"{path}: it has no pixels, or it is cut short; fetch it again")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise UserError(f"{path}: has {frames} frames; write the one that is meant to its own file")
    dataset.SamplesPerPixel = int(dataset.get("SamplesPerPixel") or 1)
    dataset.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    dataset.PhotometricInterpretation = text(dataset, "PhotometricInterpretation").upper()
    if dataset.PhotometricInterpretation not in _KNOWN.get(dataset.SamplesPerPixel, ()):
        known = ", ".join(_KNOWN[1] + _KNOWN[3])
        raise UserError(f"{path}: its photometric interpretation is none of {known}; convert it")
    if not 1 <= dataset.BitsStored <= dataset.BitsAllocated <= 32:
        raise UserError(f"{path}: its BitsStored and BitsAllocated are not legal; convert it")

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in uid.AllTransferSyntaxes:
        raise UserError(f"{path}: its transfer syntax is not one of the standard; convert it")
    if not syntax.is_encapsulated:
        if dataset.get("HighBit", dataset.BitsStored - 1) != dataset.BitsStored - 1:
            raise UserError(f"{path}: its HighBit is not legal (PS3.5 8.1.1); convert it")
        stored, needed = len(dataset.PixelData), get_expected_length(dataset)
        if stored < needed:
            problem = f"{stored} of {needed} bytes of pixels"
            raise UserError(f"{path}: cut short, {problem}; fetch it again")
        return
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax in _BOUNDED and rows * columns > _MAX_PIXELS_PER_BYTE * len(frame):
        raise UserError(f"{declared}, more than {len(frame)} bytes can hold; fetch it again")
    try:
        size = Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")).size
    except Exception:
        # Pillow reads no JPEG-LS or JPEG Lossless; anything else fails in the decoder.
        size = _size_in_jpeg(frame) or (columns, rows)
    if size != (columns, rows):
        raise UserError(f"{declared}, the image in it has {size[1]} x {size[0]}; fetch it again")


# Second bytes of the markers SOF0 to SOF3 and SOF55 (T.81 table B.1, T.87 C.1.1).
_FRAME_HEADERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)


def _size_in_jpeg(frame: bytes) -> tuple[int, int] | None:
    """Columns and rows in the frame header of a JPEG or JPEG-LS (T.81 B.2.2, T.87 C.2.2)."""
    start = 2
    while frame[start : start + 1] == b"\xff" and start + 9 <= len(frame):
        if frame[start + 1] in _FRAME_HEADERS:
            rows, columns = (int.from_bytes(frame[start + i :][:2], "big") for i in (5, 7))
            return columns, rows
        start += 2 + int.from_bytes(frame[start + 2 : start + 4], "big")
    return None


# What ends a scan: a marker that is no stuffed zero, restart or fill byte (T.81 B.1.1.2).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def bare_jpeg(frame: bytes) -> bytes:
    """A JPEG from SOI to EOI without its APPn and COM segments (ITU-T T.81 B.2).

    Text may stand in these and after the end; the decoded pixels stay the same.

    Raises:
        ValueError, IndexError: It is cut short, or no JPEG.
    """
    segments, start = [frame[:2]], 2
    while frame[start : start + 2] != b"\xff\xd9":
        if frame[start] != 0xFF:  # at the end an IndexError: cut short
            raise ValueError("no marker")
        marker = frame[start + 1]
        end = start + 2 + int.from_bytes(frame[start + 2 : start + 4], "big")
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            segments.append(frame[start:end])
        if marker == 0xDA:  # its scan runs to the next marker
            scan = _NEXT_MARKER.search(frame, end)
            if scan is None:
                raise ValueError("no end")
            segments.append(frame[end : scan.start()])
            end = scan.start()
        start = end
    return b"".join([*segments, b"\xff\xd9"])


def text(dataset: Dataset, name: str) -> str:
    """An element's value as text, "" if absent or empty."""
    return str(dataset.get(name) or "").strip(" \0")


# pydicom's settings and Python's warnings belong to the process: one thread at a time holds them.
_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom in a block: its warnings quote values, and every RSNA file causes one."""
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        before, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = before


@contextmanager
def named(path: Path, problem: str) -> Iterator[None]:
    """Turn any failure of a library into a `UserError` that names the file and quotes no value."""
    try:
        yield
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions") from None
    except Exception as error:
        problem += f" ({type(error).__name__})"
        raise UserError(f"{path}: {problem}; damaged? fetch it again or leave it out") from None
