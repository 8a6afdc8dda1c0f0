"""predict.py as a user runs it: what it says is what evaluate.py says, and it stops at nothing."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib.util import find_spec

import nibabel
import numpy as np
import pytest

from common import export
from tests.helpers.scripts import (
    CHEST,
    FIRST_PROJECT_FAST,
    PROJECTS,
    ROOT,
    TINY,
    everything,
    refused,
    run,
)

PNEUMONIA, HEART, ATRIUM = PROJECTS
PRECISIONS = ("float32", "onednn_bfloat16", "mixed_bfloat16", "mixed_float16")


def table(folder):
    with open(folder / "predictions.csv") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def case_of(file):
    return file.split("/")[-1].split(".")[0]


@pytest.fixture(scope="module")
def asked(whole, tmp_path_factory):
    """The films or volumes of each project's test split, predicted once."""
    made = {}

    def of(project):
        if project not in made:
            once, folder = whole(project), tmp_path_factory.mktemp("asked")
            with open(once.prepared / "cases.csv") as file:
                paths = {row["case"]: row["path"] for row in csv.DictReader(file)}
            for row in once.predictions:
                path = once.sample / paths[row["case"]]
                (folder / "in").mkdir(exist_ok=True)
                shutil.copy(path, folder / "in" / path.name)
            said = run(project, "predict", folder / "in", "--run", once.run, "--output",
                       folder / "out", "--pictures", 2, "--batch-size", 5)  # fmt: skip
            made[project] = folder / "in", folder / "out", said
        return made[project]

    return of


@pytest.mark.slow
def test_films_are_called_as_evaluate_calls_them(whole, asked):
    once = whole("pneumonia_classification")
    rows = {case_of(file): row for file, row in table(asked(once.project)[1]).items()}
    assert set(rows) == {row["case"] for row in once.predictions}
    for row in once.predictions:
        found = rows[row["case"]]
        rescaled = {"temperature_scaled", "platt_scaled"} & set(row)
        assert rescaled == {"temperature_scaled", "platt_scaled"} & set(found)
        for name in ("probability", *rescaled):
            assert float(found[name]) == pytest.approx(float(row[name]), abs=3e-6)
        assert found["predicted"] == row["predicted"]


@pytest.mark.slow
def test_hearts_are_boxed_as_evaluate_boxes_them(whole, asked):
    once = whole(HEART)
    rows = {case_of(file): row for file, row in table(asked(HEART)[1]).items()}
    assert set(rows) == {row["case"] for row in once.predictions}
    for row in once.predictions:
        for edge in ("x0", "y0", "x1", "y1"):
            assert float(rows[row["case"]][edge]) == pytest.approx(float(row[edge]), abs=0.011)


@pytest.mark.slow
def test_atria_are_those_that_evaluate_finds(whole, asked):
    once, out = whole(ATRIUM), asked(ATRIUM)[1]
    rows = {case_of(file): row for file, row in table(out).items()}
    of_unet = [row for row in once.predictions if row["model"] == "unet"]
    assert set(rows) == {row["case"] for row in of_unet}
    for row in of_unet:
        assert float(rows[row["case"]]["left_atrium_ml"]) == pytest.approx(
            float(row["predicted_ml"]), abs=2e-3
        )
        mine = nibabel.load(out / rows[row["case"]]["mask"])
        its = nibabel.load(once.evaluation / "masks" / f"{row['case']}-unet.nii.gz")
        assert np.array_equal(mine.dataobj, its.dataobj) and np.array_equal(mine.affine, its.affine)


@pytest.mark.parametrize(
    "project", [PNEUMONIA, pytest.param(HEART, marks=pytest.mark.slow), ATRIUM]
)
def test_a_picture_a_file_the_models_card_and_nothing_of_a_patient(whole, asked, project):
    once, (_, out, said) = whole(project), asked(project)
    rows = table(out)
    pictures = [row["picture"] for row in rows.values() if row["picture"]]
    assert pictures == [row["picture"] for row in rows.values()][:2]
    assert sorted(pictures) == sorted(f"pictures/{p.name}" for p in (out / "pictures").iterdir())
    card = (out / "model_card.md").read_text()
    assert "Not for diagnosis" in card and "SYNTHETIC" in card and "was not evaluated" not in card
    about = json.loads((out / "predictions.json").read_text())
    # A volume's file says nothing of whose it is.
    unknown = "patients unknown (nothing here says whose a volume is"
    assert about["split_warning"].startswith(unknown) == (project == "atrium_segmentation")
    assert (about["files"], about["skipped"]) == (len(rows), 0)
    assert about["trained_on_synthetic"] is about["synthetic"] is True
    assert f"{len(rows)} of {len(rows)} files predicted, 0 skipped" in said
    names = {"predictions.csv", "predictions.json", "model_card.md", "pictures", ".lock"}
    if project == ATRIUM:
        names.add("masks")
    assert {path.name for path in out.iterdir()} == names
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"SYNTHETIC^" not in content and b"SYNTHETIC-0" not in content
        assert path.suffix == ".png" or str(once.run.parent).encode() not in content


