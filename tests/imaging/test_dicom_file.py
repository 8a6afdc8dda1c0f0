"""Damaged, false and hostile DICOM files, and what may not be said of any."""

import io
import logging
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_file_meta_info

from common.base.errors import UserError
from common.imaging.dicom import read_header, read_radiograph
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom


def damaged(case, path):
    """A damaged file, and what its error says."""
    image, jpeg = soft_image(), jpeg_bytes(soft_image())
    if case == "jpeg cut":
        write_dicom(path, image, jpeg=jpeg[: len(jpeg) // 2])
        return "can't be decoded"
    if case == "jpeg of another size":
        write_dicom(path, image, jpeg=jpeg_bytes(soft_image(64, 64)))
        return "declares 40 x 56 pixels, the image in it has 64 x 64"
    if case == "colour jpeg in a grey file":
        write_dicom(path, image, jpeg=jpeg_bytes(np.stack([image] * 3, -1)))
        return "colour and grey contradict"
    if case == "jpeg bomb":
        write_dicom(path, image, jpeg=jpeg, Rows=8000, Columns=8000)
        return "more than .* bytes can hold"
    if case == "file cut in its frame":
        path.write_bytes(write_dicom(path, image, jpeg=jpeg).read_bytes()[:-200])
        return "cut short within its pixels"
    if case == "file cut in its pixels":
        path.write_bytes(write_dicom(path, image).read_bytes()[:-50])
        return "cut short, 2190 of 2240 bytes"
    if case == "no pixels":
        write_dicom(path, image, PixelData=None)
        return "it has no pixels"
    if case == "huge":
        write_dicom(path, image, Rows=60000, Columns=60000)
        return "declares 60000 x 60000 pixels"
    if case == "zero rows":
        write_dicom(path, image, Rows=0)
        return "declares 0 x 56 pixels"
    if case == "rle bomb":
        write_dicom(path, image, syntax=uid.RLELossless, Rows=8000, Columns=8000,
                    PixelData=encapsulate([b"\1\0\0\0\x40" + b"\0" * 90]))  # fmt: skip
        return "more than .* bytes can hold"
    if case == "bits":
        write_dicom(path, image, BitsStored=12)
        return "BitsStored and BitsAllocated are not legal"
    if case == "high bit":
        write_dicom(path, image.astype(np.uint16), bits=12, HighBit=5)
        return "its HighBit is below its BitsStored"
    if case == "bits that no word has":
        write_dicom(path, image, BitsAllocated=12)
        return "BitsStored and BitsAllocated are not legal"
    if case == "photometric":
        write_dicom(path, image, photometric="HSV")
        return "photometric interpretation of 1 samples per pixel is none of MONOCHROME1"
    if case == "samples":
        write_dicom(path, np.stack([image] * 3, -1), photometric="MONOCHROME2")
        return "photometric interpretation of 3 samples per pixel is none of RGB"
    if case == "chroma":
        write_dicom(path, np.stack([image] * 3, -1), photometric="YBR_FULL_422")
        return "declares chroma of half the columns and holds it whole"
    if case == "compressed, not declared":
        content = write_dicom(path, image, jpeg=jpeg_bytes(image, quality=100)).read_bytes()
        native = uid.ExplicitVRLittleEndian.ljust(len(uid.JPEGBaseline8Bit), "\0").encode()
        path.write_bytes(content.replace(uid.JPEGBaseline8Bit.encode(), native))
        return "compressed, and declares that it is not"
    if case == "two frames, one declared":
        write_dicom(path, image, PixelData=image.tobytes() + image.tobytes())
        return "4480 bytes of pixels where 2240 are declared"
    if case == "two compressed frames, one declared":
        write_dicom(path, image, jpeg=jpeg, PixelData=encapsulate([jpeg, jpeg]))
        return "has 2 frames and declares one"
    if case == "syntax":
        write_dicom(path, image)
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.99999.1"
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
        return "its transfer syntax is none that is known"
    if case == "no syntax, compressed":
        write_dicom(path, image, jpeg=jpeg)
        dataset = pydicom.dcmread(path)
        del dataset.file_meta.TransferSyntaxUID
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
        return "without a TransferSyntaxUID"
    if case == "a picture":
        path.write_bytes(jpeg)
        return "not a DICOM file"
    if case == "empty":
        path.write_bytes(b"")
        return "empty, no byte is in it; copy it again"
    return "there is no such file"


CASES = [
    "jpeg cut", "jpeg of another size", "colour jpeg in a grey file", "jpeg bomb",
    "file cut in its frame", "file cut in its pixels", "no pixels", "huge", "zero rows",
    "rle bomb", "bits", "bits that no word has", "high bit", "photometric", "samples", "chroma",
    "compressed, not declared", "two frames, one declared", "two compressed frames, one declared",
    "syntax", "no syntax, compressed", "a picture",
    "empty", "absent",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_refused_by_name(tmp_path, case):
    path = tmp_path / "damaged.dcm"
    message = damaged(case, path)
    with pytest.raises(UserError, match=message) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("common.imaging.dicom_file.MAX_BYTES", 1 << 20)
    zeros = np.zeros((1500, 1500), np.uint8)
    path = write_dicom(tmp_path / "a.dcm", zeros, syntax=uid.DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 1 << 14
    for reader in (read_header, read_radiograph):
        with pytest.raises(UserError, match="inflates to more than a radiograph has"):
            reader(path)
    image = write_dicom(tmp_path / "b.dcm", soft_image(), uid.DeflatedExplicitVRLittleEndian)
    assert np.array_equal(read_radiograph(image).pixels, soft_image())


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path, data):
    """Only the project's own error comes out, and nothing that identifies in it."""
    kinds = {
        "jpeg": {"jpeg": jpeg_bytes(soft_image())},
        "plain": {},
        "rle": {"syntax": uid.ImplicitVRLittleEndian, "WindowCenter": 9, "WindowWidth": 99},
    }
    kind = data.draw(st.sampled_from(sorted(kinds)))
    content = bytearray(write_dicom(tmp_path / "m.dcm", soft_image(), **kinds[kind]).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 900) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(100, len(content))) :]
    (tmp_path / "m.dcm").write_bytes(content)
    for reader in (read_header, read_radiograph):
        try:
            reader(tmp_path / "m.dcm")
        except UserError as error:
            assert "Recognisable" not in str(error) and "Q-1" not in str(error)


def test_no_warning_and_no_log_on_the_challenges_files(tmp_path, caplog):
    path = write_dicom(tmp_path / "a.dcm", soft_image(), PatientAge="62")
    caplog.clear()
    before = pydicom.config.settings.reading_validation_mode
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        assert read_header(path).age_years == 62
        read_radiograph(path)
    assert not caplog.records
    assert pydicom.config.settings.reading_validation_mode == before
    assert not logging.getLogger("pydicom").disabled


def test_a_header_does_not_show_its_patient(tmp_path):
    header = read_header(write_dicom(tmp_path / "a.dcm", soft_image()))
    assert header.patient == "Q-1" and "Q-1" not in repr(header)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEG2000, uid.RLELossless])
def test_plain_pixels_under_the_label_of_compressed_ones(tmp_path, syntax):
    path = write_dicom(tmp_path / "a.dcm", soft_image())
    content = path.read_bytes()
    meta = pydicom.dcmread(path).file_meta
    rest = content[132 + 12 + meta.FileMetaInformationGroupLength :]
    meta.TransferSyntaxUID, written = syntax, io.BytesIO()
    write_file_meta_info(written, meta)
    path.write_bytes(content[:132] + written.getvalue() + rest)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_radiograph(path).pixels, soft_image())


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_of_floating_point_are_named(tmp_path, name):
    kind = "<f4" if name.startswith("Float") else "<f8"
    values = soft_image().astype(kind).tobytes()
    path = write_dicom(tmp_path / "a.dcm", soft_image(), PixelData=None, **{name: values})
    with pytest.raises(UserError, match=r"a\.dcm: its pixels are floating-point numbers; convert"):
        read_radiograph(path)
