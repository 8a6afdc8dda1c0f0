"""Intervals and their variances, against SciPy, loops over pairs, and leaving out patients."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from common.scores import estimates
from common.scores.classification import class_estimates
from common.scores.estimates import auroc, mean, mean_of, share
from common.scores.intervals import (
    ALONE,
    FEW,
    FEW_IN_ALL,
    beta_limits,
    by_name,
    difference,
    difference_of_independent,
    expected_auroc_limits,
    interval,
    interval_of_mean,
    interval_of_median,
    interval_of_share,
    scored,
)


def films(seed=0, count=120, most=3):
    """Labels, scores and patients of films; a patient may have films of both labels."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(count), rng.integers(1, most + 1, count))[:count]
    labels = (rng.random(count) < 0.4).astype(int)
    scores = rng.normal(size=count) + rng.normal(size=count)[patients] + labels
    return labels, np.round(scores, 1), patients


# ---- Shares


@pytest.mark.parametrize(("hits", "n"), [(40, 40), (39, 40), (3, 12), (0, 7), (250, 300)])
def test_the_limits_of_a_share_leave_half_of_what_was_seen_in_the_tails(hits, n):
    low, high = beta_limits(hits / n, n)
    for limit, beyond, is_end in ((low, stats.binom.sf, hits == 0), (high, None, hits == n)):
        if is_end:
            assert limit == (0 if beyond else 1)
            continue
        seen = stats.binom.pmf(hits, n, limit) / 2
        tail = beyond(hits, n, limit) if beyond else stats.binom.cdf(hits - 1, n, limit)
        assert tail + seen == pytest.approx(0.025)


def test_one_more_hit_never_lowers_a_limit():
    limits = beta_limits(np.arange(41) / 40, 40)
    assert (np.diff(limits, axis=0) >= 0).all() and limits[-1, 0] > limits[-2, 0]


def test_films_of_a_patient_that_are_always_alike_count_once_and_unlike_ones_each():
    hits = np.arange(30) % 5 > 0
    alike = interval_of_share(np.repeat(hits, 3), np.repeat(np.arange(30), 3))
    assert alike.limits == pytest.approx(interval_of_share(hits, range(30)).limits)
    unlike = interval_of_share([0, 1] * 30, np.repeat(np.arange(30), 2))
    assert unlike.limits == pytest.approx(beta_limits(0.5, 60))


# ---- Variances


def test_the_variance_of_an_auroc_is_obuchowskis_by_loops():
    labels, scores, patients = films(1, 60)
    yes, no = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    wins = {(i, j): (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
            for i, j in itertools.product(yes, no)}  # fmt: skip
    value = np.mean([*wins.values()])
    over_no = {i: np.mean([wins[i, j] for j in no]) for i in yes}
    over_yes = {j: np.mean([wins[i, j] for i in yes]) for j in no}
    tens, ones = (
        {p: sum(part[i] - value for i in part if patients[i] == p) for p in set(patients)}
        for part in (over_no, over_yes)
    )
    of_yes, of_no = (len(set(patients[rows])) for rows in (yes, no))
    several = len(set(patients))
    expected = (
        of_yes / (of_yes - 1) * sum(v**2 for v in tens.values()) / len(yes) ** 2
        + of_no / (of_no - 1) * sum(v**2 for v in ones.values()) / len(no) ** 2
        + 2 * several / (several - 1) * sum(tens[p] * ones[p] for p in tens) / len(yes) / len(no)
    )
    found = auroc(labels, scores, patients)
    assert found.value == pytest.approx(metrics.roc_auc_score(labels, scores)) == value
    assert found.variance == pytest.approx(expected, rel=0.01)


SCORES = {
    "auroc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "accuracy": lambda y, s: metrics.accuracy_score(y, s >= 0.5),
    "precision": lambda y, s: metrics.precision_score(y, s >= 0.5),
    "recall": lambda y, s: metrics.recall_score(y, s >= 0.5),
    "specificity": lambda y, s: metrics.recall_score(y, s >= 0.5, pos_label=0),
    "f1": lambda y, s: metrics.f1_score(y, s >= 0.5),
    "brier": lambda y, s: np.mean((s - y) ** 2),
}


def test_every_variance_is_that_of_leaving_out_patients():
    labels, scores, patients = films(2, 100)
    found = class_estimates(labels, scores, scores >= 0.5, patients)
    assert set(SCORES) == set(found) - {"sensitivity_at_90_specificity"}
    for name, score in SCORES.items():
        left_out = [score(labels[kept], scores[kept])
                    for kept in (patients != p for p in set(patients))]  # fmt: skip
        count = len(left_out)
        jackknife = (count - 1) / count * np.sum((left_out - np.mean(left_out)) ** 2)
        assert found[name].value == pytest.approx(score(labels, scores)), name
        assert found[name].variance == pytest.approx(jackknife, rel=0.1), name


def test_the_sensitivity_at_a_specificity_varies_with_both_classes():
    rng = np.random.default_rng(0)
    labels, patients = np.arange(400) % 2, np.arange(400)
    drawn = [
        class_estimates(labels, scores, scores >= 0.5, patients)["sensitivity_at_90_specificity"]
        for scores in rng.normal(size=(60, 400)) + 1.5 * labels
    ]
    spread = np.std([part.value for part in drawn])
    own = np.mean([np.sqrt(part.variance) for part in drawn])
    alone = np.mean([np.sqrt(part.value * (1 - part.value) / 200) for part in drawn])
    assert own == pytest.approx(spread, rel=0.2) and own > 1.3 * alone


# ---- Means


def test_the_interval_of_a_mean_is_students_with_an_unbiased_deviation():
    values = np.random.default_rng(0).normal(3, 1, 7)
    low, high = interval_of_mean(values, range(7), None).limits
    error = stats.sem(values) * np.sqrt(6 / 5.5)
    assert [low, high] == pytest.approx(stats.t.interval(0.95, 6, values.mean(), error))
    of_two = interval_of_mean([0.9, 0.95], [0, 1]).limits
    assert 0 < of_two[0] < 0.9 and 0.95 < of_two[1] < 1


def test_a_bounded_mean_that_does_not_vary_is_bounded_as_a_share():
    assert interval_of_mean([1.0] * 6, range(6)).limits == pytest.approx(beta_limits(1.0, 6))
    assert interval_of_mean([0.0] * 6, range(6), (0, np.inf)).limits == [0, 0]


def test_alike_cases_of_few_patients_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 20)
    by_patient = np.ptp(interval_of_mean(values, np.repeat(np.arange(20), 20), None).limits)
    by_case = np.ptp(interval_of_mean(values, np.arange(400), None).limits)
    assert by_patient > 3 * by_case


