"""A folder of DICOM slices to a volume."""

import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from common.base.errors import UserError
from common.imaging import read_volume
from common.imaging.volume_files import read_start
from common.imaging.volumes import read_mask, write_mask
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import write_dicom, write_nifti
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


def as_nibabel(path, values, affine):
    return nib.as_closest_canonical(nib.load(write_nifti(path, values, affine)))


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: "".join(map(str, o.ravel())))
def test_all_48_orientations_are_those_of_the_same_nifti(tmp_path, orientation):
    affine = affine_of(orientation, (1, 2, 3), tilt=0.2, origin_mm=(-7, 8, 9))
    values = counted(3, 4, 5)
    write_series(tmp_path / "s", values, affine, order=[3, 0, 4, 1, 2])
    volume = read_volume(tmp_path / "s")
    oracle = as_nibabel(tmp_path / "v.nii", values, affine)
    assert np.array_equal(volume.voxels, oracle.get_fdata())
    assert np.allclose(volume.affine, oracle.affine, atol=1e-4)
    assert volume.spacing_mm == pytest.approx(nib.affines.voxel_sizes(oracle.affine), rel=1e-5)


@on_disk
@given(orientation=oriented, spacing_mm=spacings, tilt=tilts, origin_mm=origins, data=st.data())
def test_a_mask_of_a_series_lies_on_its_slices(
    tmp_path, orientation, spacing_mm, tilt, origin_mm, data
):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 5)))
    affine = affine_of(orientation, spacing_mm, tilt, origin_mm)
    marked = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    values = np.zeros(shape, np.int16)
    values[marked] = 9
    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    write_series(tmp_path / "s", values, affine)
    volume = read_volume(tmp_path / "s")
    write_mask(tmp_path / "m.nii.gz", volume.voxels == 9, volume.grid_header)
    mask = nib.load(tmp_path / "m.nii.gz")
    (place,) = np.argwhere(mask.get_fdata() == 1)
    assert np.allclose(
        mask.affine @ [*place, 1], affine @ [*marked, 1], atol=1e-4 * (max(shape) + 150)
    )
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz", volume), volume.voxels == 9)
    assert read_start(tmp_path / "s")[0].shape == volume.original.shape


def test_a_mask_that_was_drawn_on_the_converted_volume_fits(tmp_path):
    values, affine = counted(3, 4, 5), affine_of(ORIENTATIONS[5], (1, 2, 3), 0.1, (4, 5, 6))
    write_series(tmp_path / "s", values, affine)
    mask = write_nifti(tmp_path / "m.nii.gz", (values > 30).astype(np.uint8), affine)
    volume = read_volume(tmp_path / "s")
    assert np.array_equal(read_mask(mask, volume, {0: "background", 1: "atrium"}),
                          volume.voxels > 30)  # fmt: skip


def test_each_slice_has_its_own_rescale(tmp_path):
    values = counted(3, 4, 5)
    for k, path in enumerate(write_series(tmp_path, values, LAS)):
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = k + 0.5, -1000
        dataset.save_as(path)
    expected = values * (np.arange(5) + 0.5) - 1000
    assert np.allclose(read_volume(tmp_path).voxels[::-1], expected)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_signed_and_unsigned_slices_of_other_syntaxes(tmp_path, syntax, dtype):
    values = counted(3, 4, 5, dtype=dtype)
    values[0, 0, 0] = np.iinfo(dtype).min
    values[0, 0, 1] = np.iinfo(dtype).max
    write_series(tmp_path, values, LAS, syntax=syntax)
    assert np.array_equal(read_volume(tmp_path).voxels[::-1], values)


@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless]
)
def test_slices_without_loss_are_read_to_the_last_bit(tmp_path, syntax):
    import imagecodecs

    encode = {
        uid.JPEGLosslessSV1: lambda words: imagecodecs.jpeg8_encode(
            words, lossless=True, predictor=1, bitspersample=12
        ),
        uid.JPEGLSLossless: imagecodecs.jpegls_encode,
        uid.JPEG2000Lossless: lambda words: imagecodecs.jpeg2k_encode(words, level=0),
    }
    values = np.random.default_rng(0).integers(0, 4096, (9, 8, 5), np.uint16)
    for k, path in enumerate(write_series(tmp_path, values, LAS, BitsStored=12, HighBit=11)):
        dataset = pydicom.dcmread(path)
        if syntax == uid.RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            words = np.ascontiguousarray(values[:, :, k].T)
            dataset.PixelData = encapsulate([encode[syntax](words)])
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).voxels[::-1], values)


def test_the_bits_of_a_slice_are_those_of_its_header(tmp_path):
    values = counted(3, 4, 5, dtype=np.uint16)
    write_series(tmp_path, values << 4, LAS, BitsStored=12, HighBit=15)
    assert np.array_equal(read_volume(tmp_path).voxels[::-1], values)


