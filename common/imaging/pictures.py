"""One PNG or JPEG file to the picture that it shows, in the form that a DICOM file's has.

8 bits of grey are taken as they are, 16 bits from the least to the greatest value, as of a DICOM
file without a window. Colour becomes its Rec. 601 luminance, what is transparent black. A camera's
note on how it was held (EXIF) turns the picture; no other note in the file is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common.base.errors import UserError
from common.imaging.dicom import Header, Radiograph
from common.imaging.dicom_file import MAX_BYTES, MAX_PIXELS, MAX_ROWS, named, quiet
from common.imaging.film_kinds import proportions_doubt
from common.imaging.foreign_files import foreign_content
from common.imaging.frames import bare_jpeg, frame_header
from common.imaging.image_files import is_picture
from common.imaging.lookup_tables import LUMINANCE

_ORIENTATION = 0x0112
# From how a camera was held to how its picture is turned upright (TIFF 6.0, Orientation).
_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels.swapaxes(0, 1), 2),
    8: np.rot90,
}


def read_picture_header(path: Path) -> tuple[Header, str]:
    """The size of a picture, upright, and its format, PNG or JPEG; it says nothing of a patient.

    Raises:
        UserError: The file is not there, is no PNG or JPEG, or of a size that no film has.
    """
    with _opened(Path(path)) as image:
        columns, rows = image.size
        if _orientation(image) >= 5:
            rows, columns = columns, rows
        return Header(rows, columns, "", "", "", math.nan, None), _format(image)


def read_picture(path: Path) -> Radiograph:
    """Read a PNG or JPEG file, of 8 or 16 bits, grey or colour.

    Raises:
        UserError: As for `read_picture_header`, or it is cut short.
    """
    path = Path(path)
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        is_jpeg = _format(image) == "JPEG"
        content = path.read_bytes()
        # Pillow keeps 8 of a colour's 16 bits.
        deep = not is_jpeg and content[24] == 16 and content[25] in (2, 4, 6)
        values = _deep(content) if deep else _values(image)
    bits = 16 if values.dtype != np.uint8 else 8
    is_colour = values.ndim == 3 and not (values[..., :1] == values).all()
    pixels = np.ascontiguousarray(_grey(values) if turn is None else turn(_grey(values)))
    jpeg = None
    if is_jpeg and turn is None and values.ndim == 2:
        with quiet(), named(path, "it can't be decoded"):
            frame = bare_jpeg(content)
        header = frame_header(frame)
        jpeg = frame if header and header.is_8_bit_dct else None
    origin = {
        "bits": bits,
        "photometric": "RGB" if is_colour else "MONOCHROME2",
        "compression": "JPEG" if is_jpeg else "PNG",
        **dict.fromkeys(("maker", "model", "station", "view"), ""),
    }
    return Radiograph(pixels, None, jpeg, proportions_doubt(*pixels.shape), origin)


def _format(image: Image.Image) -> str:
    # Pillow calls a JPEG of several pictures MPO.
    return "PNG" if image.format == "PNG" else "JPEG"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose size was looked at; any failure within the block names the file."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    size = path.stat().st_size
    if not size:
        raise UserError(f"{path}: empty, no byte is in it; copy it again")
    if size > MAX_BYTES:
        raise UserError(f"{path}: over {MAX_BYTES >> 20} MiB, no radiograph is; leave it out")
    if not is_picture(path):
        with named(path, "it can't be read"), open(path, "rb") as file:
            what, mend = foreign_content(file.read(500))
        raise UserError(f"{path}: {what or 'no PNG or JPEG'}; {mend or 'leave it out'}")
    with (
        quiet(),
        named(path, "it can't be decoded"),
        Image.open(path, formats=("PNG", "JPEG")) as image,
    ):
        columns, rows = image.size
        if not (max(rows, columns) <= MAX_ROWS and rows * columns <= MAX_PIXELS):
            raise UserError(
                f"{path}: declares {rows} x {columns} pixels, no radiograph; leave it out"
            )
        yield image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION) or 1)
    except (ValueError, TypeError, SyntaxError, OSError):
        return 1  # a broken note is none


def _values(image: Image.Image) -> np.ndarray:
    """The values of a picture, (rows, columns) or (rows, columns, 3)."""
    if image.mode in ("P", "PA", "RGBA"):
        rgba = np.asarray(image.convert("RGBA"))
        return _on_black(rgba[..., :3], rgba[..., 3:])
    if image.mode == "LA":
        grey = np.asarray(image)
        return _on_black(grey[..., 0], grey[..., 1])
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("L", "RGB") or image.mode.startswith("I"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def _deep(content: bytes) -> np.ndarray:
    """The values of a PNG with several samples of 16 bits."""
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("no picture")
    colours = values[..., 2::-1]
    return _on_black(colours, values[..., 3:]) if values.shape[-1] == 4 else colours


def _on_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    full = np.iinfo(alpha.dtype).max
    if (alpha == full).all():
        return colours
    return np.asarray(np.rint(colours * (alpha / full)), colours.dtype)


def _grey(values: np.ndarray) -> np.ndarray:
    """(rows, columns) uint8."""
    if values.dtype == np.uint8 and values.ndim == 2:
        return values
    grey = values @ LUMINANCE if values.ndim == 3 else values.astype(float)
    if values.dtype != np.uint8:
        low, high = grey.min(), grey.max()
        grey = (grey - low) * (255 / (high - low)) if high > low else np.zeros(grey.shape)
    return np.asarray(np.rint(np.clip(grey, 0, 255)), np.uint8)
