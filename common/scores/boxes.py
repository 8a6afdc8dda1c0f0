"""Scores of one box an image. A box is its corners (x0, y0, x1, y1), half-open, in pixels.

An empty box, without width or height, has IoU 0 with every box, itself included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.scores.intervals import (
    ci95_of_mean,
    ci95_of_means,
    ci95_of_median,
    ci95_of_share,
)

THRESHOLDS = (0.5, 0.75, 0.9)
# Not np.arange, whose 0.6 is a little more than 0.6.
AP_THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))
IN_A_GROUP = ("n", "iou", "iou_above", "iou_below", "ci95", "baselines")
EDGES = ("left", "top", "right", "bottom")


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes pair by pair.

    Args:
        a: (n, 4) or (4,) corners in any unit; an inverted box is an empty one.
        b: The same.

    Returns:
        (n,) in 0..1.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    both = _area(
        np.concatenate([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1)
    )
    either = _area(a) + _area(b) - both
    return np.divide(both, either, out=np.zeros_like(either), where=either > 0)


def average_precision(ious: np.ndarray) -> dict[str, float]:
    """Average precision (AP) of one box an image, none of them with a confidence.

    Without a confidence there is nothing to rank and no curve to take the area under. As many
    boxes are predicted as are true, so precision and recall are one number, the share of boxes
    found, and that share is the AP here. COCO's evaluation, made for ranked boxes, would give
    another number: the area under this one point is about the square of the share.

    Args:
        ious: (n,) of each image. A box is found from IoU t on, as in COCO, where ``iou_above``
            of `box_scores` counts what lies over t.

    Returns:
        The share at IoU "0.5" and "0.75", and "0.5:0.95", its mean over 0.5, 0.55, ..., 0.95
        (Lin et al. 2014, "Microsoft COCO", arXiv:1405.0312).
    """
    shares = _found(ious).mean(axis=0)
    found = dict(zip(AP_THRESHOLDS, shares.tolist(), strict=True))
    return {"0.5:0.95": float(shares.mean()), "0.5": found[0.5], "0.75": found[0.75]}


def box_scores(
    true: np.ndarray,
    predicted: np.ndarray,
    patients: Sequence,
    mean_box: np.ndarray,
    pixel_size_mm: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All scores of a set of boxes, under the names of ``metrics.json``.

    Args:
        true: (n, 4) corners in pixels of each image.
        predicted: (n, 4) the same.
        patients: (n,) the patient of each image, for the intervals.
        mean_box: (4,) or (n, 4), the mean box of the training split in the same pixels:
            the baseline that looks at no image.
        pixel_size_mm: (n, 2) height and width of a pixel in the order of DICOM's
            PixelSpacing, NaN where the header has none; None where none has.
        seed: Of the bootstrap.

    Returns:
        ``iou_above`` counts boxes over each threshold, ``iou_below`` the rest at 0.5, which
        includes an IoU of just 0.5. ``edge_error_px`` is the absolute mean of an edge's
        distance to the true one, ``edge_bias_px`` the mean with its sign: above 0 it is to the
        right or below. The same in ``_mm``, of the ``n`` images that have a pixel size, if any
        has. ``ci95`` holds the intervals of these under the same names, of a count as a share.
        ``baselines`` holds the scores of the mean box under the same names, and its ``iou_mean``.
    """
    true = np.asarray(true, dtype=float)
    model = _scores(true, np.asarray(predicted, dtype=float), patients, pixel_size_mm, seed)
    mean_box = np.broadcast_to(np.asarray(mean_box, dtype=float), true.shape)
    baseline = _scores(true, mean_box, patients, pixel_size_mm, seed)
    baseline["iou_mean"] = baseline["iou"]["mean"]
    return {**model, "baselines": {"mean_box": baseline}}


def scores_by_group(
    groups: Sequence[str],
    true: np.ndarray,
    predicted: np.ndarray,
    patients: Sequence,
    mean_box: np.ndarray,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """The scores of each group of images, such as a view or a sex.

    Args:
        groups: (n,) names; images under "" are in no group.
        true: As in `box_scores`, and so are the others.
        predicted: (n, 4).
        patients: (n,).
        mean_box: (n, 4).
        seed: Of the bootstrap.

    Returns:
        By name, sorted: ``n``, ``iou``, ``iou_above``, ``iou_below``, ``ci95``, ``baselines``.
    """
    groups, patients = np.asarray(groups), np.asarray(patients)
    found = {}
    for name in sorted(set(groups.tolist()) - {""}):
        of = groups == name
        scores = box_scores(true[of], predicted[of], patients[of], mean_box[of], seed=seed)
        found[name] = {score: scores[score] for score in IN_A_GROUP}
    return found


def _scores(
    true: np.ndarray,
    boxes: np.ndarray,
    patients: Sequence,
    pixel_size_mm: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    ious, errors = iou(true, boxes), boxes - true
    scores = {
        "n": len(ious),
        "iou": {
            "mean": float(ious.mean()),
            "median": float(np.median(ious)),
            "ci95": ci95_of_mean(ious, patients, seed),
            "median_ci95": ci95_of_median(ious, patients, seed),
        },
        "iou_above": {str(threshold): int((ious > threshold).sum()) for threshold in THRESHOLDS},
        "iou_below": {"0.5": int((ious <= 0.5).sum())},
        "average_precision": average_precision(ious),
        "ci95": {
            "iou_above": {
                str(threshold): ci95_of_share(ious > threshold, patients, seed)
                for threshold in THRESHOLDS
            },
            "average_precision": {
                "0.5:0.95": ci95_of_mean(_found(ious).mean(axis=1), patients, seed),
                **{
                    str(threshold): ci95_of_share(ious >= threshold, patients, seed)
                    for threshold in (0.5, 0.75)
                },
            },
        },
    }
    _add_edges(scores, "px", errors, patients, seed)
    if pixel_size_mm is not None:
        height, width = np.asarray(pixel_size_mm, dtype=float).T
        in_mm = errors * np.stack([width, height, width, height], axis=1)
        known = ~np.isnan(in_mm).any(axis=1)
        if known.any():
            _add_edges(scores, "mm", in_mm[known], np.asarray(patients)[known], seed)
            scores["edge_error_mm"]["n"] = int(known.sum())
    return scores


def _found(ious: np.ndarray) -> np.ndarray:
    """Whether the box of each image is found at each threshold of the AP: (n, 10)."""
    return np.asarray(ious, dtype=float)[:, np.newaxis] >= np.array(AP_THRESHOLDS)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)


def _add_edges(
    scores: dict[str, Any], unit: str, errors: np.ndarray, patients: Sequence, seed: int
) -> None:
    """Add to the scores how far off the edges are, from (n, 4) distances with their sign."""
    absolute = np.abs(errors)
    every = {
        f"edge_error_{unit}": np.column_stack([absolute, absolute.mean(axis=1)]),
        f"edge_bias_{unit}": errors,
    }
    for score, of in every.items():
        limits = ci95_of_means(of, patients, seed)
        # A bias has no mean over the edges.
        names = (*EDGES, "mean")[: of.shape[1]]
        scores[score] = dict(zip(names, of.mean(axis=0).tolist(), strict=True))
        scores["ci95"][score] = dict(zip(names, limits, strict=True))
