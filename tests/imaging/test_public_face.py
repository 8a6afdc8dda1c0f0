"""What programs outside use: ``from common.imaging import read_radiograph, read_volume``."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import common.imaging
from common.base.files import ROOT
from common.imaging import read_radiograph, read_volume
from tests.helpers.fixtures import soft_image, write_dicom, write_nifti

PACKAGES = ("numpy", "pydicom", "nibabel", "scipy", "pandas", "sklearn", "tensorflow", "keras")


def loaded(statement):
    """Which of `PACKAGES` a new process holds after a statement."""
    code = f"{statement}; import sys; print(*(set({PACKAGES}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_two_functions_of_a_path():
    assert sorted(common.imaging.__all__) == ["read_radiograph", "read_volume"]
    for name in common.imaging.__all__:
        function = getattr(common.imaging, name)
        assert list(inspect.signature(function).parameters) == ["path"]
        assert function.__doc__
    with pytest.raises(AttributeError, match="no attribute 'read_picture'"):
        common.imaging.read_picture  # noqa: B018


def test_a_radiograph_is_pixels_and_spacing(tmp_path):
    radiograph = read_radiograph(write_dicom(tmp_path / "film.dcm", soft_image()))
    assert np.array_equal(radiograph.pixels, soft_image())
    assert radiograph.pixels.dtype == np.uint8
    assert radiograph.spacing_mm is None or len(radiograph.spacing_mm) == 2


def test_a_volume_is_voxels_and_an_affine(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = read_volume(write_nifti(tmp_path / "heart.nii.gz", values, np.diag([1, 2, 3, 1])))
    assert np.array_equal(volume.voxels, values) and volume.voxels.dtype == np.float32
    assert volume.affine.shape == (4, 4) and volume.spacing_mm == (1, 2, 3)


@pytest.mark.parametrize(
    ("statement", "packages"),
    [
        ("import common.imaging", set()),
        ("from common.imaging import read_radiograph", {"numpy", "pydicom"}),
        # nibabel imports pydicom by itself, where that is installed.
        ("from common.imaging import read_volume", {"numpy", "nibabel", "pydicom", "scipy"}),
    ],
)
def test_a_reader_brings_its_own_packages_and_no_more(statement, packages):
    assert loaded(statement) == packages


@pytest.mark.parametrize("module", ["imaging.letterbox", "datasets.rsna", "datasets.duplicates"])
def test_what_decoding_processes_import_is_without_tensorflow(module):
    assert not loaded(f"import common.{module}") & {"tensorflow", "keras", "sklearn"}
