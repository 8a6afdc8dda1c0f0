"""Scores of networks over volumes and labels, under the names of metrics.json.

A scored case is a row with ``case``, ``patient`` and, by the name of each network and of the mean
shape, its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from atrium_segmentation.networks import MEAN, NETWORKS, title_of
from common.scores.agreement import agreement
from common.scores.estimates import mean
from common.scores.formatting import fold_score, main_score
from common.scores.intervals import difference, interval_of_mean
from common.scores.surface_dice import surface_dice
from common.scores.surface_errors import surface_errors
from common.scores.volumes import volume_scores
from common.training.best_epoch import best_epoch, monitored
from common.training.runs import Run

TOLERANCES_MM = {"surface_dice_1mm": 1.0, "surface_dice_2mm": 2.0}
"""How far surfaces may be apart, by the name of the score."""

WORST_SLICES = 3
"""So many slices of a case are named."""

_LENGTHS = (0.0, np.inf)
_BOUNDS = {
    **dict.fromkeys(("dice", "jaccard", *TOLERANCES_MM), (0, 1)),
    **dict.fromkeys(("hd95_mm", "assd_mm"), _LENGTHS),
}
"""Between what the values of each score lie."""


def mask_scores(
    volume: Mapping[str, Any], mask: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    """Every score of a mask: its mean over the labels and, under ``per_label``, each label's.

    And where it errs most, ``worst_slices``, of all labels together.

    Args:
        volume: Of `dataset.whole_volumes`, with its true ``mask`` and ``affine``.
        mask: (x, y, z) uint8, labels from 0.
        labels: Their names but the background's.
    """
    per_label = {
        label: _scores_of(volume["mask"] == value, mask == value, volume["affine"])
        for value, label in enumerate(labels, start=1)
    }
    names = next(iter(per_label.values()))
    mean = {
        name: sum(scores[name] for scores in per_label.values()) / len(per_label) for name in names
    }
    errors = surface_errors(volume["mask"], mask, volume["affine"])
    worst = errors.worst_slices(WORST_SLICES) if errors else []
    return {**mean, "per_label": per_label, "worst_slices": worst}


def _scores_of(truth: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    tolerances = list(TOLERANCES_MM.values())
    shares = surface_dice(truth, mask, affine, tolerances)
    return {
        **volume_scores(truth, mask, affine),
        **dict(zip(TOLERANCES_MM, shares, strict=True)),
    }


def summary(
    name: str, scored: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> dict[str, Any]:
    """Every score of a network or baseline over cases, with its interval over patients.

    Of volumes in ml there is the size of the error, and predicted less true with the limits of
    agreement (`common.scores.agreement`).
    """
    patients = [row["patient"] for row in scored]

    def over_cases(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        means = {
            score: mean_and_interval([case[score] for case in cases], scored, bounds)
            for score, bounds in _BOUNDS.items()
        }
        means["dice"]["min"] = min(case["dice"] for case in cases)
        predicted, truth = ([case[name] for case in cases] for name in ("predicted_ml", "truth_ml"))
        errors = np.abs(np.subtract(predicted, truth))
        return {
            **means,
            "volume_error_ml": mean_and_interval(errors, scored, _LENGTHS),
            "volume_difference_ml": agreement(predicted, truth, patients),
        }

    cases = [row[name] for row in scored]
    per_label = {
        label: over_cases([case["per_label"][label] for case in cases]) for label in labels
    }
    return {**over_cases(cases), "per_label": per_label}


def training_cost(members: Sequence[Run], networks: Sequence[str]) -> dict[str, Any]:
    """The parameters, minutes and peak memory of some networks, over all members of an ensemble."""
    fitted = [run.fitted["models"][name] for run in members for name in networks]
    peaks = [model["peak_memory_mib"] for model in fitted if model["peak_memory_mib"]]
    return {
        "parameters": sum(model["parameters"] for model in fitted),
        "training_minutes": sum(model["seconds"] for model in fitted) / 60,
        "training_peak_memory_mib": max(peaks, default=None),
    }


def validation_scores(members: Sequence[Run], network: str) -> dict[str, float] | None:
    """A network's scores on the validation slices at the epoch that was kept, averaged over runs.

    Returns:
        ``crossentropy``, the mean over pixels, as the article compared its networks, and ``dice``
        of all pixels; None of the mean of several networks, which was not measured so, and where a
        run of an earlier version measured no cross-entropy.
    """
    if network == MEAN:
        return None
    rows = []
    for run in members:
        history: list[Any] = pd.read_csv(run.folder / network / "history.csv").to_dict("records")
        monitor = run.config["settings"].get("monitor", "val_loss")
        rows.append(history[best_epoch(history, monitor) - 1])
    if not all(any(str(name).endswith("pixel_crossentropy") for name in row) for row in rows):
        return None
    means = {
        name: float(np.mean([monitored(row, metric) for row in rows]))
        for name, metric in (("crossentropy", "val_pixel_crossentropy"), ("dice", "val_dice"))
    }
    # Epochs that an earlier version trained have an empty cell.
    return None if np.isnan(means["crossentropy"]) else means


def dice_difference(model: str, minus: str, scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much the Dice of a network is above that of another, or of the mean shape."""
    patients = [row["patient"] for row in scored]
    both = (mean([row[name]["dice"] for row in scored], patients) for name in (model, minus))
    gap = difference(*both)
    return {"mean": gap.pop("value"), **gap}


