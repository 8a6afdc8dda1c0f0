"""Scores of several classes and of several labels, held against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as sk

from common.scores.calibration import BETTER, TEMPERATURE, Rescaling
from common.scores.classification import differences, mean_auroc
from common.scores.intervals import FEW
from common.scores.several_classes import (
    answers_of,
    choose_rescaling,
    fit_temperature,
    log_losses,
    macro_scores,
    rescaled,
    rescaled_scores,
    several_scores,
)

NAMES = ["basophil", "monocyte", "platelet"]


@pytest.fixture(params=[True, False], ids=["classes", "labels"])
def scored(request):
    """Truth, probabilities, patients, thresholds, and whether the classes exclude each other."""
    rng = np.random.default_rng(3)
    numbers = rng.integers(0, 3, 90)
    logits = rng.normal(size=(90, 3)) + 1.5 * np.eye(3)[numbers]
    if request.param:
        powers = np.exp(logits)
        return np.eye(3)[numbers], powers / powers.sum(1, keepdims=True), numbers // 2, None, True
    truth = (rng.random((90, 3)) < 1 / (1 + np.exp(-logits))).astype(float)
    truth[:5] = 0
    return truth, 1 / (1 + np.exp(-logits)), np.arange(90) // 2, [0.6, 0.4, 0.5], False


def test_all_scores_are_scikit_learns(scored):
    truth, probabilities, _, thresholds, exclusive = scored
    patients = np.arange(len(truth)) // 2
    found = several_scores(NAMES, truth, probabilities, patients, thresholds)
    answers = answers_of(probabilities, thresholds)
    numbers, said = (part.argmax(1) if exclusive else part.astype(int) for part in (truth, answers))
    kind = {"multi_class": "ovr"} if exclusive else {}
    report = sk.classification_report(
        numbers, said, target_names=NAMES, output_dict=True, zero_division=0
    )
    expected = {
        "auroc": sk.roc_auc_score(numbers, probabilities, average="macro", **kind),
        "average_precision": sk.average_precision_score(truth, probabilities, average="macro"),
        "accuracy": sk.accuracy_score(numbers, said),
        **{name: report["macro avg"][name] for name in ("precision", "recall")},
        "f1": report["macro avg"]["f1-score"],
    }
    if exclusive:
        brier = sk.brier_score_loss(numbers, probabilities, labels=[0, 1, 2], scale_by_half=True)
        assert found["brier"] == pytest.approx(brier)
        assert found["confusion_matrix"] == sk.confusion_matrix(numbers, said).tolist()
    else:
        assert found["confusion_matrix"] is None
    for name, value in expected.items():
        part = found[name] if isinstance(found[name], dict) else {"value": found[name]}
        assert part["value"] == pytest.approx(value), name
        low, high = part.get("ci95") or found["ci95"][name]
        assert low < value < high, name
    matrices = sk.multilabel_confusion_matrix(truth, answers)
    for k, name in enumerate(NAMES):
        of_class = found["per_class"][name]
        assert of_class["confusion_matrix"] == matrices[k].tolist()
        assert of_class["recall"] == pytest.approx(report[name]["recall"])
        assert of_class["precision"] == pytest.approx(report[name]["precision"])
        assert of_class["positives"] == report[name]["support"]
        one_vs_rest = sk.roc_auc_score(truth[:, k], probabilities[:, k])
        assert of_class["auroc"]["value"] == pytest.approx(one_vs_rest)
        assert of_class["threshold"] == (thresholds[k] if thresholds else None)
    few = macro_scores(truth, probabilities, answers, patients)
    assert few["auroc"]["value"] == pytest.approx(found["auroc"]["value"])
    assert few["auroc"]["ci95"] == pytest.approx(found["auroc"]["ci95"])
    assert few["accuracy"] == found["accuracy"]
    assert few["ci95"]["accuracy"] == found["ci95"]["accuracy"]


def test_a_class_that_is_never_the_answer_has_no_precision_and_counts_as_zero(scored):
    truth, probabilities, patients, thresholds, _ = scored
    lower = probabilities * [1, 1, 1e-6]
    found = several_scores(NAMES, truth, lower, patients, thresholds)
    said = answers_of(lower, thresholds)
    assert not said[:, 2].any() and found["per_class"]["platelet"]["precision"] is None
    expected = sk.precision_score(truth, said, average="macro", zero_division=0)
    assert found["precision"] == pytest.approx(expected)


def test_a_class_that_no_case_has_is_left_out_of_the_mean_and_has_no_score(scored):
    truth, probabilities, patients, thresholds, _ = scored
    rows = truth[:, 2] == 0
    found = several_scores(NAMES, truth[rows], probabilities[rows], patients[rows], thresholds)
    assert found["per_class"]["platelet"]["auroc"] == {
        **{"value": None, "ci95": None},
        "ci95_reason": FEW,
    }
    others = [found["per_class"][name]["auroc"]["value"] for name in NAMES[:2]]
    assert found["auroc"]["value"] == pytest.approx(np.mean(others))


def test_the_temperature_is_the_likeliest_and_calibrates(scored):
    truth, probabilities, _, _, exclusive = scored
    spoiled = rescaled(probabilities, Rescaling(TEMPERATURE, 0.4), exclusive)
    temperature = fit_temperature(truth, spoiled, exclusive)

    def loss(log_temperature):
        scaled = rescaled(spoiled, Rescaling(TEMPERATURE, np.exp(log_temperature)), exclusive)
        if exclusive:
            return sk.log_loss(truth.argmax(1), scaled)
        return np.mean([sk.log_loss(*pair) for pair in zip(truth.T, scaled.T, strict=True)])

    best = minimize_scalar(loss, bounds=np.log([0.05, 20])).x
    assert temperature == pytest.approx(np.exp(best), rel=1e-2)
    back = rescaled(spoiled, Rescaling(TEMPERATURE, 2.5), exclusive)
    np.testing.assert_allclose(back, probabilities, atol=1e-4)
    rescaling, patients = Rescaling(TEMPERATURE, temperature), np.arange(len(truth))
    found = rescaled_scores(truth, spoiled, patients, rescaling, exclusive)
    assert found["expected_calibration_error_after"] < found["expected_calibration_error_before"]
    assert found["brier_after"] < found["brier_before"]
    if exclusive:
        scaled = rescaled(spoiled, rescaling, exclusive)
        right = scaled.argmax(1) == truth.argmax(1)
        bins = np.minimum((scaled.max(1) * 15).astype(int), 14)
        gaps = [abs((scaled.max(1) - right)[bins == b].sum()) for b in range(15)]
        assert found["expected_calibration_error_after"] == pytest.approx(sum(gaps) / len(right))


def test_the_log_loss_is_scikit_learns_and_a_temperature_is_taken_where_it_helps(scored):
    truth, probabilities, _, _, exclusive = scored
    patients = np.arange(len(truth))
    losses = log_losses(truth, probabilities, exclusive)
    if exclusive:
        expected = sk.log_loss(truth.argmax(1), probabilities)
    else:
        pairs = zip(truth.T, probabilities.T, strict=True)
        expected = np.mean([sk.log_loss(*pair) for pair in pairs])
    assert losses.mean() == pytest.approx(expected)
    spoiled = rescaled(probabilities, Rescaling(TEMPERATURE, 0.3), exclusive)
    chosen = choose_rescaling(truth, spoiled, patients, exclusive)
    assert chosen.temperature == pytest.approx(fit_temperature(truth, spoiled, exclusive))
    gap = rescaled_scores(truth, spoiled, patients, chosen, exclusive)["differences"]["log_loss"]
    assert gap["value"] < 0 and gap["verdict"] == BETTER
    # Few cases carry none: nothing is rescaled.
    few = slice(0, 6)
    assert choose_rescaling(truth[few], probabilities[few], patients[few], exclusive) == Rescaling()


def test_a_baseline_is_compared_by_the_mean_auroc_and_the_cases_all_right(scored):
    truth, probabilities, _, thresholds, _ = scored
    answers = answers_of(probabilities, thresholds)
    constant = np.full_like(probabilities, 0.2)
    other = (constant, np.zeros_like(answers))
    gaps = differences(truth, (probabilities, answers), {"none": other}, np.arange(len(truth)))
    auroc = mean_auroc(truth, probabilities, np.arange(len(truth))).value
    assert gaps["none"]["auroc"]["value"] == pytest.approx(auroc - 0.5)
    right = (truth == answers).all(1).mean() - (truth == 0).all(1).mean()
    assert gaps["none"]["accuracy"]["value"] == pytest.approx(right)