@pytest.mark.slow
def test_bad_files_are_named_and_skipped_and_no_picture_is_lost(whole, asked, tmp_path):
    once, source = whole(HEART), asked(HEART)[0]
    first, second = sorted(source.glob("*.dcm"))[:2]
    for folder, film in (("a", first), ("b", second)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        shutil.copy(film, tmp_path / "in" / folder / "IM0001")
    (tmp_path / "in" / "film-3.dcm").write_bytes(first.read_bytes()[:3000])
    (tmp_path / "in" / "notes.txt").write_text("no film")
    (tmp_path / "in" / "film-4.dcm").write_text("<html>not found</html>")
    (tmp_path / "text.txt").write_text("no film")
    said = run(HEART, "predict", tmp_path / "in", tmp_path / "text.txt", "--run", once.run,
               "--output", tmp_path / "out")  # fmt: skip
    rows = table(tmp_path / "out")
    assert list(rows) == [
        "in/a/IM0001",
        "in/b/IM0001",
        "in/film-3.dcm",
        "in/film-4.dcm",
        "text.txt",
    ]
    for file in ("in/film-3.dcm", "in/film-4.dcm", "text.txt"):
        assert rows[file]["error"] and not rows[file]["x0"] and not rows[file]["picture"]
        assert f"skipped: {file}: {rows[file]['error']}" in said
        assert str(tmp_path) not in rows[file]["error"]
    assert "2 of 5 files predicted, 3 skipped" in said
    pictures = [rows[file]["picture"] for file in ("in/a/IM0001", "in/b/IM0001")]
    assert pictures == ["pictures/IM0001.png", "pictures/IM0001-2.png"]
    a, b = ((tmp_path / "out" / picture).read_bytes() for picture in pictures)
    assert a != b


@pytest.mark.slow
@pytest.mark.parametrize("project", [HEART, ATRIUM])
def test_where_no_file_can_be_read_it_is_refused(whole, project, tmp_path):
    suffix = "nii.gz" if project == ATRIUM else "dcm"
    bad = tmp_path / f"broken.{suffix}"
    bad.write_bytes(b"this is no image")
    for _ in range(2):
        line = refused(project, "predict", bad, "--run", whole(project).run, "--output",
                       tmp_path / "out")  # fmt: skip
        assert "none of 1 files could be read" in line and bad.name in line
    assert table(tmp_path / "out")[bad.name]["error"]
    assert not (tmp_path / "out" / "predictions.json").exists()


@pytest.mark.slow
def test_a_killed_one_goes_on_and_ends_as_an_unbroken_one(whole, asked, tmp_path):
    project = "pneumonia_classification"
    source, unbroken, _ = asked(project)
    command = [
        sys.executable, str(ROOT / project / "predict.py"), str(source), "--run",
        str(whole(project).run), "--output", str(tmp_path / "out"), "--pictures", "2",
        "--batch-size", "5",
    ]  # fmt: skip
    journal = tmp_path / "out" / "unfinished.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not journal.exists() or journal.read_text().count("\n") < 3:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out" / "predictions.csv").exists()
    done = journal.read_text().count("\n") - 1
    with open(journal, "a") as file:
        file.write('{"file": "torn')
    before = everything(tmp_path / "out" / "pictures")
    said = run(project, "predict", *command[2:])
    assert f"goes on, {done} of {len(table(unbroken))} files are done" in said
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (
        unbroken / "predictions.csv"
    ).read_bytes()
    assert not journal.exists()
    assert before.items() <= everything(tmp_path / "out" / "pictures").items()