def differences(networks: Sequence[str], scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much the Dice of each network is above that of each network before it, case by case.

    Returns:
        Under ``differences`` a dict per pair: ``model``, ``minus``, ``mean``, ``ci95``; that of
        U-Net and FCN-8 under ``unet_minus_fcn8`` too.
    """
    pairs: list[dict[str, Any]] = []
    for minus, model in combinations(networks, 2):
        pair = {"model": model, "minus": minus}
        pairs.append({**pair, **dice_difference(model, minus, scored)})
    unet = [
        {name: pair[name] for name in pair if name not in ("model", "minus")}
        for pair in pairs
        if (pair["model"], pair["minus"]) == ("unet", "fcn8")
    ]
    return {"differences": pairs, **({"unet_minus_fcn8": unet[0]} if unet else {})}


def main_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What tables of several evaluations show of metrics.json, and how predictions.csv gives it.

    The main network comes first: the last of `networks.NETWORKS` that the run has.
    """
    labels, names = metrics["labels"], [*metrics["models"]]
    main = [name for name in (*names, *NETWORKS) if name in names and name != MEAN][-1]
    models = {name: metrics["models"][name] for name in dict.fromkeys([main, *names])}
    mean_shape = metrics["baselines"]["mean_shape"]["scores"]

    def score(part: Mapping[str, Any], name: str = "dice") -> dict[str, Any]:
        limits = {key: part[name][key] for key in part[name] if key.startswith("ci95")}
        return {"value": part[name]["mean"], **limits}

    def baseline(model: Mapping[str, Any]) -> dict[str, Any]:
        name = "minus_mean_shape"
        return {**score(mean_shape), "difference": score(model, name) if name in model else None}

    return {
        "main_scores": [
            main_score(
                *(f"Dice, {network}", score(model), baseline(model), "the mean shape"),
                statistic="mean",
                column="dice",
                where={"model": network},
            )
            | {"title": f"Dice, {title_of(network)}"}
            for network, model in models.items()
        ],
        "main_scores_of_groups": [
            {
                **{"group": f"label {label}", "n": metrics["n"], "name": f"Dice, {network}"},
                **score(model["per_label"][label]),
            }
            for label in (labels if len(labels) > 1 else ())
            for network, model in models.items()
        ],
        "fold_scores": [
            *(
                fold_score(f"Dice, {network}", model["dice"]["mean"])
                for network, model in models.items()
            ),
            fold_score("Dice of the mean shape", mean_shape["dice"]["mean"]),
        ],
        "truth_columns": ["truth_ml"],
    }


def mean_and_interval(
    values: Sequence[float] | np.ndarray,
    scored: Sequence[Mapping[str, Any]],
    bounds: tuple[float, float] = (0, 1),
) -> dict[str, Any]:
    """The mean of one value per case, with its interval over patients, and the cases' quartiles."""
    patients = [row["patient"] for row in scored]
    return {
        "mean": float(np.mean(values)),
        **interval_of_mean(values, patients, bounds).entries,
        "quartiles": np.percentile(values, [25, 50, 75]).tolist(),
    }
