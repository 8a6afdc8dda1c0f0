"""What looks odd is said by predict.py and prepare_data.py --check, and with --strict refused."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import nibabel as nib
import numpy as np
import pytest
from pandas import read_csv
from pydicom import dcmread

from common.imaging.film_doubts import FILE, fit_detector
from common.imaging.film_looks import look_at
from common.imaging.films import read_film
from common.imaging.letterbox import Letterbox
from common.training.evaluations import doubted, doubted_note
from synthetic_sample.make_sample import make_sample
from tests.helpers.scripts import CHEST, TINY_DATA, run

ATRIUM = "atrium_segmentation"
TURNED = "turned by a quarter or a half, or upside down"


@pytest.fixture(scope="module")
def detector(samples):
    """A detector of the sample's 60 films, in the squares that the runs see."""
    paths = sorted(samples["heart_detection"].glob("stage_2_train_images/*"))
    pixels = [read_film(path).pixels for path in paths]
    looks = [look_at(Letterbox(*p.shape, 32).into_square(p)) for p in pixels]
    patients = [str(dcmread(path, stop_before_pixels=True).PatientID) for path in paths]
    return fit_detector(looks, patients, seed=0)


def rows(folder):
    with open(folder / "predictions.csv", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
@pytest.mark.parametrize("project", CHEST)
def test_a_turned_film_is_doubted_and_with_strict_refused(whole, detector, tmp_path, project):
    once, films = whole(project), tmp_path / "films"
    films.mkdir()
    trained = shutil.copytree(once.run, tmp_path / "run")
    good, other = sorted(once.sample.glob("stage_2_train_images/*"))[:2]
    pixels = read_film(good).pixels
    cv2.imwrite(str(films / "film-1.png"), pixels)
    cv2.imwrite(str(films / "film-2.png"), np.rot90(pixels))
    shutil.copy(other, films / "film-3.dcm")

    output = run(project, "predict", films, "--run", trained, "--output", tmp_path / "none")
    assert output.count("has no detector of odd pictures") == 1
    assert not any(row["doubt"] for row in rows(tmp_path / "none").values())

    detector.write(trained / FILE)
    output = run(project, "predict", films, "--run", trained, "--output", tmp_path / "out")
    table = rows(tmp_path / "out")
    assert "1 are doubted (column doubt); the first, film-2.png: " in output
    assert TURNED in table["film-2.png"]["doubt"] and not table["film-2.png"]["error"]
    assert table["film-1.png"]["doubt"] == table["film-3.dcm"]["doubt"] == ""

    strict = tmp_path / "strict"
    run(project, "predict", films, "--run", trained, "--output", strict, "--strict")
    refused, predicted = rows(strict)["film-2.png"], rows(strict)["film-1.png"]
    number = "probability" if project == CHEST[0] else "x0"
    assert refused["error"].startswith("doubted (--strict): ") and refused[number] == ""
    assert not (strict / "pictures" / "film-2.png").exists()
    assert predicted == rows(tmp_path / "out")["film-1.png"]


@pytest.mark.parametrize("project", [CHEST[1], pytest.param(CHEST[0], marks=pytest.mark.slow)])
def test_the_check_names_a_turned_film(samples, tmp_path, project):
    source = shutil.copytree(samples[project], tmp_path / "source")
    path = sorted(source.glob("stage_2_train_images/*"))[7]
    turned = dcmread(path)
    if turned.file_meta.TransferSyntaxUID.is_compressed:
        turned.decompress()
    turned.PixelData = np.ascontiguousarray(np.rot90(turned.pixel_array, 2)).tobytes()
    turned.save_as(path)
    prepared = tmp_path / "prepared"
    run(project, "prepare_data", "--source", source, "--prepared", prepared, "--check",
        *TINY_DATA[project])  # fmt: skip
    with open(prepared / "findings.csv", newline="") as file:
        odd = [row for row in csv.DictReader(file) if row["check"] == "odd picture"]
    found = {row["where"]: row["found"] for row in odd}
    assert TURNED in found[path.stem]
    assert len(found) <= 1 + 3


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """A sample of 32 volumes."""
    folder = tmp_path_factory.mktemp("hearts")
    return make_sample(folder, 3, atrium_volumes=32, parts=["atrium"])["atrium"]


def turn(path):
    """Turn a volume by a half about its long axis, and not its header."""
    image = nib.load(path)
    turned = np.ascontiguousarray(np.asarray(image.dataobj)[::-1, ::-1])
    nib.save(nib.Nifti1Image(turned, image.affine, image.header), path)


@pytest.mark.slow
def test_the_check_names_a_turned_volume(hearts, tmp_path):
    source, prepared = shutil.copytree(hearts, tmp_path / "source"), tmp_path / "prepared"
    path = sorted(source.glob("imagesTr/*.nii.gz"))[7]
    turn(path)
    run(ATRIUM, "prepare_data", "--source", source, "--prepared", prepared, "--check")
    with open(prepared / "findings.csv", newline="") as file:
        odd = [row for row in csv.DictReader(file) if row["check"] == "odd picture"]
    found = {row["where"]: row["found"] for row in odd}
    assert "turned by a half, or mirrored" in found[path.name.removesuffix(".nii.gz")]
    assert len(found) <= 1 + 1


@pytest.mark.slow
def test_a_turned_volume_is_doubted_and_with_strict_refused(hearts, tmp_path):
    prepared, trained = tmp_path / "prepared", tmp_path / "run"
    run(ATRIUM, "prepare_data", "--source", hearts, "--prepared", prepared, "--test-share", 0.1,
        *TINY_DATA[ATRIUM])  # fmt: skip
    run(ATRIUM, "train", "--preset", "cpu", "--prepared", prepared, "--run", trained,
        "--epochs", 1, "--image-size", 32, "--models", "unet", "--unet-width", 2,
        "--unet-depth", 1)  # fmt: skip
    case = read_csv(prepared / "cases.csv").query("split == 'test'")["path"].iloc[0]
    files = [tmp_path / "volume-1.nii.gz", tmp_path / "volume-2.nii.gz"]
    for file in files:
        shutil.copy(hearts / case, file)
    turn(files[0])
    run(ATRIUM, "predict", *files, "--run", trained, "--output", tmp_path / "out")
    table = rows(tmp_path / "out")
    assert "turned by a half, or mirrored" in table["volume-1.nii.gz"]["doubt"]
    assert table["volume-2.nii.gz"]["doubt"] == ""
    strict = tmp_path / "strict"
    run(ATRIUM, "predict", *files, "--run", trained, "--output", strict, "--strict")
    assert rows(strict)["volume-1.nii.gz"]["error"].startswith("doubted (--strict): turned")
    assert [path.name for path in strict.glob("masks/*")] == ["volume-2.nii.gz"]
    run(ATRIUM, "evaluate", "--run", trained, "--pictures", 0)
    metrics = json.loads((trained / "evaluation" / "test" / "metrics.json").read_text())
    assert metrics["doubted"]["n"] <= 1 < metrics["n"]


def test_doubted_cases_are_counted_by_kind_and_told_in_a_sentence():
    short = doubted({"a": "", "b": "tilted; inverted", "c": "tilted"})
    assert short == {"n": 2, "first": "b", "kinds": {"tilted": 2, "inverted": 1}}
    note = doubted_note({"n": 3, "doubted": short})
    assert note.startswith("2 of 3 cases are doubted by how they look, and scored all the same: ")
    assert note.endswith("tilted (2), inverted (1); the first is b.")
    assert doubted(None) is None and doubted_note({"n": 3, "doubted": None}) == ""
    assert doubted_note({"n": 3, "doubted": doubted({"a": ""})}) == doubted_note({"n": 3}) == ""
