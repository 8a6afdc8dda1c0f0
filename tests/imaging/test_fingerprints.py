"""Fingerprints: equal pixels, copies that are no equal, and films that are no copies."""

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from common.imaging.fingerprints import NEAR, differences, fingerprint
from synthetic_sample.chest_dataset import draw_case, plan_cases


@pytest.fixture(scope="module")
def films():
    """Films of the synthetic sample, of several patients, (n, rows, columns) uint8."""
    films = [np.uint8(255 * draw_case(case)[1].image) for case in plan_cases(5, 12)]
    return [np.asarray(Image.fromarray(film).resize((256, 256))) for film in films]


def jpeg(film, quality):
    file = io.BytesIO()
    Image.fromarray(film).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(film, side):
    return np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC))


COPIES = {
    "JPEG of quality 75": lambda film: jpeg(film, 75),
    "JPEG of quality 50, half the size": lambda film: jpeg(resized(film, 128), 50),
    "a quarter of the size": lambda film: resized(film, 64),
    "one and a half times the size": lambda film: resized(film, 384),
    "another gamma": lambda film: np.uint8(255 * (film / 255) ** 1.2),
    "12 bits": lambda film: film.astype(np.uint16) * 16 + 7,
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_and_another_film_is_not(films, copy):
    texts = [fingerprint(film)["perceptual"] for film in films]
    copies = [fingerprint(COPIES[copy](film)) for film in films]
    shares = differences([copied["perceptual"] for copied in copies], texts)
    assert shares.diagonal().max() <= NEAR / 2
    assert (shares + np.eye(len(films))).min() > NEAR
    assert not {copied["sha256"] for copied in copies} & {fingerprint(f)["sha256"] for f in films}


def test_a_volume_and_its_copy():
    rng = np.random.default_rng(3)
    volumes = [ndimage.gaussian_filter(rng.normal(size=(60, 50, 40)), 6) for _ in range(12)]
    texts = [fingerprint(volume)["perceptual"] for volume in volumes]
    small = [fingerprint(ndimage.zoom(v, 0.5, order=1))["perceptual"] for v in volumes]
    shares = differences(small, texts)
    assert shares.diagonal().max() <= NEAR < (shares + np.eye(12)).min()


def test_the_exact_one_is_that_of_shape_and_values():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = hashlib.sha256(b"(3, 4)" + image.astype("<f4").tobytes()).hexdigest()
    assert fingerprint(image)["sha256"] == expected
    assert fingerprint(image.astype(np.int16))["sha256"] == expected
    assert fingerprint(image.reshape(4, 3))["sha256"] != expected
    assert fingerprint(np.asfortranarray(image))["sha256"] == expected


def test_an_even_image_and_one_smaller_than_the_cells_have_one():
    assert set(fingerprint(np.zeros((30, 30)))["perceptual"]) == {"0"}
    assert len(fingerprint(np.eye(5))["perceptual"]) == 2 * 544 // 8


@given(
    st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=6),
    st.binary(min_size=4, max_size=4),
)
def test_differences_count_bits(texts, other):
    expected = [
        sum((a ^ b).bit_count() for a, b in zip(text, other, strict=True)) / 32 for text in texts
    ]
    shares = differences([text.hex() for text in texts], [other.hex(), "", "00"])
    assert shares[:, 0].tolist() == pytest.approx(expected)
    assert (shares[:, 1:] == 1).all(), "what is not there, or of another kind, is like nothing"
