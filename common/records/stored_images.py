"""Radiographs as records store them: written from a film's file, read into a tensor.

A stored image is a square, of one size for the whole set. Where the film's own JPEG has
that size and its pixels need no change, its bytes are stored as they are, so that no image is
coded with loss twice; everything else is stored as PNG, without loss.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from common.base.errors import UnusableError
from common.imaging.acquisition import acquisition, as_text
from common.imaging.dicom import Radiograph
from common.imaging.film_doubts import look_over
from common.imaging.film_looks import Look, look_at
from common.imaging.films import read_film
from common.imaging.fingerprints import fingerprint
from common.imaging.letterbox import Letterbox
from common.records.looks import Looking
from common.records.outcomes import ACQUISITION, REMARK

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class StoredFilm:
    """A film as it is stored, and its place in the square.

    Attributes:
        encoded: JPEG Baseline or PNG bytes of (image_size, image_size) uint8.
        square: The place of the film in it.
        doubt: Why it may be no frontal chest film, "" for no reason.
        look: The film as `common.imaging.film_doubts` looks at it.
    """

    encoded: bytes
    square: Letterbox
    doubt: str = ""
    look: Look | None = None


def stored_film(path: Path, image_size: int, stretch: bool = False) -> StoredFilm:
    """Read a radiograph into the form that is stored.

    Args:
        path: A DICOM, PNG or JPEG file.
        image_size: Side of the square in pixels.
        stretch: Whether the film fills the square, its proportions lost.

    Raises:
        UserError: The file cannot be read, or all its pixels have one value.
    """
    film, pixels = _stored(path, read_film(path), image_size, stretch)
    return replace(film, look=look_at(pixels))


def film_features(
    path: Path, image_size: int, stretch: bool = False, with_acquisition: bool = False
) -> dict[str, Any]:
    """``image``, the bytes of `stored_film`, the fingerprints of its own pixels, and a remark.

    With acquisition its statistics too (`film_statistics`).
    """
    radiograph = read_film(path)
    film, _ = _stored(path, radiograph, image_size, stretch)
    remark = {REMARK: f"another kind: {film.doubt}"} if film.doubt else {}
    statistics = _statistics(path, radiograph) if with_acquisition else {}
    return {"image": film.encoded, **fingerprint(radiograph.pixels), **remark, **statistics}


def look_of(features: Mapping[str, Any]) -> Look:
    """The look of a film from its `film_features`."""
    return look_at(stored_pixels(features["image"]))


FILMS = Looking(look_of, look_over)
"""How the films of a dataset are looked at."""


def film_statistics(path: Path) -> dict[str, str]:
    """``acquisition``, the statistics of a film as text (`common.imaging.acquisition`).

    Raises:
        UserError: The file cannot be read.
    """
    return _statistics(path, read_film(path))


def _statistics(path: Path, radiograph: Radiograph) -> dict[str, str]:
    return {ACQUISITION: as_text(acquisition(radiograph, path.stat().st_size))}


def _stored(
    path: Path, radiograph: Radiograph, image_size: int, stretch: bool
) -> tuple[StoredFilm, np.ndarray]:
    """A film as it is stored, without its look, and its square."""
    if radiograph.pixels.min() == radiograph.pixels.max():
        raise UnusableError(f"{path}: all its pixels are one value", "constant image")
    rows, columns = radiograph.pixels.shape
    square = Letterbox(rows, columns, image_size, stretch)
    pixels = square.into_square(radiograph.pixels)
    own = radiograph.jpeg if rows == columns == image_size else None
    encoded = png(pixels) if own is None else own
    return StoredFilm(encoded, square, radiograph.doubt), pixels


def png(pixels: np.ndarray) -> bytes:
    """An image (rows, columns) uint8 as PNG bytes."""
    # In a film's noise no string comes twice. Without a search for one, and with one filter for
    # all rows, this takes a sixth of the time of Pillow's default, for 6 to 9 % more bytes.
    options = {
        cv2.IMWRITE_PNG_FILTER: cv2.IMWRITE_PNG_FILTER_UP,
        cv2.IMWRITE_PNG_STRATEGY: cv2.IMWRITE_PNG_STRATEGY_RLE,
    }
    _, encoded = cv2.imencode(".png", pixels, [part for pair in options.items() for part in pair])
    return encoded.tobytes()


def stored_pixels(encoded: bytes) -> np.ndarray:
    """The pixels (image_size, image_size) uint8 of a stored image, without TensorFlow."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("L"))


def decode_image(encoded: tf.Tensor, stored_size: int, image_size: int) -> tf.Tensor:
    """Decode a stored image to a tensor: the stored pixels where the size is the same.

    Args:
        encoded: () string, from `stored_film`.
        stored_size: Side of the stored square in pixels.
        image_size: Side of the result; a smaller square is averaged down, not sampled.

    Returns:
        (image_size, image_size, 1) uint8.
    """
    # Decoding processes import this module, and must not load TensorFlow.
    import tensorflow as tf

    is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
    image = tf.cond(
        is_jpeg,
        # The default method differs from every other decoder in half of the pixels.
        lambda: tf.io.decode_jpeg(encoded, channels=1, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=1),
    )
    image = tf.ensure_shape(image, (stored_size, stored_size, 1))
    if image_size == stored_size:
        return image
    scaled = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(scaled, 0.0, 255.0)), tf.uint8)


def model_inputs(films: Sequence[StoredFilm], image_size: int) -> np.ndarray:
    """Films as a network sees those of a record: (n, image_size, image_size, 1) uint8."""
    tensors = (decode_image(film.encoded, film.square.image_size, image_size) for film in films)
    return np.stack([tensor.numpy() for tensor in tensors])
