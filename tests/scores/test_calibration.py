"""Calibration and rescaling, against scikit-learn, formulas by hand and data of a known truth."""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from common.scores.calibration import (
    BETTER,
    BINS,
    CHANCE,
    COLUMNS,
    NONE,
    PLATT,
    SEPARATED,
    TEMPERATURE,
    UNKNOWN,
    WORSE,
    Rescaling,
    calibration_error,
    calibration_line,
    choose_rescaling,
    fit_platt,
    fit_temperature,
    line_interval,
    log_losses,
    logits,
    reliability,
    rescaled_scores,
    verdict,
)
from common.scores.classification import classification_scores
from common.scores.intervals import FEW


def drawn(n=300, slope=1.0, shift=0.0, films=1, seed=0):
    """Labels, probabilities whose true logit is slope * logit + shift, and patients."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.normal(-0.5, 1.5, n // films), films)
    # Films of a patient have one label: they are as alike as can be.
    labels = np.repeat(rng.random(n // films) < expit(slope * values[::films] + shift), films)
    return labels.astype(int), expit(values), np.arange(n // films).repeat(films)


def test_the_calibration_error_by_hand():
    # Bins of a fifteenth: 0.01 and 0.05 share one, 1.0 falls into the last.
    probabilities, labels = [0.01, 0.05, 0.5, 1.0], [0, 1, 1, 1]
    expected = (2 * abs(0.03 - 0.5) + 0.5 + 0) / 4
    assert calibration_error(labels, probabilities) == pytest.approx(expected)
    assert calibration_error([0, 1], [0.0, 1.0]) == 0


def test_the_bins_are_scikit_learns_and_those_of_the_calibration_error():
    labels, probabilities, patients = drawn(100)
    bins = reliability(labels, probabilities, patients)
    shares, places = calibration_curve(labels, probabilities, n_bins=BINS)
    assert [part["share"]["value"] for part in bins] == pytest.approx(shares)
    assert [part["probability"] for part in bins] == pytest.approx(places)
    counts = np.array([part["n"] for part in bins])
    error = (counts * abs(shares - places)).sum() / counts.sum()
    assert calibration_error(labels, probabilities) == pytest.approx(error)
    assert counts.sum() == 100 and any(part["share"]["ci95"] is None for part in bins)
    for part in bins:
        assert part["from"] <= part["probability"] <= part["to"]
        if part["share"]["ci95"]:
            assert part["share"]["ci95"][0] <= part["share"]["value"] <= part["share"]["ci95"][1]
        else:
            assert part["n"] < 5


def test_the_log_loss_is_scikit_learns():
    labels, probabilities, _ = drawn()
    expected = metrics.log_loss(labels, probabilities)
    assert log_losses(labels, probabilities).mean() == pytest.approx(expected)
    assert log_losses([1, 0], [0.0, 1.0]) == pytest.approx([16.118] * 2, abs=1e-3)


# ---- Intercept and slope


def test_the_slope_is_that_of_a_logistic_regression_without_penalty():
    labels, probabilities, patients = drawn(slope=0.6, shift=-0.5)
    line = calibration_line(labels, probabilities, patients)
    values = logits(probabilities)[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(values, labels)
    assert line["slope"].value == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    # With its shift, as many yes are expected as there are.
    shifted = expit(logits(probabilities) + line["intercept"].value)
    assert shifted.sum() == pytest.approx(labels.sum(), abs=1e-3)


@pytest.mark.parametrize("films", [1, 3])
def test_the_variance_of_the_line_is_that_of_patients_left_out(films):
    labels, probabilities, patients = drawn(180, slope=0.7, shift=0.4, films=films)
    line = calibration_line(labels, probabilities, patients)
    count = len(np.unique(patients))
    left_out = [
        calibration_line(*(part[patients != each] for part in (labels, probabilities, patients)))
        for each in range(count)
    ]
    for name in ("intercept", "slope"):
        values = np.array([float(part[name].value) for part in left_out])
        jackknife = (count - 1) / count * ((values - values.mean()) ** 2).sum()
        assert float(line[name].variance) == pytest.approx(jackknife, rel=0.15)


def test_the_line_is_undefined_where_nothing_tells_it():
    one_class = calibration_line([1] * 8, np.linspace(0.1, 0.9, 8), np.arange(8))
    assert np.isnan([float(part.value) for part in one_class.values()]).all()
    assert line_interval(one_class["slope"]).reason == FEW
    labels = np.repeat([0, 1], 8)
    separated = calibration_line(labels, np.where(labels, 0.9, 0.2), np.arange(16))
    assert np.isnan(separated["slope"].value) and np.isfinite(separated["intercept"].value)
    assert line_interval(separated["slope"]).reason == SEPARATED
    equal = calibration_line(labels, np.full(16, 0.3), np.arange(16))
    assert np.isnan(equal["slope"].value)
    assert equal["intercept"].value == pytest.approx(np.log(7 / 3), abs=1e-5)


def coverage(films, sets):
    """How often the intervals of both hold the truth."""
    held = []
    for seed in range(sets):
        part = drawn(120, slope=0.7, shift=-0.4, films=films, seed=seed)
        limits = line_interval(calibration_line(*part)["slope"]).limits
        held.append(limits and limits[0] <= 0.7 <= limits[1])
    return np.mean([part for part in held if part is not None])


@pytest.mark.slow
@pytest.mark.parametrize("films", [1, 2])
def test_the_interval_of_the_slope_holds_the_true_one(films):
    assert 0.93 <= coverage(films, 2000) <= 0.975


# ---- A rescaling


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature):
    labels, probabilities, _ = drawn(40_000, slope=1 / temperature)
    assert fit_temperature(labels, probabilities) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_makes_the_crossentropy_least():
    labels, probabilities, _ = drawn(slope=0.6)
    best = fit_temperature(labels, probabilities)
    losses = [
        metrics.log_loss(labels, Rescaling(TEMPERATURE, best * factor).apply(probabilities))
        for factor in (0.9, 0.99, 1.0, 1.01, 1.1)
    ]
    assert int(np.argmin(losses)) == 2


class _Given(ClassifierMixin, BaseEstimator):
    """A classifier that gives back what it sees."""

    def fit(self, inputs, labels):
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, inputs):
        return inputs[:, 0]

    def predict(self, inputs):
        return (inputs[:, 0] > 0).astype(int)


def test_platts_rescaling_is_scikit_learns():
    labels, probabilities, _ = drawn(150, slope=0.5, shift=-1)
    values = logits(probabilities)[:, None]
    given = FrozenEstimator(_Given().fit(values, labels))
    oracle = CalibratedClassifierCV(given, method="sigmoid").fit(values, labels)
    rescaled = fit_platt(labels, probabilities).apply(probabilities)
    np.testing.assert_allclose(rescaled, oracle.predict_proba(values)[:, 1], atol=1e-4)


def test_a_rescaling_by_hand():
    # The logit of 0.8 is ln 4; half of it is ln 2, the logit of two thirds.
    np.testing.assert_allclose(Rescaling(TEMPERATURE, 2.0).apply([0.8, 0.5]), [2 / 3, 0.5])
    np.testing.assert_allclose(Rescaling(PLATT, 2.0, np.log(2)).apply([0.8, 0.5]), [0.8, 2 / 3])
    np.testing.assert_array_equal(Rescaling().apply([0.0, 0.8, 1.0]), [0, 0.8, 1])


def test_a_rescaling_changes_no_ranking_and_keeps_extremes_finite():
    scores = np.array([0.0, 1e-9, 0.2, 0.7, 1.0])
    for rescaling in (Rescaling(TEMPERATURE, 3.0), fit_platt([1, 1, 0, 0, 0], scores)):
        after = rescaling.apply(scores)
        assert (np.diff(after) >= 0).all() and (after > 0).all() and (after < 1).all()
    assert fit_temperature([1, 1], [0.2, 0.9]) == 1.0
    assert 0.05 <= fit_temperature([0, 1], [0.0, 1.0]) <= 20


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ({}, NONE),
        ({"slope": 0.4}, TEMPERATURE),
        ({"slope": 2.5}, TEMPERATURE),
        ({"shift": -1.5}, PLATT),
        ({"slope": 0.5, "shift": 1.0}, PLATT),
    ],
)
def test_many_cases_carry_what_they_need_and_few_nothing(truth, expected):
    chosen = choose_rescaling(*drawn(2000, **truth))
    assert chosen.method == expected
    if expected != NONE:
        assert 1 / chosen.temperature == pytest.approx(truth.get("slope", 1), rel=0.2)
        assert chosen.column == COLUMNS[expected]
    assert chosen.shift == pytest.approx(truth.get("shift", 0), abs=0.25)
    assert choose_rescaling(*drawn(12, seed=2)).method == NONE
    assert choose_rescaling([1] * 9, np.linspace(0.1, 0.9, 9), range(9)) == Rescaling()


def test_calibrated_probabilities_are_left_alone_in_about_95_of_100_data_sets():
    for films in (1, 3):
        kept = [
            choose_rescaling(*drawn(150, films=films, seed=s)).method == NONE for s in range(150)
        ]
        # Three Monte Carlo errors to either side.
        assert 0.89 <= np.mean(kept) <= 1


# ---- Before and after


def test_scores_before_and_after_are_those_of_each_alone():
    labels, probabilities, patients = drawn(films=2, slope=0.5)
    rescaling = Rescaling(PLATT, 1.8, 0.1)
    scores = rescaled_scores(labels, probabilities, patients, rescaling)
    after = rescaling.apply(probabilities)
    for when, part in (("before", probabilities), ("after", after)):
        alone = classification_scores(labels, part, patients, 0.5)
        for name in ("brier", "expected_calibration_error"):
            assert scores[f"{name}_{when}"] == pytest.approx(alone[name])
            assert scores["ci95"][f"{name}_{when}"] == alone["ci95"][name]
        assert scores[f"brier_{when}"] == pytest.approx(metrics.brier_score_loss(labels, part))
        assert scores[f"log_loss_{when}"] == pytest.approx(metrics.log_loss(labels, part))
        for name in ("log_loss", "intercept", "slope"):
            low, high = scores["ci95"][f"{name}_{when}"]
            assert low < scores[f"{name}_{when}"] < high
        assert scores[f"bins_{when}"] == reliability(labels, part, patients)
    assert (scores["method"], scores["temperature"], scores["shift"]) == (PLATT, 1.8, 0.1)
    json.dumps(scores)


def test_the_difference_is_paired_and_its_words_follow_from_its_interval():
    labels, probabilities, patients = drawn(600, slope=0.4)
    for temperature, expected in ((2.5, BETTER), (0.5, WORSE), (1.4, CHANCE)):
        part = drawn(600, slope=0.85) if expected == CHANCE else (labels, probabilities, patients)
        rescaling = Rescaling(TEMPERATURE, temperature)
        scores = rescaled_scores(*part, rescaling)
        for name, gap in scores["differences"].items():
            low, high = gap["ci95"]
            assert low < gap["value"] < high and gap["verdict"] == expected, name
            assert gap["value"] == pytest.approx(scores[f"{name}_after"] - scores[f"{name}_before"])
        # By hand: Student's t on the differences of patients.
        gaps = (rescaling.apply(part[1]) - part[0]) ** 2 - (part[1] - part[0]) ** 2
        half = 1.964 * gaps.std(ddof=1) / np.sqrt(600)
        assert np.ptp(scores["differences"]["brier"]["ci95"]) == pytest.approx(2 * half, rel=0.01)
    assert verdict({"ci95": None}) == UNKNOWN


def test_without_a_rescaling_before_and_after_are_the_same():
    scores = rescaled_scores(*drawn(), Rescaling())
    for before, after in pairwise(("brier_before", "brier_after")):
        assert scores[before] == scores[after]
    assert scores["differences"]["brier"]["value"] == 0
    assert scores["differences"]["brier"]["verdict"] == CHANCE
