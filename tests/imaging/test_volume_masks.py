"""Masks read on their image's grid, and written on it."""

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations

from common.base.errors import UserError
from common.imaging.volumes import read_mask, read_volume, write_mask
from tests.helpers.fixtures import write_nifti
from tests.helpers.geometry import LAS, affine_of, counted


@pytest.fixture
def volume(tmp_path):
    return read_volume(write_nifti(tmp_path / "v.nii.gz", counted(4, 5, 6), LAS))


def test_a_mask_of_floats_or_scaled_integers_is_read(tmp_path, volume):
    mask = (counted(4, 5, 6) % 2).astype(np.float64)
    write_nifti(tmp_path / "float.nii", mask, LAS)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    nib.Nifti1Image(mask, LAS, header).to_filename(tmp_path / "scaled.nii")
    assert nib.load(tmp_path / "scaled.nii").dataobj.slope != 1
    for name in ("float.nii", "scaled.nii"):
        stored = read_mask(tmp_path / name, volume, {0: "background", 1: "atrium"})
        assert stored.dtype == np.uint8
        assert np.array_equal(stored, mask[::-1])


def test_a_mask_may_have_another_order_of_axes(tmp_path, volume):
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3] = 1
    image = nib.Nifti1Image(mask, LAS)
    for code in ("RAS", "SPL", "AIR"):
        turn = orientations.ornt_transform(
            orientations.io_orientation(LAS), orientations.axcodes2ornt(code)
        )
        image.as_reoriented(turn).to_filename(tmp_path / "m.nii.gz")
        assert np.array_equal(read_mask(tmp_path / "m.nii.gz", volume), mask[::-1])


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "tilt", "origin_mm", "message"),
    [
        ((4, 5, 7), 0.625, 0, 0, r"shape \(4, 5, 7\), not \(4, 5, 6\)"),
        ((4, 5, 6), 1.25, 0, 0, r"spacing \[1.25 1.25 1.25\] mm, not \[0.625 0.625 0.625\] mm"),
        ((4, 5, 6), 0.625, 0.1, 0, "its axes have another direction"),
        ((4, 5, 6), 0.625, 0, 0.3, r"origin .* mm, not .* mm"),
    ],
)
def test_a_mask_on_another_grid_is_refused(
    tmp_path, volume, shape, spacing_mm, tilt, origin_mm, message
):
    orientation = np.array([[0, -1], [1, 1], [2, 1]])
    affine = affine_of(orientation, [spacing_mm] * 3, tilt, [origin_mm] * 3)
    path = write_nifti(tmp_path / "m.nii", np.zeros(shape, np.uint8), affine)
    with pytest.raises(UserError, match=rf"m.*: does not lie on the grid of .*v\.nii.*: {message}"):
        read_mask(path, volume)


def test_a_hundredth_of_a_voxel_is_forgiven(tmp_path, volume):
    affine = LAS.copy()
    affine[:3, 3] += 0.003
    path = write_nifti(tmp_path / "m.nii", np.ones((4, 5, 6), np.uint8), affine)
    assert read_mask(path, volume).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2], "holds the values 2, its labels are 0, 1"),
        ([0.5], "holds the values 0.5, its labels"),
        ([-1, 3, 4, 5, 6, 7], "holds the values -1, 3, 4, 5, 6 and 1 more"),
        ([np.nan], "holds the values nan"),
    ],
)
def test_a_mask_with_other_values_is_refused(tmp_path, volume, values, message):
    mask = np.zeros((4, 5, 6), np.float32)
    mask.ravel()[: len(values)] = values
    path = write_nifti(tmp_path / "m.nii", mask, LAS)
    with pytest.raises(UserError, match=message):
        read_mask(path, volume, {0: "background", 1: "atrium"})


@pytest.mark.parametrize("value", [2, 127, 128, 254, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_another_value_is_refused_however_it_is_stored(tmp_path, volume, value, dtype):
    mask = np.zeros((4, 5, 6), dtype)
    mask[0, 0, 0], mask[1, 0, 0] = 1, value
    path = write_nifti(tmp_path / "m.nii", mask, LAS)
    with pytest.raises(UserError, match=f"holds the values {value}, its labels are 0, 1;"):
        read_mask(path, volume, {0: "background", 1: "atrium"})
    assert read_mask(path, volume, {0: "background", 1: "a", value: "b"}).max() == value


def test_without_labels_any_byte_is_a_label(tmp_path, volume):
    mask = np.zeros((4, 5, 6), np.int16)
    mask[0, 0, 0] = 255
    assert read_mask(write_nifti(tmp_path / "m.nii", mask, LAS), volume).max() == 255
    mask[0, 0, 0] = 256
    with pytest.raises(UserError, match="holds the values 256, its labels are 0 to 255"):
        read_mask(write_nifti(tmp_path / "m.nii", mask, LAS), volume)


def test_a_written_mask_tells_of_nobody_and_is_the_same_each_time(tmp_path):
    image = nib.Nifti1Image(counted(4, 5, 6), LAS)
    image.header["descrip"] = image.header["aux_file"] = image.header["db_name"] = b"Recognisable"
    image.header["intent_name"] = b"Recognisable"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Recognisable"))
    image.set_qform(LAS, 1)
    image.set_sform(LAS, 4)
    image.to_filename(tmp_path / "v.nii")
    volume = read_volume(tmp_path / "v.nii")
    mask = (volume.voxels > 50).astype(np.uint8)
    for name in ("a.nii.gz", "b.nii.gz", "c.nii"):
        write_mask(tmp_path / name, mask, volume.grid_header)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert b"Recognisable" not in (tmp_path / "c.nii").read_bytes()
    written = nib.load(tmp_path / "c.nii")
    assert written.get_data_dtype() == np.uint8
    assert (written.header["qform_code"], written.header["sform_code"]) == (1, 4)
    assert np.array_equal(written.get_qform(), image.get_qform())
    assert not list(tmp_path.glob("*.part*"))


def test_a_mask_needs_a_nifti_name_and_its_volumes_shape(tmp_path, volume):
    with pytest.raises(UserError, match="a mask is written as"):
        write_mask(tmp_path / "m.png", volume.voxels, volume.grid_header)
    with pytest.raises(ValueError, match=r"Received: \(2, 2, 2\)"):
        write_mask(tmp_path / "m.nii", np.zeros((2, 2, 2)), volume.grid_header)
