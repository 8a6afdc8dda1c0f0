"""NRRD and MetaImage files to volumes, by SimpleITK."""

import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base.errors import UserError
from common.base.files import ROOT
from common.imaging import read_volume
from common.imaging.volume_files import read_start
from common.imaging.volumes import read_mask, write_mask
from tests.helpers import needs
from tests.helpers.fixtures import write_nifti
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
from tests.helpers.itk_files import NUMBERS, write_itk

SUFFIXES = (".nrrd", ".mha", ".mhd")


@pytest.fixture(scope="module")
def sitk():
    needs.package("SimpleITK")
    import SimpleITK

    return SimpleITK


def as_nibabel(path, values, affine):
    return nib.as_closest_canonical(nib.load(write_nifti(path, values, affine)))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: "".join(map(str, o.ravel())))
def test_all_48_orientations_are_those_of_the_same_nifti(tmp_path, sitk, suffix, orientation):
    affine = affine_of(orientation, (1, 2, 3), tilt=0.2, origin_mm=(-7, 8, 9))
    values = counted(3, 4, 5)
    volume = read_volume(write_itk(tmp_path / f"v{suffix}", values, affine))
    oracle = as_nibabel(tmp_path / "v.nii", values, affine)
    assert np.array_equal(volume.voxels, oracle.get_fdata())
    assert np.allclose(volume.affine, oracle.affine, atol=1e-4)
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    # ITK's own conversion to NIfTI says the same.
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / f"v{suffix}")), str(tmp_path / "itk.nii"))
    itk = nib.as_closest_canonical(nib.load(tmp_path / "itk.nii"))
    assert np.array_equal(volume.voxels, itk.get_fdata())
    assert np.allclose(volume.affine, itk.affine, atol=1e-4)


@on_disk
@given(
    suffix=st.sampled_from(SUFFIXES), orientation=oriented, spacing_mm=spacings, tilt=tilts,
    origin_mm=origins, data=st.data(),
)  # fmt: skip
def test_a_mask_comes_back_to_its_voxels(
    tmp_path, sitk, suffix, orientation, spacing_mm, tilt, origin_mm, data
):
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    affine = affine_of(orientation, spacing_mm, tilt, origin_mm)
    mask = np.zeros(shape, np.uint8)
    mask[tuple(data.draw(st.integers(0, length - 1)) for length in shape)] = 1
    path = write_itk(tmp_path / f"v{suffix}", mask, affine)
    volume = read_volume(path)
    write_mask(tmp_path / "m.nii.gz", volume.voxels, volume.grid_header)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(written.dataobj, mask)
    assert np.allclose(written.affine, affine, atol=1e-4)
    for other in (path, tmp_path / "m.nii.gz"):
        assert np.array_equal(read_mask(other, volume), volume.voxels)


def test_nrrd_may_count_to_the_right_and_the_front(tmp_path, sitk):
    affine, values = affine_of(ORIENTATIONS[7], (1, 2, 3), 0.2, (4, 5, 6)), counted(3, 4, 5)
    path = write_itk(tmp_path / "v.nrrd", values, affine, "right-anterior-superior")
    oracle = as_nibabel(tmp_path / "v.nii", values, affine)
    assert np.array_equal(read_volume(path).voxels, oracle.get_fdata())
    assert np.allclose(read_volume(path).affine, oracle.affine, atol=1e-4)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".NRRD", ".MHA"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_number_format_and_byte_order(tmp_path, sitk, suffix, dtype):
    values = (counted(3, 4, 5) + 3).astype(dtype)
    path = write_itk(tmp_path / f"v{suffix}", values, LAS)
    assert np.array_equal(read_volume(path).voxels[::-1], values)
    grid, first = read_start(path)
    assert grid.shape == (3, 4, 5) and np.array_equal(first, values[..., 0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compressed_files_and_one_frame(tmp_path, sitk, suffix):
    image = sitk.GetImageFromArray(counted(3, 4, 5))
    sitk.WriteImage(image, str(tmp_path / f"v{suffix}"), True)
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / f"w{suffix}"))
    for name in "vw":
        assert np.array_equal(
            read_volume(tmp_path / f"{name}{suffix}").voxels, counted(3, 4, 5).T[::-1, ::-1]
        )


