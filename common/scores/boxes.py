"""Scores of one box an image. A box is its corners (x0, y0, x1, y1), half-open, in pixels.

An empty box, without width or height, has IoU 0 with every box, itself included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.scores.intervals import ci95_of_mean

THRESHOLDS = (0.5, 0.75, 0.9)
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
        patients: (n,) the patient of each image, for the interval.
        mean_box: (4,) or (n, 4), the mean box of the training split in the same pixels:
            the baseline that looks at no image.
        pixel_size_mm: (n, 2) height and width of a pixel in the order of DICOM's
            PixelSpacing, NaN where the header has none; None where none has.
        seed: Of the bootstrap.

    Returns:
        ``iou_above`` counts boxes over each threshold, ``iou_below`` the rest at 0.5, which
        includes an IoU of just 0.5. Errors are absolute means; ``edge_error_mm`` is there,
        with its own ``n``, if any image has a pixel size.
    """
    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    ious = iou(true, predicted)
    baseline = iou(true, np.broadcast_to(mean_box, true.shape))
    errors = np.abs(predicted - true)
    scores = {
        "n": len(ious),
        "iou": {
            "mean": float(ious.mean()),
            "median": float(np.median(ious)),
            "ci95": ci95_of_mean(ious, patients, seed),
        },
        "iou_above": _above(ious),
        "iou_below": {"0.5": int((ious <= 0.5).sum())},
        "edge_error_px": _edge_error(errors),
        "baselines": {
            "mean_box": {"iou_mean": float(baseline.mean()), "iou_above": _above(baseline)}
        },
    }
    if pixel_size_mm is not None:
        height, width = np.asarray(pixel_size_mm, dtype=float).T
        in_mm = errors * np.stack([width, height, width, height], axis=1)
        known = in_mm[~np.isnan(in_mm).any(axis=1)]
        if len(known):
            scores["edge_error_mm"] = {**_edge_error(known), "n": len(known)}
    return scores


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)


def _above(ious: np.ndarray) -> dict[str, int]:
    return {str(threshold): int((ious > threshold).sum()) for threshold in THRESHOLDS}


def _edge_error(errors: np.ndarray) -> dict[str, float]:
    by_edge = dict(zip(EDGES, errors.mean(axis=0).tolist(), strict=True))
    return {**by_edge, "mean": float(errors.mean())}
