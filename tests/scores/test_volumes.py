"""Scores of volumes, against brute force, SciPy's distance map, MONAI and hand-worked values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from common.scores.volumes import (
    dice,
    largest_component,
    surface_scores,
    surface_voxels,
    volume_ml,
    volume_scores,
)
from tests.helpers import needs

SPACING_MM = (0.7, 1.25, 3.0)


def blob(seed, shape=(14, 11, 8), level=0.1):
    """A smooth random shape, which may touch the border or be empty."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) > level


def surface_by_scipy(mask):
    return mask ^ ndimage.binary_erosion(mask)


def distances_by_brute_force(a, b, spacing_mm):
    points = [np.argwhere(surface_by_scipy(mask)) * np.array(spacing_mm) for mask in (a, b)]
    between = cdist(*points)
    return between.min(axis=1), between.min(axis=0)


masks = st.builds(blob, st.integers(0, 10_000), level=st.floats(0.0, 0.25))
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)


@given(masks, masks, spacings)
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_brute_force(truth, predicted, spacing_mm):
    if not truth.any() or not predicted.any():
        return
    there, back = distances_by_brute_force(truth, predicted, spacing_mm)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    hd95, assd = surface_scores(truth, predicted, spacing_mm)
    assert hd95 == pytest.approx(expected)
    expected = np.concatenate([there, back]).mean()
    assert assd == pytest.approx(expected)


def test_distances_are_those_of_a_distance_map_on_a_larger_volume():
    z, y, x = np.indices((60, 70, 40))
    truth = (z - 30) ** 2 + (y - 30) ** 2 + (2 * x - 40) ** 2 < 500
    predicted = (z - 28) ** 2 + (y - 37) ** 2 + (2 * x - 36) ** 2 < 600
    there, back = (
        ndimage.distance_transform_edt(~surface_by_scipy(to), sampling=SPACING_MM)[
            surface_by_scipy(of)
        ]
        for of, to in ((truth, predicted), (predicted, truth))
    )
    hd95, assd = surface_scores(truth, predicted, SPACING_MM)
    assert hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert assd == pytest.approx(np.concatenate([there, back]).mean())


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_monais(seed):
    needs.package("monai", "torch")
    import torch
    from monai import metrics as monai

    truth, predicted = blob(seed), blob(seed + 100)
    one, other = (
        torch.tensor(mask[np.newaxis, np.newaxis].astype("float32")) for mask in (truth, predicted)
    )
    expected = {
        "dice": monai.compute_dice(other, one),
        "jaccard": monai.compute_iou(other, one),
        "hd95_mm": monai.compute_hausdorff_distance(
            other, one, include_background=True, percentile=95, spacing=SPACING_MM
        ),
        "assd_mm": monai.compute_average_surface_distance(
            other, one, include_background=True, symmetric=True, spacing=SPACING_MM
        ),
    }
    found = volume_scores(truth, predicted, SPACING_MM)
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), rel=1e-5), key


@given(masks)
@settings(max_examples=30, deadline=None)
def test_the_surface_is_the_mask_without_its_erosion(mask):
    found = surface_voxels(mask)
    np.testing.assert_array_equal(found, np.argwhere(surface_by_scipy(mask)))


def test_two_cuboids_by_hand():
    truth, predicted = np.zeros((2, 10, 4, 4), bool)
    truth[2:4, 1:3, 1:3] = True
    predicted[5:7, 1:3, 1:3] = True
    found = volume_scores(truth, predicted, (2, 1, 1))
    # Every voxel is surface; along i half are 2 steps of 2 mm away and half 3.
    assert found == {
        "dice": 0,
        "jaccard": 0,
        "hd95_mm": pytest.approx(6),
        "assd_mm": pytest.approx(5),
        "truth_ml": pytest.approx(0.016),
        "predicted_ml": pytest.approx(0.016),
    }
    half = np.zeros_like(truth)
    half[2:3, 1:3, 1:3] = True
    assert dice(truth, half) == pytest.approx(2 * 4 / 12)
    assert volume_scores(truth, half, (2, 1, 1))["jaccard"] == pytest.approx(4 / 8)


def test_the_truth_itself_is_perfect_whatever_its_type():
    mask = blob(3)
    found = volume_scores(mask.astype("uint8") * 7, mask.astype("float32"), SPACING_MM)
    assert (found["dice"], found["jaccard"], found["hd95_mm"], found["assd_mm"]) == (1, 1, 0, 0)
    assert found["truth_ml"] == volume_ml(mask, SPACING_MM)


def test_a_sheared_grid_counts_by_its_affine():
    rng = np.random.default_rng(1)
    truth, predicted = rng.random((2, 9, 8, 7)) > 0.6
    # Slices 3 mm apart, each moved 1.2 mm: the third axis is longer than that.
    affine = np.array([[0, 1.5, 0, 4], [-2, 0, 1.2, 5], [0, 0, 3, 6], [0, 0, 0, 1.0]])
    points = [np.argwhere(surface_by_scipy(mask)) @ affine[:3, :3].T for mask in (truth, predicted)]
    distances = cdist(*points)
    there, back = distances.min(1), distances.min(0)
    scores = volume_scores(truth, predicted, affine)
    assert scores["hd95_mm"] == pytest.approx(max(np.percentile(d, 95) for d in (there, back)))
    assert scores["assd_mm"] == pytest.approx(np.concatenate([there, back]).mean())
    assert scores["truth_ml"] == volume_ml(truth, affine) == pytest.approx(truth.sum() * 9 / 1000)
    assert volume_ml(truth, (2, 1.5, 3)) == pytest.approx(truth.sum() * 9 / 1000)


def test_empty_masks_score_what_is_stated():
    mask, empty = np.ones((3, 4, 12), bool), np.zeros((3, 4, 12), bool)
    both = volume_scores(empty, empty, (1, 1, 1))
    assert (both["dice"], both["jaccard"], both["hd95_mm"], both["assd_mm"]) == (1, 1, 0, 0)
    for truth, predicted in ((mask, empty), (empty, mask)):
        found = volume_scores(truth, predicted, (1, 1, 1))
        assert (found["dice"], found["jaccard"]) == (0, 0)
        assert found["hd95_mm"] == found["assd_mm"] == pytest.approx(13)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(2, 2, 2\) and \(2, 2, 3\)"):
        volume_scores(np.ones((2, 2, 2)), np.ones((2, 2, 3)), (1, 1, 1))


def test_the_largest_component_joins_over_corners():
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    mask[4, 4:6, 4] = 1
    mask[2, 2, 2] = 1
    kept = largest_component(mask)
    assert kept.dtype == bool
    assert np.argwhere(kept).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert not largest_component(np.zeros((2, 2, 2))).any()
