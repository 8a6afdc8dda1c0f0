"""What older versions wrote still opens (tests/golden/README.md says what that is)."""

import csv
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from common.base.formats import VERSIONS
from tests.helpers.formats_checked import faults_in, faults_of
from tests.helpers.scripts import ROOT, refused, run

GOLDEN = ROOT / "tests" / "golden"
FOLDERS = {
    "atrium": "atrium_segmentation",
    "heart": "heart_detection",
    "pneumonia": "pneumonia_classification",
}
CASES = {"atrium": 4, "heart": 14, "pneumonia": 14}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy of the folders of commit d371bf6, at a place of its own."""
    with tarfile.open(GOLDEN / "d371bf6.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in tmp_path.glob("*/*/config.json"):
        config = json.loads(path.read_text())
        config["prepared"] = str(path.parents[1] / "prepared")
        path.write_text(json.dumps(config))
    return tmp_path


def test_it_is_small_and_says_that_it_is_synthetic(golden):
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 300_000
    written = [*golden.rglob("manifest.json"), *golden.rglob("config.json")]
    written += golden.rglob("metrics.json")
    assert len(written) == 10
    assert all(json.loads(path.read_text())["synthetic"] is True for path in written)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_prepared_folder_opens(golden, folder):
    from atrium_segmentation import dataset
    from common.records.prepared import open_prepared
    from common.training.pipeline import radiographs

    prepared = open_prepared(golden / folder / "prepared", FOLDERS[folder])
    cases = prepared.cases()
    assert len(cases) == CASES[folder]
    originals = [split for split in prepared.splits if split in ("train", "validation", "test")]
    assert len(originals) == 3
    if folder == "atrium":
        stored = [volume["case"] for volume in dataset.Volumes(prepared, originals)]
    else:
        target, numbers = ("box", 4) if folder == "heart" else ("label", 1)
        records = radiographs(prepared, originals, 32, {target: numbers})
        stored = [record["case"].decode() for record in records.as_numpy_iterator()]
    assert sorted(stored) == sorted(cases[cases["left_out"] == ""]["case"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_manifest_is_held_against_its_seal(golden, folder):
    from common.base.errors import UserError
    from common.records.prepared import open_prepared

    path = golden / folder / "prepared" / "manifest.json"
    path.write_text(path.read_text().replace('"left_out": 0', '"left_out": 1'))
    with pytest.raises(UserError, match=r"manifest\.json: is damaged"):
        open_prepared(path.parent, FOLDERS[folder])


@pytest.mark.slow
def test_a_run_is_evaluated_and_scores_what_it_scored(golden):
    folder = golden / "atrium" / "run"
    before = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())
    run("atrium_segmentation", "evaluate", "--run", folder, "--pictures", 0)
    after = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())
    assert after["created"] > before["created"]
    assert after["baselines"]["mean_shape"]["dice"] == pytest.approx(
        before["baselines"]["mean_shape"]["dice"], abs=1e-6
    )
    for name, model in before["models"].items():
        # Of networks that learned next to nothing: probabilities lie near one half.
        assert after["models"][name]["dice"]["mean"] == pytest.approx(
            model["dice"]["mean"], abs=0.01
        )


@pytest.mark.slow
def test_a_training_goes_on_to_its_end(golden):
    folder = golden / "atrium" / "interrupted"
    before = list(csv.DictReader((folder / "unet" / "history.csv").open()))
    assert len(before) == 2
    printed = run(
        "atrium_segmentation", "train", "--preset", "cpu",
        "--prepared", golden / "atrium" / "prepared", "--run", folder, "--epochs", 6,
        # Of the preset at that time.
        "--patience", 24, "--batch-size", 4, "--precision", "float32", "--image-size", 32,
        "--unet-width", 2, "--unet-depth", 1, "--models", "unet",
    )  # fmt: skip
    assert "goes on after step 1 of epoch 3" in printed
    assert "this epoch's training scores are of the steps since" in printed
    after = list(csv.DictReader((folder / "unet" / "history.csv").open()))
    # Scores that were not measured then are blank.
    assert [{**row, **old} for row, old in zip(after, before, strict=False)] == after[:2]
    assert after[0]["val_pixel_crossentropy"] == "" != after[2]["val_pixel_crossentropy"]
    assert [row["epoch"] for row in after] == list("123456")
    assert json.loads((folder / "fitted.json").read_text())["models"]["unet"]["parameters"] == 551


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_run_says_what_it_was_begun_with(golden, folder):
    from common.base.errors import UserError
    from common.training import runs

    path = golden / folder / "run"
    if folder != "atrium":
        with pytest.raises(UserError, match=r"model\.keras: is missing"):
            runs.read_run(path)
        (path / "model.keras").touch()
        fitted = json.loads((path / "fitted.json").read_text())
        del fitted["sha256"]["model.keras"]
        (path / "fitted.json").write_text(json.dumps(fitted))
    assert runs.read_run(path).config["project"] == FOLDERS[folder]


def test_results_reads_its_metrics_or_says_why_not(golden):
    done = subprocess.run(
        [sys.executable, "-m", "common.results", str(golden)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for folder, project in FOLDERS.items():
        place = str(golden / folder / "run" / "evaluation" / "test" / "metrics.json")
        assert project in done.stdout or place in done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_key_of_it_was_renamed(golden, folder):
    for path in (golden / folder).rglob("*"):
        if path.name in VERSIONS:
            assert faults_in(path) == []
    metrics = json.loads((golden / folder / "run/evaluation/test/metrics.json").read_text())
    assert faults_of(ROOT / FOLDERS[folder] / "metrics.schema.json", metrics) == []


@pytest.mark.parametrize("folder", ["heart", "pneumonia"])
def test_its_scores_are_tabulated_without_what_it_lacks(golden, folder):
    from importlib import import_module

    from common.reporting.html_report import page_scores, verdict

    metrics = json.loads((golden / folder / "run/evaluation/test/metrics.json").read_text())
    tables = import_module(f"{FOLDERS[folder]}.score_tables")
    assert "16 x 16 thumbnail" not in tables.tables(metrics)[0].head
    score = page_scores(tables.main_scores(metrics))[0]
    assert verdict(score).endswith("The baseline's own uncertainty is not in this.")


def newer(path: Path) -> Path:
    """Make a file one that a later version of this repository could have written."""
    if path.suffix == ".json":
        later = {**json.loads(path.read_text()), "schema_version": VERSIONS[path.name] + 1}
        path.write_text(json.dumps({**later, "later": 1}))
        return path
    with np.load(path) as saved:
        arrays = {name: saved[name] for name in saved.files}
    state = json.loads(bytes(arrays["state"])) | {"schema_version": 3, "later": 1}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    np.savez(path, **arrays)
    return path


@pytest.mark.damaged
@pytest.mark.parametrize(
    "name",
    [
        "prepared/manifest.json",
        "run/config.json",
        "run/fitted.json",
        "run/evaluation/test/metrics.json",
        "interrupted/config.json",
        "interrupted/unet/checkpoint.npz",
    ],
)
def test_a_newer_one_is_refused(golden, name):
    atrium = golden / "atrium"
    path = newer(atrium / name)
    if name.startswith("interrupted"):
        said = refused(
            "atrium_segmentation", "train", "--preset", "cpu", "--prepared", atrium / "prepared",
            "--run", atrium / "interrupted", "--epochs", 6, "--patience", 24, "--batch-size", 4,
            "--precision", "float32", "--image-size", 32, "--unet-width", 2, "--unet-depth", 1,
            "--models", "unet",
        )  # fmt: skip
    elif name.endswith("metrics.json"):
        said = refused("atrium_segmentation", "report", path.parent)
    else:
        said = refused("atrium_segmentation", "evaluate", "--run", atrium / "run")
    assert said.startswith(f"error: {path}: was written by a newer version of this repository")
    assert said.endswith("; update it")