def test_the_limits_of_a_median_are_scipys_order_statistics():
    values = np.random.default_rng(3).normal(size=60)
    low, high = interval_of_median(values, range(60)).limits
    exact = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    ranked = np.sort(values)
    for limit, end in ((low, exact.low), (high, exact.high)):
        assert abs(np.searchsorted(ranked, limit) - np.searchsorted(ranked, end)) <= 1
    assert interval_of_median([1, 2, 3], [0, 1, 2]).reason == FEW_IN_ALL


# ---- AUROC


def test_perfect_separation_is_no_certainty():
    labels = np.arange(24) >= 12
    found = scored(auroc(labels, np.arange(24.0), range(24)))
    assert found["value"] == 1 and 0.85 < found["ci95"][0] < 0.97 and found["ci95"][1] == 1
    more = scored(auroc(np.repeat(labels, 9), np.arange(216.0), range(216)))
    assert more["ci95"][0] > found["ci95"][0]
    one_wrong = np.arange(24.0)
    one_wrong[12] = 0
    assert scored(auroc(labels, one_wrong, range(24)))["ci95"][0] < found["ci95"][0]


def test_an_interval_is_refused_below_five_patients_of_a_class():
    labels = np.repeat([0, 1], [20, 8])
    patients = np.r_[np.arange(20), np.repeat([20, 21, 22, 23], 2)]
    rng = np.random.default_rng(0)
    few = class_estimates(labels, rng.random(28), np.ones(28), patients)
    refused = {name: interval(part) for name, part in few.items()}
    assert {name for name, part in refused.items() if part.reason == FEW} == {
        "auroc", "average_precision", "recall", "sensitivity_at_90_specificity",
    }  # fmt: skip
    assert refused["brier"].limits and refused["accuracy"].limits
    parts = by_name(refused)
    assert parts["ci95"]["recall"] is None and parts["ci95_reason"]["recall"] == FEW
    assert "recall" not in parts["ci95_method"] and parts["ci95_method"]["accuracy"]
    assert scored(few["auroc"]).keys() == {"value", "ci95", "ci95_reason"}
    assert interval(auroc(labels, rng.random(28), range(28))).limits
    assert interval_of_share([1, 1, 1], [0, 1, 2]).reason == FEW_IN_ALL
    assert interval_of_mean([0.1, 0.2], [0, 0]).reason == ALONE


