"""Scores of one box per image. A box is its corners (x0, y0, x1, y1), half-open, in pixels.

An empty box, without width or height, has IoU 0 with every box, itself included.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.scores import estimates
from common.scores.intervals import (
    Interval,
    by_name,
    difference,
    interval_of_mean,
    interval_of_median,
    interval_of_share,
)

THRESHOLDS = (0.5, 0.75, 0.9)
# Not np.arange, whose 0.6 is a little more than 0.6.
AP_THRESHOLDS = tuple(hundredths / 100 for hundredths in range(50, 100, 5))
EDGES = ("left", "top", "right", "bottom")

OF_A_GROUP = ("n", "iou", "iou_above", "iou_below", "baselines")
"""The scores of a group of images, such as a view, that are told."""


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of pairs of boxes.

    Args:
        a: (n, 4) or (4,) corners in any unit; an inverted box is an empty one.
        b: The same.

    Returns:
        (n,) in 0..1.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    corners = [np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])]
    intersection = _area(np.concatenate(corners, axis=1))
    union = _area(a) + _area(b) - intersection
    return np.asarray(np.where(union > 0, intersection / np.where(union > 0, union, 1), 0.0))


def average_precision(ious: np.ndarray) -> dict[str, float]:
    """Average precision (AP) of one box per image, without confidences.

    Without a confidence there is nothing to rank and no curve to take the area under. As many
    boxes are predicted as are true, so precision and recall are one number, the share of boxes
    that are detected, and that share is the AP here. COCO's evaluation, made for ranked boxes,
    would give another number: the area under this one point is about the square of the share.

    Args:
        ious: (n,) of each image. A box is detected from IoU t on, as in COCO, where ``iou_above``
            of `box_scores` counts the boxes over t.

    Returns:
        The share at IoU "0.5" and "0.75", and "0.5:0.95", its mean over 0.5, 0.55, ..., 0.95
        (Lin et al. 2014, "Microsoft COCO", arXiv:1405.0312).
    """
    shares = {str(t): float(np.mean(np.asarray(ious) >= t)) for t in (0.5, 0.75)}
    return {"0.5:0.95": float(_detected(ious).mean(axis=0).mean()), **shares}


def box_scores(
    true: np.ndarray,
    predicted: np.ndarray,
    patients: ArrayLike,
    baselines: Mapping[str, np.ndarray],
    pixel_size_mm: np.ndarray | None = None,
) -> dict[str, Any]:
    """All scores of a set of boxes, under the names of ``metrics.json``.

    Args:
        true: (n, 4) corners in pixels of each image.
        predicted: (n, 4) the same.
        patients: (n,) the patient of each image, for the intervals.
        baselines: (4,) or (n, 4) boxes in the same pixels of each baseline by its name, such as
            the mean box of the training split.
        pixel_size_mm: (n, 2) height and width of a pixel in the order of DICOM's PixelSpacing,
            NaN where the header has none; None if no header has any.

    Returns:
        ``iou_above`` counts the boxes over each threshold, ``iou_below`` the rest at 0.5, with an
        IoU of just 0.5. ``edge_error_px`` is the mean absolute distance of an edge to the true
        one, ``edge_bias_px`` the mean with its sign: above 0 the edge is to the right or below.
        The same in ``_mm``, for the ``n`` images with a pixel size, if any. ``ci95`` holds the
        intervals under the same names, of a count as a share. ``baselines`` holds the scores of
        each baseline under the same names, its ``iou_mean``, and as ``differences`` the model's
        less its own, paired, each ``{value, ci95}``: ``iou``, the mean, and
        ``iou_above_0.5``, the share.
    """
    true = np.asarray(true, dtype=float)
    model = _scores(true, np.asarray(predicted, dtype=float), patients, pixel_size_mm)
    ious = iou(true, predicted)
    scored = {}
    for name, boxes in baselines.items():
        boxes = np.broadcast_to(np.asarray(boxes, dtype=float), true.shape)
        scores = _scores(true, boxes, patients, pixel_size_mm)
        others = iou(true, boxes)
        means = (estimates.mean(part, patients) for part in (ious, others))
        shares = (estimates.share(part > 0.5, patients) for part in (ious, others))
        scored[name] = {
            **scores,
            "iou_mean": scores["iou"]["mean"],
            "differences": {"iou": difference(*means), "iou_above_0.5": difference(*shares)},
        }
    return {**model, "baselines": scored}


def _scores(
    true: np.ndarray,
    boxes: np.ndarray,
    patients: ArrayLike,
    pixel_size_mm: np.ndarray | None,
) -> dict[str, Any]:
    ious, errors = iou(true, boxes), boxes - true
    above = {str(threshold): ious > threshold for threshold in THRESHOLDS}
    of_share = partial(interval_of_share, patients=patients)
    of_median = interval_of_median(ious, patients).entries
    scores: dict[str, Any] = {
        "n": len(ious),
        "iou": {
            "mean": float(ious.mean()),
            "median": float(np.median(ious)),
            **interval_of_mean(ious, patients).entries,
            **{f"median_{key}": value for key, value in of_median.items()},
        },
        "iou_above": {name: int(hits.sum()) for name, hits in above.items()},
        "iou_below": {"0.5": int((ious <= 0.5).sum())},
        "average_precision": average_precision(ious),
    }
    intervals: dict[str, Any] = {
        "iou_above": {name: of_share(hits) for name, hits in above.items()},
        "average_precision": {
            "0.5:0.95": interval_of_mean(_detected(ious).mean(axis=1), patients),
            **{str(t): of_share(ious >= t) for t in (0.5, 0.75)},
        },
    }
    _add_edges(scores, intervals, "px", errors, patients)
    if pixel_size_mm is not None:
        height, width = np.asarray(pixel_size_mm, dtype=float).T
        in_mm = errors * np.stack([width, height, width, height], axis=1)
        known = ~np.isnan(in_mm).any(axis=1)
        if known.any():
            of_known = np.asarray(patients)[known]
            _add_edges(scores, intervals, "mm", in_mm[known], of_known)
            scores["edge_error_mm"]["n"] = int(known.sum())
    return {**scores, **by_name(intervals)}


def _detected(ious: np.ndarray) -> np.ndarray:
    """Whether the box of each image is detected at each threshold of the AP: (n, 10)."""
    return np.asarray(np.asarray(ious, dtype=float)[:, np.newaxis] >= AP_THRESHOLDS)


def _area(boxes: np.ndarray) -> np.ndarray:
    width, height = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).T
    return np.asarray(width * height)


def _add_edges(
    scores: dict[str, Any],
    intervals: dict[str, Any],
    unit: str,
    errors: np.ndarray,
    patients: ArrayLike,
) -> None:
    """Add the errors of the edges to scores and intervals, from (n, 4) signed distances."""
    absolute = np.abs(errors)
    with_mean = np.column_stack([absolute, absolute.mean(axis=1)])
    parts = ((f"edge_error_{unit}", with_mean, (0, np.inf)), (f"edge_bias_{unit}", errors, None))
    for score, values, bounds in parts:
        # A bias has no mean over the edges.
        names = (*EDGES, "mean")[: values.shape[1]]
        scores[score] = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
        limits: list[Interval] = [interval_of_mean(edge, patients, bounds) for edge in values.T]
        intervals[score] = dict(zip(names, limits, strict=True))
