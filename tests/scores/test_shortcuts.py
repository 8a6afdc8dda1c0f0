"""Labels that are predicted from how films were taken, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from common.base.errors import UserError
from common.scores.shortcuts import (
    cross_fitted,
    describe_shortcuts,
    find_shortcuts,
    shortcut_table,
    tails,
)


def films(count=300, patients=120, seed=0):
    """Films of patients, whose label shows in their sharpness and, rarely, in their maker."""
    random = np.random.default_rng(seed)
    cases = pd.DataFrame(
        {
            "case": [f"c{number}" for number in range(count)],
            "patient": random.integers(0, patients, count).astype(str),
            "label": random.integers(0, 2, count),
        }
    )
    labels = cases["label"].to_numpy()
    statistics = pd.DataFrame(
        {
            "tone.mean": random.normal(100, 20, count),
            "sharpness.noise": random.normal(3, 1, count) + 2 * labels,
            "sharpness.details_1": random.normal(5, 1, count),
            "file.bits": np.full(count, 8),
            "tags.maker": np.where(random.random(count) < 0.5 * labels, "A", "B"),
            "tags.row_mm": np.where(random.random(count) < 0.5, np.nan, 0.2),
        },
        index=pd.Index(cases["case"], name="case"),
    )
    return statistics, cases


def test_a_score_is_that_of_models_of_other_patients():
    statistics, cases = films()
    found = find_shortcuts(statistics, cases, seed=3)
    labels, patients = cases["label"].to_numpy(), cases["patient"].to_numpy()
    values = statistics[["sharpness.noise", "sharpness.details_1"]].to_numpy()
    logits = np.zeros(len(cases))
    of_patient = cases.groupby("patient")["label"].max()
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    for _, members in folds.split(of_patient, of_patient):
        is_test = np.isin(patients, of_patient.index[members])
        train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        assert not set(patients[train]) & set(patients[test])
        mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
        scaled = (values - mean) / deviation
        model = LogisticRegression(max_iter=1000).fit(scaled[train], labels[train])
        logits[test] = model.decision_function(scaled[test])
    score = found["groups"]["sharpness"]
    assert score["value"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
    assert score["ci95"][0] < score["value"] < score["ci95"][1]


def test_the_groups_that_are_readable_are_named_and_what_never_varies_is_no_score():
    statistics, cases = films()
    found = find_shortcuts(statistics, cases, seed=0)
    assert found["readable"] == ["sharpness", "all"]
    assert found["groups"]["shape"] == found["groups"]["file"] == {"value": None, "ci95": None}
    assert 0.6 < found["groups"]["tags"]["value"] < 0.9
    sentence = describe_shortcuts(found)
    assert sentence.startswith("The label can be read from sharpness and noise (0.9")
    rows = dict(shortcut_table(found).rows)
    assert rows["the file"] == "the same in all films"
    assert rows["all together"].startswith("0.9")


def test_shuffled_labels_are_read_from_nothing():
    statistics, cases = films(count=120, patients=60)
    for seed in range(4):
        cases["label"] = np.random.default_rng(seed).permutation(cases["label"].to_numpy())
        found = find_shortcuts(statistics, cases, seed)
        assert found["readable"] == []
        assert describe_shortcuts(found).startswith("No shortcut is shown over 0.75")


def test_too_few_are_no_score_and_the_reason_is_given():
    statistics, cases = films(count=40, patients=40)
    cases["label"] = (np.arange(40) < 4).astype(int)
    found = find_shortcuts(statistics, cases, seed=0)
    assert found["groups"] == {} and found["readable"] == []
    assert found["remark"].startswith("4 patients have a film with the label and ")
    assert found["remark"] in describe_shortcuts(found)
    none = find_shortcuts(statistics.iloc[:0], cases, seed=0)
    assert none["n"] == 0 and none["remark"].startswith("0 patients have")


def test_only_cases_with_statistics_count_whatever_their_order():
    statistics, cases = films()
    part = find_shortcuts(statistics.iloc[50:], cases, seed=1)
    assert part["n"] == 250
    mixed = find_shortcuts(statistics.iloc[50:].iloc[::-1], cases, seed=1)
    assert mixed == part


def test_a_tail_looks_most_like_the_other_label_and_all_are_alike_in_size():
    statistics, cases = films(count=600, patients=400)
    statistics["tone.mean"] -= 20 * cases["label"].to_numpy()
    tail = tails(statistics, cases, share=0.15, seed=0)
    assert list(tail.index) == list(cases.index)
    patients = cases["patient"].nunique()
    by_tail = cases["patient"].groupby(tail).agg(set).drop("")
    # Shape, frame and file are the same in all films.
    names = {"tone", "sharpness and noise", "DICOM tags"}
    assert set(by_tail.index) == {f"{name} {label}" for name in names for label in (0, 1)}
    sizes = by_tail.map(len)
    assert sizes.nunique() == 1 and abs(sizes.sum() - 0.15 * patients) <= len(by_tail)
    assert len(set().union(*by_tail)) == sizes.sum()
    # The same patients' films, all of them, and none of another label's patients.
    assert (tail.groupby(cases["patient"]).nunique() == 1).all()
    label = cases.groupby("patient")["label"].max()
    for name, members in by_tail.items():
        assert set(label[list(members)]) == {int(name[-1])}
    # By the first group's own scores they are the last: they come before all that are in no tail.
    logits = cross_fitted(statistics, cases["label"], cases["patient"], 0)["sharpness"]
    of_patient = pd.Series(logits).groupby(cases["patient"]).mean()
    free = set(cases.loc[tail == "", "patient"])
    positives = of_patient[label == 1]
    assert (
        positives[list(by_tail["sharpness and noise 1"])].max()
        <= positives[positives.index.isin(free)].min()
    )


def test_no_tail_of_what_says_nothing_or_of_too_few():
    statistics, cases = films(count=120, patients=60)
    # Two films a patient, one of either label, taken alike.
    cases["patient"], cases["label"] = np.arange(120) // 2, np.arange(120) % 2
    statistics["tone.mean"] = np.repeat(np.arange(60.0), 2)
    with pytest.raises(UserError, match=r"--split-by shortcut: no group of statistics tells"):
        tails(statistics[["tone.mean"]], cases, 0.15, seed=0)
    with pytest.raises(UserError, match=r"10 of each are needed; split by patient"):
        tails(statistics.iloc[:8], cases, 0.15, seed=0)
