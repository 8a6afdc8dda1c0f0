"""Which bits of a word are pixels, which values are padding, and which end is white."""

import numpy as np
import pydicom
import pytest
from pydicom import uid

from common.base.errors import UserError
from common.imaging.dicom import read_radiograph
from tests.helpers.dicom_frames import write_film
from tests.helpers.fixtures import soft_image, write_dicom

VALUES = soft_image().astype(np.int64) * 16 + 3  # 12 bits, of which the lower 4 are used
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4000}


@pytest.fixture
def picture(tmp_path):
    return lambda pixels, *arguments, **options: (
        read_radiograph(write_dicom(tmp_path / "image.dcm", pixels, *arguments, **options)).pixels
    )


def windowed(values, center=2048, width=4000):
    return np.rint(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def stretched(values, counts):
    low, high = values[counts].min(), values[counts].max()
    return np.where(counts, np.rint((values - low) / (high - low) * 255), 0)


# ---- HighBit


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless,
               uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless],
    ids=lambda syntax: syntax.name,
)  # fmt: skip
@pytest.mark.parametrize("high", [13, 14, 15])
def test_bits_at_the_upper_end_of_a_word(tmp_path, syntax, high):
    words = (VALUES << (high - 11)).astype(np.uint16)
    path = write_film(tmp_path / "a.dcm", syntax, words, 16, BitsStored=12, HighBit=high, **WINDOW)
    assert np.array_equal(read_radiograph(path).pixels, windowed(VALUES))


def test_bits_below_and_above_are_no_pixels(picture):
    words = ((VALUES << 2) | (VALUES % 4) | (1 << 15)).astype(np.uint16)
    assert np.array_equal(picture(words, bits=12, HighBit=13, **WINDOW), windowed(VALUES))
    words = (VALUES | 0x9000).astype(np.uint16)
    assert np.array_equal(picture(words, bits=12, HighBit=11, **WINDOW), windowed(VALUES))


def test_signed_bits_at_the_upper_end(picture):
    values = VALUES - 2048
    words = (values << 4).astype(np.int16)
    shown = picture(words, bits=12, HighBit=15, WindowCenter=0, WindowWidth=4000)
    assert np.array_equal(shown, windowed(values, 0))


def test_a_high_bit_that_the_words_disprove(picture):
    words = VALUES.astype(np.uint16)
    for high in (15, 13, 16, 99):  # the lower bits are used, and the upper ones are not
        assert np.array_equal(picture(words, bits=12, HighBit=high, **WINDOW), windowed(VALUES))
    assert np.array_equal(picture(words, bits=16, HighBit=11, **WINDOW), windowed(VALUES))
    assert np.array_equal(picture(soft_image(), HighBit=15), soft_image())
    with pytest.raises(UserError, match="HighBit is below its BitsStored"):
        picture(words * 16, bits=16, HighBit=11)


def test_a_code_with_loss_goes_beyond_the_greatest_value_and_not_around(tmp_path):
    words = np.where(soft_image() > 128, 4095, soft_image()).astype(np.uint16)
    for syntax in (uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K):
        path = write_film(tmp_path / "a.dcm", syntax, words, 12, **WINDOW)
        shown = read_radiograph(path).pixels
        assert np.abs(shown - windowed(words)).max() <= 1, syntax.name


# ---- Padding


@pytest.mark.parametrize(
    ("dtype", "bits", "pad", "written"),
    [
        (np.uint16, 16, 65535, {"SS": -1}),
        (np.uint16, 16, 63488, {"SS": -2048}),
        (np.uint16, 12, 4095, {"SS": -1}),
        (np.uint16, 12, 65535, {"US": 65535}),
        (np.uint8, 8, 255, {"SS": -1}),
        (np.int16, 16, -2048, {"US": 63488}),
        (np.int16, 16, -2048, {"SS": -2048}),
        (np.int16, 12, -2048, {"US": 63488}),
        (np.int16, 12, -2048, {"US": 2048}),
        (np.int16, 16, -32768, {"US": 32768}),
        (np.int16, 12, -32768, {"US": 32768}),
    ],
)
def test_padding_is_told_by_its_bits(tmp_path, dtype, bits, pad, written):
    there = np.ones(soft_image().shape, bool)
    there[:, :9] = False
    values = np.where(there, soft_image().astype(np.int64) // 2 + 20, pad)
    window = {"WindowCenter": 83.5, "WindowWidth": 128} if bits == 8 else {}
    path = write_dicom(tmp_path / "a.dcm", values.astype(dtype), bits=bits, **window)
    ((vr, number),) = written.items()
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", vr, number)
    dataset.save_as(path)
    expected = stretched(values, there)
    if window:
        expected = np.where(there, windowed(values, 83.5, 128), 0)
    assert np.array_equal(read_radiograph(path).pixels, expected)


def test_padding_that_no_pixel_can_have_is_none(picture):
    """65535 of 12 bits is no 4095: the brightest pixels stay bright."""
    words = (VALUES // 2).astype(np.uint16)
    words[0, 0] = 4095
    shown = picture(words, bits=12, PixelPaddingValue=65535, **WINDOW)
    assert np.array_equal(shown, windowed(words))
    signed = VALUES.astype(np.int16) - 2048
    signed[0, :5] = 0
    shown = picture(signed, bits=12, PixelPaddingValue=-32768, WindowCenter=0, WindowWidth=4000)
    assert np.array_equal(shown, windowed(signed, 0))


# ---- Presentation LUT Shape


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "inverse ", True),
        ("MONOCHROME1", "", True),
        ("MONOCHROME1", "LIN OD", True),
        ("MONOCHROME2", "LIN OD", False),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_shape_decides_on_the_inversion(picture, photometric, shape, is_inverted, dtype):
    pixels = soft_image().astype(dtype) * (1 if dtype == np.uint8 else 257)
    expected = picture(pixels)
    shown = picture(pixels, photometric=photometric, PresentationLUTShape=shape)
    assert np.array_equal(shown, 255 - expected if is_inverted else expected)


# ---- Sizes


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (1, 20_000), (3, 1)])
def test_one_pixel_and_long_pictures(tmp_path, shape):
    pixels = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(np.uint8)
    for syntax in (uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLosslessSV1):
        path = write_film(tmp_path / "a.dcm", syntax, pixels, 8)
        assert np.array_equal(read_radiograph(path).pixels, pixels)


def test_zeros_behind_one_pixel_are_no_frames(picture):
    assert picture(np.array([[900]], np.uint16), PixelData=b"\x84\3" + b"\0" * 10).tolist() == [[0]]
