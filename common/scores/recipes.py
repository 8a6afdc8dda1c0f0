"""Main scores computed again from ``predictions.csv``, by the recipes in ``metrics.json``.

A recipe is what `common.scores.formatting.main_score` stores as ``from``. It gives a score with its
variance by patient, of one evaluation or of several: the folds of a cross-validation, say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.datasets.classes import Classes
from common.scores import estimates
from common.scores.classification import mean_auroc
from common.scores.estimates import Estimate
from common.scores.intervals import difference, scored


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions.csv in the order of its cases.

    Raises:
        UserError: It is not there or damaged.
    """
    text = {"case": str, "patient": str}
    # A class may be called 01.
    dtype = {**text, "label": str, "predicted": str}
    try:
        table = pd.read_csv(path, dtype=dtype, keep_default_na=False)
        table = table.sort_values("case", kind="stable")
        return table.astype(text).reset_index(drop=True)
    except (OSError, ValueError, KeyError):
        problem = "is damaged" if path.is_file() else "is missing"
        raise UserError(f"{path}: {problem}; run evaluate.py again") from None


def estimate(predictions: pd.DataFrame, recipe: Mapping[str, Any]) -> Estimate | None:
    """A main score of the cases; None where a case or the recipe lacks it.

    Args:
        predictions: Of `read_predictions`.
        recipe: How they give the score.
    """
    cases = predictions["case"].nunique()
    where = recipe.get("where", {})
    columns = {recipe[key] for key in ("truth", "score", "prediction", "column") if key in recipe}
    columns |= set(recipe.get("scores", {}).values())
    if not columns | set(where) <= set(predictions):
        return None
    for column, value in where.items():
        predictions = predictions[predictions[column] == value]
    if predictions["case"].nunique() != cases:
        return None
    patients = predictions["patient"]
    match recipe.get("statistic"):
        case "auroc":
            return estimates.auroc(
                predictions[recipe["truth"]].astype(int), predictions[recipe["score"]], patients
            )
        case "macro_auroc":
            names = recipe["scores"]
            truth = Classes(tuple(names), False).of_words(predictions[recipe["truth"]])
            return mean_auroc(truth, predictions[[*names.values()]].to_numpy(float), patients)
        case "agreement":
            right = predictions[recipe["truth"]] == predictions[recipe["prediction"]]
            return estimates.share(right, patients)
        case "mean":
            # Of several rows a case's score is their mean.
            by_case = predictions.groupby("case", sort=False)
            return estimates.mean(by_case[recipe["column"]].mean(), by_case["patient"].first())
        case _:
            return None


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

    Where all runs scored the same cases, it is the mean of their scores, patient by patient. Where
    no two scored a case, as the folds of a cross-validation on what each held out, it is the score
    of all predictions pooled.

    Args:
        tables: Of `read_predictions`, one per run.
        recipe: How one gives the score; or ``score`` and ``less``, two recipes, whose difference
            is paired.

    Returns:
        ``value`` and ``ci95``, or None where some cases but not all are in two tables, or where
        the score is not in every table.
    """
    if "less" in recipe:
        some, other = (_estimate_of_runs(tables, recipe[key]) for key in ("score", "less"))
        return None if some is None or other is None else difference(some, other)
    score = _estimate_of_runs(tables, recipe)
    return None if score is None else scored(score)


def _estimate_of_runs(tables: Sequence[pd.DataFrame], recipe: Mapping[str, Any]) -> Estimate | None:
    same = same_cases(tables)
    if same is None:
        return None
    if not same:
        tables = [pd.concat(tables).sort_values("case", kind="stable", ignore_index=True)]
    scores = [part for table in tables if (part := estimate(table, recipe)) is not None]
    return estimates.mean_of(scores) if len(scores) == len(tables) else None
