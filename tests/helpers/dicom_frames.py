"""Compressed films that tests make on the spot, by encoders that are no part of what is tested."""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.helpers.fixtures import write_dicom

WRITTEN = (
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGBaseline8Bit),
    *(uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless),
    *(uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000),
    *(uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
)
"""The transfer syntaxes that `frame` and `write_dicom` write."""

TOLERANCE = {uid.JPEGBaseline8Bit: 3, uid.JPEGExtended12Bit: 3, uid.JPEGLSNearLossless: 1}
"""By how much of 256 grey levels a lossy syntax may change a smooth picture here; else 0."""


def frame(syntax: uid.UID, pixels: np.ndarray, bits: int) -> bytes | None:
    """Pixels as a frame of a transfer syntax; None where it has none for so many bits."""
    jpeg = {"bitspersample": bits}
    if pixels.ndim == 3:
        jpeg |= {"colorspace": "RGB", "outcolorspace": "RGB"}
    if pixels.dtype.kind == "i" and syntax not in (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL):
        pixels = pixels.view(f"u{pixels.itemsize}") & ((1 << bits) - 1)
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        limit = 8 if syntax == uid.JPEGBaseline8Bit else 12
        fits = bits == limit or (bits == 8 and limit == 12)
        return imagecodecs.jpeg8_encode(pixels, level=98, **jpeg) if fits else None
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        predictor = 1 if syntax == uid.JPEGLosslessSV1 else 6
        return imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, **jpeg)
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        near = 0 if syntax == uid.JPEGLSLossless else 1 if bits == 8 else 2
        return imagecodecs.jpegls_encode(pixels, level=near)
    if syntax in (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K):
        return imagecodecs.htj2k_encode(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", irreversible=False, no_jp2=True)
    return file.getvalue()


def write_film(
    path: Path, syntax: uid.UID, pixels: np.ndarray, bits: int, **elements
) -> Path | None:
    """A film of a transfer syntax, as `fixtures.write_dicom`; None where `frame` has none."""
    photometric = {"photometric": "RGB"} if pixels.ndim == 3 else {}
    options = {"bits": bits, **photometric, **elements}
    if not syntax.is_encapsulated:
        return write_dicom(path, pixels, syntax, **options)
    if syntax == uid.RLELossless:
        dataset = pydicom.dcmread(write_dicom(path, pixels, **options))
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
        return path
    content = frame(syntax, pixels, bits)
    if content is None:
        return None
    return write_dicom(path, pixels, syntax, PixelData=encapsulate([content]), **options)


def items(*fragments: bytes, padded: bool = True) -> bytes:
    """The items of encapsulated pixel data (PS3.5 A.4), the first of them the offset table."""
    parts = (part + b"\0" * (len(part) % 2 if padded else 0) for part in fragments)
    return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in parts)
