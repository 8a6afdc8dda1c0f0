"""Scores of networks over volumes and labels, under the names of metrics.json.

A scored case is a row with ``case``, ``patient`` and, by the name of each network and of the mean
shape, its scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.scores.intervals import ci95_of_mean
from common.scores.volumes import volume_scores


def scores_of(volume: dict[str, Any], mask: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Every score of a mask: its mean over labels, and each label's own."""
    per_label = {
        label: volume_scores(volume["mask"] == value, mask == value, volume["spacing_mm"])
        for value, label in enumerate(labels, start=1)
    }
    of_each = list(per_label.values())
    mean = {name: sum(of[name] for of in of_each) / len(of_each) for name in of_each[0]}
    return {**mean, "per_label": per_label}


def summary(
    what: str, scored: list[dict[str, Any]], labels: Sequence[str], seed: int
) -> dict[str, Any]:
    """Every score of a network or baseline over cases, with its interval over patients."""

    def over_cases(scores: list[dict[str, Any]]) -> dict[str, Any]:
        summed = {
            name: mean_and_interval([of[name] for of in scores], scored, seed)
            for name in ("dice", "jaccard", "hd95_mm", "assd_mm")
        }
        summed["dice"]["min"] = min(of["dice"] for of in scores)
        errors = [abs(of["predicted_ml"] - of["truth_ml"]) for of in scores]
        return {**summed, "volume_error_ml": mean_and_interval(errors, scored, seed)}

    of_cases = [row[what] for row in scored]
    per_label = {
        label: over_cases([scores["per_label"][label] for scores in of_cases]) for label in labels
    }
    return {**over_cases(of_cases), "per_label": per_label}


def mean_and_interval(
    values: list[float], scored: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """The mean of a value a case, with its interval over patients."""
    owners = [row["patient"] for row in scored]
    return {"mean": float(np.mean(values)), "ci95": ci95_of_mean(values, owners, seed)}
