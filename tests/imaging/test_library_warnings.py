"""Warnings of libraries: counted by kind, and never on the screen."""

import logging
import warnings

import nibabel as nib
import numpy as np
import pytest

from common.imaging.dicom_file import quiet
from common.imaging.library_warnings import library_warnings
from common.imaging.volume_files import read_file
from common.records.outcomes import outcome
from tests.helpers.fixtures import soft_image, write_dicom


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Invalid value for VR UI: '1.2.03'.", "Invalid value for VR UI"),
        ("Value \"Müller's 'x' child\" is not valid for a VR of DS",
         "Value ... is not valid for a VR of DS"),
        ("Unknown DICOM tag (0009,1001) - setting VR to 'UN'",
         "Unknown DICOM tag n - setting VR to ..."),
        ("Expected length between 2 and 16, got length 1975", "Expected length between n and n got "
         "length n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by_logger", [False, True])
def test_a_kind_holds_no_value_and_nothing_is_printed(message, kind, by_logger, capfd):
    with library_warnings() as kinds, quiet():
        if by_logger:
            logging.getLogger("pydicom").warning(message)
        else:
            warnings.warn_explicit(message, UserWarning, "/x/site-packages/pydicom/a.py", 7)
    assert {line.replace(",", "") for line in kinds} == {f"pydicom: {kind}"}
    assert capfd.readouterr() == ("", "")


def test_what_nobody_collects_is_not_printed_either(capfd):
    with warnings.catch_warnings(record=True) as caught, quiet():
        warnings.warn("a value", stacklevel=1)
        logging.getLogger("pydicom").warning("a value")
    assert not caught and capfd.readouterr() == ("", "")


def volume(path):
    """A NIfTI file whose header nibabel corrects, and logs that it does."""
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4))
    image.header["pixdim"][1:4] = -1, 1, 1
    image.to_filename(path)
    return path


def test_the_warnings_of_a_case_are_remarks_on_it(tmp_path, capfd):
    film = write_dicom(tmp_path / "a.dcm", soft_image(), SpecificCharacterSet="ISO_IR 999")

    def decode(case):
        from pydicom import dcmread

        with quiet():
            str(dcmread(film).PatientName)
        warnings.warn("Mean of empty slice 0815", RuntimeWarning, stacklevel=1)
        return {"image": b"", "remark": "another kind: a knee"}

    kind, *lines = outcome(decode, {"case": "a"}).remark.split("\n")
    assert kind == "another kind: a knee"
    assert lines[0].startswith("library warning: pydicom: Unknown encoding ...")
    assert lines[-1] == "library warning: test_library_warnings: Mean of empty slice n"
    assert "999" not in str(lines) and capfd.readouterr() == ("", "")


def test_a_volume_whose_header_nibabel_corrects(tmp_path, capfd):
    with library_warnings() as kinds:
        read_file(volume(tmp_path / "a.nii"))
    assert capfd.readouterr() == ("", "")
    assert all(kind.startswith("nibabel: ") for kind in kinds)
