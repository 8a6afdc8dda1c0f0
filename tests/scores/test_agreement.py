"""Limits of agreement, against the formula by hand and by how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from common.scores.agreement import agreement

PATIENTS = list("abcdefgh")
TRUTH = np.array([40, 52, 61, 48, 70, 55, 66, 59.0])
ERRORS = np.array([1, -2, 3, 0, 4, -1, 2, 1.0])


def test_bias_and_limits_by_hand():
    scores = agreement(TRUTH + ERRORS, TRUTH, PATIENTS)
    # Of the eight errors: sum 8, sum of squares 36.
    spread = np.sqrt((36 - 8**2 / 8) / 7)
    assert scores["mean"] == pytest.approx(1)
    assert scores["low"]["value"] == pytest.approx(1 - 1.959964 * spread)
    assert scores["high"]["value"] == pytest.approx(1 + 1.959964 * spread)
    # The interval of a normal sample's mean, by n - 1.5 as docs/intervals.md has it.
    half = stats.t.ppf(0.975, 7) * spread * np.sqrt(7 / 6.5) / np.sqrt(8)
    assert scores["ci95"] == pytest.approx([1 - half, 1 + half])
    low, high = scores["low"], scores["high"]
    assert [limit - 1 for limit in low["ci95"]] == pytest.approx(
        [1 - limit for limit in reversed(high["ci95"])]
    )


@pytest.mark.parametrize("n", [5, 16, 60])
def test_the_limits_intervals_hold_the_truth(n):
    rng, times = np.random.default_rng(0), 4000
    samples, patients = rng.normal(2, 3, (times, n)), np.arange(n)
    truth = {"low": 2 - 1.959964 * 3, "high": 2 + 1.959964 * 3}
    held = dict.fromkeys(truth, 0)
    for sample in samples:
        scores = agreement(sample, np.zeros(n), patients)
        for name, value in truth.items():
            low, high = scores[name]["ci95"]
            held[name] += low <= value <= high
    # Three standard errors of 4,000 trials.
    for count in held.values():
        assert count / times == pytest.approx(0.95, abs=0.0103)


def test_without_enough_patients_there_are_no_intervals():
    few = agreement([41, 50, 60], [40, 52, 61], PATIENTS[:3])
    assert few["low"]["ci95"] is None and few["low"]["ci95_reason"] == "under 5 patients"
    assert few["low"]["value"] < few["mean"] < few["high"]["value"]
    alone = agreement([41], [40], ["a"])
    assert alone["mean"] == 1 and alone["high"]["value"] is None and alone["ci95"] is None
    twice = agreement(TRUTH + ERRORS, TRUTH, list("aabcdefg"))
    assert twice["high"]["ci95"] is None
    assert twice["high"]["ci95_reason"] == "patients have several volumes"
