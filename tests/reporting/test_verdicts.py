"""Whether a score is said to be better than its baseline."""

import dataclasses

import numpy as np
import pytest

from common.reporting import html_report
from common.scores.classification import differences
from common.scores.estimates import auroc
from common.scores.intervals import scored


@pytest.mark.parametrize(
    ("ci95", "said"),
    [
        ([0.7, 0.9], "above the baseline"),
        ([0.5, 0.9], "not shown to be better"),
        ([0.1, 0.5], "below the baseline"),
        (None, "too few patients"),
    ],
)
def test_without_the_difference_the_interval_decides_and_what_it_lacks_is_said(ci95, said):
    words = html_report.verdict(html_report.Score("a", 0.8, ci95, 0.6, "chance"))
    assert said in words
    assert ("The baseline's own uncertainty is not in this." in words) == (ci95 is not None)


@pytest.mark.parametrize(
    ("ci95", "said"),
    [
        ([0.01, 0.4], "The model scores above the baseline (chance): on the same cases the "
         "difference is +0.200, 95 % interval +0.010 to +0.400."),
        ([0, 0.4], "The model is not shown to differ from the baseline (chance)"),
        ([-0.4, -0.1], "The model scores below the baseline (chance)"),
        (None, "too few patients"),
    ],
)  # fmt: skip
def test_a_score_is_better_only_where_the_interval_of_the_difference_is(ci95, said):
    # Its own interval, far above the baseline, decides nothing.
    difference = {"value": 0.2, "ci95": ci95}
    score = html_report.Score("a", 0.8, [0.7, 0.9], 0.6, "chance", difference)
    assert said in html_report.verdict(score)


def test_why_there_is_no_interval_is_said():
    refused = {"value": 0.2, "ci95": None, "ci95_reason": "under 5 patients of a class"}
    score = html_report.Score("a", 0.8, None, 0.6, "c", refused, "under 5 patients of a class")
    assert "(under 5 patients of a class): nothing is shown" in html_report.verdict(score)
    score = dataclasses.replace(score, ci95=[0.7, 0.9], ci95_reason="")
    assert "(under 5 patients of a class): nothing is shown" in html_report.verdict(score)


def test_of_two_equally_good_scores_one_is_rarely_said_to_be_above():
    rng = np.random.default_rng(5)
    labels, patients = (np.arange(60) < 25).astype(int), np.arange(60)
    by_difference, by_interval, count = 0, 0, 400
    for _ in range(count):
        model, baseline = rng.normal(size=(2, 60)) + labels
        ours, its = ((scores, scores >= 0.5) for scores in (model, baseline))
        difference = differences(labels, ours, {"its": its}, patients)["its"]["auroc"]
        own, other = (scored(auroc(labels, scores, patients)) for scores in (model, baseline))
        score = html_report.Score(
            "AUROC", own["value"], own["ci95"], other["value"], "its equal", difference
        )
        older = dataclasses.replace(score, difference=None)
        by_difference += "above" in html_report.verdict(score)
        by_interval += "above" in html_report.verdict(older)
    # 2.5 % are meant.
    assert by_difference / count <= 0.04
    assert by_interval / count >= 0.06
