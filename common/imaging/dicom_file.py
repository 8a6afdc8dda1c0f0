"""One DICOM file to a dataset that can be trusted: what it declares is what it holds.

A file may be cut, altered, or made to harm. Its declared sizes are compared with its bytes before
memory is taken, only the requested elements are read, and every failure of pydicom or Pillow
becomes a `UserError` that names the file and quotes no element's value.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag

from common.base.errors import UserError
from common.imaging.decoders import is_read
from common.imaging.dicom_names import begins_as_dicom
from common.imaging.frames import DELIMITER, ITEM, frame_header, joined_frame
from common.imaging.library_warnings import unprinted_warnings

MAX_ROWS = 20_000
MAX_PIXELS = 1 << 26
MAX_BYTES = 1 << 29
"""A radiograph has some 20 million pixels. What declares more than these limits is refused."""

# A JPEG block of 64 pixels takes a bit for its DC and one for its end, RLE two bytes for 128: a
# header that declares more is false, and is refused before memory is taken for it.
_MAX_PIXELS_PER_BYTE = 256
_BOUNDED = (*uid.JPEGTransferSyntaxes, uid.RLELossless)

_ALLOCATED = (1, 8, 16, 32)

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
    if not path.stat().st_size:
        raise UserError(f"{path}: empty, no byte is in it; copy it again")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: over {MAX_BYTES >> 20} MiB, no radiograph is; leave it out")
    with open(path, "rb") as file:
        head = file.read(1024)
    has_preamble = head[128:132] == b"DICM"
    if not begins_as_dicom(head):
        raise UserError(f"{path}: not a DICOM file; leave it out")
    if uid.DeflatedExplicitVRLittleEndian.encode() in head:
        _check_inflated(path, 144 + int.from_bytes(head[140:144], "little"))
    how: dict[str, Any] = {"specific_tags": tags, "force": not has_preamble}
    dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels, **how)
    if not dataset and not stop_before_pixels:
        # pydicom drops everything where the pixels' delimiter is missing at the end of the file.
        dataset = pydicom.dcmread(BytesIO(path.read_bytes() + DELIMITER), **how)
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


def check(path: Path, dataset: Dataset) -> bytes:
    """Compare what a dataset declares of its pixels with its bytes; fill in absent elements.

    Returns:
        The compressed frame, b"" without compression.

    Raises:
        UserError: It has no pixels, several frames, fewer bytes than it declares, or a photometric
            interpretation, depth or transfer syntax that is not known.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    declared = f"{path}: declares {rows} x {columns} pixels"
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UserError(f"{path}: its pixels are floating-point numbers; convert it to integers")
    if not dataset.get("PixelData"):
        raise UserError(f"{path}: it has no pixels, or it is cut short; fetch it again")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise UserError(f"{path}: has {frames} frames; write the one that is meant to its own file")
    dataset.SamplesPerPixel = int(dataset.get("SamplesPerPixel") or 1)
    dataset.PixelRepresentation = int(dataset.get("PixelRepresentation") or 0)
    dataset.PlanarConfiguration = int(dataset.get("PlanarConfiguration") or 0)
    dataset.PhotometricInterpretation = text(dataset, "PhotometricInterpretation").upper()
    known = _KNOWN.get(dataset.SamplesPerPixel, ())
    if dataset.PhotometricInterpretation not in known:
        samples = f"of {dataset.SamplesPerPixel} samples per pixel is none of {', '.join(known)}"
        raise UserError(f"{path}: its photometric interpretation {samples}; convert it")
    if (
        not 1 <= dataset.BitsStored <= dataset.BitsAllocated
        or dataset.BitsAllocated not in _ALLOCATED
    ):
        raise UserError(f"{path}: its BitsStored and BitsAllocated are not legal; convert it")

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in uid.AllTransferSyntaxes:
        raise UserError(f"{path}: its transfer syntax is none that is known; convert it")
    if not is_read(syntax):
        raise UserError(f"{path}: nothing here decodes {syntax.name}; convert it")
    if syntax.is_encapsulated and _is_plain(dataset):
        # Decompressed by a program that left the label; compressed pixels have no defined length.
        dataset.file_meta.TransferSyntaxUID = syntax = uid.ExplicitVRLittleEndian
    if not syntax.is_encapsulated:
        _check_length(path, dataset)
        return b""
    frame = joined_frame(path, dataset.PixelData)
    if syntax in _BOUNDED and rows * columns > _MAX_PIXELS_PER_BYTE * len(frame):
        raise UserError(f"{declared}, more than {len(frame)} bytes can hold; fetch it again")
    header = frame_header(frame)  # what has none fails in the decoder
    if header and (header.columns, header.rows) != (columns, rows):
        size = f"{header.rows} x {header.columns}"
        raise UserError(f"{declared}, the image in it has {size}; fetch it again")
    if header and header.bits > dataset.BitsAllocated:
        bits = f"{dataset.BitsAllocated} bits, the image in it has {header.bits}"
        raise UserError(f"{path}: declares {bits}; convert it")
    return frame


def _is_plain(dataset: Dataset) -> bool:
    """Whether pixels are not in the fragments that compressed ones are in (PS3.5 A.4)."""
    element = dataset["PixelData"]
    if element.is_undefined_length or element.value.startswith(ITEM):
        return False
    needed = get_expected_length(dataset)
    return len(element.value) in (needed, needed + needed % 2)


def _check_length(path: Path, dataset: Dataset) -> None:
    """Compare the length of pixels without compression with what is declared."""
    if dataset.PixelData.startswith(ITEM) and dataset["PixelData"].is_undefined_length:
        raise UserError(f"{path}: compressed, and declares that it is not; convert it")
    stored, needed = len(dataset.PixelData), get_expected_length(dataset)
    if stored < needed:
        problem = f"{stored} of {needed} bytes of pixels"
        raise UserError(f"{path}: cut short, {problem}; fetch it again")
    if dataset.PhotometricInterpretation == "YBR_FULL_422" and stored >= needed * 3 // 2:
        raise UserError(
            f"{path}: declares chroma of half the columns and holds it whole; convert it"
        )
    if stored >= 2 * needed and any(dataset.PixelData[needed + needed % 2 :]):
        raise UserError(f"{path}: {stored} bytes of pixels where {needed} are declared; convert it")


def text(dataset: Dataset, name: str) -> str:
    """An element's value as text, "" if absent or empty."""
    return str(dataset.get(name) or "").strip(" \0")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom in a block: its warnings quote values, and every RSNA file causes one."""
    with unprinted_warnings(), pydicom.config.disable_value_validation():
        yield


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
