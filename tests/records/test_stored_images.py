"""Radiographs written into records, and read from them by TensorFlow."""

import io

import numpy as np
import pydicom
import pytest
import tensorflow as tf
from PIL import Image

from common.imaging.dicom import read_radiograph
from common.imaging.letterbox import Letterbox
from common.records.stored_images import decode_image, png, stored_film, stored_pixels
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom

SIDE = 64
NOISE = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE))
SQUARE = np.clip(soft_image(SIDE, SIDE) + NOISE, 0, 255).astype(np.uint8)


def film(folder, pixels=SQUARE, compressed=True, **elements):
    jpeg = jpeg_bytes(pixels) if compressed else None
    return write_dicom(folder / "a.dcm", pixels, jpeg=jpeg, **elements)


def scan(jpeg):
    """The coded pixels of a JPEG: from its start of scan to its end of image."""
    return jpeg[jpeg.index(b"\xff\xda") : jpeg.rindex(b"\xff\xd9")]


def test_a_jpeg_of_the_right_size_is_handed_on_bit_for_bit(tmp_path):
    stored = stored_film(film(tmp_path), SIDE).encoded
    assert stored[:2] == b"\xff\xd8"
    assert scan(stored) == scan(jpeg_bytes(SQUARE))


@pytest.mark.parametrize(
    ("pixels", "compressed", "elements"),
    [
        (SQUARE, False, {}),
        (SQUARE, True, {"photometric": "MONOCHROME1"}),
        (soft_image(40, 56), True, {}),
        (SQUARE[:, :32], True, {}),
    ],
    ids=["not compressed", "inverted", "smaller", "half as wide"],
)
def test_everything_else_is_kept_without_loss(tmp_path, pixels, compressed, elements):
    path = film(tmp_path, pixels, compressed, **elements)
    stored = stored_film(path, SIDE).encoded
    assert stored[:8] == b"\x89PNG\r\n\x1a\n"
    expected = Letterbox(*pixels.shape, SIDE).into_square(read_radiograph(path).pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))), expected)


@pytest.mark.parametrize("compressed", [True, False])
def test_the_short_way_stores_what_the_long_way_does(tmp_path, compressed):
    """A film that is shown as it is stored is not sent through the table of its values."""
    pixels = soft_image(90, 70)
    short = film(tmp_path, pixels, compressed)
    stored, shown = stored_film(short, SIDE).encoded, read_radiograph(short).pixels
    np.testing.assert_array_equal(pydicom.dcmread(short).pixel_array, shown)
    # A rescale that changes nothing asks for the table.
    long = film(tmp_path, pixels, compressed, RescaleSlope="1", RescaleIntercept="0")
    assert stored_film(long, SIDE).encoded == stored
    np.testing.assert_array_equal(read_radiograph(long).pixels, shown)


@pytest.mark.parametrize("compressed", [True, False])
def test_tensorflow_pillow_and_pydicom_see_the_same_pixels(tmp_path, compressed):
    path = film(tmp_path, SQUARE, compressed)
    stored = stored_film(path, SIDE).encoded
    expected = read_radiograph(path).pixels
    np.testing.assert_array_equal(stored_pixels(stored), expected)
    decoded = decode_image(tf.constant(stored), SIDE, SIDE)
    assert decoded.shape == (SIDE, SIDE, 1) and decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded[..., 0], expected)


def test_in_a_graph_the_shape_is_known():
    dataset = tf.data.Dataset.from_tensors(png(SQUARE)).map(lambda e: decode_image(e, SIDE, 32))
    assert dataset.element_spec.shape == (32, 32, 1)
    assert next(iter(dataset)).dtype == tf.uint8


def test_a_smaller_side_averages():
    stripes = np.zeros((SIDE, SIDE), np.uint8)
    stripes[:, ::2] = 255
    small = decode_image(tf.constant(png(stripes)), SIDE, 16).numpy()
    # The columns at the edges see half a kernel.
    assert np.abs(small[:, 1:-1].astype(int) - 127).max() < 10
    even = decode_image(tf.constant(png(np.full((SIDE, SIDE), 255, np.uint8))), SIDE, 16)
    assert (even.numpy() == 255).all()


def test_another_size_than_was_promised_is_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        decode_image(tf.constant(png(SQUARE)), 32, 32)
