"""Who is on a film, and what a run has seen: through the pneumonia project's scripts."""

import csv
import json
import shutil
from collections import defaultdict

import numpy as np
import pydicom
import pytest

from tests.helpers.fixtures import write_dicom
from tests.helpers.scripts import TINY, run

PROJECT = "pneumonia_classification"


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rewritten(sample, folder, size, patient):
    """A copy of the sample without boxes: films of ``size``, PatientIDs from ``patient``."""
    from PIL import Image

    from common.datasets.rsna import LABELS
    from common.imaging import read_radiograph

    shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("*.dcm", "nih_patients.csv"))
    labels = {row["patientId"]: row["Target"] for row in rows_of(sample / LABELS[0])}
    lines = ["patientId,Target", *(f"{film},{target}" for film, target in labels.items())]
    (folder / LABELS[0]).write_text("\n".join(lines) + "\n")
    for path in sorted((sample / "stage_2_train_images").glob("*.dcm")):
        film = Image.fromarray(read_radiograph(path).pixels).resize((size, size))
        write_dicom(
            folder / "stage_2_train_images" / path.name, np.asarray(film), PatientID=patient(path)
        )
    return folder


@pytest.fixture(scope="module")
def resized(samples, tmp_path_factory):
    """The sample as another archive has it: smaller films, each PatientID that of its film."""
    folder = tmp_path_factory.mktemp("resized") / "films"
    return rewritten(samples[PROJECT], folder, 300, lambda path: path.stem)


@pytest.mark.slow
def test_unknown_patients_are_said_where_films_are_prepared(resized, tmp_path):
    warning = "each of 60 files has a PatientID of its own"
    meaning = "this is a split by image, and scores may be too good"
    common = ["--preset", "cpu", "--source", resized, "--prepared", tmp_path / "p"]
    for more in (["--check"], ["--image-size", 32, "--copies", 0]):
        said = run(PROJECT, "prepare_data", *common, *more)
        line = next(line for line in said.splitlines() if "PATIENTS UNKNOWN" in line)
        assert warning in line and meaning in line and "--patients FILE" in line
        assert "No patient is on two sides" not in said
        findings = rows_of(tmp_path / "p" / "findings.csv")
        assert any(
            row["check"] == "patients unknown" and warning in row["found"] for row in findings
        )
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert manifest["patients_known"] is False
    assert warning in manifest["split_warning"] and meaning in manifest["split_warning"]


@pytest.mark.slow
def test_the_mapping_of_the_challenge_says_who_is_on_a_film(samples, resized, tmp_path):
    by_header = {
        path.stem: str(pydicom.dcmread(path, stop_before_pixels=True).PatientID)
        for path in (samples[PROJECT] / "stage_2_train_images").glob("*.dcm")
    }
    people = sorted(set(by_header.values()))
    mapping = [
        {"subset_img_id": film, "img_id": f"{people.index(patient):08d}_000.png"}
        for film, patient in by_header.items()
    ]
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    said = run(
        PROJECT, "prepare_data", "--preset", "cpu", "--source", resized, "--image-size", 32,
        "--prepared", tmp_path / "p", "--copies", 0, "--patients", tmp_path / "mapping.json",
    )  # fmt: skip
    assert "PATIENTS UNKNOWN" not in said and "No patient is on two sides" in said
    cases = rows_of(tmp_path / "p" / "cases.csv")
    assert len({case["patient"] for case in cases}) == len(people) < len(cases)
    for film, patient in by_header.items():
        group = [case for case in cases if by_header[case["case"]] == patient]
        assert len({case["split"] for case in group}) == 1, film


