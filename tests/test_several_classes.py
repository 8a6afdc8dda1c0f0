"""Several classes, and several labels at once, from the folder to the report."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from tests.helpers.formats_checked import check_folder
from tests.helpers.scripts import TINY, TINY_DATA, refused, run

PROJECT = "pneumonia_classification"
CELLS = ["basophil", "eosinophil", "erythroblast", "granulocyte", "lymphocyte", "monocyte",
         "neutrophil", "platelet"]  # fmt: skip
FINDINGS = ["Effusion", "Mass", "Nodule"]


def picture(path, kinds, rng):
    """A tiny picture with a bright square at a place for each of its kinds."""
    pixels = rng.integers(0, 90, (40, 40))
    for kind in kinds:
        top, left = 10 * (kind // 4) + 4, 9 * (kind % 4) + 2
        pixels[top : top + 8, left : left + 7] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def cells(folder, count=10):
    """Folders by class; the first class is rare."""
    rng = np.random.default_rng(1)
    for kind, name in enumerate(CELLS):
        for number in range(count // 2 if kind == 0 else count):
            picture(folder / name / f"{name}-{number:02d}.png", [kind], rng)
    return folder


def films(folder, count=60):
    """Three of NIH's findings, in its layout: many films with none, some with several."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(count):
        kinds = np.flatnonzero(rng.random(3) < (0.5, 0.3, 0.3))
        picture(folder / "images" / f"{number:08d}_000.png", kinds, rng)
        label = "|".join(FINDINGS[kind] for kind in kinds) or "No Finding"
        rows.append([f"{number:08d}_000.png", label, number // 2, 40 + number % 9, "MF"[number % 2],
                     "PA"])  # fmt: skip
    head = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender",
            "View Position"]  # fmt: skip
    with open(folder / "Data_Entry_2017.csv", "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return folder


def through(tmp_path, source, *options):
    """Prepare, train an epoch, evaluate and predict."""
    prepared, trained = tmp_path / "prepared", tmp_path / "run"
    printed = [
        run(PROJECT, "prepare_data", "--preset", "cpu", "--source", source, "--prepared", prepared,
            "--validation-share", 0.25, "--test-share", 0.3, *TINY_DATA[PROJECT]),
        run(PROJECT, "train", "--preset", "cpu", "--prepared", prepared, "--run", trained,
            "--epochs", 1, "--precision", "float32", "--monitor", "val_auroc", *options,
            *TINY[PROJECT]),
        run(PROJECT, "evaluate", "--run", trained, "--pictures", 2),
        run(PROJECT, "predict", source, "--run", trained, "--output", tmp_path / "predictions",
            "--pictures", 1),
    ]  # fmt: skip
    check_folder(tmp_path)
    with open(trained / "evaluation/test/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(tmp_path / "predictions/predictions.csv", newline="") as file:
        predicted = list(csv.DictReader(file))
    metrics = json.loads((trained / "evaluation/test/metrics.json").read_text())
    return printed, rows, predicted, metrics


def numbers(rows, names):
    return np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])


@pytest.mark.slow
def test_eight_classes_by_folder_go_the_whole_way(tmp_path):
    source = cells(tmp_path / "cells")
    printed, rows, predicted, metrics = through(tmp_path, source, "--balance", "weights")
    assert metrics["classes"] == CELLS and metrics["exclusive"] is True
    probabilities = numbers(rows, CELLS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    truth, answers = ([row[name] for row in rows] for name in ("label", "predicted"))
    assert answers == [CELLS[place] for place in probabilities.argmax(axis=1)]
    expected = sk.roc_auc_score(truth, probabilities, multi_class="ovr", labels=CELLS)
    assert metrics["auroc"]["value"] == pytest.approx(expected, abs=1e-4)
    matrix = sk.confusion_matrix(truth, answers, labels=CELLS).tolist()
    assert metrics["confusion_matrix"] == matrix
    assert (
        sk.classification_report(truth, answers, labels=CELLS, digits=3, zero_division=0).rstrip()
        in printed[2]
    )
    assert set(metrics["per_class"]) == set(CELLS)
    main = {entry["name"]: entry for entry in metrics["main_scores"]}
    assert main["AUROC, mean over classes"]["baseline_name"] == "16 x 16 thumbnail"
    page = (tmp_path / "run/evaluation/test/report.html").read_text()
    card = (tmp_path / "predictions/model_card.md").read_text()
    for name in CELLS:
        assert name in page and name in card and name in printed[0]
    assert "softmax" in card and "pneumonia?" not in card
    assert len(predicted) == 75
    np.testing.assert_allclose(numbers(predicted, CELLS).sum(axis=1), 1, atol=1e-4)
    assert {row["predicted"] for row in predicted} <= set(CELLS)
    # Other classes, a threshold, a box: one line each.
    other = cells(tmp_path / "others")
    (other / CELLS[0]).rename(other / "blast")
    line = refused(PROJECT, "evaluate", "--run", tmp_path / "run", "--source", other)
    assert "blast" in line and CELLS[0] in line and line.count(CELLS[1]) == 2
    line = refused(PROJECT, "evaluate", "--run", tmp_path / "run", "--threshold", 0.5)
    assert "--threshold" in line and "likeliest" in line


@pytest.mark.slow
def test_several_labels_at_once_go_the_whole_way(tmp_path):
    source = films(tmp_path / "nih")
    printed, rows, predicted, metrics = through(tmp_path, source, "--balance", "oversampling")
    assert metrics["exclusive"] is False and metrics["confusion_matrix"] is None
    probabilities = numbers(rows, metrics["classes"])
    for place, name in enumerate(metrics["classes"]):
        truth = np.array([name in row["label"].split("|") for row in rows])
        scored = metrics["per_class"][name]
        said = probabilities[:, place] >= scored["threshold"]
        assert (
            scored["confusion_matrix"]
            == sk.confusion_matrix(truth, said, labels=[False, True]).tolist()
        )
        assert [name in row["predicted"].split("|") for row in rows] == said.tolist()
        if name in FINDINGS:
            expected = sk.roc_auc_score(truth, probabilities[:, place])
            assert scored["auroc"]["value"] == pytest.approx(expected, abs=1e-4)
            low, high = scored["auroc"]["ci95"] or (0, 1)
            assert low <= expected <= high
        else:
            assert scored["auroc"]["value"] is None
    assert len(predicted) == 60 and all(row["error"] == "" for row in predicted)
    assert "sigmoid" in (tmp_path / "predictions/model_card.md").read_text()
    assert "threshold" in printed[2]
