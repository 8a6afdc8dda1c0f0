"""Surface Dice, against surface-distance and hand-worked values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.scores.surface_dice import surface_dice
from common.scores.volumes import surface_scores
from tests.helpers import needs
from tests.scores.test_volumes import blob

# By seed and spacing what surface-distance 0.1 gave for `pair`: at 0.5, 1 and 2 mm, and its HD95.
RECORDED = {
    (0, (1.25, 1.25, 1.25)): ([0.485490852, 0.485490852, 0.866434924], 6.25),
    (1, (0.7, 1.25, 3.0)): ([0.494111351, 0.701028566, 0.833467965], 4.2),
    (2, (0.625, 0.625, 1.25)): ([0.451704090, 0.756368725, 0.903814855], 3.365728004),
}

TOLERANCES_MM = (0.5, 1.0, 2.0)
spacings = st.tuples(*[st.sampled_from([0.3, 0.5, 0.625, 0.7, 1.0, 1.25, 2.0, 3.0])] * 3)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


def noise(seed, shape):
    """Voxels at random: every pattern of eight neighbours comes up."""
    return np.random.default_rng(seed).random(shape) < 0.5


def pair(seed):
    """A shape, and a smaller one of the same noise; the third is moved by a voxel."""
    truth, predicted = (blob(seed, (24, 20, 16), level) for level in (0.1, 0.16))
    return truth, np.roll(predicted, seed == 2, axis=2)


@pytest.mark.parametrize(("seed", "spacing_mm"), RECORDED)
def test_it_is_what_surface_distance_gave(seed, spacing_mm):
    expected, hd95 = RECORDED[seed, spacing_mm]
    scores = surface_dice(*pair(seed), spacing_mm, TOLERANCES_MM)
    assert scores == pytest.approx(expected, abs=1e-8)
    # Its surface is not that of HD95 here, which is MONAI's.
    assert (surface_scores(*pair(seed), spacing_mm)[0] == pytest.approx(hd95)) == (seed == 0)


@pytest.mark.torch
@given(shapes, spacings, st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_it_equals_surface_distance(shape, spacing_mm, seed):
    needs.package("surface_distance")
    import surface_distance

    truth, predicted = noise(seed, shape), noise(seed + 1, shape)
    if not truth.any() or not predicted.any():
        return
    distances = surface_distance.compute_surface_distances(truth, predicted, spacing_mm)
    expected = [
        surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)
        for tolerance in TOLERANCES_MM
    ]
    assert surface_dice(truth, predicted, spacing_mm, TOLERANCES_MM) == pytest.approx(expected)


def test_two_plates_by_hand():
    truth, predicted = np.zeros((2, 200, 200, 12), bool)
    truth[:, :, 2:4] = predicted[:, :, 2:6] = True
    # The lower faces meet, the upper ones are two slices of 1.5 mm apart, in all but the rims.
    at_2, at_3 = surface_dice(truth, predicted, (1, 1, 1.5), (2, 3))
    assert at_2 == pytest.approx(0.5, abs=0.03)
    assert at_3 == 1


@given(shapes, spacings, st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_it_is_symmetric_and_grows_with_the_tolerance(shape, spacing_mm, seed):
    truth, predicted = noise(seed, shape), noise(seed + 1, shape)
    scores = surface_dice(truth, predicted, spacing_mm, TOLERANCES_MM)
    assert scores == sorted(scores) and scores[0] >= 0 and scores[-1] <= 1
    assert scores == pytest.approx(surface_dice(predicted, truth, spacing_mm, TOLERANCES_MM))
    turned = [np.transpose(mask, (2, 0, 1))[::-1] for mask in (truth, predicted)]
    spacing_turned = [spacing_mm[axis] for axis in (2, 0, 1)]
    assert scores == pytest.approx(surface_dice(*turned, spacing_turned, TOLERANCES_MM))
    assert surface_dice(truth, truth, spacing_mm, [0]) == [1]


def test_an_affine_counts_as_its_spacing_whatever_its_rotation():
    angle = np.radians(30)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag([0.7, 1.25, 3.0]), (5, -7, 9)
    expected = surface_dice(*pair(1), (0.7, 1.25, 3.0), TOLERANCES_MM)
    assert surface_dice(*pair(1), affine, TOLERANCES_MM) == pytest.approx(expected)


def test_a_tilted_grid_shears_areas_and_places():
    # A plate and the same one slice further, on slices 3 mm apart that move 4 mm each: 5 mm apart.
    truth, predicted = np.zeros((2, 40, 40, 8), bool)
    truth[:, :, 2], predicted[:, :, 3] = True, True
    affine = np.array([[1, 0, 4, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    near, far = surface_dice(truth, predicted, affine, (2.9, 3.1))
    # Half of both surfaces are faces that coincide; the others are 3 mm apart along the normal.
    assert near == pytest.approx(0.5, abs=0.06) and far > 0.9


def test_empty_masks_score_what_is_stated():
    mask, empty = np.ones((3, 4, 5), bool), np.zeros((3, 4, 5), bool)
    assert surface_dice(empty, empty, (1, 1, 1), TOLERANCES_MM) == [1, 1, 1]
    assert surface_dice(mask, empty, (1, 1, 1), TOLERANCES_MM) == [0, 0, 0]
    assert surface_dice(empty, mask, (1, 1, 1), TOLERANCES_MM) == [0, 0, 0]
    with pytest.raises(ValueError, match="one shape"):
        surface_dice(mask, np.ones((3, 4, 6)), (1, 1, 1), TOLERANCES_MM)
