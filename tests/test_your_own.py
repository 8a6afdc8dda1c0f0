"""docs/your-own.md, done as it says in a copy of the repository: own data, model and loss."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.helpers.scripts import ROOT, TINY, TINY_DATA, copy_of_tree

PAGE = ROOT / "docs" / "your-own.md"
ATRIUM = "atrium_segmentation"
NETWORKS = ["fcn8", "unet", "small"]
SMALLER = {
    "pneumonia_classification/prepare_data.py": ["--image-size", "32"],
    f"{ATRIUM}/prepare_data.py": ["--test-share", "0.3", *TINY_DATA[ATRIUM]],
    f"{ATRIUM}/train.py": ["--epochs", "1", "--precision", "float32", *TINY[ATRIUM]],
    f"{ATRIUM}/evaluate.py": ["--pictures", "1"],
    f"{ATRIUM}/predict.py": ["--pictures", "1"],
}
"""What the test adds to the page's commands, so that they take seconds."""


@pytest.fixture(scope="module")
def tree(samples, tmp_path_factory):
    """The copy after the whole page, and what its commands printed."""
    folder = copy_of_tree(tmp_path_factory.mktemp("your-own") / "tree")
    _films(samples["pneumonia_classification"], folder / "films")
    _scans(samples[ATRIUM], folder / "scans")
    printed = []
    for language, text in re.findall(
        r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        target = re.match(r"# At the end of (\S+)\n", text)
        if target:
            file = folder / target[1]
            file.write_text(f"{file.read_text()}\n\n{text[target.end() :]}")
        elif language == "python":
            printed.append(_run(folder, ["python", "-c", text]))
        else:
            printed += [_run(folder, shlex.split(line)) for line in text.splitlines()]
    return folder, "\n".join(printed)


def _run(folder, words):
    assert words[0] == "python"
    command = [sys.executable, *words[1:], *SMALLER.get(words[1], [])]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def _films(sample, folder):
    """Films in a folder per label, two per patient."""
    with open(sample / "stage_2_train_labels.csv", newline="") as file:
        labels = {row["patientId"]: int(row["Target"]) for row in csv.DictReader(file)}
    number = 0
    for target, name in enumerate(["healthy", "pneumonia"]):
        (folder / name).mkdir(parents=True)
        chosen = sorted(case for case, label in labels.items() if label == target)[:12]
        for case in chosen:
            film = folder / name / f"p{number // 2:02d}-{number % 2 + 1}.dcm"
            shutil.copy(sample / "stage_2_train_images" / f"{case}.dcm", film)
            number += 1


def _scans(sample, folder):
    """Image and mask in a folder per patient."""
    for mask in (sample / "labelsTr").glob("*.nii.gz"):
        patient = folder / mask.name.removesuffix(".nii.gz")
        patient.mkdir(parents=True)
        shutil.copy(mask, patient / "mask.nii.gz")
        shutil.copy(sample / "imagesTr" / mask.name, patient / "image.nii.gz")


def metrics_of(folder):
    return json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())


@pytest.mark.slow
def test_films_of_a_patient_stay_together(tree):
    folder, _ = tree
    with open(folder / "prepared" / "films" / "cases.csv", newline="") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    assert len(cases) == 24
    assert len({row["patient"] for row in cases.values()}) == 12
    for name, row in cases.items():
        twin = cases[f"{name[:-1]}{'12'.replace(name[-1], '')}"]
        assert (row["patient"], row["split"]) == (twin["patient"], twin["split"])


@pytest.mark.slow
def test_three_networks_are_scored_drawn_and_told_apart(tree):
    folder, printed = tree
    run = folder / "runs" / "first"
    metrics = metrics_of(run)
    scored = [*NETWORKS, "mean"]
    assert list(metrics["models"]) == scored
    assert [score["name"] for score in metrics["main_scores"]] == [
        f"Dice, {name}" for name in (NETWORKS[-1], *NETWORKS[:-1], "mean")
    ]
    pairs = [(pair["minus"], pair["model"]) for pair in metrics["differences"]]
    assert pairs == [*itertools.combinations(scored, 2)]
    for pair in metrics["differences"]:
        means = [metrics["models"][pair[key]]["dice"]["mean"] for key in ("model", "minus")]
        assert pair["mean"] == pytest.approx(means[0] - means[1])
    assert metrics["unet_minus_fcn8"]["mean"] == metrics["differences"][0]["mean"]
    page = (run / "evaluation" / "test" / "report.html").read_text()
    for title in ("FCN-8", "U-Net", "Small"):
        assert f"worst cases of {title}" in printed and f"Dice, {title}" in page
    [colour] = re.findall(r'"(#[0-9a-f]{6})"', PAGE.read_text())
    for chart in ("dice_by_case.png", "volumes.png"):
        with Image.open(run / "evaluation" / "test" / chart) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.abs(pixels - ImageColor.getrgb(colour)).max(-1) < 40).sum() > 40
    widths = {}
    for kind in ("models", "truth"):
        [gif] = (run / "evaluation" / "test" / "gifs").glob(f"*-{kind}.gif")
        with Image.open(gif) as picture:
            widths[kind] = picture.width
    assert widths["models"] == 3 * widths["truth"]


@pytest.mark.slow
def test_every_network_is_exported_and_the_own_one_is_asked(tree):
    folder, printed = tree
    for name in NETWORKS:
        assert (folder / "runs" / "first" / "export" / name / "model" / "saved_model.pb").is_file()
    assert "the network is Small" in printed
    with open(folder / "masks" / "predictions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


@pytest.mark.slow
def test_runs_with_other_networks_and_another_loss_are_compared(tree):
    folder, printed = tree
    assert list(metrics_of(folder / "runs" / "second")["models"]) == ["fcn8", "small", "mean"]
    compared = printed[printed.index("what differs") :]
    assert re.search(r"^ *loss .*tversky", compared, re.MULTILINE)
    for name in ("fcn8", "small"):
        assert re.search(rf"run 2 less run 1 +Dice, {name} ", compared)
    assert "run 2 less run 1  Dice, unet" not in compared
    assert "tversky" in (folder / "compare.html").read_text()
