"""Predictive values, net benefit and declining, by hand and on data of a known truth."""

import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.scores.classification import classification_scores
from common.scores.decisions import (
    THRESHOLDS,
    Band,
    band_scores,
    decision_curve,
    fit_band,
    net_benefit,
    predictive_values,
)
from common.scores.formatting import score
from common.scores.intervals import FEW, interval_of_share


@functools.cache
def share(hits, cases):
    rows = np.arange(cases) < hits
    return {"value": hits / cases, **interval_of_share(rows, np.arange(cases)).entries}


# ---- At a prevalence


def test_predictive_values_by_hand():
    # Of 1,000 people 10 are ill: 9 of them and 99 of the 990 others are called.
    values = predictive_values(share(90, 100), share(90, 100), 0.01)
    assert values["prevalence"] == 0.01
    assert values["ppv"]["value"] == pytest.approx(9 / (9 + 99))
    assert values["npv"]["value"] == pytest.approx(891 / (891 + 1))
    for part in ("ppv", "npv"):
        low, high = values[part]["ci95"]
        assert 0 < low < values[part]["value"] < high < 1
    json.dumps(values)


def test_at_the_datas_own_prevalence_they_are_the_counted_ones():
    labels = np.repeat([1, 0], [40, 60])
    scores = np.r_[np.full(30, 0.9), np.full(10, 0.1), np.full(12, 0.9), np.full(48, 0.1)]
    whole = classification_scores(labels, scores, np.arange(100), 0.5)
    values = predictive_values(score(whole, "recall"), score(whole, "specificity"), 0.4)
    assert values["ppv"]["value"] == pytest.approx(whole["precision"])
    assert values["npv"]["value"] == pytest.approx(48 / 58)


def test_at_the_ends_limits_stay_within_and_what_is_undefined_has_none():
    values = predictive_values(share(50, 50), share(50, 50), 0.05)
    for part in ("ppv", "npv"):
        low, high = values[part]["ci95"]
        assert values[part]["value"] == high == 1 and 0 < low < 1
    values = predictive_values(share(0, 50), share(40, 50), 0.05)
    assert (
        values["ppv"]["value"] == values["ppv"]["ci95"][0] == 0 and values["ppv"]["ci95"][1] < 0.1
    )
    nothing = predictive_values(share(0, 50), share(50, 50), 0.05)
    assert nothing["ppv"]["value"] is None and nothing["ppv"]["ci95"] is None
    few = predictive_values(share(3, 4) | {"ci95_reason": FEW}, share(50, 50), 0.05)
    assert few["ppv"] == {"value": 1.0, "ci95": None, "ci95_reason": FEW}
    absent = predictive_values({"value": None, "ci95": None}, share(5, 9), 0.05)
    assert absent["npv"]["value"] is None


@pytest.mark.parametrize("prevalence", [0.005, 0.05, 0.4])
def test_the_interval_of_predictive_values_holds_the_true_ones(prevalence):
    rng = np.random.default_rng(5)
    for sensitivity, specificity, ill, well in ((0.8, 0.9, 30, 70), (0.95, 0.97, 40, 60)):
        true_ppv = 1 / (1 + (1 - prevalence) * (1 - specificity) / (prevalence * sensitivity))
        held = []
        for _ in range(400):
            right = share(rng.binomial(ill, sensitivity), ill)
            others = share(rng.binomial(well, specificity), well)
            low, high = predictive_values(right, others, prevalence)["ppv"]["ci95"]
            held.append(low <= true_ppv <= high)
        # Three Monte Carlo errors below 0.95.
        assert 0.917 <= np.mean(held) <= 0.99


# ---- Net benefit


def test_net_benefit_by_hand():
    labels = [1] * 3 + [0] * 7
    probabilities = [0.9, 0.6, 0.1, 0.7, 0.3, *[0.05] * 5]
    rows = {row["threshold"]: row for row in net_benefit(labels, probabilities, range(10))}
    assert list(rows) == list(THRESHOLDS)
    # From 0.5 on two are found and one is a false alarm, at odds of 1; from 0.2 on there are two
    # false alarms, at odds of a quarter.
    assert rows[0.5]["model"]["value"] == pytest.approx((2 - 1) / 10)
    assert rows[0.2]["model"]["value"] == pytest.approx((2 - 2 / 4) / 10)
    assert rows[0.2]["all"]["value"] == pytest.approx((3 - 7 / 4) / 10)
    assert rows[0.2]["difference"]["value"] == pytest.approx(0.15 - 0.125)
    # Calling all loses there, so the model stands against none.
    assert rows[0.5]["all"]["value"] < 0
    assert rows[0.5]["difference"]["value"] == pytest.approx(0.1)
    low, high = rows[0.5]["model"]["ci95"]
    assert low < 0.1 < high
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    assert curve == pytest.approx([row["model"]["value"] for row in rows.values()])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2), st.floats(0.01, 0.99))
def test_no_model_beats_one_that_knows_and_calling_all_is_a_threshold_of_none(pairs, threshold):
    labels, probabilities = map(np.array, zip(*pairs, strict=True))
    (benefit,) = decision_curve(labels, probabilities, [threshold])
    assert benefit <= labels.mean() + 1e-12
    (everybody,) = decision_curve(labels, np.ones(len(labels)), [threshold])
    share_ill = labels.mean()
    expected = share_ill - (1 - share_ill) * threshold / (1 - threshold)
    assert everybody == pytest.approx(expected)


