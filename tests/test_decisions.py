"""What evaluate.py and predict.py decide by, a prevalence, and films without an answer."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.helpers.scripts import TINY, refused, run
from tests.test_pneumonia import PROJECT, column, rows_of


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["onednn_bfloat16", "mixed_bfloat16"])
def test_what_decides_is_computed_as_predict_computes(whole, tmp_path, precision):
    from common.scores.classification import youden_threshold

    once, folder = whole(PROJECT), tmp_path / "run"
    run(
        PROJECT, "train", "--preset", "cpu", "--prepared", once.prepared, "--run", folder,
        "--epochs", 1, "--precision", precision, *TINY[PROJECT],
    )  # fmt: skip
    paths = {case["case"]: case["path"] for case in rows_of(once.prepared / "cases.csv")}
    held_out = {row["case"]: row for row in rows_of(folder / "validation.csv")}
    (tmp_path / "films").mkdir()
    for case in held_out:
        shutil.copy(once.sample / paths[case], tmp_path / "films")
    run(PROJECT, "predict", tmp_path / "films", "--run", folder, "--output", tmp_path / "out",
        "--pictures", 0)  # fmt: skip
    rows = {row["file"].split(".")[0]: row for row in rows_of(tmp_path / "out/predictions.csv")}
    predicted = [float(rows[case]["probability"]) for case in held_out]
    stored = column(held_out.values(), "probability")
    np.testing.assert_allclose(predicted, stored, atol=2e-6)
    labels = column(held_out.values(), "label")
    threshold = youden_threshold(labels, stored)
    assert youden_threshold(labels, predicted) == pytest.approx(threshold, abs=2e-6)


@pytest.fixture(scope="module")
def decided(whole):
    """Validation scored with its mirror images, for a sensitivity of 95 %, at a prevalence, with no
    answer on unsure films."""
    folder = whole(PROJECT).run / "evaluation" / "decided"
    printed = run(
        PROJECT, "evaluate", "--run", whole(PROJECT).run, "--name", folder.name, "--pictures", 0,
        "--split", "validation", "--flip", "--sensitivity", 0.95,
        "--prevalence", 0.05, "--reject", 0.4,
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text()), folder, printed


def test_predictive_values_are_told_at_the_users_prevalence(decided):
    metrics, folder, printed = decided
    odds = 0.05 * metrics["recall"] / (0.95 * (1 - metrics["specificity"]))
    assert metrics["at_prevalence"]["ppv"]["value"] == pytest.approx(odds / (1 + odds))
    words = "where 5 % are ill (--prevalence), at the threshold"
    assert words in printed and words in (folder / "report.html").read_text()


def test_a_declined_film_has_no_answer(decided):
    metrics, folder, printed = decided
    band = metrics["reject"]
    for row in rows_of(folder / "predictions.csv"):
        probability = float(row["probability"])
        if band["low"] + 1e-6 < probability < band["high"] - 1e-6:
            assert row["decided"] == "undecided"
        elif not band["low"] - 1e-6 < probability < band["high"] + 1e-6:
            assert row["decided"] == str(int(probability > band["high"]))
    assert "films without an answer" in printed
    # Fitted to these patients: no more of them are wrong than was promised.
    for name in ("missed", "false_alarms"):
        assert band[name]["value"] <= 0.4


def test_a_wanted_sensitivity_is_reached_where_it_was_asked_for(whole, decided):
    metrics, _, _ = decided
    assert metrics["recall"] >= 0.95
    assert metrics["threshold_from"] == "validation, sensitivity 0.95"
    line = refused(PROJECT, "evaluate", "--run", whole(PROJECT).run, "--sensitivity", 2)
    assert "--sensitivity" in line


def test_by_another_name_validation_is_not_called_new(decided):
    metrics, folder, _ = decided
    page = (folder / "report.html").read_text()
    assert metrics["split"] == "decided" and metrics["seen"]["validated"]
    assert "which also chose the best epoch" in page and "None of them trained" not in page


def test_the_mirror_image_is_averaged_where_asked(whole, decided):
    once, (metrics, folder, _) = whole(PROJECT), decided
    held_out = {row["case"]: row for row in rows_of(once.run / "validation.csv")}
    assert metrics["flip"] is True and once.metrics["flip"] is False
    different = 0
    for row in rows_of(folder / "predictions.csv"):
        of = held_out[row["case"]]
        mean = (float(of["probability"]) + float(of["mirrored"])) / 2
        assert float(row["probability"]) == pytest.approx(mean, abs=2e-5)
        different += of["probability"] != of["mirrored"]
    assert different > 0


def test_what_too_few_patients_cannot_promise_is_refused(whole, tmp_path):
    once = whole(PROJECT)
    line = refused(PROJECT, "evaluate", "--run", once.run, "--reject", 0.001)
    assert "--reject 0.001: takes 999 patients of each label" in line
    assert "--prevalence" in refused(PROJECT, "evaluate", "--run", once.run, "--prevalence", 1)


def test_a_run_of_an_earlier_version_does_not_say_whose_films_are(whole, tmp_path):
    import pandas as pd

    from common.base.errors import UserError
    from common.training.runs import Run
    from pneumonia_classification.config import EvaluateSettings
    from pneumonia_classification.inference import decision

    once = whole(PROJECT)
    held_out = pd.read_csv(once.run / "validation.csv").drop(columns="patient")
    held_out.to_csv(tmp_path / "validation.csv", index=False)
    earlier = Run(tmp_path, {"data": {}}, {})
    assert decision(earlier, EvaluateSettings()).source == "validation, Youden"
    with pytest.raises(UserError, match="does not say whose each film is"):
        decision(earlier, EvaluateSettings(reject=0.4))
