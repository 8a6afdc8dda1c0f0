"""Scores of saliency maps: against boxes, and against another set of maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from common.scores.intervals import ci95_of_mean, ci95_of_share


def rank_correlation(maps: np.ndarray, references: np.ndarray) -> float | None:
    """The mean rank correlation of two sets of maps.

    Spearman's, over the pixels of each case; a case with a constant map does not count.

    Args:
        maps: (cases, height, width), of any range.
        references: The same shape.

    Returns:
        -1 to 1; None if no case counts.
    """
    correlations = [
        float(spearmanr(heat, reference, axis=None).statistic)
        for heat, reference in zip(maps, references, strict=True)
        if np.ptp(heat) > 0 and np.ptp(reference) > 0
    ]
    return float(np.mean(correlations)) if correlations else None


def centred_blob(image_size: int) -> np.ndarray:
    """A baseline map (image_size, image_size), 0 to 1, the same for all films.

    A Gaussian at the centre; its standard deviation is a quarter of the side.
    """
    distance = ((np.arange(image_size) + 0.5) / image_size - 0.5) / 0.25
    bell = np.exp(-(distance**2) / 2)
    return np.outer(bell, bell)


def pointing_game(
    maps: np.ndarray, boxes: Sequence[np.ndarray], patients: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Whether a map's peak lies in a radiologist's box (Zhang et al. 2016, arXiv:1608.00507).

    Args:
        maps: (cases, image_size, image_size), 0 or more, from `common.explaining.gradcam`.
        boxes: Each case's boxes (n, 4), (x0, y0, x1, y1) in fractions of the side; a case
            without a box does not count.
        patients: (cases,) the patient of each case, for the interval.
        seed: Of the bootstrap.

    Returns:
        ``pointing_game``: the share of cases whose peak is inside a box, and its ``ci95``;
        ``chance``: the mean share of the image that boxes cover, the score of a random peak and
        the weight that a constant map has inside; ``weight_inside``: the mean share of a map's
        weight inside, and its ``weight_inside_ci95``; ``centred_blob``: these two of
        `centred_blob`; ``n`` cases. All are None where n is 0.
    """
    counted = [number for number, case_boxes in enumerate(boxes) if len(case_boxes)]
    if not counted:
        names = ("pointing_game", "ci95", "chance", "weight_inside", "weight_inside_ci95")
        return {**dict.fromkeys(names), "centred_blob": None, "n": 0}
    masks = [boxes_mask(boxes[number], maps.shape[1]) for number in counted]
    counted_patients = [patients[number] for number in counted]
    hits, weights = _hits_and_weights(maps[counted], masks)
    blobs = _hits_and_weights([centred_blob(maps.shape[1])] * len(masks), masks)
    blob_hits, blob_weights = (float(np.mean(values)) for values in blobs)
    return {
        "pointing_game": float(np.mean(hits)),
        "ci95": ci95_of_share(hits, counted_patients, seed),
        "chance": float(np.mean([mask.mean() for mask in masks])),
        "weight_inside": float(np.mean(weights)),
        "weight_inside_ci95": ci95_of_mean(weights, counted_patients, seed),
        "centred_blob": {"pointing_game": blob_hits, "weight_inside": blob_weights},
        "n": len(counted),
    }


def boxes_mask(boxes: np.ndarray, image_size: int) -> np.ndarray:
    """The pixels (image_size, image_size) whose centres lie in any box (n, 4), in fractions."""
    centres = (np.arange(image_size) + 0.5) / image_size
    mask = np.zeros((image_size, image_size), bool)
    for x0, y0, x1, y1 in boxes:
        columns = (centres >= x0) & (centres < x1)
        rows = (centres >= y0) & (centres < y1)
        mask |= rows[:, None] & columns[None, :]
    return mask


def _hits_and_weights(
    maps: Iterable[np.ndarray], masks: Sequence[np.ndarray]
) -> tuple[list[bool], list[float]]:
    """Whether each map's peak is inside its mask, and the share of its weight inside."""
    hits, weights = [], []
    for heat, mask in zip(maps, masks, strict=True):
        peak = np.unravel_index(np.argmax(heat), heat.shape)
        total = heat.sum()
        hits.append(bool(mask[peak]) and bool(heat.max() > 0))
        weights.append((heat * mask).sum() / total if total > 0 else 0.0)
    return hits, weights
