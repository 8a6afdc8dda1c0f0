"""A detector of odd volumes: turned ones and others are found, and untouched ones are let pass."""

import nibabel as nib
import numpy as np
import pytest

from atrium_segmentation.dataset import WINDOW_PERCENTILES, as_bytes, percentiles, read_unlabelled
from common.base.errors import UserError
from common.imaging.volume_doubts import (
    MIN_VOLUMES,
    SCORES,
    fit_detector,
    look_at_volume,
    look_over,
    read_detector,
)
from synthetic_sample.atrium import draw_volume

KNOWN, UNSEEN = 30, 10


@pytest.fixture(scope="module")
def scans():
    """Working volumes (z, y, x), and the affine of each, of 40 patients."""
    read = []
    for number in range(KNOWN + UNSEEN):
        drawn = draw_volume(11, number)
        image = nib.as_closest_canonical(nib.Nifti1Image(drawn.image, drawn.affine))
        voxels = np.asarray(image.dataobj)
        read.append((as_bytes(voxels, percentiles(voxels, WINDOW_PERCENTILES)).T, image.affine))
    return read


@pytest.fixture(scope="module")
def detector(scans):
    looks = [look_at_volume(*scan) for scan in scans[:KNOWN]]
    return fit_detector(looks, [str(number) for number in range(KNOWN)], seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda volume: volume[::-1], "turned"),
        (lambda volume: volume[:, ::-1], "turned"),
        (lambda volume: volume[:, :, ::-1], "turned"),
        (lambda volume: volume[:, ::-1, ::-1], "turned"),
        (lambda volume: 255 - volume, "unlike"),
        (lambda volume: volume[len(volume) // 2 :], "unlike"),
        (lambda volume: np.random.default_rng(0).integers(0, 256, volume.shape), "unlike"),
    ],
)
def test_what_was_done_to_a_volume_is_found(scans, detector, change, name):
    looks = [look_at_volume(np.uint8(change(scan)), affine) for scan, affine in scans[KNOWN:]]
    assert np.mean([SCORES[name] in doubt for doubt in detector.doubts(looks)]) >= 0.9


@pytest.mark.slow
def test_untouched_volumes_of_other_patients_are_let_pass(scans, detector):
    doubts = detector.doubts([look_at_volume(*scan) for scan in scans[KNOWN:]])
    assert sum(map(bool, doubts)) <= 1, doubts


@pytest.mark.slow
def test_a_set_is_looked_over_by_detectors_of_other_patients(scans):
    looks = [look_at_volume(*scan) for scan in scans]
    looks[7] = look_at_volume(scans[7][0][::-1], scans[7][1])
    doubts = look_over(looks, [str(number) for number in range(len(looks))], seed=0)
    assert SCORES["turned"] in doubts[7]
    assert sum(map(bool, doubts)) <= 1 + 2, doubts


def test_a_detector_is_kept(tmp_path):
    looks = list(np.random.default_rng(0).normal(size=(MIN_VOLUMES, 229)).astype(np.float32))
    detector = fit_detector(looks, list(map(str, range(MIN_VOLUMES))), seed=0)
    file = tmp_path / "volume_doubts.npz"
    assert read_detector(file) is None
    detector.write(file)
    kept = read_detector(file)
    np.testing.assert_allclose(kept.scores(looks), detector.scores(looks), rtol=1e-3, atol=1e-3)
    assert kept.scores(looks).shape == (MIN_VOLUMES, len(SCORES))
    whole = file.read_bytes()
    for damaged in (b"no archive", b"", whole[:-100], whole[:200] + whole[300:]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            read_detector(file)


def test_few_volumes_say_nothing():
    looks = [np.zeros(229, np.float32)] * (MIN_VOLUMES - 1)
    patients = list(map(str, range(MIN_VOLUMES - 1)))
    assert fit_detector(looks, patients, 0) is None
    assert look_over(looks, patients, 0) == [""] * (MIN_VOLUMES - 1)


def test_a_look_is_of_millimetres_and_not_of_voxels(samples):
    """A volume on a grid twice as coarse looks the same."""
    path = sorted(samples["atrium_segmentation"].glob("imagesTr/*.nii.gz"))[0]
    looks = []
    for spacing in (1.25, 2.5):
        volume = read_unlabelled(path, (spacing,) * 3)
        looks.append(look_at_volume(volume["working"], volume["working_affine"]))
    fine, coarse = looks
    assert fine.shape == (229,)
    size_mm = np.array(volume["image"].shape) * volume["spacing_mm"]
    np.testing.assert_allclose(np.exp(fine[:3]), size_mm[::-1], rtol=0.02)
    np.testing.assert_allclose(np.exp(coarse[:3]), size_mm[::-1], rtol=0.04)
    np.testing.assert_allclose(fine[3:10], coarse[3:10], atol=0.05)
    assert np.corrcoef(fine[13:], coarse[13:])[0, 1] > 0.99
