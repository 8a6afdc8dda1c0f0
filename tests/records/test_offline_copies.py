"""Copies by Augmentor and imgaug."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.records.offline_copies import augmentor_copy, imgaug_copy
from tests.helpers.drawing import rectangle, seen_box
from tests.helpers.fixtures import soft_image

IMAGE = soft_image(64, 64)
BOX = np.array([16, 20, 44, 50]) / 64


def by_augmentor(seed):
    return augmentor_copy(IMAGE, seed)


def by_imgaug(seed):
    return imgaug_copy(IMAGE, BOX, seed)[0]


both = pytest.mark.parametrize("copy", [by_augmentor, by_imgaug])


@both
def test_a_copy_depends_on_its_seed_alone(copy):
    first = copy(3)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    copy(4)
    np.testing.assert_array_equal(copy(3), first)
    assert first.shape == IMAGE.shape and first.dtype == np.uint8
    different = [copy(seed).tobytes() for seed in range(6)]
    assert len(set(different)) == 6


@both
def test_nothing_that_others_draw_from_is_touched(copy):
    image = IMAGE.copy()
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    copy(0)
    after = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert after == (random.random(), np.random.rand())  # noqa: NPY002
    np.testing.assert_array_equal(IMAGE, image)


def test_augmentor_leaves_no_black_corners():
    white = np.full((96, 96), 240, np.uint8)
    copies = [augmentor_copy(white, seed) for seed in range(20)]
    assert min(copy.min() for copy in copies) > 0.8 * 240


def test_augmentor_turns_a_little_and_never_flips():
    marked = np.zeros((96, 96), np.uint8)
    marked[20:28, 20:28] = 255
    for seed in range(20):
        row, column = np.unravel_index(np.argmax(augmentor_copy(marked, seed)), marked.shape)
        assert row < 40 and column < 40


@pytest.mark.parametrize("seed", range(24))
def test_the_box_is_that_of_the_moved_rectangle(seed):
    side = 160
    box = np.array([40, 52, 112, 124])
    copy, moved = imgaug_copy(rectangle(side, box), box / side, seed)
    assert np.abs(seen_box(copy) - moved * side).max() <= 1.5
    assert np.abs(moved - box / side).max() < 0.13


def test_boxes_of_copies_differ_in_place_and_size():
    boxes = np.array([imgaug_copy(IMAGE, BOX, seed)[1] for seed in range(12)])
    assert np.ptp(boxes[:, 0]) > 0.03 and np.ptp(boxes[:, 1]) > 0.03
    assert np.ptp(boxes[:, 2] - boxes[:, 0]) > 0.02


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.tuples(*[st.floats(0.0, 0.9)] * 4))
def test_a_copys_box_is_in_the_image_and_as_large_as_the_scale_allows(seed, numbers):
    (x0, x1), (y0, y1) = sorted(numbers[:2]), sorted(numbers[2:])
    box = np.array([x0, y0, x1 + 0.1, y1 + 0.1])
    made = imgaug_copy(IMAGE, box, seed)
    if made is None:
        return
    moved = made[1]
    assert moved.min() >= 0 and moved.max() <= 1
    change = (moved[2:] - moved[:2]) / (box[2:] - box[:2])
    # One scale for both axes, 0.9 to 1.1.
    assert change[0] == pytest.approx(change[1], rel=1e-3)
    assert 0.9 - 1e-3 <= change[0] <= 1.1 + 1e-3
    # Undone, it is the box again: scaled about the middle, then shifted by up to 0.06.
    middles = (moved[:2] + moved[2:]) / 2 - 0.5, (box[:2] + box[2:]) / 2 - 0.5
    assert np.abs(middles[0] - change[0] * middles[1]).max() <= 0.06 + 1 / 64


def test_a_box_that_left_the_image_gives_no_copy():
    made = [imgaug_copy(IMAGE, np.array([0.0, 0.2, 0.5, 0.7]), seed) for seed in range(24)]
    kept = [box for copy in made if copy is not None for box in [copy[1]]]
    assert 0 < len(kept) < 24
    assert all(box.min() >= 0 and box.max() <= 1 for box in kept)