def refused(case, path, sitk):
    """A file that is refused, and what its error says."""
    write_itk(path, counted(9, 9, 9), LAS)
    data = path.with_suffix(".raw") if path.suffix == ".mhd" else path
    if case == "cut":
        data.write_bytes(data.read_bytes()[:-100])
        return "cut short"
    if case == "declares more":
        path.write_bytes(path.read_bytes().replace(b"9 9 9", b"9 9 999"))
        return "cut short"
    if case == "huge":
        path.write_bytes(path.read_bytes().replace(b"9 9 9", b"9999 9999 9999"))
        return "1 to 268435456 voxels are read"
    if case.startswith("packed"):
        noise = np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), True)
        data = path.with_suffix(".zraw") if path.suffix == ".mhd" else path
        content = bytearray(data.read_bytes())
        if case == "packed, a wrong byte":
            content[-2] ^= 1  # of the checksum, so that nothing else tells
        elif case == "packed and damaged":
            content[-2000:-1900] = b"\xff" * 100
        data.write_bytes(content[:-3000] if case == "packed and cut" else content)
        return "cut short"
    if case == "colours":
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), True), str(path))
        return "colours or vectors"
    if case == "two axes":
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint8)), str(path))
        return "has 2 axes, a volume has 3"
    if case == "times":
        image = sitk.GetImageFromArray(counted(3, 4, 5))
        sitk.WriteImage(sitk.JoinSeries([image, image]), str(path))
        return "several channels or times"
    if case == "a web page":
        path.write_bytes(b"<!DOCTYPE html><html>")
        return r"not readable as \.\w+: it is a web page \(HTML\)"
    if case == "a pointer":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        return "Git-LFS pointer"
    if case == "empty":
        path.write_bytes(b"")
        return r"empty \(0 bytes\)"
    if case == "many axes":
        content = path.read_bytes().replace(b"NDims = 3", b"NDims = 65535")
        path.write_bytes(content.replace(b"dimension: 3", b"dimension: 99999999999"))
        return "no number of axes, or over 9"
    if case == "as text":
        content = path.read_bytes().replace(b"encoding: raw", b"encoding: txt")
        path.write_bytes(content.replace(b"BinaryData = True", b"BinaryData = False"))
        return "written as text; write it again as binary"
    if case == "no numbers":
        path.write_bytes(path.read_bytes().replace(b"9 9 9", b"x y z"))
        return "cut short, damaged or unknown|several channels|cut short"
    if case == "far away":
        start = re.sub(rb"(Offset = |space origin: \()[-.\d]+", rb"\g<1>1e307", path.read_bytes())
        path.write_bytes(start)
        return "its affine is degenerate"
    if case == "without its voxels":
        data.unlink()
        return r"its voxels, v\.raw, are not next to it|there is no such file"
    path.unlink()
    return "there is no such file"


REFUSED = [
    "cut", "declares more", "huge", "packed, a wrong byte", "packed and cut", "packed and damaged",
    "colours", "two axes", "times", "a web page", "a pointer", "empty", "no numbers", "as text",
    "many axes", "far away", "without its voxels", "absent",
]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_volume_is_refused_by_name(tmp_path, sitk, suffix, case):
    path = tmp_path / f"v{suffix}"
    with pytest.raises(UserError, match=refused(case, path, sitk)) as caught:
        read_volume(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(tmp_path)) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_simpleitk_the_extra_is_named(tmp_path, suffix):
    path = write_itk(tmp_path / f"v{suffix}", counted(3, 4, 5), LAS)
    # None in sys.modules: Python's own way to say that a module is not there.
    code = (
        "import sys\nsys.modules['SimpleITK'] = None\n"
        f"from common.imaging import read_volume\nread_volume({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert f"{path}: SimpleITK, which reads {suffix}, is not installed" in last
    assert 'pip install -e ".[volumes]"' in last
