"""What NIfTI files are wrapped in, and what stands in their place."""

import gzip
import io
import struct
import time

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.base.errors import UserError
from common.imaging.nifti_file import read_start
from common.imaging.volumes import read_volume
from tests.helpers.geometry import LAS, counted


def nifti(values, kind=nib.Nifti1Image, **fields):
    """The bytes of a file, and nibabel's own reading of it."""
    image = kind(values, LAS)
    for name, value in fields.items():
        image.header[name] = value
    content = image.to_bytes()
    return content, nib.as_closest_canonical(kind.from_bytes(content)).get_fdata()


def members(content, size):
    """A gzip file of many members, as bgzip and joined archives have it."""
    return b"".join(
        gzip.compress(content[start : start + size], 1) for start in range(0, len(content), size)
    )


def stored_members(content, size):
    """The same with stored blocks and a header of 10 bytes: many members in little time."""
    made = []
    for start in range(0, len(content), size):
        part = content[start : start + size]
        block = b"\1" + struct.pack("<HH", len(part), len(part) ^ 0xFFFF) + part
        made.append(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block
                    + struct.pack("<II", gzip.zlib.crc32(part), len(part)))  # fmt: skip
    return b"".join(made)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(100, 2000), st.integers(0, 40), st.booleans())
def test_gzip_of_several_members_is_one_file(tmp_path, size, zeros, ends_empty):
    content, expected = nifti(counted(7, 8, 9))
    packed = members(content, size) + (gzip.compress(b"") if ends_empty else b"") + b"\0" * zeros
    (tmp_path / "v.nii.gz").write_bytes(packed)
    assert np.array_equal(read_volume(tmp_path / "v.nii.gz").voxels, expected)
    assert np.array_equal(read_start(tmp_path / "v.nii.gz")[1][::-1], expected[..., 0])


def test_the_time_to_read_many_members_grows_with_their_number(tmp_path):
    seconds, path = [], tmp_path / "v.nii.gz"
    for slices in (20, 160):
        content, expected = nifti(counted(100, 80, slices, dtype=np.int16))
        path.write_bytes(stored_members(content, 16))
        start = time.process_time()
        assert np.array_equal(read_volume(path).voxels, expected)
        seconds.append(time.process_time() - start)
    # A time that grows with the square would be 64 times as long.
    assert seconds[1] < 25 * seconds[0] + 0.1, seconds


@pytest.mark.parametrize("place", [-1, -5, -100, 200])
def test_damage_in_any_member_is_found(tmp_path, place):
    content, _ = nifti(counted(7, 8, 9))
    packed = bytearray(members(content, 400))
    for changed in (packed[:place], packed[:place] + bytes([packed[place] ^ 1]) + packed[place:]):
        (tmp_path / "v.nii.gz").write_bytes(changed)
        with pytest.raises(UserError, match="cut short or damaged; fetch it again"):
            read_volume(tmp_path / "v.nii.gz")


def test_members_that_inflate_without_end_are_refused(tmp_path):
    content, _ = nifti(counted(3, 4, 5))
    bomb = gzip.compress(content) + gzip.compress(b"\0" * (1 << 24)) * 30
    (tmp_path / "v.nii.gz").write_bytes(bomb)
    with pytest.raises(UserError, match="holds more than its header declares"):
        read_volume(tmp_path / "v.nii.gz")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("name", "packed"),
    [("v.nii.gz", False), ("v.nii", True), ("V.NII.GZ", True), ("V.NII", False), ("v.hdr", False)],
)
def test_the_content_counts_and_not_the_name(tmp_path, kind, name, packed):
    content, expected = nifti(counted(3, 4, 5), kind)
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(read_volume(tmp_path / name).voxels, expected)


@pytest.mark.parametrize("names", [("v.hdr", "v.img"), ("V.HDR", "V.IMG")])
def test_a_pair_may_be_in_capitals_or_packed(tmp_path, names):
    image = nib.Nifti1Pair(counted(3, 4, 5), LAS)
    image.to_filename(tmp_path / "a.img")
    for name, was in zip(names, ("a.hdr", "a.img"), strict=True):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / was).read_bytes()))
    for name in names:
        assert np.array_equal(read_volume(tmp_path / name).voxels[::-1], counted(3, 4, 5))


