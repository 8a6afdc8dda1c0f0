"""Scores of groups of cases and the gaps between them, against scikit-learn."""

import json

import numpy as np
import pytest
from sklearn import metrics

from common.scores.classification import classification_scores
from common.scores.estimates import auroc
from common.scores.groups import describe_gaps, gaps_of_groups, scores_by_group
from common.scores.intervals import scored


def cases(n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    return labels, 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * labels - 1))), np.arange(n) // 2


def scorer(part):
    return lambda rows: classification_scores(*(each[rows] for each in part), 0.5)


def gaps_between(columns, part):
    return gaps_of_groups(columns, scorer(part), ("auroc", "recall", "specificity"))


def test_scores_of_groups_are_those_of_their_cases():
    labels, scores, patients = cases()
    groups = np.array(["PA", "AP", ""])[np.arange(len(labels)) % 3]
    by_group = scores_by_group(groups, scorer((labels, scores, patients)), ("n", "auroc", "recall"))
    assert list(by_group) == ["AP", "PA"]
    assert {*by_group["PA"]} - {"ci95_method", "ci95_reason"} == {"n", "auroc", "recall", "ci95"}
    assert "precision" in scores_by_group(groups, scorer((labels, scores, patients)))["PA"]
    assert scores_by_group([""] * len(labels), scorer((labels, scores, patients))) == {}
    for group, part in by_group.items():
        mine = groups == group
        assert part["n"] == mine.sum()
        auroc = metrics.roc_auc_score(labels[mine], scores[mine])
        assert part["auroc"]["value"] == pytest.approx(auroc)
        recall = metrics.recall_score(labels[mine], scores[mine] >= 0.5)
        assert part["recall"] == pytest.approx(recall)


def test_a_gap_is_to_all_other_cases_and_of_two_groups_there_is_one():
    part = cases()
    labels, scores, patients = part
    ages = np.array(["", "18-39", "40-64", "65+"])[patients % 4]
    sexes = np.array(["F", "M"])[patients % 2]
    gaps = gaps_between({"age": ages, "sex": sexes, "view": np.full(300, "PA")}, part)
    names = [(gap["kind"], gap["group"]) for gap in gaps]
    assert names == [("age", "18-39"), ("age", "40-64"), ("age", "65+"), ("sex", "F")]
    mine, others = ages == "40-64", np.isin(ages, ["18-39", "65+"])
    aurocs = [metrics.roc_auc_score(labels[rows], scores[rows]) for rows in (mine, others)]
    assert gaps[1]["auroc"]["value"] == pytest.approx(aurocs[0] - aurocs[1])
    assert gaps[1]["n"] == mine.sum()
    low, high = gaps[1]["recall"]["ci95"]
    assert low < gaps[1]["recall"]["value"] < high
    json.dumps(gaps)


def test_chance_puts_zero_outside_of_about_one_interval_in_twenty():
    outside = []
    for seed in range(300):
        labels, scores, patients = cases(200, seed)
        sexes = np.array(["F", "M"])[patients % 2]

        def score_rows(rows, labels=labels, scores=scores, patients=patients):
            return {"auroc": scored(auroc(labels[rows], scores[rows], patients[rows]))}

        (gap,) = gaps_of_groups({"sex": sexes}, score_rows, ["auroc"])
        outside += [not gap[name]["ci95"][0] <= 0 <= gap[name]["ci95"][1]
                    for name in ("auroc",)]  # fmt: skip
    # Three Monte Carlo errors to either side.
    assert 0.012 <= np.mean(outside) <= 0.088


def test_how_many_gaps_were_looked_at_is_told():
    gaps = [
        {"kind": "sex", "group": "F", "n": 9, "auroc": {"value": 0.2, "ci95": [0.1, 0.3]},
         "recall": {"value": 0.1, "ci95": [-0.1, 0.3]}, "specificity": {"value": 0.1, "ci95": None}}
    ]  # fmt: skip
    words = describe_gaps(gaps * 10)
    assert words.startswith("20 gaps with an interval were looked at")
    assert "about 1.0 of them" in words and words.endswith("outside of 10")
