"""PNG and JPEG files to the picture that they show; the oracle is Pillow."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from common.base.errors import UserError
from common.imaging.films import read_film, read_film_header
from common.imaging.pictures import read_picture
from common.records.stored_images import stored_film, stored_pixels
from tests.helpers.fixtures import soft_image, write_dicom

GREY = soft_image(24, 40)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], -1)
RAMP16 = np.linspace(300, 4095, 24 * 40).astype(np.uint16).reshape(24, 40)


def as_8_bits(values):
    values = values.astype(float)
    return np.rint((values - values.min()) * 255 / (values.max() - values.min()))


def luminance(rgb):
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


def saved(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


CASES = {
    "grey.png": (lambda p: saved(p, GREY), GREY, 0),
    "grey.jpg": (lambda p: saved(p, GREY, quality=95), GREY, 4),
    "progressive.JPEG": (lambda p: saved(p, GREY, quality=95, progressive=True), GREY, 4),
    "colour.png": (lambda p: saved(p, COLOUR), luminance(COLOUR), 0.51),
    "colour.jpeg": (lambda p: saved(p, COLOUR, quality=100, subsampling=0), luminance(COLOUR), 3),
    "cmyk.jpg": (lambda p: saved(p, COLOUR, "CMYK", quality=100), luminance(COLOUR), 4),
    "grey-in-rgb.png": (lambda p: saved(p, np.stack([GREY] * 3, -1)), GREY, 0),
    "palette.png": (lambda p: saved(p, GREY, "P"), GREY, 0),
    "bits.png": (lambda p: saved(p, (GREY > 120), "1"), (GREY > 120) * 255, 0),
    "alpha.png": (
        lambda p: saved(p, np.dstack([COLOUR, GREY])), luminance(COLOUR) * (GREY / 255), 0.9,
    ),
    "opaque.png": (lambda p: saved(p, np.dstack([GREY, GREY * 0 + 255])), GREY, 0),
    "16-bits.png": (lambda p: saved(p, RAMP16), as_8_bits(RAMP16), 0),
    "16-bits-colour.png": (
        lambda p: cv2.imwrite(str(p), np.stack([RAMP16] * 3, -1)), as_8_bits(RAMP16), 0.51,
    ),
    "constant-16.png": (lambda p: saved(p, RAMP16 * 0 + 7), GREY * 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_what_its_file_shows(tmp_path, name):
    write, expected, tolerance = CASES[name]
    write(tmp_path / name)
    film = read_film(tmp_path / name)
    assert film.pixels.dtype == np.uint8 and film.pixels.shape == (24, 40)
    assert np.abs(film.pixels.astype(float) - expected).max() <= tolerance
    header = read_film_header(tmp_path / name)
    assert (header.rows, header.columns, header.patient) == (24, 40, "")
    assert film.origin["bits"] == (16 if "16" in name else 8)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", GREY, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_film(path).pixels, expected)
    header = read_film_header(path)
    assert (header.rows, header.columns) == expected.shape
    assert (read_film(path).jpeg is not None) == (orientation == 1 and suffix == "jpg")


def test_a_jpeg_of_the_stored_size_keeps_its_bytes_without_its_notes(tmp_path):
    square = soft_image(32, 32)
    exif = Image.Exif()
    exif[0x010E] = "Mustermann"
    path = saved(tmp_path / "a.jpg", square, exif=exif, comment=b"Erika")
    stored = stored_film(path, 32).encoded
    assert stored[:2] == b"\xff\xd8" and b"Mustermann" not in stored and b"Erika" not in stored
    assert np.array_equal(stored_pixels(stored), read_film(path).pixels)
    assert stored_film(path, 16).encoded[:4] == b"\x89PNG"


def test_what_a_file_is_counts_before_what_it_is_called(tmp_path):
    write_dicom(tmp_path / "a.png", GREY)
    assert np.array_equal(read_film(tmp_path / "a.png").pixels, GREY)
    Image.fromarray(GREY).save(tmp_path / "b.dcm", format="PNG")
    assert np.array_equal(read_film(tmp_path / "b.dcm").pixels, GREY)


def of_size(columns, rows):
    """The beginning of a PNG that declares a size."""
    content = io.BytesIO()
    Image.fromarray(GREY).save(content, format="PNG")
    head = bytearray(content.getvalue())
    head[16:24] = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    return bytes(head)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty, no byte is in it; copy it again"),
        (b"<!doctype html><html>", "a web page .HTML.; fetch it again"),
        (b"GIF89a" + b"\xff" * 40, "no PNG or JPEG; leave it out"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "it can't be decoded .*; damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 30, "it can't be decoded .*; damaged"),
        (of_size(30_000, 30_000), "it can't be decoded|declares 30000 x 30000 pixels, no radiog"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content, why):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.png: ({why})"):
        read_film(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_that_is_cut_short_is_refused(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", GREY, quality=95)
    path.write_bytes(path.read_bytes()[:-90])
    assert read_film_header(path).rows == 24
    with pytest.raises(UserError, match=r"it can't be decoded .*; damaged"):
        read_picture(path)
    with pytest.raises(UserError, match="there is no such file"):
        read_picture(tmp_path / "none.png")