def test_the_mean_of_classes_or_runs_is_no_surer_than_what_they_share():
    labels, scores, patients = films(4)
    once = auroc(labels, scores, patients)
    assert interval(mean_of([once] * 5)).limits == pytest.approx(interval(once).limits)
    others = [auroc(labels, scores + seed * films(seed)[1], patients) for seed in (0, 5, 6)]
    together = mean_of(others)
    assert together.value == pytest.approx(np.mean([part.value for part in others]))
    assert together.variance < np.mean([part.variance for part in others])
    undefined = auroc(np.zeros(120), scores, patients)
    assert mean_of([undefined, once]).value == once.value
    assert np.isnan(mean_of([undefined, undefined]).value)


def test_the_interval_to_expect_is_about_the_one_that_comes():
    rng = np.random.default_rng(0)
    labels = (np.arange(200) < 60).astype(int)
    drawn = rng.normal(size=(200, 200)) + stats.norm.ppf(0.85) * np.sqrt(2) * labels
    widths = [np.ptp(interval(auroc(labels, part, range(200))).limits) for part in drawn]
    assert np.diff(expected_auroc_limits(0.85, 60, 140)) == pytest.approx(np.mean(widths), rel=0.1)


# ---- Differences


def test_differences_of_means_and_aurocs_are_paired():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=40)
    some, other = (np.clip(0.7 + 0.1 * hard + 0.01 * rng.normal(size=40), 0, 1) for _ in "ab")
    found = difference(mean(some, range(40)), mean(other, range(40)))
    result = stats.ttest_rel(some, other)
    assert found["ci95"] == pytest.approx([*result.confidence_interval(0.95)])
    labels = np.arange(40) % 2
    runs = [auroc(labels, part + 0.1 * labels, range(40)) for part in (some, other)]
    paired = np.ptp(difference(*runs)["ci95"])
    assert paired < 0.5 * np.hypot(*(np.ptp(interval(run).limits) for run in runs))


def test_runs_that_agree_in_all_cases_may_still_differ():
    hits = np.arange(40) < 36
    alike = difference(share(hits, range(40)), share(hits, range(40)))
    assert alike["value"] == 0 and -0.1 < alike["ci95"][0] < 0 < alike["ci95"][1] < 0.1
    labels = np.arange(40) % 2
    perfect = [auroc(labels, labels + step * np.arange(40), range(40)) for step in (0.001, 0.002)]
    assert difference(*perfect)["ci95"][0] < -0.02
    constant = auroc(labels, np.zeros(40), range(40))
    assert interval(constant).limits == [0.5, 0.5]
    low, high = difference(perfect[0], constant)["ci95"]
    assert 0.3 < low < 0.5 == high
    same = auroc(labels, films(7, 40)[1], range(40))
    assert difference(same, same)["ci95"] == [0, 0]


def test_a_difference_is_refused_where_a_score_is():
    labels = np.repeat([0, 1], [20, 3])
    run = auroc(labels, np.arange(23.0), range(23))
    assert difference(run, run) == {"value": 0, "ci95": None, "ci95_reason": FEW}
    nothing = replace(run, value=np.nan)
    assert difference(nothing, run)["value"] is None


def test_the_difference_of_scores_of_two_sets_of_patients_is_a_bootstrap_of_both():
    rng = np.random.default_rng(3)
    sets = rng.beta(5, 1, 150), rng.beta(2, 2, 90)
    scores = [scored(mean(values, range(len(values)))) for values in sets]
    gap = difference_of_independent(*scores)
    draws = [
        rng.choice(sets[0], len(sets[0])).mean() - rng.choice(sets[1], len(sets[1])).mean()
        for _ in range(4000)
    ]
    assert gap["value"] == pytest.approx(sets[0].mean() - sets[1].mean())
    np.testing.assert_allclose(gap["ci95"], np.percentile(draws, [2.5, 97.5]), atol=0.01)
    refused = {"value": 0.5, "ci95": None, "ci95_reason": FEW}
    assert difference_of_independent(scores[0], refused)["ci95_reason"] == FEW
    older = {"value": 0.5, "ci95": None}
    assert difference_of_independent(older, scores[0])["ci95"] is None
    assert difference_of_independent({"value": None, "ci95": None}, refused)["value"] is None


def test_data_sets_are_computed_at_once():
    labels, scores, patients = films(8)
    several = np.stack([scores, -scores, np.arange(120)])
    together = auroc(labels, several, patients)
    for number, part in enumerate(several):
        alone = auroc(labels, part, patients)
        assert together.value[number] == alone.value
        assert together.variance[number] == pytest.approx(alone.variance)
    shares = estimates.share(several > 0, patients)
    assert shares.value.shape == (3,)
