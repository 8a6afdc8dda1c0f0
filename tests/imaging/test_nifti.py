"""NIfTI to canonical volumes and back."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel import orientations

from common.base.errors import UserError
from common.imaging.grids import to_grid
from common.imaging.volumes import read_mask, read_volume, resample_mask, write_mask
from tests.helpers.fixtures import real_data, write_nifti
from tests.helpers.geometry import (
    LAS,
    ORIENTATIONS,
    affine_of,
    counted,
    on_disk,
    oriented,
    origins,
    spacings,
    tilts,
)

# ---- Reading


def test_a_canonical_file_is_read_as_it_is(tmp_path):
    affine = affine_of(ORIENTATIONS[0], (1, 2, 3), origin_mm=(4, 5, 6))
    volume = read_volume(write_nifti(tmp_path / "v.nii", counted(3, 4, 5), affine))
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, counted(3, 4, 5))
    assert np.allclose(volume.affine, affine) and volume.spacing_mm == (1, 2, 3)
    assert volume.original.shape == (3, 4, 5)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: "".join(map(str, o.ravel())))
def test_all_48_orientations_become_ras_and_come_back(tmp_path, orientation):
    affine = affine_of(orientation, (1, 2, 3), tilt=0.2, origin_mm=(-7, 8, 9))
    values = counted(3, 4, 5)
    volume = read_volume(write_nifti(tmp_path / "v.nii.gz", values, affine))
    assert orientations.aff2axcodes(volume.affine) == ("R", "A", "S")
    write_mask(tmp_path / "m.nii.gz", volume.voxels, volume.grid_header)
    assert np.array_equal(nib.load(tmp_path / "m.nii.gz").dataobj, values)
    oracle = nib.as_closest_canonical(nib.load(tmp_path / "v.nii.gz"))
    assert np.array_equal(volume.voxels, oracle.get_fdata())
    assert np.allclose(volume.affine, oracle.affine)


@on_disk
@given(orientation=oriented, spacing_mm=spacings, tilt=tilts, origin_mm=origins, data=st.data())
def test_a_voxel_keeps_its_place_and_a_mask_comes_back_exactly(
    tmp_path, orientation, spacing_mm, tilt, origin_mm, data
):
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    affine = affine_of(orientation, spacing_mm, tilt, origin_mm)
    marked = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    values = np.zeros(shape, np.int16)
    values[marked] = 1
    volume = read_volume(write_nifti(tmp_path / "v.nii.gz", values, affine))
    place = np.argwhere(volume.voxels == 1)[0]
    assert np.allclose(
        (volume.affine @ [*place, 1])[:3], (affine @ [*marked, 1])[:3], atol=1e-4 * max(shape)
    )
    write_mask(tmp_path / "m.nii.gz", volume.voxels.astype(np.uint8), volume.grid_header)
    image, mask = nib.load(tmp_path / "v.nii.gz"), nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(mask.dataobj, values)
    assert np.array_equal(mask.affine, image.affine)
    assert np.array_equal(
        read_mask(tmp_path / "m.nii.gz", volume, {0: "background", 1: "atrium"}),
        volume.voxels.astype(np.uint8),
    )


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_versions_and_byte_orders(tmp_path, kind, suffix, endianness):
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(np.int16)
    image = kind(counted(3, 4, 5), LAS, header)
    image.to_filename(tmp_path / f"v{suffix}")
    assert nib.load(tmp_path / f"v{suffix}").header.endianness == endianness
    volume = read_volume(tmp_path / f"v{suffix}")
    assert np.array_equal(volume.voxels[::-1], counted(3, 4, 5))
    write_mask(tmp_path / "m.nii", np.ones((3, 4, 5)), volume.grid_header)
    assert type(nib.load(tmp_path / "m.nii")) is kind


def test_a_pair_of_files(tmp_path):
    nib.Nifti1Pair(counted(3, 4, 5), LAS).to_filename(tmp_path / "v.img")
    for name in ("v.img", "v.hdr"):
        assert np.array_equal(read_volume(tmp_path / name).voxels[::-1], counted(3, 4, 5))


def test_half_a_pair_is_refused(tmp_path):
    nib.Nifti1Pair(counted(3, 4, 5), LAS).to_filename(tmp_path / "v.img")
    (tmp_path / "v.img").unlink()
    with pytest.raises(UserError, match=r"v\.hdr: its \.img or \.hdr is not next to it"):
        read_volume(tmp_path / "v.hdr")


@pytest.mark.parametrize("endianness", ["<", ">"])
def test_scaled_integers(tmp_path, endianness):
    header = nib.Nifti1Header(endianness=endianness)
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(counted(3, 4, 5), np.eye(4), header)
    image.header.set_slope_inter(0.5, -3)
    image.to_filename(tmp_path / "v.nii")
    stored = nib.load(tmp_path / "v.nii")
    assert np.allclose(read_volume(tmp_path / "v.nii").voxels, stored.get_fdata(), atol=1e-4)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    volume = read_volume(write_nifti(tmp_path / "v.nii", counted(3, 4, 5, 1), LAS))
    assert volume.voxels.shape == (3, 4, 5) and volume.original.shape == (3, 4, 5)


def with_forms(path, sform=None, qform=None):
    image = nib.Nifti1Image(counted(3, 4, 5), None)
    image.header.set_zooms((2, 2, 2))
    if qform is not None:
        image.header.set_qform(qform, code=1)
    if sform is not None:
        image.header.set_sform(sform, code=2)
    image.to_filename(path)
    return path


def test_sform_before_qform_before_pixdim(tmp_path):
    sform, qform = np.diag([1.0, 2, 3, 1]), np.diag([3.0, 3, 3, 1])
    path = tmp_path / "v.nii"
    assert read_volume(with_forms(path, sform, qform)).spacing_mm == (1, 2, 3)
    assert read_volume(with_forms(path, None, qform)).spacing_mm == (3, 3, 3)
    neither = read_volume(with_forms(path))
    assert neither.spacing_mm == (2, 2, 2)
    assert np.array_equal(neither.voxels[::-1], counted(3, 4, 5))  # x runs to the left


def test_metres_and_microns_become_millimetres(tmp_path):
    for unit, factor in (("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)):
        image = nib.Nifti1Image(counted(3, 4, 5), None)
        image.set_sform(np.diag([-2 / factor, 2 / factor, 2 / factor, 1]), 1)
        image.header.set_xyzt_units(unit)
        image.to_filename(tmp_path / "v.nii")
        assert read_volume(tmp_path / "v.nii").spacing_mm == pytest.approx((2, 2, 2))


def refused(case, path):
    """A file that is refused, and what its error says."""
    if case == "two axes":
        write_nifti(path, counted(4, 5))
        return "has 2 axes, a volume has 3"
    if case == "channels":
        write_nifti(path, counted(3, 4, 5, 2))
        return r"has the shape \(3, 4, 5, 2\), several channels or times"
    if case == "colours":
        write_nifti(path, np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
        return "colours or complex numbers"
    if case == "complex":
        write_nifti(path, np.zeros((3, 4, 5), np.complex64))
        return "colours or complex numbers"
    if case == "nan":
        values = np.zeros((3, 4, 5), np.float32)
        values[:] = np.nan
        values[0, 0, :2] = np.inf, -np.inf
        write_nifti(path, values)
        return "all its voxels are NaN or infinite"
    if case == "degenerate":
        image = nib.Nifti1Image(counted(3, 4, 5), None)
        image.header["srow_x"], image.header["sform_code"] = [1, 0, 0, 0], 1
        image.to_filename(path)
        return "its affine is degenerate"
    if case == "flat":
        image = nib.Nifti1Image(counted(3, 4, 5), None)
        image.header.set_sform(np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
        image.header["sform_code"] = 1
        image.to_filename(path)
        return "its affine is degenerate"
    if case == "an affine of NaN":
        image = nib.Nifti1Image(counted(3, 4, 5), None)
        image.header["srow_x"], image.header["sform_code"] = np.nan, 1
        image.to_filename(path)
        return "its affine is degenerate"
    content = bytearray(gzip.decompress(write_nifti(path, counted(9, 9, 9)).read_bytes()))
    if case == "cut gzip":
        path.write_bytes(path.read_bytes()[:-300])
        return "cut short or damaged"
    if case == "flipped bit":
        packed = bytearray(gzip.compress(bytes(content), compresslevel=0))
        packed[600] ^= 1
        path.write_bytes(packed)
        return "cut short or damaged"
    if case == "cut before gzip":
        path.write_bytes(gzip.compress(bytes(content[:-100])))
        return "not readable as NIfTI|cut short"
    if case == "huge":
        content[42:48] = (32767).to_bytes(2, "little") * 3
        path.write_bytes(gzip.compress(bytes(content)))
        return "1 to 268435456 voxels are read"
    if case == "large":
        content[42:48] = (400).to_bytes(2, "little") * 3
        path.write_bytes(gzip.compress(bytes(content)))
        return "cut short, it declares 128000352 bytes"
    if case == "much behind":
        path.write_bytes(gzip.compress(bytes(content) + b"\0" * (1 << 25)))
        return "holds more than its header declares"
    if case == "a picture":
        path.write_bytes(b"\x89PNG" * 200)
        return "not readable as NIfTI"
    if case == "empty":
        path.write_bytes(b"")
        return "not readable as NIfTI"
    path.unlink()
    return "there is no such file"


REFUSED = [
    "two axes", "channels", "colours", "complex", "nan", "degenerate", "flat", "an affine of NaN",
    "cut gzip", "flipped bit", "cut before gzip", "huge", "large", "much behind", "a picture",
    "empty", "absent",
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_volume_is_refused_by_name(tmp_path, case):
    path = tmp_path / "v.nii.gz"
    with pytest.raises(UserError, match=refused(case, path)) as caught:
        read_volume(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "expected"), [(np.nan, 5), (-np.inf, 5), (np.inf, 64), (-np.nan, 5)]
)
def test_a_voxel_that_is_no_number_takes_the_end_of_the_range(tmp_path, dtype, value, expected):
    values = counted(3, 4, 5).astype(dtype) + 5
    path = write_nifti(tmp_path / "v.nii.gz", values)
    assert read_volume(path).doubt == ""
    values[1, 2, 3:] = value
    volume = read_volume(write_nifti(path, values))
    assert volume.doubt.startswith("2 of 60 voxels are NaN or infinite; taken for")
    values[1, 2, 3:] = expected
    assert np.array_equal(volume.voxels, values)


def test_float64_beyond_float32_is_told(tmp_path):
    values = counted(3, 4, 5).astype(np.float64)
    values[0, 0, 0] = 1e300
    volume = read_volume(write_nifti(tmp_path / "v.nii", values))
    assert volume.doubt.startswith("1 of 60") and volume.voxels[0, 0, 0] == 59


def test_a_cut_uncompressed_file_is_refused(tmp_path):
    path = write_nifti(tmp_path / "v.nii", counted(9, 9, 9))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cut short, it declares 1810 bytes"):
        read_volume(path)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path, data):
    path = write_nifti(tmp_path / "v.nii", counted(5, 5, 5), LAS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert read_volume(path).voxels.ndim == 3
    except UserError as error:
        assert str(error).startswith(f"{path}: ")


def test_nibabels_repairs_are_not_printed(tmp_path, capfd):
    content = bytearray(write_nifti(tmp_path / "v.nii", counted(3, 4, 5), LAS).read_bytes())
    content[252:254] = b"\x07\x70"  # a qform code that does not exist
    (tmp_path / "v.nii").write_bytes(content)
    read_volume(tmp_path / "v.nii")
    assert capfd.readouterr() == ("", "")


# ---- Real files


def test_a_real_volume_goes_to_the_working_grid_and_back(tmp_path):
    folder = real_data("Task02_Heart")
    volume = read_volume(folder / "imagesTr" / "la_001.nii.gz")
    mask = read_mask(
        folder / "labelsTr" / "la_001.nii.gz", volume, {0: "background", 1: "left atrium"}
    )
    assert mask.shape == volume.voxels.shape and 0 < mask.mean() < 0.5
    write_mask(tmp_path / "m.nii.gz", mask, volume.grid_header)
    original = nib.load(folder / "labelsTr" / "la_001.nii.gz")
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(written.dataobj, np.asarray(original.dataobj))
    assert np.array_equal(written.affine, original.affine)
    small, at = resample_mask(mask, volume, (1.25, 1.25, 1.25))
    back = to_grid(small.astype(np.float32), at, mask.shape, volume.affine) >= 0.5
    assert 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum()) > 0.95
