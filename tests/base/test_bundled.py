"""Every test file of pydicom and nibabel: read as they read it, or refused with a reason."""

import re

import numpy as np
import pytest

from common.imaging.dicom import read_header, read_radiograph
from tests.tools import bundled

NO_IMAGE = "no DICOM image, or it is cut short"
NOT_DICOM = "not a DICOM file"
FRAMES = "has .* frames; write the one that is meant to its own file"

REFUSED = {
    # Pillow reads neither.
    "GDCMJ2K_TextGBR.dcm": "can't be decoded",
    "JPEG2000-embedded-sequence-delimiter.dcm": "declares 1024 x 256 pixels, the image in it has",
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
        assert expected is None, "pydicom makes a picture of it"


@pytest.mark.parametrize("path", bundled.NIFTI, ids=lambda path: path.name)
def test_every_file_of_nibabel(path):
    said, expected = bundled.as_nifti(path), bundled.volume(path)
    if said == "read":
        return
    reason = {
        "analyze.hdr": "it is an ANALYZE file",
        "row_major.dconn.nii": r"has the shape \(1, 1, 1, 1, 10, 10\)",
        "nifti1.hdr": "its .img or .hdr is not next to it",
        "nifti2.hdr": "its .img or .hdr is not next to it",
        "functional.nii": r"has the shape \(17, 21, 3, 20\), several channels or times",
        "example4d.nii.gz": "several channels or times",
        "example_nifti2.nii.gz": "several channels or times",
    }.get(path.name, "not a NIfTI file")
    assert re.search(reason, said)
    assert expected is None or not np.isfinite(expected).all()


def test_so_many_are_read():
    """A library that reads more, or an oracle that reads nothing, is to be looked at."""
    assert sum(bundled.picture(path) is not None for path in bundled.DICOM) >= 86
    assert sum(bundled.as_dicom(path) == "read" for path in bundled.DICOM) >= 94
    assert [path.name for path in bundled.NIFTI if bundled.as_nifti(path) == "read"] == [
        "anatomical.nii", "reoriented_anat_moved.nii", "resampled_anat_moved.nii",
        "standard.nii.gz",
    ]  # fmt: skip
