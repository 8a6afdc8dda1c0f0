"""The atrium's scripts on volumes of every format: the same voxels, the same masks."""

from __future__ import annotations

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.helpers import needs
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import write_nifti
from tests.helpers.geometry import affine_of
from tests.helpers.scripts import run

ATRIUM = "atrium_segmentation"
# Of plain words, which stand in tables as they are.
COPIES = {"series": "", "scan_1": ".nrrd", "scan_2": ".mha", "scan_3": ".mhd", "scan_4": ".img"}
HOLED, BLANK, GAP, PAGE = "case_1", "case_2", "case_3", "case_4"


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def copy_as(source, folder, name, suffix):
    """A NIfTI volume of integers in another format; its path."""
    image = nib.load(source)
    if not suffix:
        write_series(folder / name, np.asarray(image.dataobj), image.affine)
        return folder / name
    if suffix == ".img":
        pair = nib.Nifti1Pair(np.asarray(image.dataobj), image.affine, image.header)
        pair.to_filename(folder / f"{name}.img")
        return folder / f"{name}.hdr"
    needs.package("SimpleITK")
    import SimpleITK as sitk

    sitk.WriteImage(sitk.ReadImage(str(source)), str(folder / f"{name}{suffix}"))
    return folder / f"{name}{suffix}"


def sample(folder, turned=(((0, -1), (1, 1), (2, 1)),)):
    """A decathlon folder of small volumes with a bright ball, one for each of `COPIES` and more."""
    random = np.random.default_rng(3)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    places = np.indices((16, 14, 12)) - np.array([8, 7, 6])[:, None, None, None]
    ball = (places**2).sum(0) < 16
    for number, name in enumerate((*COPIES, "a", "b")):
        values = (random.normal(100, 9, ball.shape) + 80 * ball).astype(np.int16)
        affine = affine_of(turned[number % len(turned)], (2, 2, 2.5), 0.1, (3, 4, 5))
        write_nifti(folder / "imagesTr" / f"{name}.nii.gz", values, affine)
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", ball.astype(np.uint8), affine)
    return folder


TURNED = (((0, -1), (1, 1), (2, 1)), ((2, 1), (0, -1), (1, 1)), ((1, 1), (2, -1), (0, 1)))


@pytest.mark.slow
def test_every_format_is_prepared_to_the_same_records(tmp_path):
    first, other = sample(tmp_path / "first", TURNED), tmp_path / "other"
    shutil.copytree(first, other)
    for name, suffix in COPIES.items():
        source = other / "imagesTr" / f"{name}.nii.gz"
        copy_as(source, other / "imagesTr", name, suffix)
        source.unlink()
    (other / "imagesTr" / "stray.raw").write_bytes(b"of no volume")
    tables, findings = [], []
    for source in (first, other):
        prepared = tmp_path / f"{source.name}-prepared"
        run(ATRIUM, "prepare_data", "--source", source, "--prepared", prepared, "--spacing-mm",
            2, 2, 2, "--test-share", 0.2)  # fmt: skip
        tables.append({row["case"]: row for row in rows_of(prepared / "cases.csv")})
        findings.append(
            {(row["where"], row["check"]) for row in rows_of(prepared / "findings.csv")}
        )
    assert len(tables[0]) == len(COPIES) + 2
    for case, row in tables[0].items():
        assert tables[1][case]["sha256"] == row["sha256"] != "", case
        assert tables[1][case]["left_out"] == ""
    [(_, check)] = findings[1] - findings[0]
    assert check == "extra file"


@pytest.mark.slow
def test_every_format_is_predicted_alike_and_odd_volumes_are_told(whole, tmp_path):
    once, given = whole(ATRIUM), tmp_path / "in"
    source = sorted((once.sample / "imagesTr").glob("*.nii.gz"))[0]
    image = nib.load(source)
    values = np.asarray(image.dataobj)
    assert values.dtype.kind in "iu"
    given.mkdir()
    shutil.copy(source, given / "nifti.NII.GZ")
    for name, suffix in COPIES.items():
        copy_as(source, given, name, suffix)
    holed = values.astype(np.float32)
    holed[0, 0, :2] = np.nan, np.inf
    write_nifti(given / f"{HOLED}.nii.gz", holed, image.affine)
    write_nifti(given / f"{BLANK}.nii.gz", np.zeros(values.shape, np.uint8), image.affine)
    write_series(given / GAP, values, image.affine)[5].unlink()
    (given / f"{PAGE}.nii.gz").write_bytes(b"<html>not found</html>")
    said = run(ATRIUM, "predict", given, "--run", once.run, "--output", tmp_path / "out",
               "--pictures", 0)  # fmt: skip
    rows = {row["file"].split(".")[0]: row for row in rows_of(tmp_path / "out" / "predictions.csv")}
    assert set(rows) == {"nifti", *COPIES, HOLED, BLANK, GAP, PAGE}
    expected = nib.as_closest_canonical(nib.load(tmp_path / "out" / rows["nifti"]["mask"]))
    for name in COPIES:
        row = rows[name]
        assert row["left_atrium_ml"] == rows["nifti"]["left_atrium_ml"] and row["doubt"] == ""
        mask = nib.as_closest_canonical(nib.load(tmp_path / "out" / row["mask"]))
        assert np.array_equal(mask.dataobj, expected.dataobj), name
        assert np.allclose(mask.affine, expected.affine, atol=1e-3), name
    assert rows[HOLED]["error"] == "" and "2 of" in rows[HOLED]["doubt"]
    for name, words in {
        BLANK: "all its voxels are one value", GAP: "a gap of", PAGE: "a web page (HTML)",
    }.items():  # fmt: skip
        assert words in rows[name]["error"] and rows[name]["left_atrium_ml"] == ""
        assert str(tmp_path) not in rows[name]["error"]
    assert "7 of 10 files predicted, 3 skipped" in said
