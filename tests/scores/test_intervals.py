"""Bootstrap over patients."""

import numpy as np
import pytest
from scipy.stats import binomtest

from common.scores import intervals
from common.scores.intervals import (
    bootstrap,
    ci95,
    ci95_of_mean,
    ci95_of_median,
    ci95_of_share,
    interval,
    patient_resamples,
)


def test_cases_of_a_patient_are_drawn_together_and_patients_as_often_as_there_are():
    patients = np.array(["b", "a", "b", "c", "d", "d", "d"])
    counts = np.concatenate(list(patient_resamples(patients, 300, seed=1)))
    assert counts.shape == (300, 7)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, 4], counts[:, 6])
    one_case_each = counts[:, [1, 0, 3, 4]]
    assert (one_case_each.sum(axis=1) == 4).all()
    np.testing.assert_allclose(one_case_each.mean(axis=0), 1, atol=0.2)


def test_the_seed_decides_and_the_chunk_does_not(monkeypatch):
    patients = np.arange(30) // 2
    counts = np.concatenate(list(patient_resamples(patients, 100, seed=5)))
    monkeypatch.setattr(intervals, "_CHUNK", 7)
    again = np.concatenate(list(patient_resamples(patients, 100, seed=5)))
    other = np.concatenate(list(patient_resamples(patients, 100, seed=6)))
    np.testing.assert_array_equal(counts, again)
    assert (counts != other).any()


def test_the_interval_of_a_mean_is_that_of_a_plain_loop_and_of_theory():
    rng = np.random.default_rng(0)
    values, patients = rng.normal(3, 1, 400), np.arange(400)
    low, high = ci95_of_mean(values, patients, seed=1)
    loop = [rng.choice(values, 400).mean() for _ in range(4000)]
    np.testing.assert_allclose([low, high], np.percentile(loop, [2.5, 97.5]), atol=0.02)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], values.mean() + [-half, half], atol=0.02)


@pytest.mark.parametrize("count", [1, 2, 7, 24])
def test_the_interval_of_a_median_is_that_of_a_plain_loop(count):
    rng = np.random.default_rng(count)
    values, patients = rng.normal(size=count).round(1), rng.integers(0, 9, count)
    medians = [
        np.median(np.repeat(values, counts))
        for chunk in patient_resamples(patients, 500, seed=3)
        for counts in chunk
    ]
    found = ci95_of_median(values, patients, seed=3, resamples=500)
    if len(set(patients)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.percentile(medians, [2.5, 97.5]))


def test_alike_cases_of_few_patients_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 20)
    by_patient = np.ptp(ci95_of_mean(values, np.repeat(np.arange(20), 20)))
    by_case = np.ptp(ci95_of_mean(values, np.arange(400)))
    assert by_patient > 3 * by_case


def test_of_several_values_at_once():
    values = np.random.default_rng(0).normal(size=(50, 2))

    def means(counts):
        return counts @ values / counts.sum(axis=1, keepdims=True)

    found = bootstrap(means, np.arange(50), resamples=70)
    assert found.shape == (70, 2)
    assert interval(found[:, 0]) == ci95_of_mean(values[:, 0], np.arange(50), resamples=70)


def test_percentiles_leave_out_what_is_undefined():
    assert interval([np.nan, *range(101)]) == pytest.approx([2.5, 97.5])
    assert interval([np.nan]) is None


def test_one_patient_has_no_interval():
    assert ci95_of_mean([1.0, 2.0], ["a", "a"]) is None
    assert ci95(lambda counts: counts[:, 0] * np.nan, ["a", "b"]) is None


@pytest.mark.parametrize("patients", [2, 5, 60])
@pytest.mark.parametrize("hit", [False, True])
def test_the_interval_of_all_or_none_is_clopper_and_pearsons(patients, hit):
    found = ci95_of_share([hit] * 2 * patients, np.arange(2 * patients) // 2)
    exact = binomtest(patients * hit, patients).proportion_ci(0.95, "exact")
    assert found == pytest.approx([exact.low, exact.high])


def test_the_interval_of_another_share_is_that_of_a_mean():
    hits, patients = np.arange(40) % 3 == 0, np.arange(40) // 2
    assert ci95_of_share(hits, patients, seed=4) == ci95_of_mean(hits, patients, seed=4)