# ---- Declining


def clustered(rng, patients, films=3):
    """Labels by patient, probabilities of films that are alike within a patient, and patients."""
    labels = np.repeat(rng.random(patients) < 0.4, films).astype(int)
    hard = np.repeat(rng.normal(size=patients), films)
    logits = 2.5 * labels - 1.2 + hard + 0.5 * rng.normal(size=patients * films)
    return labels, 1 / (1 + np.exp(-logits)), np.arange(patients).repeat(films)


def test_a_band_by_hand():
    # Nine patients a label: at 0.2 the second hardest of each is where the band ends.
    labels = np.repeat([1, 0], 9)
    probabilities = np.r_[np.arange(1, 10) / 10, np.arange(1, 10) / 10]
    band = fit_band(labels, probabilities, np.arange(18), 0.2, 0.5)
    assert band == Band(0.2, 0.8)
    answers = band.answers([0.1, 0.2, 0.5, 0.8, 0.9])
    np.testing.assert_array_equal(answers, [0, np.nan, np.nan, np.nan, 1])
    assert fit_band(labels, probabilities, np.arange(18), 0.09, 0.5) is None
    # A second film of a patient that is harder counts, an easier one does not.
    more = fit_band([*labels, 1, 1], [*probabilities, 0.05, 0.99], [*range(18), 8, 0], 0.2, 0.5)
    assert more == Band(0.1, 0.8)


def test_where_no_band_is_needed_all_get_an_answer():
    labels = np.repeat([1, 0], 9)
    probabilities = np.r_[0.6 + np.arange(9) / 30, 0.1 + np.arange(9) / 30]
    for threshold, expected in ((0.5, 0.5), (0.9, 0.6 + 1 / 30), (0.01, 0.1 + 7 / 30)):
        band = fit_band(labels, probabilities, np.arange(18), 0.2, threshold)
        assert (band.low, band.high) == pytest.approx((expected, expected))
        assert not np.isnan(band.answers(np.delete(probabilities, [1, 16]))).any()


@pytest.mark.parametrize("share_wrong", [0.05, 0.2])
def test_of_new_patients_no_more_get_a_wrong_answer_than_was_promised(share_wrong):
    rng, wrong = np.random.default_rng(0), {"missed": [], "false_alarms": []}
    declined = []
    for _ in range(120):
        band = fit_band(*clustered(rng, 80), share_wrong, 0.5)
        scores = band_scores(*clustered(rng, 400), band)
        for name, values in wrong.items():
            values.append(scores[name]["value"])
        declined.append(scores["declined"]["value"])
    for name, values in wrong.items():
        error = np.std(values) / np.sqrt(len(values))
        assert np.mean(values) <= share_wrong + 3 * error, name
        # Not by declining everything: the promise is nearly used up.
        assert np.mean(values) >= share_wrong - 0.04, name
    assert 0.03 < np.mean(declined) < 0.95


def test_what_a_band_comes_to_is_counted_by_patient():
    labels = np.array([1, 1, 1, 0, 0, 0])
    patients = np.array([1, 1, 2, 3, 4, 4])
    probabilities = np.array([0.1, 0.9, 0.5, 0.9, 0.1, 0.5])
    scores = band_scores(labels, probabilities, patients, Band(0.3, 0.7))
    assert scores["missed"]["value"] == 0.5 and scores["false_alarms"]["value"] == 0.5
    assert scores["declined"]["value"] == pytest.approx(2 / 6)
    assert scores["declined"]["ci95"] is None and scores["declined"]["ci95_reason"]
    none = band_scores(labels[:3], probabilities[:3], patients[:3], Band(0.3, 0.7))
    assert none["false_alarms"]["value"] is None
    json.dumps(scores)
