"""Scores of networks over volumes and labels, under the names of metrics.json.

A scored case is a row with ``case``, ``patient`` and, by the name of each network and of the mean
shape, its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
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


def differences(networks: Sequence[str], scored: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """How much the Dice of each network is above that of each one before it, case by case.

    Returns:
        Under ``differences`` a dict per pair: ``model``, ``minus``, ``mean``, ``ci95``; that of
        U-Net and FCN-8 under ``unet_minus_fcn8`` too.
    """
    pairs: list[dict[str, Any]] = []
    for minus, model in combinations(networks, 2):
        values = [row[model]["dice"] - row[minus]["dice"] for row in scored]
        pair = {"model": model, "minus": minus}
        pairs.append({**pair, **mean_and_interval(values, scored, seed)})
    unet = [
        {"mean": pair["mean"], "ci95": pair["ci95"]}
        for pair in pairs
        if (pair["model"], pair["minus"]) == ("unet", "fcn8")
    ]
    return {"differences": pairs, **({"unet_minus_fcn8": unet[0]} if unet else {})}


def main_scores(
    models: Mapping[str, Any], mean_shape: Mapping[str, Any], labels: Sequence[str], count: int
) -> dict[str, Any]:
    """What tables of several evaluations show of metrics.json, and how predictions.csv gives it.

    Args:
        models: The `summary` of each network.
        mean_shape: That of the baseline.
        labels: The groups, where there are several: each label's Dice.
        count: How many cases were scored.
    """

    def score(network: str, dice: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": f"Dice, {network}", "value": dice["mean"], "ci95": dice["ci95"]}

    return {
        "main_scores": [
            {
                **score(network, model["dice"]),
                "n_of": None,
                "baseline": mean_shape["dice"]["mean"],
                "baseline_ci95": mean_shape["dice"]["ci95"],
                "baseline_name": "the mean shape",
                "from": {"statistic": "mean", "column": "dice", "where": {"model": network}},
            }
            for network, model in models.items()
        ],
        "main_scores_of_groups": [
            {
                "group": f"label {label}",
                "n": count,
                **score(network, model["per_label"][label]["dice"]),
            }
            for label in (labels if len(labels) > 1 else ())
            for network, model in models.items()
        ],
        "fold_scores": [
            *(
                {"name": f"Dice, {network}", "value": model["dice"]["mean"]}
                for network, model in models.items()
            ),
            {"name": "Dice of the mean shape", "value": mean_shape["dice"]["mean"]},
        ],
        "truth_columns": ["truth_ml"],
    }


def mean_and_interval(
    values: list[float], scored: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """The mean of a value a case, with its interval over patients."""
    owners = [row["patient"] for row in scored]
    return {"mean": float(np.mean(values)), "ci95": ci95_of_mean(values, owners, seed)}
