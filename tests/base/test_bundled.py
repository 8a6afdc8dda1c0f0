"""Every test file of pydicom and nibabel: read as they read it, or refused with a reason."""

import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from common.base.errors import UserError
from common.imaging.dicom import read_header, read_radiograph
from tests.helpers import needs
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom
from tests.tools import bundled

NO_IMAGE = "no DICOM image, or it is cut short"
NOT_DICOM = "not a DICOM file"
FRAMES = "has .* frames; write the one that is meant to its own file"
OTHER_DECODER = r"no installed decoder reads .*: pip install \w+|can't be decoded, unless by: pip"

REFUSED = {
    # Read by pydicom with a decoder that is not installed with this repository.
    "GDCMJ2K_TextGBR.dcm": OTHER_DECODER,
    "JPEG-lossy.dcm": OTHER_DECODER,
    "JPGExtended.dcm": OTHER_DECODER,
    "JPEG2000-embedded-sequence-delimiter.dcm": OTHER_DECODER,
    "JPEGLSNearLossless_08.dcm": OTHER_DECODER,
    "JPEGLSNearLossless_16.dcm": OTHER_DECODER,
    "MR_small_jpeg_ls_lossless.dcm": OTHER_DECODER,
    "SC_rgb_jls_lossy_line.dcm": OTHER_DECODER,
    "SC_rgb_jls_lossy_sample.dcm": OTHER_DECODER,
    "SC_rgb_jpeg_gdcm.dcm": OTHER_DECODER,
    # Several frames, of which none is the radiograph.
    "SC_rgb_rle_16bit_2frame.dcm": FRAMES,
    "SC_rgb_rle_2frame.dcm": FRAMES,
    "SC_rgb_rle_32bit_2frame.dcm": FRAMES,
    "examples_ybr_color.dcm": "has 30 frames",
    "rtdose.dcm": "has 15 frames",
    "rtdose_expb.dcm": FRAMES,
    "rtdose_rle.dcm": FRAMES,
    # Broken on purpose.
    "MR_truncated.dcm": "cut short, 8130 of 8192 bytes",
    "badVR.dcm": "its header can't be read",
    "chrJapMulti.dcm": "it has no pixels",
    "chrJapMultiExplicitIR6.dcm": "it has no pixels",
    "chrKoreanMulti.dcm": "it has no pixels",
}
"""What is refused though a name in the folder looks like a picture, with the reason."""


@pytest.mark.parametrize("path", bundled.DICOM, ids=lambda path: path.name)
def test_every_dicom_file_of_pydicom(path):
    said, expected = bundled.as_dicom(path), bundled.picture(path)
    if said == "read":
        header, radiograph = read_header(path), read_radiograph(path)
        assert expected is not None and radiograph.pixels.dtype == np.uint8
        assert radiograph.pixels.shape == (header.rows, header.columns)
        assert radiograph.spacing_mm == header.spacing_mm
    else:
        assert re.search(REFUSED.get(path.name, f"{NO_IMAGE}|{NOT_DICOM}"), said)
        # What pydicom makes a picture of is refused for want of a decoder alone.
        assert expected is None or re.search(OTHER_DECODER, said)


@pytest.mark.parametrize("path", bundled.NIFTI, ids=lambda path: path.name)
def test_every_file_of_nibabel(path):
    said, expected = bundled.as_nifti(path), bundled.volume(path)
    if said == "read":
        return
    reason = {
        "resampled_anat_moved.nii": "153 of 1071 voxels are NaN",
        "nifti1.hdr": "its .img or .hdr is not beside it",
        "nifti2.hdr": "its .img or .hdr is not beside it",
        "functional.nii": r"has the shape \(17, 21, 3, 20\), several channels or times",
        "example4d.nii.gz": "several channels or times",
        "example_nifti2.nii.gz": "several channels or times",
    }.get(path.name, "not a NIfTI file")
    assert re.search(reason, said)
    assert expected is None or not np.isfinite(expected).all()


def test_so_many_are_read():
    """A library that reads more, or an oracle that reads nothing, is to be looked at."""
    assert sum(bundled.picture(path) is not None for path in bundled.DICOM) >= 86
    assert sum(bundled.as_dicom(path) == "read" for path in bundled.DICOM) >= 86
    assert [path.name for path in bundled.NIFTI if bundled.as_nifti(path) == "read"] == [
        "anatomical.nii", "reoriented_anat_moved.nii", "standard.nii.gz",
    ]  # fmt: skip


# ---- Transfer syntaxes


def encoded(path, syntax, pixels):
    """A file of this transfer syntax, by what is installed here; None where nothing writes it."""
    options = {"bits": 12} if pixels.itemsize == 2 else {}
    if not syntax.is_encapsulated:
        return write_dicom(path, pixels, syntax, **options)
    if syntax == uid.JPEGBaseline8Bit and pixels.itemsize == 1:
        return write_dicom(path, pixels, jpeg=jpeg_bytes(pixels, quality=100))
    if syntax in (uid.JPEG2000, uid.JPEG2000Lossless):
        picture = path.with_suffix(".j2k")
        Image.fromarray(pixels).save(picture, irreversible=False)
        data = encapsulate([picture.read_bytes()])
        return write_dicom(path, pixels, syntax, PixelData=data, **options)
    if syntax == uid.RLELossless or syntax in uid.JPEGLSTransferSyntaxes:
        dataset = pydicom.dcmread(write_dicom(path, pixels, **options))
        try:
            dataset.compress(syntax, generate_instance_uid=False)
        except RuntimeError:
            return None
        dataset.save_as(path)
        return path
    return None


@pytest.mark.parametrize(
    ("syntax", "depth"),
    [
        pytest.param(syntax, depth, id=f"{syntax.name}-{depth}")
        for syntax in uid.AllTransferSyntaxes
        for depth in (8, 12)
        if (syntax, depth) != (uid.JPEGBaseline8Bit, 12)
    ],
)
def test_every_transfer_syntax_is_read_right_or_refused_by_name(tmp_path, syntax, depth):
    pixels = soft_image().astype(np.uint16) * 16 if depth == 12 else soft_image()
    path = encoded(tmp_path / "a.dcm", syntax, pixels)
    if path is None:
        path = write_dicom(tmp_path / "a.dcm", pixels, syntax, PixelData=encapsulate([b"\0" * 99]))
        with pytest.raises(UserError, match="decode") as caught:
            read_radiograph(path)
        assert syntax.name in str(caught.value)
        return
    shown = read_radiograph(path).pixels
    tolerance = 1 if syntax == uid.JPEGBaseline8Bit else 0
    first = pixels.min()
    ramp = np.rint((pixels - first) / (pixels.max() - first) * 255)
    expected = soft_image() if depth == 8 else ramp
    assert np.abs(shown - expected.astype(float)).max() <= tolerance


def test_jpeg_ls_is_read_where_its_decoder_is_installed(tmp_path):
    needs.package("jpeg_ls")
    path = encoded(tmp_path / "a.dcm", uid.JPEGLSLossless, soft_image())
    assert np.array_equal(read_radiograph(path).pixels, soft_image())
    dataset = pydicom.dcmread(path)
    dataset.Rows = 20
    dataset.save_as(path)
    with pytest.raises(UserError, match="declares 20 x 56 pixels, the image in it has 40 x 56"):
        read_radiograph(path)
