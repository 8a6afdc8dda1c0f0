"""Scores of a classifier, against scikit-learn and values worked by hand."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from common.scores.classification import (
    calibration,
    calibration_scores,
    classification_scores,
    confusion,
    differences,
    fit_temperature,
    ranking_scores,
    scores_by_group,
    sensitivity_at_specificity,
    threshold_for_sensitivity,
    with_temperature,
    youden_threshold,
)
from common.scores.intervals import patient_resamples


def cases(n=300, decimals=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * labels - 1)))
    return labels, np.round(scores, decimals)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2),
)
@settings(max_examples=150, deadline=None)
def test_ranking_scores_are_scikit_learns_with_ties_and_weights(drawn):
    labels, scores, counts = (np.array(column) for column in zip(*drawn, strict=True))
    labels = labels.astype(int)
    ((auroc, average_precision),) = ranking_scores(labels, scores, counts[np.newaxis])
    if not counts[labels == 1].sum() or not counts[labels == 0].sum():
        assert np.isnan(auroc) and np.isnan(average_precision)
        return
    weight = {"sample_weight": counts}
    assert auroc == pytest.approx(metrics.roc_auc_score(labels, scores, **weight))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.average_precision_score(labels, scores, **weight)
    assert average_precision == pytest.approx(expected)


def test_many_resamples_are_those_of_a_scikit_learn_loop():
    labels, scores = cases()
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(labels), (20, len(labels)))
    counts = np.stack([np.bincount(row, minlength=len(labels)) for row in drawn])
    expected = [
        [
            metrics.roc_auc_score(labels[row], scores[row]),
            metrics.average_precision_score(labels[row], scores[row]),
        ]
        for row in drawn
    ]
    np.testing.assert_allclose(ranking_scores(labels, scores, counts), expected, rtol=1e-9)


def test_all_scores_are_those_of_scikit_learn():
    labels, scores = cases()
    found = classification_scores(labels, scores, np.arange(300) // 2, 0.41, seed=3)
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
    again = classification_scores(labels, scores, np.arange(300) // 2, 0.41, seed=3)
    assert json.dumps(found) == json.dumps(again)


def test_the_interval_of_every_score_is_that_of_a_loop():
    labels, scores = cases(90, decimals=1)
    patients = np.arange(90) // 3
    found = classification_scores(labels, scores, patients, 0.41, seed=3)["ci95"]
    resamples = np.concatenate(list(patient_resamples(patients, seed=3)))
    loop = [_scores(labels, scores, counts) for counts in resamples]
    assert set(found) == set(loop[0])
    for name, limits in found.items():
        values = [of[name] for of in loop]
        assert limits == pytest.approx(np.percentile(values, [2.5, 97.5])), name


def _scores(labels, scores, counts):
    said = scores >= 0.41
    tn, fp, fn, tp = (counts[(labels == a) & (said == b)].sum() for a in (0, 1) for b in (0, 1))
    false_rate, true_rate, _ = metrics.roc_curve(
        labels, scores, sample_weight=counts, drop_intermediate=False
    )
    bins = np.minimum((scores * 15).astype(int), 14)
    gaps = [abs((counts * (scores - labels))[bins == one].sum()) for one in range(15)]
    return {
        "accuracy": (tn + tp) / counts.sum(),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "sensitivity_at_90_specificity": true_rate[false_rate <= 0.1 + 1e-12].max(),
        "brier": np.average((scores - labels) ** 2, weights=counts),
        "expected_calibration_error": sum(gaps) / counts.sum(),
    }


def test_a_share_of_all_or_none_is_no_surer_than_its_patients_allow():
    labels, scores = [1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.1, 0.2, 0.6]
    found = classification_scores(labels, scores, list("aabcde"), 0.5)
    # Both patients with a positive were found: Clopper and Pearson's lower end is the root of
    # 0.025. The third negative is a false alarm, so the specificity is the bootstrap's.
    assert found["recall"] == 1 and found["ci95"]["recall"] == pytest.approx([0.025**0.5, 1])
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["ci95"]["specificity"] == [0, 1]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_auroc(label):
    found = classification_scores([label] * 4, [0.1, 0.2, 0.3, 0.4], range(4), 0.25)
    assert found["auroc"] == found["average_precision"] == {"value": None, "ci95": None}
    assert found["sensitivity_at_90_specificity"] is None
    assert (found["specificity"], found["recall"]) == ((0.5, None), (None, 0.5))[label]
    assert found["accuracy"] == 0.5


def test_a_classifier_that_never_says_yes_has_no_precision():
    found = classification_scores([0, 1], [0.1, 0.2], ["a", "b"], 0.5)
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0, 0)


def test_one_patient_has_a_value_without_an_interval():
    found = classification_scores([0, 1], [0.1, 0.2], ["a", "a"], 0.5)
    assert found["auroc"] == {"value": 1.0, "ci95": None}
    assert set(found["ci95"].values()) == {None}


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
    assert sensitivity_at_specificity(labels, scores, 0.9) == [0.5]
    assert sensitivity_at_specificity(labels, scores, 1.0) == [0.25]


def test_calibration_by_hand():
    # Bins of a fifteenth: 0.01 and 0.05 share one, 1.0 falls into the last.
    probabilities, labels = [0.01, 0.05, 0.5, 1.0], [0, 1, 1, 1]
    expected = (2 * abs(0.03 - 0.5) + 0.5 + 0) / 4
    assert calibration_scores(labels, probabilities)[0, 1] == pytest.approx(expected)
    assert calibration_scores([0, 1], [0.0, 1.0]).tolist() == [[0, 0]]
    assert calibration_scores([0, 1], [0.2, 0.6])[0, 0] == pytest.approx((0.04 + 0.16) / 2)


# ---- Temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature):
    rng = np.random.default_rng(4)
    logits = rng.normal(scale=2, size=40_000)
    labels = (rng.random(logits.size) < 1 / (1 + np.exp(-logits))).astype(int)
    too_sure = 1 / (1 + np.exp(-logits * temperature))
    assert fit_temperature(labels, too_sure) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_makes_the_crossentropy_least():
    labels, scores = cases(decimals=6)
    found = fit_temperature(labels, scores)
    losses = [
        metrics.log_loss(labels, with_temperature(scores, found * factor))
        for factor in (0.9, 0.99, 1.0, 1.01, 1.1)
    ]
    assert int(np.argmin(losses)) == 2


def test_a_temperature_by_hand():
    # The logit of 0.8 is ln 4; half of it is ln 2, the logit of two thirds.
    np.testing.assert_allclose(with_temperature([0.8, 0.5], 2.0), [2 / 3, 0.5])
    np.testing.assert_allclose(with_temperature([0.8, 0.1], 1.0), [0.8, 0.1])


def test_a_temperature_changes_no_ranking_and_keeps_extremes_finite():
    scores = np.array([0.0, 1e-9, 0.2, 0.7, 1.0])
    after = with_temperature(scores, 3.0)
    assert (np.diff(after) >= 0).all() and (after > 0).all() and (after < 1).all()
    assert fit_temperature([1, 1], [0.2, 0.9]) == 1.0
    assert 0.05 <= fit_temperature([0, 1], [0.0, 1.0]) <= 20


def test_calibration_before_and_after():
    labels, scores = cases()
    patients = np.arange(300) // 2
    found = calibration(labels, scores, patients, 2.0, seed=3)
    after = with_temperature(scores, 2.0)
    for when, of in (("before", scores), ("after", after)):
        alone = classification_scores(labels, of, patients, 0.5, seed=3)
        for name in ("brier", "expected_calibration_error"):
            assert found[f"{name}_{when}"] == pytest.approx(alone[name])
            assert found["ci95"][f"{name}_{when}"] == pytest.approx(alone["ci95"][name])
    assert found["brier_after"] == pytest.approx(metrics.brier_score_loss(labels, after))
    assert found["temperature"] == 2.0


def test_scores_of_groups_are_those_of_their_cases():
    labels, scores = cases()
    groups = np.array(["PA", "AP", ""])[np.arange(len(labels)) % 3]
    patients = np.arange(len(labels)) // 2
    found = scores_by_group(groups, labels, scores, patients, 0.5, seed=1)
    assert list(found) == ["AP", "PA"]
    for group, of in found.items():
        mine = groups == group
        assert of["n"] == mine.sum()
        assert of["auroc"]["value"] == pytest.approx(
            metrics.roc_auc_score(labels[mine], scores[mine])
        )
        assert of["recall"] == pytest.approx(
            metrics.recall_score(labels[mine], scores[mine] >= 0.5)
        )


# ---- A model and its baseline on the same cases


def test_differences_are_those_of_a_scikit_learn_loop_over_patients():
    labels, model = cases(60)
    baseline = cases(60, seed=1)[1] - 0.3 * labels
    patients = np.arange(60) // 2
    others = {"none": (np.zeros(60), np.zeros(60)), "it": (baseline, baseline >= 0.4)}
    by_baseline = differences(labels, (model, model >= 0.5), others, patients, 3, 200)
    assert list(by_baseline) == ["none", "it"]
    assert by_baseline["none"]["auroc"]["value"] == pytest.approx(
        metrics.roc_auc_score(labels, model) - 0.5
    )
    found = by_baseline["it"]

    def gaps(weights):
        with_weights = {"sample_weight": weights}
        auroc, accuracy = (
            score(labels, a, **with_weights) - score(labels, b, **with_weights)
            for score, a, b in (
                (metrics.roc_auc_score, model, baseline),
                (metrics.accuracy_score, model >= 0.5, baseline >= 0.4),
            )
        )
        return [auroc, accuracy]

    resamples = np.concatenate(list(patient_resamples(patients, 200, 3)))
    limits = np.percentile([gaps(counts) for counts in resamples], [2.5, 97.5], axis=0).T
    for name, value, ends in zip(("auroc", "accuracy"), gaps(None), limits, strict=True):
        assert found[name]["value"] == pytest.approx(value)
        assert found[name]["ci95"] == pytest.approx(ends)
    json.dumps(found)


def test_differences_that_are_undefined_are_none():
    scores = np.array([0.1, 0.9, 0.6])
    pair = (scores, scores >= 0.5)
    found = differences([1, 1, 1], pair, {"same": pair}, list("abc"))["same"]
    assert found["auroc"] == {"value": None, "ci95": None}
    found = differences([0, 1, 1], pair, {"same": pair}, ["a"] * 3)["same"]
    assert found["auroc"] == found["accuracy"] == {"value": 0, "ci95": None}