# ---- Headers


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("extensions", [0, 1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_an_offset_of_zero_means_behind_the_header(tmp_path, endianness, kind, extensions, packed):
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(np.int16)
    image = kind(counted(3, 4, 5) + 300, LAS, header)
    for number in range(extensions):
        note = nib.nifti1.Nifti1Extension("comment", b"n" * 40 * (number + 1))
        image.header.extensions.append(note)
    content = bytearray(image.to_bytes())
    expected = nib.as_closest_canonical(kind.from_bytes(bytes(content))).get_fdata()
    place, length = (108, 4) if kind is nib.Nifti1Image else (168, 8)
    content[place : place + length] = b"\0" * length
    path = tmp_path / "v.nii"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(read_volume(path).voxels, expected)
    assert np.array_equal(read_start(path)[1][::-1], expected[..., 0])


def test_an_offset_within_the_header_is_refused(tmp_path):
    content = bytearray(nifti(counted(3, 4, 5))[0])
    content[108:112] = struct.pack("<f", 348)
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(UserError, match=r"voxels begin at 348 \(vox_offset\), in its header"):
        read_volume(tmp_path / "v.nii")


@pytest.mark.parametrize("slope", [(0, 0), (0, 7), (np.nan, np.nan), (np.nan, 0), (np.inf, 3)])
def test_a_slope_that_is_no_scale_scales_nothing(tmp_path, slope):
    content = bytearray(nifti(counted(3, 4, 5))[0])
    content[112:120] = struct.pack("<ff", *slope)
    (tmp_path / "v.nii").write_bytes(content)
    assert np.array_equal(read_volume(tmp_path / "v.nii").voxels[::-1], counted(3, 4, 5))


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">i8", ">f8"]
)
def test_every_number_format_is_read(tmp_path, dtype):
    values = (counted(3, 4, 5) + 3).astype(dtype) / np.asarray(7 if "f" in dtype else 1, dtype)
    header = nib.Nifti1Header(endianness=">" if ">" in dtype else "<")
    header.set_data_dtype(dtype)
    nib.Nifti1Image(values.astype(dtype), LAS, header).to_filename(tmp_path / "v.nii.gz")
    voxels = read_volume(tmp_path / "v.nii.gz").voxels
    assert voxels.dtype == np.float32
    assert np.allclose(voxels[::-1], values.astype(np.float64), rtol=1e-6)


# ---- What stands in the place of a file


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"
FOREIGN = [
    (b"<!DOCTYPE html>\n<html><title>404</title>", "web page"),
    (b"\xef\xbb\xbf \n<HTML lang='en'>", "web page"),
    ("<html>not found</html>".encode("utf-16"), "web page"),
    (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "">', "web page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    (b'{"error": "token expired"}', "JSON"),
    (POINTER, "Git-LFS pointer.*git lfs pull"),
    (b"/annex/objects/MD5E-s12--ab.nii.gz\n", "git-annex pointer.*git annex get"),
    (b"Please find the volume attached.\n", "a text"),
    (b"", r"empty \(0 bytes\)"),
    (b"\0" * 5000, "zeros alone"),
    (b"PK\x03\x04" + b"x" * 90, "a ZIP archive; unpack it"),
    (b"BZh91AY", "bzip2; unpack it"),
    (b"\0" * 128 + b"DICM" + b"\2\0" * 300, "a DICOM file; give the folder"),
    (b"NRRD0004\n", "an NRRD volume; name it"),
    (nifti(counted(3, 4, 5))[0][:344] + b"\0" * 200, "an ANALYZE file"),
]


@pytest.mark.parametrize(("content", "named"), FOREIGN, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.img"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_nifti_is_named_as_what_it_is(tmp_path, content, named, name, packed):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    if name == "v.img":
        (tmp_path / "v.hdr").write_bytes(path.read_bytes())
    for read in (read_volume, read_start):
        with pytest.raises(UserError, match=f"not readable as NIfTI: it is .*{named}"):
            read(path)


def test_gzip_within_gzip_is_named(tmp_path):
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(gzip.compress(nifti(counted(3, 4, 5))[0])))
    with pytest.raises(UserError, match="gzip within gzip; unpack it once"):
        read_volume(tmp_path / "v.nii.gz")


def test_the_first_slice_is_read_without_the_rest(tmp_path):
    content, expected = nifti(np.random.default_rng(0).integers(0, 999, (64, 64, 400), np.int16))
    packed = io.BytesIO(gzip.compress(content))
    (tmp_path / "v.nii.gz").write_bytes(packed.getvalue()[: len(packed.getvalue()) // 2])
    assert np.array_equal(read_start(tmp_path / "v.nii.gz")[1][::-1], expected[..., 0])
