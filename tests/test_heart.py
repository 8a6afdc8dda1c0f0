"""Test-time averaging of the heart project, with a network that sees what it is shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heart_detection.inference import predict_boxes
from tests.helpers.drawing import rectangle, seen_box

SIDE = 64


class Seeing:
    """Gives the box of what is white, and what it was told to add to it."""

    def __init__(self, off=(0, 0, 0, 0)):
        self.off = np.array(off, float)

    def predict(self, images, batch_size, verbose):
        return np.stack([seen_box(image[..., 0]) / SIDE for image in images]) + self.off


def images(*boxes):
    return np.stack([rectangle(SIDE, box) for box in boxes])[..., None]


edges = st.tuples(st.integers(0, 40), st.integers(2, 20)).map(lambda pair: (pair[0], sum(pair)))


@given(edges, edges)
def test_the_mirrored_films_box_is_mirrored_back(across, down):
    box = np.array([across[0], down[0], across[1], down[1]])
    for flip in (False, True):
        found = predict_boxes(
            Seeing(), images(box, [1, 2, 9, 30]), 8, flip, test_time_augmentation=False
        )
        np.testing.assert_allclose(found * SIDE, [box, [1, 2, 9, 30]])


def test_what_is_off_to_one_side_averages_out_and_what_is_off_in_height_does_not():
    shown = images([8, 16, 24, 48])
    left = Seeing([-0.125, 0.25, -0.125, 0.25])
    once = predict_boxes(left, shown, 8, flip=False, test_time_augmentation=False) * SIDE
    np.testing.assert_allclose(once, [[0, 32, 16, 64]])
    twice = predict_boxes(left, shown, 8, flip=True, test_time_augmentation=False) * SIDE
    np.testing.assert_allclose(twice, [[8, 32, 24, 64]])


def test_an_uneven_size_is_averaged():
    wide = Seeing([0, 0, 0.25, 0])
    found = (
        predict_boxes(wide, images([8, 16, 24, 48]), 8, flip=True, test_time_augmentation=False)
        * SIDE
    )
    # 16 too far to the right in one, and to the left in the other.
    assert found[0] == pytest.approx([0, 16, 32, 48])


def test_a_moved_films_box_is_moved_back():
    box = np.array([12, 16, 40, 52])
    for flip in (False, True):
        found = predict_boxes(Seeing(), images(box), 8, flip, test_time_augmentation=True) * SIDE
        assert np.abs(found[0] - box).max() < 1


def test_an_error_that_stays_with_the_frame_averages_out_over_zooms():
    # Always a box of the whole film: moved back it lies around the film, evenly on both sides.
    class Whole:
        def predict(self, images, batch_size, verbose):
            return np.tile([0.0, 0.0, 1.0, 1.0], (len(images), 1))

    found = predict_boxes(
        Whole(), images([12, 16, 40, 52]), 8, flip=False, test_time_augmentation=True
    )[0]
    np.testing.assert_allclose(found[:2] + found[2:], 1, atol=1e-6)
