"""Scores of a classifier, against scikit-learn and values worked by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from common.scores.classification import (
    classification_scores,
    confusion,
    differences,
    sensitivity_at_specificity,
    threshold_for_sensitivity,
    youden_threshold,
)
from common.scores.estimates import auroc, average_precision
from common.scores.intervals import ALONE, FEW


def cases(n=300, decimals=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * labels - 1)))
    return labels, np.round(scores, decimals)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2))
@settings(max_examples=100, deadline=None)
def test_rankings_are_scikit_learns_with_ties(drawn):
    labels, scores = (np.array(column) for column in zip(*drawn, strict=True))
    found = [of(labels, scores, range(len(labels))) for of in (auroc, average_precision)]
    if labels.all() or not labels.any():
        assert np.isnan([part.value for part in found]).all()
        return
    assert found[0].value == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert found[1].value == pytest.approx(metrics.average_precision_score(labels, scores))


def test_all_scores_are_those_of_scikit_learn():
    labels, scores = cases()
    found = classification_scores(labels, scores, np.arange(300) // 2, 0.41)
    said = scores >= 0.41
    assert (found["n"], found["positives"], found["threshold"]) == (300, labels.sum(), 0.41)
    expected = {
        "accuracy": metrics.accuracy_score(labels, said),
        "precision": metrics.precision_score(labels, said),
        "recall": metrics.recall_score(labels, said),
        "specificity": metrics.recall_score(labels, said, pos_label=0),
        "f1": metrics.f1_score(labels, said),
        "brier": metrics.brier_score_loss(labels, scores),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found["confusion_matrix"] == metrics.confusion_matrix(labels, said).tolist()
    assert found["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    for key in ("auroc", "average_precision"):
        low, high = found[key]["ci95"]
        assert low < found[key]["value"] < high
    # Hanley and McNeil 1982 give about this width for such a set.
    assert 0.03 < np.ptp(found["auroc"]["ci95"]) < 0.15
    again = classification_scores(labels, scores, np.arange(300) // 2, 0.41)
    assert json.dumps(found) == json.dumps(again)


def test_every_interval_says_how_it_was_made_or_why_there_is_none():
    labels, scores = cases(90, decimals=1)
    found = classification_scores(labels, scores, np.arange(90) // 3, 0.41)
    assert list(found["ci95_reason"]) == ["expected_calibration_error"]
    assert found["ci95"]["expected_calibration_error"] is None
    assert set(found["ci95_method"]) | set(found["ci95_reason"]) == set(found["ci95"])
    for name, (low, high) in ((name, found["ci95"][name]) for name in found["ci95_method"]):
        assert 0 <= low < found[name] < high <= 1, name
    assert found["auroc"]["ci95_method"] and found["average_precision"]["ci95_method"]


def test_a_share_of_all_or_none_is_no_surer_than_its_patients_allow():
    labels, scores = np.repeat([1, 0], [10, 6]), np.r_[np.full(10, 0.9), np.full(6, 0.1)]
    patients = [*"aabbccddee", *"fghijk"]
    found = classification_scores(labels, scores, patients, 0.5)
    # Of five patients with positives all were found: half of the probability counts (mid-P).
    assert found["recall"] == 1 and found["ci95"]["recall"] == pytest.approx([0.05**0.2, 1])
    assert found["ci95"]["specificity"] == pytest.approx([0.05 ** (1 / 6), 1])


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_auroc(label):
    found = classification_scores([label] * 4, [0.1, 0.2, 0.3, 0.4], range(4), 0.25)
    undefined = {"value": None, "ci95": None, "ci95_reason": FEW}
    assert found["auroc"] == found["average_precision"] == undefined
    assert found["sensitivity_at_90_specificity"] is None
    assert (found["specificity"], found["recall"]) == ((0.5, None), (None, 0.5))[label]
    assert found["accuracy"] == 0.5


def test_a_classifier_that_never_says_yes_has_no_precision():
    found = classification_scores([0, 1], [0.1, 0.2], ["a", "b"], 0.5)
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0, 0)


def test_one_patient_has_a_value_without_an_interval():
    found = classification_scores([0, 1], [0.1, 0.2], ["a", "a"], 0.5)
    assert found["auroc"] == {"value": 1.0, "ci95": None, "ci95_reason": FEW}
    assert set(found["ci95"].values()) == {None} and "ci95_method" not in found
    assert found["ci95_reason"]["brier"] == ALONE


def test_confusion_counts_the_threshold_itself_as_yes():
    assert confusion([0, 0, 1, 1, 1], [0.1, 0.5, 0.5, 0.4, 0.9], 0.5) == [[1, 1], [1, 2]]


def test_youden_is_the_best_of_all_thresholds():
    labels, scores = cases(decimals=3)
    threshold = youden_threshold(labels, scores)
    (tn, fp), (fn, tp) = confusion(labels, scores, threshold)
    false_rate, true_rate, _ = metrics.roc_curve(labels, scores)
    assert tp / (tp + fn) - fp / (tn + fp) == pytest.approx((true_rate - false_rate).max())
    assert threshold not in scores
    assert youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    assert youden_threshold([1, 1], [0.3, 0.4]) == 0.5


@pytest.mark.parametrize("wanted", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_threshold_for_a_sensitivity_is_the_highest_that_has_it(wanted):
    labels, scores = cases(decimals=6)
    threshold = threshold_for_sensitivity(labels, scores, wanted)
    assert (scores[labels == 1] >= threshold).mean() >= wanted
    higher = scores[labels == 1][scores[labels == 1] >= threshold].min()
    assert (scores[labels == 1] > higher).mean() < max(wanted, 1e-9)


def test_threshold_for_a_sensitivity_by_hand():
    labels, scores = [0, 1, 1, 1, 1], [0.3, 0.2, 0.4, 0.6, 0.8]
    assert threshold_for_sensitivity(labels, scores, 0.75) == pytest.approx(0.35)
    assert threshold_for_sensitivity(labels, scores, 1) == pytest.approx(0.2)
    assert threshold_for_sensitivity([0], [0.3], 0.9) == 0.5


def test_sensitivity_at_a_specificity_by_hand():
    labels = [0] * 10 + [1] * 4
    scores = [*np.arange(10) / 10, 0.95, 0.85, 0.5, 0.05]
    # One of ten negatives, 0.9, may be above: the threshold may go down to just over 0.8.
    for specificity, expected in ((0.9, 0.5), (1.0, 0.25)):
        found = sensitivity_at_specificity(labels, scores, specificity, range(14))
        assert found.value == expected


# ---- A model and its baseline on the same cases


def test_differences_are_scikit_learns_and_vary_as_when_patients_are_left_out():
    labels, model = cases(120)
    baseline = cases(120, seed=1)[1] - 0.3 * labels
    patients = np.arange(120) // 2
    others = {"none": (np.zeros(120), np.zeros(120)), "it": (baseline, baseline >= 0.4)}
    by_baseline = differences(labels, (model, model >= 0.5), others, patients)
    assert list(by_baseline) == ["none", "it"]
    assert by_baseline["none"]["auroc"]["value"] == pytest.approx(
        metrics.roc_auc_score(labels, model) - 0.5
    )

    def gaps(rows):
        pairs = (
            (metrics.roc_auc_score, model, baseline),
            (metrics.accuracy_score, model >= 0.5, baseline >= 0.4),
        )
        return [of(labels[rows], a[rows]) - of(labels[rows], b[rows]) for of, a, b in pairs]

    left_out = np.array([gaps(patients != patient) for patient in range(60)])
    errors = np.sqrt(59 / 60 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    for name, value, error in zip(("auroc", "accuracy"), gaps(patients >= 0), errors, strict=True):
        found = by_baseline["it"][name]
        assert found["value"] == pytest.approx(value)
        assert np.ptp(found["ci95"]) == pytest.approx(2 * 1.96 * error, rel=0.2)
    json.dumps(by_baseline)


def test_differences_that_are_undefined_are_none():
    scores = np.array([0.1, 0.9, 0.6])
    pair = (scores, scores >= 0.5)
    found = differences([1, 1, 1], pair, {"same": pair}, list("abc"))["same"]
    assert found["auroc"] == {"value": None, "ci95": None, "ci95_reason": "undefined"}
    found = differences([0, 1, 1], pair, {"same": pair}, ["a"] * 3)["same"]
    assert found["auroc"]["value"] == found["accuracy"]["value"] == 0
    assert found["auroc"]["ci95_reason"] == FEW and found["accuracy"]["ci95"] is None
