"""Where a mask errs, against SciPy's distance map and by hand."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from common.reporting.surface_picture import surface_picture
from common.scores.surface_errors import surface_errors
from common.scores.volumes import surface_scores

SPACING_MM = (0.7, 1.25, 3.0)


def blob(seed, shape=(14, 11, 8)):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) > 0.1


def box(shape, *edges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*edge) for edge in edges)] = True
    return mask


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_distances_are_those_of_a_distance_map_and_signs_those_of_the_masks(first, second):
    truth, mask = blob(first), blob(second)
    assume(truth.any() and mask.any())
    errors = surface_errors(truth, mask, SPACING_MM)
    # Padded, since beyond the array is outside.
    pairs = ((truth, mask, errors.truth, errors.truth_mm, 1),
             (mask, truth, errors.predicted, errors.predicted_mm, -1))  # fmt: skip
    for own, other, places, signed, inside in pairs:
        surface = other ^ ndimage.binary_erosion(other)
        to_surface = ndimage.distance_transform_edt(~surface, SPACING_MM)[tuple(places.T)]
        np.testing.assert_allclose(np.abs(signed), to_surface)
        is_in = other[tuple(places.T)]
        assert (signed[is_in] * inside >= 0).all() and (signed[~is_in] * inside <= 0).all()
        assert len(places) == (own ^ ndimage.binary_erosion(own)).sum()
    both = np.abs(np.concatenate([errors.truth_mm, errors.predicted_mm]))
    assert both.mean() == pytest.approx(surface_scores(truth, mask, SPACING_MM)[1])


def test_the_slice_of_a_bulge_is_the_worst():
    truth = box((20, 20, 9), (5, 12), (5, 12), (1, 8))
    mask = truth.copy()
    mask[12:18, 5:12, 6] = True
    worst, *others = surface_errors(truth, mask, (1, 1, 1)).worst_slices(9)
    assert worst["slice"] == 7 and 0 < worst["signed_mm"] <= worst["mean_mm"]
    assert all(worst["mean_mm"] > other["mean_mm"] for other in others)
    short = surface_errors(mask, truth, (1, 1, 1)).worst_slices(1)[0]
    assert short["slice"] == 7 and short["signed_mm"] == pytest.approx(-worst["signed_mm"])


def test_a_mask_that_is_a_voxel_short_on_one_side_by_hand():
    truth = box((4, 4, 3), (0, 4), (0, 4), (0, 3))
    mask = box((4, 4, 3), (0, 3), (0, 4), (0, 3))
    errors = surface_errors(truth, mask, (2.0, 1.0, 1.0))
    at_end = errors.truth[:, 0] == 3
    assert (errors.truth_mm[at_end] == -2.0).all() and at_end.sum() == 12


def test_equal_masks_have_no_worst_slice_and_empty_ones_no_surface():
    mask = blob(3)
    assert surface_errors(mask, mask, SPACING_MM).worst_slices(3) == []
    assert surface_errors(mask, np.zeros_like(mask), SPACING_MM) is None


def test_the_picture_is_blue_where_the_mask_falls_short(tmp_path):
    truth = box((12, 12, 12), (2, 10), (2, 10), (2, 10))
    short, beyond = box((12, 12, 12), (4, 8), (4, 8), (4, 8)), np.ones((12, 12, 12), bool)
    for name, mask, colour in (("short", short, 2), ("beyond", beyond, 0)):
        errors = {"a": surface_errors(truth, mask, (1, 1, 1))}
        path = surface_picture(tmp_path / f"{name}.png", errors, (1, 1, 1), "case", False)
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        body = pixels[: int(len(pixels) * 0.7)].reshape(-1, 3)
        coloured = body[np.ptp(body, axis=1) > 20]
        assert len(coloured) > 1000 and (coloured.argmax(axis=1) == colour).all()
