"""What looks odd is said by predict.py and prepare_data.py --check, and with --strict refused."""

from __future__ import annotations

import csv
import shutil

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from common.imaging.film_doubts import FILE, fit_detector
from common.imaging.film_looks import look_at
from common.imaging.films import read_film
from common.imaging.letterbox import Letterbox
from tests.helpers.scripts import CHEST, TINY_DATA, run

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


@pytest.mark.parametrize("project", [CHEST[1], pytest.param(CHEST[0], marks=pytest.mark.slow)])
def test_a_turned_film_is_doubted_and_with_strict_refused(whole, detector, tmp_path, project):
    once, films = whole(project), tmp_path / "films"
    films.mkdir()
    trained = shutil.copytree(once.run, tmp_path / "run")
    good, other = sorted(once.sample.glob("stage_2_train_images/*"))[:2]
    pixels = read_film(good).pixels
    cv2.imwrite(str(films / "good.png"), pixels)
    cv2.imwrite(str(films / "turned.png"), np.rot90(pixels))
    shutil.copy(other, films / "other.dcm")

    output = run(project, "predict", films, "--run", trained, "--output", tmp_path / "none")
    assert output.count("has no detector of odd pictures") == 1
    assert not any(row["doubt"] for row in rows(tmp_path / "none").values())

    detector.write(trained / FILE)
    output = run(project, "predict", films, "--run", trained, "--output", tmp_path / "out")
    table = rows(tmp_path / "out")
    assert "1 are doubted (column doubt); the first, turned.png: " in output
    assert TURNED in table["turned.png"]["doubt"] and not table["turned.png"]["error"]
    assert table["good.png"]["doubt"] == table["other.dcm"]["doubt"] == ""

    strict = tmp_path / "strict"
    run(project, "predict", films, "--run", trained, "--output", strict, "--strict")
    refused, predicted = rows(strict)["turned.png"], rows(strict)["good.png"]
    number = "probability" if project == CHEST[0] else "x0"
    assert refused["error"].startswith("doubted (--strict): ") and refused[number] == ""
    assert not (strict / "pictures" / "turned.png").exists()
    assert predicted == rows(tmp_path / "out")["good.png"]


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
