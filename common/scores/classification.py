"""Scores of a yes-or-no classifier, each with its interval.

Labels are (n,) of 0 and 1, probabilities (n,) in 0..1. "Yes" is a probability at or above
the threshold. An undefined score, such as the AUROC of one class alone or the precision of
a classifier that never says yes, is None and not a number that looks like a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from common.scores import estimates
from common.scores.calibration import ERROR, calibration_error
from common.scores.estimates import Estimate, auroc, average_precision, mean_of
from common.scores.intervals import BIASED, Interval, by_name, difference, interval, scored

_RANKING = ("auroc", "average_precision")
_SHARES = ("accuracy", "precision", "recall", "specificity", "f1")


def classification_scores(
    labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike, threshold: float
) -> dict[str, Any]:
    """All scores of a set of cases, under the names of ``metrics.json``.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in 0..1.
        patients: (n,) the patient of each case, for the intervals.
        threshold: At or above it the answer is yes.

    Returns:
        A number per score, None where it is undefined; ``auroc`` and ``average_precision`` are
        ``{value, ci95}``, and ``ci95`` holds the other intervals by name, with ``ci95_method``, and
        ``ci95_reason`` where there is none (`common.scores.intervals`).
    """
    labels = np.asarray(labels).astype(int)
    probabilities = np.asarray(probabilities, dtype=float)
    answers = probabilities >= threshold
    of_class = class_estimates(labels, probabilities, answers, np.asarray(patients))
    return class_scores(of_class, labels, probabilities, answers, float(threshold))


def class_estimates(
    labels: np.ndarray, probabilities: np.ndarray, answers: np.ndarray, patients: np.ndarray
) -> dict[str, Estimate]:
    """The scores of one class by their names, all but the calibration error.

    The arguments are those of `classification_scores`, with the (n,) answers, yes or no.
    """
    parts, wholes = _shares(labels, answers)
    return {
        "auroc": auroc(labels, probabilities, patients),
        "average_precision": average_precision(labels, probabilities, patients),
        **{
            name: estimates.ratio(part, whole, patients)
            for name, part, whole in zip(_SHARES, parts, wholes, strict=True)
        },
        "sensitivity_at_90_specificity": sensitivity_at_specificity(
            labels, probabilities, 0.9, patients
        ),
        "brier": estimates.mean((probabilities - labels) ** 2, patients),
    }


def class_scores(
    of_class: Mapping[str, Estimate],
    labels: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    threshold: float | None,
) -> dict[str, Any]:
    """The scores and intervals of `class_estimates` as `classification_scores` gives them."""
    counts = {"n": len(labels), "positives": int(labels.sum()), "threshold": threshold}
    error = calibration_error(labels, probabilities)
    return counts | known_scores(of_class, error, confusion_matrix=confusion(labels, answers, 1))


def known_scores(
    of_class: Mapping[str, Estimate], calibration_error: float, **more: Any
) -> dict[str, Any]:
    """Scores by name as JSON has them; ``ci95`` has the intervals of plain numbers.

    The calibration error has none: chance alone raises it, so that an interval around it would not
    hold the true one.
    """
    plain = {name: part for name, part in of_class.items() if name not in _RANKING}
    limits = {name: interval(part) for name, part in plain.items()}
    return {
        **{name: scored(of_class[name]) for name in _RANKING},
        **{name: scored(part)["value"] for name, part in plain.items()},
        ERROR: calibration_error,
        **more,
        **by_name({**limits, ERROR: Interval(None, reason=BIASED)}),
    }


def youden_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold with the largest sensitivity + specificity (Youden 1950).

    It lies midway between the two neighbouring scores. With one class alone there is no
    such threshold, and 0.5 is returned.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        return 0.5
    false_rate, true_rate, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    return _midway(scores, thresholds[1:][np.argmax((true_rate - false_rate)[1:])])


def threshold_for_sensitivity(labels: ArrayLike, scores: ArrayLike, sensitivity: float) -> float:
    """The highest threshold with at least that sensitivity, a share of the positives.

    It lies midway between the two neighbouring scores; 0.5 if there are no positives.
    """
    positives = np.sort(np.asarray(scores, dtype=float)[np.asarray(labels) == 1])[::-1]
    if not positives.size:
        return 0.5
    # Rounded before it is rounded up: 0.9 * 10 may come out above 9.
    needed = max(1, int(np.ceil(np.round(sensitivity * len(positives), 9))))
    return _midway(scores, positives[needed - 1])


def sensitivity_at_specificity(
    labels: ArrayLike, scores: ArrayLike, specificity: float, patients: ArrayLike
) -> Estimate:
    """The largest sensitivity of a threshold with at least that specificity.

    The threshold is chosen on the same cases: negatives move it, by the slope of the ROC curve
    across the specificity's own interval.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) higher for a likelier yes.
        specificity: In 0..1.
        patients: (n,) the patient of each case.

    Returns:
        A share; NaN where a class has no case.
    """
    yes, scores = np.asarray(labels) == 1, np.asarray(scores, dtype=float)
    patients = np.asarray(patients)
    whole = auroc(yes, scores, patients)
    if np.isnan(whole.value):
        return whole
    false_rate, true_rate, thresholds = roc_curve(yes, scores, drop_intermediate=False)

    def place(at: float) -> int:
        return int(np.flatnonzero(false_rate <= 1 - at + 1e-12)[-1])

    threshold = thresholds[place(specificity)]
    right = estimates.ratio((scores < threshold) & ~yes, ~yes, patients)
    hits = estimates.ratio((scores >= threshold) & yes, yes, patients)
    reach = np.sqrt(specificity * (1 - specificity) / right.fewest)
    ends = [float(np.clip(specificity + step, 0, 1)) for step in (-2 * reach, 2 * reach)]
    rise = true_rate[place(ends[0])] - true_rate[place(ends[1])]
    slope = rise / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.0
    influence = hits.influence - slope * right.influence
    # Of all or none the number is that of the positives; else as few as the influences say.
    fewest = hits.fewest if hits.value in (0, 1) else min(1.0, hits.fewest)
    smallest = whole.smallest
    return replace(hits, influence=influence, fewest=fewest, smallest=smallest)


def confusion(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> list[list[int]]:
    """The confusion matrix [[tn, fp], [fn, tp]] as scikit-learn has it."""
    predicted = np.asarray(probabilities) >= threshold
    cells = 2 * np.asarray(labels).astype(int) + predicted
    return [*np.bincount(cells, minlength=4).reshape(2, 2).tolist()]


def differences(
    labels: ArrayLike,
    model: tuple[ArrayLike, ArrayLike],
    baselines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    patients: ArrayLike,
) -> dict[str, dict[str, dict[str, Any]]]:
    """How much better a model is than each baseline on the same cases, both estimated.

    Args:
        labels: As in `classification_scores`, like ``patients``.
        model: (n,) scores, higher for a likelier yes, and (n,) answers, 0 or 1. Of several classes
            all three are (n, classes): AUROC is the mean over classes, and a case is right where
            every answer is.
        baselines: The same of every baseline, by its name.
        patients: (n,); differences are paired, so that hard and easy patients cancel out.

    Returns:
        By the baseline's name ``auroc`` and ``accuracy``, each ``{value, ci95}`` of the model's
        less the baseline's; None where it is undefined.
    """
    labels = np.asarray(labels).astype(int).reshape(len(np.asarray(labels)), -1)

    def both(ranks: ArrayLike, answers: ArrayLike) -> tuple[Estimate, Estimate]:
        ranks, answers = (np.asarray(part).reshape(labels.shape) for part in (ranks, answers))
        right = (answers == labels).all(axis=1)
        return mean_auroc(labels, ranks, patients), estimates.share(right, patients)

    of_model = both(*model)
    return {
        name: {
            score: difference(*pair)
            for score, *pair in zip(("auroc", "accuracy"), of_model, both(*baseline), strict=True)
        }
        for name, baseline in baselines.items()
    }


def mean_auroc(labels: np.ndarray, scores: np.ndarray, patients: ArrayLike) -> Estimate:
    """The mean over classes of the AUROCs of (n, classes) scores."""
    return mean_of([auroc(*pair, patients) for pair in zip(labels.T, scores.T, strict=True)])


def _shares(labels: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each case's part (5, n) and whole (5, n) in the scores that are shares."""
    yes, predicted = labels == 1, answers.astype(bool)
    hit = yes & predicted
    parts = (yes == predicted, hit, hit, ~yes & ~predicted, 2 * hit)
    wholes = (np.ones_like(yes), predicted, yes, ~yes, yes.astype(int) + predicted)
    return np.stack(parts).astype(float), np.stack(wholes).astype(float)


def _midway(scores: ArrayLike, threshold: float) -> float:
    """Between the threshold and the next lower score: off a score, rounding cannot flip it."""
    lower = np.asarray(scores, dtype=float)
    lower = lower[lower < threshold]
    return float((threshold + lower.max()) / 2 if lower.size else threshold)
