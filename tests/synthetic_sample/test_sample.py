"""The built-in synthetic sample: layouts, repeatability, and that its truth is true."""

import csv
import hashlib
import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from common.base.errors import UserError
from synthetic_sample import make_sample as sample
from synthetic_sample.chest import FILM_SIZE
from synthetic_sample.chest_dataset import (
    CLASSES,
    HEART_GRID,
    HEARTS,
    IMAGES,
    LABELS,
    draw_case,
    heart_box,
    opacity_boxes,
    plan_cases,
)
from tools.check_sample import atrium_figures, chest_figures

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
SEED, FILMS, VOLUMES = 7, 12, 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small sample made by one process."""
    folder = tmp_path_factory.mktemp("sample")
    return sample.make_sample(folder, SEED, FILMS, VOLUMES, workers=1)


@pytest.fixture(scope="module")
def files(made):
    """Every DICOM file of it."""
    return [pydicom.dcmread(path) for path in sorted((made["chest"] / IMAGES).glob("*.dcm"))]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_chest_tables_have_the_columns_of_the_challenge(made):
    labels, classes = rows(made["chest"] / LABELS), rows(made["chest"] / CLASSES)
    hearts = rows(made["chest"] / HEARTS)
    assert list(labels[0]) == ["patientId", "x", "y", "width", "height", "Target"]
    assert list(classes[0]) == ["patientId", "class"]
    assert list(hearts[0]) == ["label", "x0", "y0", "w", "h", "name", "img_shape_x", "img_shape_y"]
    names = {path.stem for path in (made["chest"] / IMAGES).iterdir()}
    assert len(names) == FILMS
    assert {row["patientId"] for row in labels} == names
    assert {row["patientId"] for row in classes} == names
    assert {row["name"] for row in hearts} == names and len(hearts) == FILMS
    targets = {row["patientId"]: row["Target"] for row in labels}
    for row in classes:
        assert (row["class"] == "Lung Opacity") == (targets[row["patientId"]] == "1")
    assert {row["class"] for row in classes} == {
        "Lung Opacity",
        "No Lung Opacity / Not Normal",
        "Normal",
    }


def test_every_box_lies_inside_its_image(made):
    for row in rows(made["chest"] / LABELS):
        box = [row[key] for key in ("x", "y", "width", "height")]
        if row["Target"] == "0":
            assert box == [""] * 4
            continue
        x, y, width, height = map(float, box)
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= FILM_SIZE and y + height <= FILM_SIZE
    for row in rows(made["chest"] / HEARTS):
        assert (row["img_shape_x"], row["img_shape_y"]) == ("224", "224")
        assert row["label"] == "heart"
        assert float(row["x0"]) >= 0 and float(row["x0"]) + float(row["w"]) <= HEART_GRID
        assert float(row["y0"]) >= 0 and float(row["y0"]) + float(row["h"]) <= HEART_GRID


def test_the_files_are_like_those_of_the_challenge(files):
    kinds = {
        (f.PhotometricInterpretation, f.BitsStored, f.file_meta.TransferSyntaxUID.name)
        for f in files
    }
    assert kinds == {
        ("MONOCHROME2", 8, "JPEG Baseline (Process 1)"),
        ("MONOCHROME1", 8, "Explicit VR Little Endian"),
        ("MONOCHROME2", 12, "Explicit VR Little Endian"),
    }
    for f in files:
        assert f.SeriesDescription == f"view: {f.ViewPosition}"
        assert f.ViewPosition in ("PA", "AP") and f.PatientSex in ("F", "M")
        assert str(f.PatientAge).isdigit()
        assert (f.Rows, f.Columns) == f.pixel_array.shape == (FILM_SIZE, FILM_SIZE)
        assert 0.5 < f.PixelSpacing[0] == f.PixelSpacing[1] < 0.8
        if f.BitsStored == 12:
            assert f.pixel_array.max() < 4096 and float(f.RescaleIntercept) < 0


def test_a_patient_has_several_films_in_all_files(files):
    patients = [f.PatientID for f in files]
    assert len(set(patients)) < len(patients)
    assert max(patients.count(patient) for patient in patients) <= 4
    sex = {}
    for f in files:
        assert sex.setdefault(f.PatientID, f.PatientSex) == f.PatientSex
        assert str(f.PatientName) == f.PatientID.replace("-", "^")
    assert len({f.SOPInstanceUID for f in files}) == FILMS


def test_everything_says_synthetic(made, files):
    for part, folder in made.items():
        assert folder.name.startswith("SYNTHETIC")
        marker = json.loads((folder / "SYNTHETIC.json").read_text())
        assert marker["synthetic"] is True and marker["part"] == part
        assert {"version", "seed", "count", "key"} <= set(marker)
    for f in files:
        assert "SYNTHETIC" in f.StudyDescription and "SYNTHETIC" in f.ImageComments
        assert f.PatientID.startswith("SYNTHETIC")
    assert json.loads((made["atrium"] / "dataset.json").read_text())["name"].startswith("SYNTHETIC")
    for path in made["atrium"].rglob("*.nii.gz"):
        assert bytes(nibabel.load(path).header["descrip"]).rstrip(b"\0") == b"SYNTHETIC"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_from_two_processes(made, tmp_path):
    again = sample.make_sample(tmp_path, SEED, FILMS, VOLUMES, workers=2)
    for part in made:
        assert digests(again[part]) == digests(made[part])


def test_a_complete_sample_is_left_alone_and_a_broken_one_completed(tmp_path, monkeypatch):
    folder = sample.make_sample(tmp_path, 3, 4, 1, parts=("chest",), workers=1)["chest"]
    before = digests(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(sample, "_make", lambda *_: pytest.fail("made again"))
    sample.make_sample(tmp_path, 3, 4, 1, parts=("chest",), workers=1)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    monkeypatch.undo()
    # As a killed run leaves it: no marker, a file missing, half of one beside its place.
    (folder / "SYNTHETIC.json").unlink()
    next((folder / IMAGES).iterdir()).unlink()
    (folder / IMAGES / ".half.1.part.dcm").write_bytes(b"half")
    sample.make_sample(tmp_path, 3, 4, 1, parts=("chest",), workers=1)
    assert digests(folder) == before


def test_another_seed_gives_another_sample(tmp_path):
    first = plan_cases(1, 4)[0]
    second = plan_cases(2, 4)[0]
    assert first.image_id != second.image_id
    assert not np.array_equal(draw_case(first)[1].image, draw_case(second)[1].image)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"parts": ("liver",)}, "Received: 'liver'"), ({"chest_images": 0}, "Received: 0")],
)
def test_a_wrong_setting_is_named(tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        sample.make_sample(tmp_path, **given)


def test_shares_of_a_whole_sample_are_those_of_the_challenge():
    cases = plan_cases(2022, 400)
    positive = np.array([case.pneumonia for case in cases])
    ap = np.array([case.view == "AP" for case in cases])
    assert 0.29 < positive.mean() < 0.34
    assert positive[ap].mean() > 1.5 * positive[~ap].mean() > 0.25
    for coding in ("monochrome1", "12-bit"):
        stored = np.array([case.coding == coding for case in cases])
        assert 0.05 <= stored.mean() <= 0.10
        assert abs(positive[stored].mean() - positive.mean()) < 0.2
    # Other findings are as frequent with pneumonia as without.
    other = np.array([case.other_findings for case in cases])
    assert abs(other[positive].mean() - other[~positive].mean()) < 0.02
    patients = {case.patient_number for case in cases}
    assert 230 <= len(patients) <= 270


@pytest.fixture(scope="module")
def drawn():
    cases = plan_cases(SEED, FILMS)
    return [(case, draw_case(case)[1]) for case in cases if case.pneumonia][:5]


def test_boxes_of_opacities_are_tight_and_lie_on_lung(drawn):
    for _, film in drawn:
        boxes = opacity_boxes(film)
        assert 1 <= len(boxes) <= 3
        lungs = film.lungs
        for x, y, width, height in boxes:
            assert lungs[y : y + height, x : x + width].mean() > 0.4
        for mask in film.opacities:
            assert not (mask & ~lungs).sum() > 0.03 * mask.sum()


def test_opacities_are_brighter_than_the_lung_around(drawn):
    differences = []
    for _, film in drawn:
        opaque = np.any(film.opacities, axis=0)
        clear = film.lungs & ~opaque
        differences.append(film.image[opaque].mean() - film.image[clear].mean())
    assert np.mean(differences) > 0.05


def test_a_heart_box_matches_the_silhouette_and_the_table(made, drawn):
    table = {row["name"]: row for row in rows(made["chest"] / HEARTS)}
    for case, film in drawn:
        row = table[case.image_id]
        stored = [float(row[key]) for key in ("x0", "y0", "w", "h")]
        assert stored == list(heart_box(film))
        inside = np.zeros((FILM_SIZE, FILM_SIZE), bool)
        scale = FILM_SIZE / HEART_GRID
        x, y, width, height = (round(edge * scale) for edge in stored)
        inside[y : y + height, x : x + width] = True
        assert not (film.heart & ~inside).any()
        assert film.heart[inside].mean() > 0.45


def test_stored_pixels_are_the_drawn_film(made):
    for case in plan_cases(SEED, FILMS):
        if case.coding == "jpeg" and case.number % 5:
            continue
        image = draw_case(case)[1].image
        f = pydicom.dcmread(made["chest"] / IMAGES / f"{case.image_id}.dcm")
        stored = f.pixel_array.astype(float)
        if case.coding == "12-bit":
            centre, width = float(f.WindowCenter), float(f.WindowWidth)
            value = stored * float(f.RescaleSlope) + float(f.RescaleIntercept)
            shown = (value - (centre - 0.5)) / (width - 1) + 0.5
        else:
            shown = stored / 255
        if case.coding == "monochrome1":
            shown = 1 - shown
        assert np.abs(shown - image).mean() < 0.01
    jpeg = next(
        f
        for f in map(pydicom.dcmread, (made["chest"] / IMAGES).iterdir())
        if f.file_meta.TransferSyntaxUID.is_compressed
    )
    (frame,) = pydicom.encaps.generate_frames(jpeg.PixelData, number_of_frames=1)
    assert Image.open(io.BytesIO(frame)).mode == "L"


def test_the_atrium_has_the_decathlon_layout(made):
    folder = made["atrium"]
    described = json.loads((folder / "dataset.json").read_text())
    assert described["numTraining"] == len(described["training"]) == VOLUMES
    orientations = set()
    for entry in described["training"]:
        image, label = (nibabel.load(folder / entry[key]) for key in ("image", "label"))
        assert image.shape == label.shape and len(image.shape) == 3
        assert np.array_equal(image.affine, label.affine)
        assert np.allclose(image.header.get_qform(), image.affine, atol=1e-3)
        assert image.get_data_dtype() in (np.uint8, np.int16)
        assert label.get_data_dtype() == np.uint8
        mask = np.asarray(label.dataobj)
        assert set(np.unique(mask)) == {0, 1}
        assert 0.02 < mask.mean() < 0.15
        voxels = np.asarray(image.dataobj, float)
        assert voxels[mask == 1].mean() > 1.5 * voxels[mask == 0].mean()
        orientations.add(nibabel.aff2axcodes(image.affine))
    assert len(orientations) > 1


def test_the_figures_of_the_check_are_shares(made):
    figures = chest_figures(made["chest"], folds=2) | atrium_figures(made["atrium"])
    assert all(0 <= value <= 1 for value in figures.values())
    assert {"mean heart box, mean IoU", "mean shape, mean Dice"} <= set(figures)
