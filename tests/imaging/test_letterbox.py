"""Images of any proportions in a square, and boxes between the two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.imaging.letterbox import Letterbox, mirror_boxes
from tests.helpers.drawing import rectangle, seen_box

LETTERBOXES = st.builds(
    Letterbox, st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([32, 96, 224, 1024])
)
STRETCHED = st.builds(
    Letterbox, st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([32, 96]), st.just(True)
)
BOXES = st.tuples(*[st.floats(-100, 5000)] * 4).map(np.array)


@given(LETTERBOXES | STRETCHED, BOXES)
def test_boxes_go_to_the_square_and_back(letterbox, box):
    there = letterbox.to_fractions(box)
    np.testing.assert_allclose(letterbox.to_pixels(there), box, atol=1e-6)
    many = np.stack([box, box + 1])[None]
    np.testing.assert_allclose(letterbox.to_pixels(letterbox.to_fractions(many)), many, atol=1e-6)


@given(LETTERBOXES)
def test_the_image_fills_the_square_one_way_and_is_centred(letterbox):
    rows, columns, side = letterbox.rows, letterbox.columns, letterbox.image_size
    assert max(letterbox.height, letterbox.width) == side
    longest = max(rows, columns)
    # The short side is at least a pixel, however thin the image.
    assert abs(letterbox.height - max(1, rows * side / longest)) <= 0.5
    assert abs(letterbox.width - max(1, columns * side / longest)) <= 0.5
    assert 0 <= side - letterbox.height - 2 * letterbox.pad_top <= 1
    assert 0 <= side - letterbox.width - 2 * letterbox.pad_left <= 1
    whole = letterbox.to_fractions([0, 0, columns, rows]) * side
    x0, y0 = letterbox.pad_left, letterbox.pad_top
    expected = [x0, y0, x0 + letterbox.width, y0 + letterbox.height]
    np.testing.assert_allclose(whole, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "columns", "box", "expected"),
    [
        (100, 200, [0, 0, 200, 100], [0, 0.25, 1, 0.75]),
        (200, 100, [50, 0, 100, 200], [0.5, 0, 0.75, 1]),
        (50, 50, [10, 20, 30, 40], [0.2, 0.4, 0.6, 0.8]),
    ],
)
def test_boxes_by_hand(rows, columns, box, expected):
    np.testing.assert_allclose(Letterbox(rows, columns, 80).to_fractions(box), expected)


def test_an_image_of_the_right_size_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    np.testing.assert_array_equal(Letterbox(64, 64, 64).into_square(pixels), pixels)
    wide = pixels[:32]
    np.testing.assert_array_equal(Letterbox(32, 64, 64).into_square(wide)[16:48], wide)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(30, 300), st.integers(30, 300), st.integers(48, 200))
def test_a_rectangle_is_seen_where_its_box_went(data, rows, columns, side):
    x0 = data.draw(st.integers(0, columns // 2))
    y0 = data.draw(st.integers(0, rows // 2))
    x1 = data.draw(st.integers(x0 + columns // 4, columns))
    y1 = data.draw(st.integers(y0 + rows // 4, rows))
    pixels = np.zeros((rows, columns), np.uint8)
    pixels[y0:y1, x0:x1] = 255
    letterbox = Letterbox(rows, columns, side)
    square = letterbox.into_square(pixels)
    assert square.shape == (side, side) and square.dtype == np.uint8
    expected = letterbox.to_fractions([x0, y0, x1, y1]) * side
    assert np.abs(seen_box(square) - expected).max() <= 1


@given(STRETCHED)
def test_a_stretched_image_fills_the_square(letterbox):
    whole = letterbox.to_fractions([0, 0, letterbox.columns, letterbox.rows])
    np.testing.assert_allclose(whole, [0, 0, 1, 1], atol=1e-9)


def test_a_stretched_image_by_hand():
    wide = np.zeros((10, 20), np.uint8)
    wide[:, 10:] = 200
    square = Letterbox(10, 20, 20, stretch=True).into_square(wide)
    assert square.shape == (20, 20)
    assert (square[:, :9] == 0).all() and (square[:, 11:] == 200).all()


def test_around_the_image_it_is_black():
    square = Letterbox(20, 60, 90).into_square(np.full((20, 60), 255, np.uint8))
    assert (square[30:60] == 255).all()
    assert not square[:30].any() and not square[60:].any()


def test_shrinking_averages_and_does_not_sample():
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::2] = 255
    square = Letterbox(400, 400, 50).into_square(stripes)
    assert square.min() >= 120 and square.max() <= 135


@given(st.tuples(*[st.integers(0, 63)] * 4))
def test_a_mirrored_box_is_where_the_mirrored_rectangle_is(numbers):
    (x0, x1), (y0, y1) = sorted(numbers[:2]), sorted(numbers[2:])
    box = np.array([x0, y0, x1 + 1, y1 + 1])
    np.testing.assert_array_equal(
        mirror_boxes(box / 64) * 64, seen_box(np.fliplr(rectangle(64, box)))
    )
    many = np.stack([box, box + 1])[None] / 64
    np.testing.assert_array_equal(mirror_boxes(mirror_boxes(many)), many)