@pytest.mark.slow
def test_what_is_there_is_not_done_again_and_not_replaced_unasked(whole, asked, tmp_path):
    source, out, _ = asked(HEART)
    same = [source, "--run", whole(HEART).run, "--output", out, "--pictures", 2]
    before = everything(out)
    assert "nothing to do" in run(HEART, "predict", *same)
    plain = "--no-test-time-augmentation"
    line = refused(HEART, "predict", *same, plain)
    assert "--overwrite" in line and str(out) in line
    assert "--output" in refused(HEART, "predict", *same[:4], source.parent)
    assert everything(out) == before
    shutil.copytree(out, tmp_path / "out")
    run(HEART, "predict", *same[:4], tmp_path / "out", "--pictures", 0, plain, "--overwrite")
    assert not (tmp_path / "out" / "pictures").exists()
    alone, moved = table(tmp_path / "out"), table(out)
    assert set(alone) == set(moved)
    assert any(alone[file]["x0"] != moved[file]["x0"] for file in alone)


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_wrong_paths_are_refused(whole, project, tmp_path):
    here = ["--run", whole(project).run, "--output", tmp_path / "out"]
    assert "INPUT" in refused(project, "predict", *here)
    assert "nowhere" in refused(project, "predict", tmp_path / "nowhere", *here)
    (tmp_path / "empty").mkdir()
    assert re.search(
        "holds no .*(DICOM|NIfTI).* file", refused(project, "predict", tmp_path / "empty", *here)
    )
    assert "no run" in refused(project, "predict", tmp_path, "--run", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_mask_lies_on_its_image_however_that_is_stored(whole, asked, tmp_path):
    source, out, _ = asked(ATRIUM)
    path = sorted(source.glob("*.nii.gz"))[0]
    image = nibabel.load(path)
    # The same volume with its axes in another order, two of them turned round.
    turned = image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    nibabel.save(turned, tmp_path / "la_101.nii")
    run(ATRIUM, "predict", tmp_path / "la_101.nii", "--run", whole(ATRIUM).run, "--output",
        tmp_path / "out", "--pictures", 0)  # fmt: skip
    mask = nibabel.load(tmp_path / "out" / "masks" / "la_101.nii.gz")
    assert mask.shape == turned.shape != image.shape and np.allclose(mask.affine, turned.affine)
    before = nibabel.as_closest_canonical(nibabel.load(out / "masks" / path.name))
    assert np.array_equal(nibabel.as_closest_canonical(mask).dataobj, before.dataobj)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["fcn8", "mean"])
def test_the_network_is_chosen(whole, asked, tmp_path, network):
    once, source = whole(ATRIUM), asked(ATRIUM)[0]
    path = sorted(source.glob("*.nii.gz"))[0]
    run(ATRIUM, "predict", path, "--run", once.run, "--output", tmp_path / "said", "--network",
        network, "--pictures", 0)  # fmt: skip
    [row] = table(tmp_path / "said").values()
    scored = next(row for row in once.predictions
                  if (row["case"], row["model"]) == (case_of(path.name), network))  # fmt: skip
    assert float(row["left_atrium_ml"]) == pytest.approx(float(scored["predicted_ml"]), abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("project", CHEST)
def test_in_processes_and_in_one_the_same_is_said(whole, samples, project, tmp_path):
    for workers in (1, 2):
        run(project, "predict", samples[project], "--run", whole(project).run, "--output",
            tmp_path / str(workers), "--pictures", 0, "--workers", workers)  # fmt: skip
    one, two = ((tmp_path / name / "predictions.csv").read_bytes() for name in "12")
    assert one == two and len(table(tmp_path / "1")) >= 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("project", "precision"),
    [
        *(("pneumonia_classification", name) for name in PRECISIONS),
        (HEART, "mixed_bfloat16"),
        (ATRIUM, "mixed_float16"),
    ],
)
def test_a_run_of_every_precision_is_scored_predicts_and_is_exported(
    whole, asked, tmp_path, project, precision
):
    once, folder = whole(project), tmp_path / "run"
    run(
        project, "train", "--preset", "cpu", "--prepared", once.prepared, "--run", folder,
        "--epochs", 1, "--precision", precision, *TINY[project],
    )  # fmt: skip
    for path in folder.rglob("model.keras"):
        with zipfile.ZipFile(path) as archive:
            assert not re.search(rb"bfloat16|float16|mixed", archive.read("config.json"))
    run(project, "evaluate", "--run", folder, "--pictures", 1)
    run(project, "predict", asked(project)[0], "--run", folder, "--output", tmp_path / "out",
        "--pictures", 1)  # fmt: skip
    assert len(table(tmp_path / "out")) == len(table(asked(project)[1]))
    formats = [name for name in export.FORMATS if all(map(find_spec, export._NEEDED[name]))]
    command = [sys.executable, "-m", "common.export", str(folder), "--format", *formats]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("differs from the model by") >= len(formats)
