"""The command lines, and what a user does wrong: one line says what to do, nothing is lost."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.scripts import FIRST_PROJECT_FAST, PROJECTS, ROOT, TINY_DATA, refused, run

# ---- The command line


@pytest.mark.parametrize("script", ["prepare_data", "train", "evaluate", "predict"])
@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_help_shows_every_setting_and_starts_no_tensorflow(project, script, tmp_path):
    import dataclasses
    import importlib

    commands = (
        ([f"{script}.py"], ROOT / project),
        ([f"{project}/{script}.py"], ROOT),
        (["-m", f"{project}.{script}"], tmp_path),
    )
    answers = []
    for command, folder in commands:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *command, "--help-all"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert not re.search(r"\| +(tensorflow|keras|pandas|sklearn)$", done.stderr, re.MULTILINE)
        answers.append(done.stdout)
    config = importlib.import_module(f"{project}.config")
    kinds = {"prepare_data": "Prepare", "train": "Train", "evaluate": "Evaluate"}
    for field in dataclasses.fields(getattr(config, f"{kinds.get(script, 'Predict')}Settings")):
        flag = f"--{field.name.replace('_', '-')}"
        assert field.metadata.get("positional", flag) in answers[0]
    without_name = {answer.split("\n", 1)[1] for answer in answers}
    assert len(without_name) == 1


@pytest.mark.parametrize("project", PROJECTS)
def test_a_wrong_setting_is_refused(project):
    assert "--epochs" in refused(project, "train", "--epochs", "many")
    assert "--epochs" in refused(project, "train", "--epochs", 0)
    assert "--preset" in refused(project, "train", "--preset", "huge")
    assert "--no-such-thing" in refused(project, "evaluate", "--no-such-thing", 1)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_wrong_path_is_refused(project, tmp_path):
    nowhere = tmp_path / "nowhere"
    target = tmp_path / "prepared"
    assert str(nowhere) in refused(
        project, "prepare_data", "--source", nowhere, "--prepared", target
    )
    assert str(nowhere) in refused(project, "train", "--prepared", nowhere)
    assert str(nowhere) in refused(project, "evaluate", "--run", nowhere)
    assert not target.exists()


@pytest.mark.parametrize("project", PROJECTS)
def test_an_empty_folder_is_refused(project, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for script, flag in (
        ("prepare_data", "--source"), ("train", "--prepared"), ("evaluate", "--run"),
    ):  # fmt: skip
        more = ["--prepared", tmp_path / "prepared"] if script == "prepare_data" else []
        assert str(empty) in refused(project, script, flag, empty, *more)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_folder_that_holds_something_else_is_left_alone(samples, project, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused(
        project, "prepare_data", "--source", samples[project], "--prepared", tmp_path,
        "--overwrite",
    )  # fmt: skip
    assert str(tmp_path) in line
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("project", "file", "column"),
    [
        ("pneumonia_classification", "stage_2_train_labels.csv", "Target"),
        ("heart_detection", "rsna_heart_detection.csv", "x0"),
    ],
)
def test_a_missing_column_is_named(samples, project, file, column, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(samples[project], source)
    text = (source / file).read_text()
    (source / file).write_text(text.replace(column, "Nothing", 1))
    line = refused(project, "prepare_data", "--source", source, "--prepared", tmp_path / "out")
    assert file in line and column in line
    (source / file).unlink()
    assert file in refused(
        project, "prepare_data", "--source", source, "--prepared", tmp_path / "out"
    )


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_an_unreadable_file_is_left_out_and_named(samples, project, tmp_path):
    source, prepared = tmp_path / "source", tmp_path / "prepared"
    shutil.copytree(samples[project], source)
    suffix = "*.nii.gz" if project == "atrium_segmentation" else "*.dcm"
    images = sorted(next(folder for folder in source.iterdir() if folder.is_dir()
                         and folder.name != "labelsTr").glob(suffix))  # fmt: skip
    whole_file = images[1].read_bytes()
    images[0].write_bytes(b"this is no image")
    images[1].write_bytes(whole_file[: len(whole_file) // 2])
    said = run(
        project, "prepare_data", "--source", source, "--prepared", prepared, *TINY_DATA[project]
    )
    assert "left out: " in said
    with open(prepared / "cases.csv") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    for image in images[:2]:
        row = cases[image.name.split(".")[0]]
        assert row["left_out"] and not row["split"]
    for image in images:
        image.write_bytes(b"this is no image")
    line = refused(project, "prepare_data", "--source", source, "--prepared", tmp_path / "none")
    assert str(source) in line
