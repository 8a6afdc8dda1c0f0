"""NIfTI to canonical volumes and back."""

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel import orientations

from common.errors import UserError
from common.grids import resample
from common.nifti import (
    read_mask,
    read_volume,
    resample_mask,
    resample_volume,
    to_grid,
    write_mask,
)
from tests.common.fixtures import real_data, write_nifti

BUNDLED = Path(nib.__file__).parent / "tests" / "data"
LAS = np.diag([-0.625, 0.625, 0.625, 1.0])
ORIENTATIONS = [
    np.array(list(zip(axes, flips, strict=True)))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]


def counted(*shape, dtype=np.int16):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def affine_of(orientation, spacing_mm, tilt=0.0, origin_mm=(0, 0, 0)):
    """An affine of this orientation, turned a little about the x and the z axis."""
    affine = np.zeros((4, 4))
    for k, (axis, flip) in enumerate(orientation):
        affine[int(axis), k] = flip * spacing_mm[k]
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3], affine[3, 3] = origin_mm, 1
    return affine


oriented = st.sampled_from(ORIENTATIONS)
spacings = st.tuples(*[st.floats(0.3, 4)] * 3)
tilts = st.floats(-0.35, 0.35)
origins = st.tuples(*[st.floats(-150, 150)] * 3)
on_disk = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


def test_scaled_integers(tmp_path):
    header = nib.Nifti1Header()
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


def test_bundled_files():
    assert read_volume(BUNDLED / "anatomical.nii").voxels.shape == (33, 41, 25)
    assert read_volume(BUNDLED / "standard.nii.gz").voxels.shape == (4, 5, 7)
    for name in ("functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"):
        with pytest.raises(UserError, match="several channels or times"):
            read_volume(BUNDLED / name)
    for name in ("analyze.hdr", "nifti1.hdr", "nifti2.hdr"):
        with pytest.raises(UserError, match=f"{name}: "):
            read_volume(BUNDLED / name)
    with pytest.raises(UserError, match="not a NIfTI file; expected"):
        read_volume(BUNDLED / "test.mgz")


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
        values[0, 0, :2] = np.nan, np.inf
        write_nifti(path, values)
        return "2 of 60 voxels are NaN or infinite"
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


# ---- Masks


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
        found = read_mask(tmp_path / name, volume, {0: "background", 1: "atrium"})
        assert found.dtype == np.uint8
        assert np.array_equal(found, mask[::-1])


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
    left = np.array([[0, -1], [1, 1], [2, 1]])
    affine = affine_of(left, [spacing_mm] * 3, tilt, [origin_mm] * 3)
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


# ---- Resampling


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


def test_labels_are_resampled_by_their_share(volume):
    mask = np.zeros(volume.voxels.shape, np.uint8)
    mask[:2] = 3
    mask[2, :, :4] = 7
    result, affine = resample_mask(mask, volume, (1.25, 0.625, 0.625))
    assert result.shape == (2, 5, 6) and set(np.unique(result)) == {0, 3}
    assert np.allclose(affine[:3, 3] - volume.affine[:3, 3], [0.3125, 0, 0])


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
