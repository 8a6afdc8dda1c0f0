"""Arrays and volumes from one grid to another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.imaging.grids import resample, resample_labels, to_grid
from common.imaging.volumes import read_volume, resample_mask, resample_volume
from tests.helpers.fixtures import write_nifti
from tests.helpers.geometry import LAS, affine_of, counted, on_disk, oriented, tilts


def test_an_axis_that_shrinks_takes_the_mean():
    values = np.arange(12, dtype=np.float32)
    assert resample(values, (6,)).tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert np.allclose(resample(np.array([0.0, 3, 6]), (2,)), [1, 5])


def test_an_axis_that_grows_is_interpolated():
    assert np.allclose(resample(np.array([0.0, 4]), (4,)), [0, 1, 3, 4])
    assert resample(np.array([3, 7], np.uint8), (4,), order=0).tolist() == [3, 3, 7, 7]


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    new=st.tuples(*[st.integers(1, 12)] * 3),
    seed=st.integers(0, 9),
)
def test_resampling_keeps_constants_range_and_when_shrinking_the_mean(shape, new, seed):
    assert np.allclose(resample(np.full(shape, 7.0), new), 7)
    values = np.random.default_rng(seed).random(shape)
    result = resample(values, new)
    assert result.shape == new and result.dtype == np.float32
    assert values.min() - 1e-5 <= result.min() and result.max() <= values.max() + 1e-5
    if all(after <= before for before, after in zip(shape, new, strict=True)):
        assert result.mean() == pytest.approx(values.mean(), abs=1e-5)


def ball(shape, affine, centre_mm, radius_mm):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    place = grid @ affine[:3, :3].T + affine[:3, 3]
    return np.linalg.norm(place - centre_mm, axis=-1) <= radius_mm


def centre_of(mask, affine):
    return (affine @ [*np.argwhere(mask).mean(axis=0), 1])[:3]


@on_disk
@given(
    orientation=oriented,
    spacing_mm=st.tuples(*[st.floats(0.6, 2)] * 3),
    tilt=tilts,
    target=st.tuples(*[st.floats(0.5, 3)] * 3),
)
def test_an_object_keeps_its_place_under_resampling(
    tmp_path, orientation, spacing_mm, tilt, target
):
    shape = tuple(int(np.ceil(24 / spacing)) for spacing in spacing_mm)
    affine = affine_of(orientation, spacing_mm, tilt, (3, -40, 17))
    centre = (affine @ [*(np.array(shape) / 2), 1])[:3]
    mask = ball(shape, affine, centre, 7)
    volume = read_volume(write_nifti(tmp_path / "v.nii", mask.astype(np.uint8), affine))
    canonical = volume.voxels.astype(np.uint8)
    before = centre_of(canonical, volume.affine)

    array, at = resample_volume(volume, target)
    assert array.shape == resample_mask(canonical, volume, target)[0].shape
    reached = np.sqrt((at[:3, :3] ** 2).sum(0))
    extent = np.array(volume.voxels.shape) * volume.spacing_mm
    assert np.allclose(reached * array.shape, extent)
    assert (np.abs(extent / target - array.shape) <= 0.5 + 1e-6).all()
    small, _ = resample_mask(canonical, volume, target)
    assert np.abs(centre_of(small, at) - before).max() <= reached.max() / 2

    back = to_grid(array, at, volume.voxels.shape, volume.affine) >= 0.5
    assert np.abs(centre_of(back, volume.affine) - before).max() <= reached.max() / 2
    assert 2 * (back & (canonical > 0)).sum() / (back.sum() + canonical.sum()) > 0.8


def test_labels_are_resampled_by_their_share(tmp_path):
    volume = read_volume(write_nifti(tmp_path / "v.nii", counted(4, 5, 6), LAS))
    mask = np.zeros(volume.voxels.shape, np.uint8)
    mask[:2] = 3
    mask[2, :, :4] = 7
    result, affine = resample_mask(mask, volume, (1.25, 0.625, 0.625))
    assert result.shape == (2, 5, 6) and set(np.unique(result)) == {0, 3}
    assert np.allclose(affine[:3, 3] - volume.affine[:3, 3], [0.3125, 0, 0])


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    new=st.tuples(*[st.integers(1, 9)] * 3),
    labels=st.lists(st.integers(0, 255), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 99),
)
def test_the_share_of_a_label_does_not_depend_on_how_it_is_summed(shape, new, labels, seed):
    """Only the parts that hold a label are resampled: as all of the volume for all labels is."""
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array(labels, np.uint8), shape)
    mask[:, rng.integers(0, shape[1]) :] = labels[0]
    best, expected = np.full(new, -np.inf), np.zeros(new, np.uint8)
    for label in np.unique(mask):
        share = resample(mask == label, new)
        wins = share > best + 1e-5
        best[wins], expected[wins] = share[wins], label
    np.testing.assert_array_equal(resample_labels(mask, new), expected)


def test_to_grid_on_the_same_grid_changes_nothing():
    values = counted(4, 5, 6, dtype=np.float32)
    assert np.array_equal(to_grid(values, LAS, (4, 5, 6), LAS), values)
    labels = (values % 3).astype(np.uint8)
    result = to_grid(labels, LAS, (4, 5, 6), LAS, order=0)
    assert result.dtype == np.uint8 and np.array_equal(result, labels)


def test_to_grid_holds_the_outer_half_voxel_and_fills_beyond():
    affine = np.diag([2.0, 2, 2, 1])
    fine = np.eye(4)
    fine[:3, 3] = -0.5, -0.5, -2.5  # z: two voxels before the extent begins at -1 mm
    result = to_grid(np.ones((2, 2, 2)), affine, (4, 4, 7), fine, fill=-1)
    assert (result[:, :, 2:6] == 1).all()
    assert (result[:, :, :2] == -1).all() and (result[:, :, 6:] == -1).all()


def test_to_grid_of_a_turned_grid_is_the_array_turned():
    quarter = np.array([[0.0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    values = np.random.default_rng(0).random((6, 6, 3)).astype(np.float32)
    # Index (i, j) of the turned grid lies at index (5 - j, i).
    assert np.allclose(
        to_grid(values, np.eye(4), (6, 6, 3), quarter), np.rot90(values, -1), atol=1e-6
    )
