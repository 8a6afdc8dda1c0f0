"""Shortcuts: how well a label is predicted from how its films were taken alone.

A network may learn these in place of what films show and then fail in another hospital (Geirhos et
al. 2020, arXiv:2004.07780; on chest films Zech et al. 2018, 10.1371/journal.pmed.1002683). For each
group of statistics (`common.imaging.acquisition`), and for all of them, a logistic regression with
nothing tuned is fitted to some patients and asked about the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pandas.api.types import is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from common.base.errors import UserError
from common.base.tables import Table, print_table
from common.datasets.classes import Classes
from common.datasets.patient_splits import split_by_patient
from common.imaging.acquisition import GROUPS
from common.scores.estimates import auroc
from common.scores.formatting import with_interval
from common.scores.intervals import scored

READABLE = 0.75
"""The AUROC above which a label can be read, where the interval lies above 0.5 too."""

ALL = "all"
"""The name of all groups together."""

FEWEST = 10
"""Patients of each label that are needed."""

UNKNOWN: dict[str, Any] = {
    **{"n": 0, "groups": {}, "readable": []},
    "remark": "an earlier version prepared the data; prepare it again",
}
"""In place of `find_shortcuts`, of data in which nobody looked for them."""

_FOLDS = 5
# Films that are looked at, of several classes, each of which takes its own models.
_MOST = 20_000
_SAME = "the same in all films"
# Of a text to count for itself: rarer ones are one.
_FREQUENT = 10


def find_shortcuts(
    statistics: pd.DataFrame, cases: pd.DataFrame, seed: int, classes: Classes | None = None
) -> dict[str, Any]:
    """Score the statistics of films as predictors of their label.

    Args:
        statistics: Rows of `common.imaging.acquisition` by case.
        cases: With ``case``, ``label`` (0 or 1) and ``patient``; those without statistics do not
            count.
        seed: Of the folds.
        classes: What the labels tell apart, where that is more than two classes: each is predicted
            against all others.

    Returns:
        ``n``, the number of films; ``groups``: by group, and of `ALL`, ``{value, ci95}`` of the
        AUROC, None where nothing varies; ``readable``: the groups that the label can be read from;
        ``remark``: why there is no group, else "". Of several classes each group has the score and
        the name of the ``class`` that it predicts best, and ``per_class`` holds all by name.
    """
    cases = cases[cases["case"].isin(statistics.index)]
    if classes is not None and not classes.are_two:
        return _of_classes(statistics, cases, seed, classes)
    statistics = statistics.loc[cases["case"]]
    labels, patients = cases["label"].to_numpy(int), cases["patient"].to_numpy()
    remark = _remark(labels, patients)
    fitted = {} if remark else cross_fitted(statistics, labels, patients, seed)
    groups: dict[str, dict[str, Any]] = {}
    for name, logits in fitted.items():
        groups[name] = {"value": None, "ci95": None}
        if logits is not None:
            groups[name] = scored(auroc(labels, logits, patients))
    readable = [
        name
        for name, score in groups.items()
        if score["ci95"] and score["value"] > READABLE and score["ci95"][0] > 0.5
    ]
    return {"n": len(labels), "groups": groups, "readable": readable, "remark": remark}


def _of_classes(
    statistics: pd.DataFrame, cases: pd.DataFrame, seed: int, classes: Classes
) -> dict[str, Any]:
    cases = cases[cases["left_out"] == ""]
    cases = cases.sample(min(len(cases), _MOST), random_state=seed)
    truth = classes.truth(cases["label"]).astype(int)
    per_class = {
        name: find_shortcuts(statistics, cases.assign(label=column), seed)
        for name, column in zip(classes.names, truth.T, strict=True)
    }
    groups: dict[str, dict[str, Any]] = {}
    for name, part in per_class.items():
        for group, score in part["groups"].items():
            best = groups.setdefault(group, {**score, "class": name})
            if (score["value"] or 0) > (best["value"] or 0):
                groups[group] = {**score, "class": name}
    return {
        "n": len(cases),
        "groups": groups,
        "readable": [
            group
            for group, score in groups.items()
            if group in per_class[score["class"]]["readable"]
        ],
        "remark": "" if groups else f"{FEWEST} patients with and without a class are needed",
        "per_class": per_class,
    }


def cross_fitted(
    statistics: pd.DataFrame, labels: ArrayLike, patients: ArrayLike, seed: int
) -> dict[str, np.ndarray | None]:
    """The logit of the label of each film by group, and of `ALL`, from models of other patients.

    Args:
        statistics: (n rows) of `common.imaging.acquisition`.
        labels: (n,) 0 or 1, of `FEWEST` patients each.
        patients: (n,) the patient of each film.
        seed: Of the folds.

    Returns:
        (n,) by group; None where nothing in it varies.
    """
    labels, patients = np.asarray(labels).astype(int), np.asarray(patients)
    folds = split_by_patient(pd.Series(patients), pd.Series(labels), 0, 0, _FOLDS, seed)
    parts = PredefinedSplit(pd.factorize(folds)[0])
    varying = statistics.loc[:, statistics.nunique(dropna=False) > 1]
    by_group = {
        group: [name for name in varying if str(name).split(".")[0] == group] for group in GROUPS
    }
    with threadpool_limits(1):  # so small a model loses more by waiting for threads than they give
        return {
            group: cross_val_predict(
                _model(varying[names]), varying[names], labels, cv=parts, method="decision_function"
            )
            if names
            else None
            for group, names in {**by_group, ALL: list(varying)}.items()
        }


def tails(statistics: pd.DataFrame, cases: pd.DataFrame, share: float, seed: int) -> pd.Series[str]:
    """The patients of each label whose films look most like the other label, group by group.

    Of every group that tells the labels apart, as many of either label; nobody is in two tails.

    Args:
        statistics: As for `find_shortcuts`, like ``cases`` and ``seed``.
        cases: A patient with both labels counts as one of label 1.
        share: Of the patients that are in a tail, 0 to 1.
        seed: Of the folds.

    Returns:
        By the index of ``cases`` the title of the group and the label, such as "tone 1"; "" in no
        tail.

    Raises:
        UserError: No group tells the labels apart, or there are too few patients.
    """
    shortcuts = find_shortcuts(statistics, cases, seed)
    groups = [
        name
        for name, score in shortcuts["groups"].items()
        if name != ALL and score["ci95"] and score["ci95"][0] > 0.5
    ]
    if not groups:
        why = shortcuts["remark"] or "no group of statistics tells the labels apart"
        raise UserError(f"--split-by shortcut: {why}; split by patient or by a column")
    known = cases[cases["case"].isin(statistics.index)]
    fitted = cross_fitted(statistics.loc[known["case"]], known["label"], known["patient"], seed)
    table = pd.DataFrame({name: fitted[name] for name in groups}, known.index)
    table = table.groupby(known["patient"]).mean()
    labels = known.groupby("patient")["label"].max()
    fewest = int(labels.value_counts().min())
    each = max(1, min(round(share * len(table) / 2), fewest // 2) // len(groups))
    tail = pd.Series("", table.index)
    for label in (0, 1):
        # From the likest to the other label on.
        orders = {
            name: table[name][labels == label].sort_values(ascending=label == 1) for name in groups
        }
        for _ in range(each):
            for name, order in orders.items():
                free = order.index[tail[order.index] == ""]
                tail[free[:1]] = f"{GROUPS[name]} {label}"
    return cases["patient"].map(tail).fillna("")


def shortcut_table(shortcuts: Mapping[str, Any]) -> Table:
    """The scores of `find_shortcuts` as a table."""
    titles = {**GROUPS, ALL: "all together"}
    several = "per_class" in shortcuts
    rows = tuple(
        (
            titles.get(name, name),
            *((score["class"] if score["ci95"] else "",) if several else ()),
            _SAME if score["value"] is None else with_interval(score),
        )
        for name, score in shortcuts["groups"].items()
    )
    title = f"shortcuts: the label of all {shortcuts['n']} images, from how they were taken"
    head = ("the class that it tells best",) if several else ()
    return Table(title, ("from", *head, "AUROC, 0.5 by chance"), rows)


def describe_shortcuts(shortcuts: Mapping[str, Any]) -> str:
    """What `find_shortcuts` means, in a sentence."""
    if shortcuts["remark"]:
        return f"Whether there are shortcuts to the label is not known: {shortcuts['remark']}."
    titles = {**GROUPS, ALL: "all of these together"}
    groups = [name for name in shortcuts["readable"] if name != ALL] or shortcuts["readable"]
    if not groups:
        highest = max(score["value"] or 0.0 for score in shortcuts["groups"].values())
        return f"No shortcut is shown over {READABLE}; the highest AUROC is {highest:.2f}."
    scores = {name: shortcuts["groups"][name] for name in groups}
    *others, last = [
        f"{titles.get(name, name)} "
        f"({' '.join(filter(None, (score.get('class'), format(score['value'], '.2f'))))})"
        for name, score in scores.items()
    ]
    named = f"{', '.join(others)} and {last}" if others else last
    return (
        f"The label can be read from {named}, from how images were taken alone: a network may "
        "learn that in place of what they show, and fail where they are taken in another way."
    )


def print_shortcuts(shortcuts: Mapping[str, Any]) -> None:
    """Print `shortcut_table`, where there is a score, and `describe_shortcuts`."""
    if shortcuts["groups"]:
        print_table(shortcut_table(shortcuts))
    print(f"  {describe_shortcuts(shortcuts)}")


def _remark(labels: np.ndarray, patients: np.ndarray) -> str:
    without, with_label = (len(np.unique(patients[labels == label])) for label in (0, 1))
    if min(without, with_label) < FEWEST:
        return (
            f"{with_label} patients have a film with the label and {without} one without, and "
            f"{FEWEST} of each are needed"
        )
    return ""


def _model(statistics: pd.DataFrame) -> Pipeline:
    numbers = [name for name in statistics if is_numeric_dtype(statistics[name])]
    imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(imputer, StandardScaler()), numbers),
            (
                "texts",
                OneHotEncoder(min_frequency=_FREQUENT, handle_unknown="infrequent_if_exist"),
                [name for name in statistics if name not in numbers],
            ),
        ],
        sparse_threshold=0,
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))