def test_what_lies_beside_slices_is_passed_over(tmp_path):
    values = counted(3, 4, 5)
    write_series(tmp_path / "DICOM" / "S1", values, LAS)
    (tmp_path / "notes.txt").write_text("a text")
    (tmp_path / "DICOM" / "S1" / "._IM0000.dcm").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".trash").mkdir()
    shutil.copy(tmp_path / "DICOM" / "S1" / "IM0000.dcm", tmp_path / ".trash")
    (tmp_path / "again.dcm").symlink_to(tmp_path / "DICOM" / "S1" / "IM0001.dcm")
    (tmp_path / "lost.dcm").symlink_to("nowhere.dcm")
    # An index, and a presentation state, which has no pixels.
    for name, kind in (
        ("DICOMDIR", uid.MediaStorageDirectoryStorage),
        ("PR1", uid.GrayscaleSoftcopyPresentationStateStorage),
    ):
        write_dicom(tmp_path / name, values[..., 0], SOPClassUID=kind, Rows=None, PixelData=None)
    assert np.array_equal(read_volume(tmp_path).voxels[::-1], values)


def test_places_with_a_decimal_are_even(tmp_path):
    affine = np.diag([1.0, 1.0, 0.625, 1.0])
    for path in write_series(tmp_path, counted(3, 4, 9), affine):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = [round(float(x), 1) for x in dataset.ImagePositionPatient]
        dataset.save_as(path)
    assert read_volume(tmp_path).spacing_mm[2] == pytest.approx(0.625)


def test_a_tilted_gantry_keeps_every_voxel_in_its_place(tmp_path):
    affine = affine_of(ORIENTATIONS[0], (1, 2, 3))
    affine[1, 2] = 0.9
    values = counted(3, 4, 5)
    write_series(tmp_path / "s", values, affine)
    volume = read_volume(tmp_path / "s")
    oracle = as_nibabel(tmp_path / "v.nii", values, affine)
    assert np.array_equal(volume.voxels, oracle.get_fdata())
    assert np.allclose(volume.affine, oracle.affine, atol=1e-4)


def changed(path, **elements):
    dataset = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def refused(case, folder):
    """A folder that is refused, and what its error says."""
    paths = write_series(folder, counted(3, 4, 7), LAS)
    second = "IM0002.dcm"
    if case == "gap":
        paths[3].unlink()
        return r"a gap of 1\.25 mm between IM0002\.dcm and IM0004\.dcm, where slices are 0\.625 mm"
    if case == "mixed":
        changed(paths[2], SeriesInstanceUID="1.2.8")
        return r"slices of 2 series \(6 such as IM0000\.dcm, 1 such as IM0002\.dcm\); move"
    if case == "localizer":
        changed(paths[2], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        return r"slices of 2 directions .*IM0002"
    if case == "size":
        write_series(folder / "b", counted(5, 4, 2), LAS)
        return r"slices of 2 sizes .*b.IM0000"
    if case == "spacing":
        changed(paths[2], PixelSpacing=[1, 1])
        return r"slices of 2 spacings .*IM0002"
    if case == "twice":
        shutil.copy(paths[2], folder / "copy.dcm")
        return r"IM0002\.dcm and copy\.dcm lie at one position"
    if case == "times":
        write_series(folder / "t2", counted(3, 4, 7), LAS)
        return r"lie at one position \(a copy, or several times or echoes"
    if case == "beside":
        position = [float(x) for x in pydicom.dcmread(paths[2]).ImagePositionPatient]
        changed(paths[2], ImagePositionPatient=[position[0] + 5, *position[1:]])
        return r"IM0002\.dcm lies 5 mm off the line"
    if case == "alone":
        for path in paths[1:]:
            path.unlink()
        return "holds one slice, a volume has several; give the folder of the whole series"
    if case == "nowhere":
        changed(paths[2], ImagePositionPatient=None)
        return r"IM0002\.dcm: does not say where it lies \(ImagePositionPatient\)"
    if case == "frames":
        changed(paths[2], NumberOfFrames=7)
        return r"IM0002\.dcm: has 7 frames"
    if case == "colour":
        changed(paths[2], PhotometricInterpretation="RGB", SamplesPerPixel=3)
        return r"IM0002\.dcm: "
    if case == "cut":
        paths[2].write_bytes(paths[2].read_bytes()[:-30])
        return rf"{second}: .*fetch it again"
    if case == "not DICOM":
        paths[2].write_bytes(b"<html>")
        return rf"{second}: not a DICOM file"
    if case == "a pixel without width":
        for path in paths:
            changed(path, PixelSpacing=[0, 1])
        return "its affine is degenerate"
    if case == "one direction":
        changed(paths[2], ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
        return r"IM0002\.dcm: its ImageOrientationPatient is no two directions"
    for path in paths:
        path.unlink()
    return "holds no DICOM slices"


REFUSED = [
    "gap", "mixed", "localizer", "size", "spacing", "twice", "times", "beside", "alone", "nowhere",
    "frames", "colour", "cut", "not DICOM", "a pixel without width", "one direction", "empty",
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_volume_is_refused_by_name(tmp_path, case):
    message = refused(case, tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read_volume(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert str(caught.value).count(str(tmp_path)) == 1
    assert "Recognisable" not in str(caught.value) and "1.2.8" not in str(caught.value)


@settings(deadline=None)
@given(st.integers(5, 12), st.data())
def test_any_slice_that_is_missing_within_is_named(tmp_path_factory, count, data):
    folder = tmp_path_factory.mktemp("s")
    missing = data.draw(st.integers(1, count - 2))
    paths = write_series(folder, counted(2, 2, count), LAS)
    paths[missing].unlink()
    named = f"between {paths[missing - 1].name} and {paths[missing + 1].name}"
    with pytest.raises(UserError, match=named):
        read_volume(folder)
