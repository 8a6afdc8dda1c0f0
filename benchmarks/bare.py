"""The least that reading a dataset takes, as processes run it: decode and resize, and nothing else.

A process imports the module of the function that it runs, and its start is timed too. So nothing is
imported here that the function does not need.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORED = 224
"""Side of a stored film in pixels."""


def decode_film(file: Path, decode: Callable[[bytes], Any]) -> None:
    """Decode and resize a film; its JPEG frame is cut out by its markers."""
    from PIL import Image

    pixels = decode(jpeg_frame(file))
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.resize((STORED, STORED), Image.Resampling.BILINEAR)


def jpeg_frame(file: Path) -> bytes:
    """The first JPEG frame of a DICOM file."""
    content = file.read_bytes()
    return content[content.index(b"\xff\xd8\xff") : content.rindex(b"\xff\xd9") + 2]


def pillow(frame: bytes) -> Any:
    """A JPEG by Pillow, to its image."""
    from PIL import Image

    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    image.load()
    return image


def opencv(frame: bytes) -> Any:
    """A JPEG by OpenCV, to an array."""
    import cv2
    import numpy as np

    return cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE)


def simplejpeg(frame: bytes) -> Any:
    """A JPEG by simplejpeg, to an array."""
    import simplejpeg

    return simplejpeg.decode_jpeg(frame, "GRAY")[..., 0]


def read_pair(pair: tuple[Path, Path]) -> None:
    """Read a volume and its mask with nibabel."""
    import nibabel

    for file in pair:
        nibabel.nifti1.load(file).get_fdata()