@pytest.mark.slow
def test_a_run_scored_on_copies_of_what_trained_it_leaves_them_out(whole, resized):
    once = whole(PROJECT)
    new = {row["case"] for row in once.predictions}
    said = run(
        PROJECT, "evaluate", "--run", once.run, "--source", resized, "--name", "copies",
        "--pictures", 0,
    )  # fmt: skip
    folder = once.run / "evaluation" / "copies"
    metrics, seen = json.loads((folder / "metrics.json").read_text()), 60 - len(new)
    assert f"of 60 cases {seen} are near duplicates" in said
    assert {row["case"] for row in rows_of(folder / "predictions.csv")} == new
    assert metrics["seen"] == {
        "checked": True, "by_patient": False, "count": {"near duplicate": seen}, "scored": False,
        "validated": False,
    }  # fmt: skip
    assert {row["seen_as"] for row in rows_of(folder / "overlap.csv")}.isdisjoint(new)
    # Nobody knows who is on these films.
    assert metrics["patients_known"] is False and "CAUTION: patients unknown" in said
    page = (folder / "report.html").read_text()
    assert "over images, since patients are not known" in page
    assert f"left out for that, since {seen} are near duplicates" in page


@pytest.mark.slow
def test_the_cohort_of_one_preparation_is_the_split_of_another(whole, samples, tmp_path):
    once = whole(PROJECT)
    cohort = rows_of(once.prepared / "cohort.csv")
    assert {"case", "split", "sha256"} == set(cohort[0])
    cohort[0]["sha256"] = "0" * 64
    dropped = cohort.pop()["case"]
    with open(tmp_path / "paper.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["case", "split", "sha256"])
        writer.writeheader()
        writer.writerows(cohort)
    run(
        PROJECT, "prepare_data", "--preset", "cpu", "--source", samples[PROJECT], "--seed", 5,
        "--image-size", 32, "--prepared", tmp_path / "p", "--split-from", tmp_path / "paper.csv",
    )  # fmt: skip
    cases = {case["case"]: case for case in rows_of(tmp_path / "p" / "cases.csv")}
    assert cases[dropped]["left_out"] == "no split"
    assert all(cases[row["case"]]["split"] == row["split"] for row in cohort)
    findings = rows_of(tmp_path / "p" / "findings.csv")
    assert [row["where"] for row in findings if row["check"] == "other pixels"] == [
        cohort[0]["case"]
    ]


@pytest.mark.slow
def test_a_heart_run_from_a_pneumonia_run_has_seen_its_films(whole, samples, tmp_path):
    once, heart = whole(PROJECT), whole("heart_detection")
    run(
        "heart_detection", "train", "--preset", "cpu", "--prepared", heart.prepared, "--epochs", 1,
        "--weights", once.run, "--run", tmp_path / "run", *TINY["heart_detection"],
    )  # fmt: skip
    said = run("heart_detection", "evaluate", "--run", tmp_path / "run", "--pictures", 0)
    own = {c["case"] for c in rows_of(heart.prepared / "cases.csv") if c["split"] == "test"}
    trained = {
        c["case"]
        for c in rows_of(once.prepared / "cases.csv")
        if c["split"] in ("train", "validation")
    }
    assert f"of {len(own)} cases {len(own & trained)} have the same pixels (train of run" in said
    scored = rows_of(tmp_path / "run" / "evaluation" / "test" / "predictions.csv")
    assert {row["case"] for row in scored} == own - trained


@pytest.mark.slow
def test_patients_on_two_sides_of_a_split_that_was_given_are_said(whole, samples, tmp_path):
    rows = rows_of(whole(PROJECT).prepared / "cases.csv")
    lines = [f"{row['case']},{['train', 'val', 'test'][n % 3]}" for n, row in enumerate(rows)]
    (tmp_path / "paper.csv").write_text("\n".join(["case,split", *lines]) + "\n")
    said = run(
        PROJECT, "prepare_data", "--preset", "cpu", "--source", samples[PROJECT], "--copies", 0,
        "--image-size", 32, "--prepared", tmp_path / "p", "--split-from", tmp_path / "paper.csv",
    )  # fmt: skip
    cases = rows_of(tmp_path / "p" / "cases.csv")
    sides: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        sides[case["patient"]].add(case["split"])
    count = sum(len(splits) > 1 for splits in sides.values())
    assert count > 0
    assert f"PATIENT ON TWO SIDES: {count} patients are on two sides of the split in paper" in said
    assert "No patient is on two sides" not in said
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert (
        manifest["split_warning"]
        == f"{count} patients are on two sides: scores on them are too good"
    )
    assert manifest["patients_known"] is True
