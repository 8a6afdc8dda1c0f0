"""Main scores computed again from ``predictions.csv``, by the recipes in ``metrics.json``.

A recipe is what `common.scores.formatting.main_score` stores as ``from``. It gives a score on
resamples of patients, of one evaluation or of several: the folds of a cross-validation, say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.scores.classification import ranking_scores
from common.scores.intervals import ci95

Statistic = Callable[[np.ndarray], np.ndarray]
"""From counts (r, n), how often each case was drawn, to values (r,)."""

SEED = 2022
"""Of the resamples of every interval that is computed from predictions.csv."""


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions.csv in the order of its cases.

    Raises:
        UserError: It is not there or damaged.
    """
    text = {"case": str, "patient": str}
    try:
        table = pd.read_csv(path, dtype=text, keep_default_na=False).sort_values(
            "case", kind="stable"
        )
        return table.astype(text).reset_index(drop=True)
    except (OSError, ValueError, KeyError):
        problem = "is damaged" if path.is_file() else "is missing"
        raise UserError(f"{path}: {problem}; run evaluate.py again") from None


def statistic(predictions: pd.DataFrame, recipe: Mapping[str, Any]) -> Statistic | None:
    """A main score as a function of resamples; None where a case or the recipe lacks it.

    Args:
        predictions: Of `read_predictions`.
        recipe: How they give the score.
    """
    cases = predictions["case"].nunique()
    where = recipe.get("where", {})
    columns = {recipe[key] for key in ("truth", "score", "prediction", "column") if key in recipe}
    if not columns | set(where) <= set(predictions):
        return None
    for column, value in where.items():
        predictions = predictions[predictions[column] == value]
    if predictions["case"].nunique() != cases:
        return None
    match recipe.get("statistic"):
        case "auroc":
            labels = predictions[recipe["truth"]].to_numpy(int)
            scores = predictions[recipe["score"]].to_numpy(float)
            return lambda counts: ranking_scores(labels, scores, np.asarray(counts))[:, 0]
        case "agreement":
            right = predictions[recipe["truth"]] == predictions[recipe["prediction"]]
            values = right.to_numpy(float)
        case "mean":
            # Of several rows a case's score is their mean.
            by_case = predictions.groupby("case", sort=False)[recipe["column"]].mean()
            values = by_case.to_numpy(float)
        case _:
            return None
    return lambda counts: counts @ values / counts.sum(axis=1)


def same_cases(tables: Sequence[pd.DataFrame]) -> bool | None:
    """Whether evaluations scored the same cases: True, False where no two share one, else None."""
    cases = [set(table["case"]) for table in tables]
    every = set[str]().union(*cases)
    if all(part == every for part in cases):
        return True
    return False if sum(map(len, cases)) == len(every) else None


def score_of_runs(
    tables: Sequence[pd.DataFrame], recipe: Mapping[str, Any]
) -> dict[str, Any] | None:
    """One score of several runs with its interval over patients; no case counts twice.

    Where all runs scored the same cases, it is the mean of their scores, on the same resamples of
    patients. Where no two scored a case, as the folds of a cross-validation on what each held
    out, it is the score of all predictions pooled.

    Args:
        tables: Of `read_predictions`, one per run.
        recipe: How one gives the score.

    Returns:
        ``value`` and ``ci95``, or None where some cases but not all are in two tables, or where
        the score is not in every table.
    """
    same = same_cases(tables)
    if same is None:
        return None
    if not same:
        tables = [pd.concat(tables).sort_values("case", kind="stable", ignore_index=True)]
    statistics = [part for table in tables if (part := statistic(table, recipe)) is not None]
    if len(statistics) < len(tables):
        return None

    def mean(counts: np.ndarray) -> np.ndarray:
        return np.asarray(np.mean([part(counts) for part in statistics], axis=0))

    return value_and_interval(mean, tables[0])


def value_and_interval(score: Statistic, predictions: pd.DataFrame) -> dict[str, Any]:
    """A score on all cases of `read_predictions`, None where it is undefined, and its ``ci95``."""
    patients = predictions.drop_duplicates("case")["patient"].to_numpy()
    value = float(score(np.ones((1, len(patients)), dtype=int))[0])
    return {"value": None if np.isnan(value) else value, "ci95": ci95(score, patients, SEED)}
