"""Scores of a yes-or-no classifier, each with its interval.

Labels are (n,) of 0 and 1, probabilities (n,) in 0..1. "Yes" is a probability at or above
the threshold. An undefined score, such as the AUROC of one class alone or the precision of
a classifier that never says yes, is None and not a number that looks like a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_curve

from common.scores.intervals import RESAMPLES, estimates, limits_of_share

CALIBRATION_BINS = 15

_GROUP_SCORES = ("n", "positives", "auroc", "accuracy", "recall", "specificity", "ci95")
_RANKING = ("auroc", "average_precision")
_SHARES = ("accuracy", "precision", "recall", "specificity", "f1")
_CALIBRATION = ("brier", "expected_calibration_error")
_NAMES = (*_RANKING, *_SHARES, "sensitivity_at_90_specificity", *_CALIBRATION)


def classification_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    threshold: float,
    seed: int = 0,
) -> dict[str, Any]:
    """All scores of a set of cases, under the names of ``metrics.json``.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in 0..1.
        patients: (n,) the patient of each case, for the intervals.
        threshold: At or above it the answer is yes.
        seed: Of the bootstrap.

    Returns:
        A number per score, None where it is undefined; ``auroc`` and ``average_precision`` are
        ``{value, ci95}``, and ``ci95`` holds the other intervals by name, None for one patient
        alone and for an undefined score.
    """
    labels = np.asarray(labels).astype(int)
    probabilities = np.asarray(probabilities, dtype=float)
    patients = np.asarray(patients)
    parts, wholes = _shares(labels, probabilities, threshold)

    def scores(counts: np.ndarray) -> np.ndarray:
        ranking = ranking_scores(labels, probabilities, counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (counts @ parts.T) / (counts @ wholes.T)
        at_specificity = sensitivity_at_specificity(labels, probabilities, 0.9, counts)
        errors = calibration_scores(labels, probabilities, counts)
        return np.column_stack([ranking, shares, at_specificity, errors])

    estimated, intervals = estimates(scores, patients, seed)
    values = dict(zip(_NAMES, estimated, strict=True))
    limits = dict(zip(_NAMES, intervals, strict=True))
    for name, whole in zip(_SHARES, wholes, strict=True):
        limits[name] = limits_of_share(values[name], limits[name], patients[whole > 0])
    known = {name: None if np.isnan(value) else value for name, value in values.items()}
    limits = {name: None if known[name] is None else ends for name, ends in limits.items()}
    ranking = {name: {"value": known[name], "ci95": limits[name]} for name in _RANKING}
    plain = {name: value for name, value in known.items() if name not in _RANKING}
    return {
        "n": len(labels),
        "positives": int(labels.sum()),
        "threshold": float(threshold),
        **ranking,
        **plain,
        "confusion_matrix": confusion(labels, probabilities, threshold),
        "ci95": {name: limits[name] for name in plain},
    }


def ranking_scores(
    labels: ArrayLike, scores: ArrayLike, counts: np.ndarray | None = None
) -> np.ndarray:
    """AUROC and average precision for many weightings of the cases at once.

    Each sums, over the positive cases, the cases ranked below or above, so one sort serves
    every resample. They equal scikit-learn's ``roc_auc_score`` and ``average_precision_score``
    with ``sample_weight``, ties included.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) higher for a likelier yes.
        counts: (r, n) the weight of each case in each resample; 1 for each if None.

    Returns:
        (r, 2) AUROC and average precision; NaN where a class has no weight.
    """
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=float)
    counts = _once(labels) if counts is None else counts
    # Cases along the first axis: the weights of one case are contiguous.
    weights = counts.T
    positives, negatives = (
        of_class[np.argsort(scores[of_class], kind="stable")]
        for of_class in (np.flatnonzero(labels), np.flatnonzero(~labels))
    )
    cases, below = weights[positives], _running_sum(weights[negatives])
    first_tie = np.searchsorted(scores[positives], scores[positives])
    lower = below[np.searchsorted(scores[negatives], scores[positives], "left")]
    lower_or_tied = below[np.searchsorted(scores[negatives], scores[positives], "right")]
    running = _running_sum(cases)
    yes, no = running[-1].astype(float), below[-1].astype(float)

    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = np.einsum("ij,ij->j", cases, lower + lower_or_tied, dtype=float) / (2 * yes * no)
        true_yes = running[-1] - running[first_tie]
        # A case that was drawn is among the yes at its own score: only others divide 0 by 0.
        precision = true_yes / np.maximum(true_yes + (below[-1] - lower), 1e-300)
        average_precision = np.einsum("ij,ij->j", cases, precision) / yes
    average_precision[(yes == 0) | (no == 0)] = np.nan
    return np.stack([auroc, average_precision], axis=1)


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
    labels: ArrayLike, scores: ArrayLike, specificity: float, counts: np.ndarray | None = None
) -> np.ndarray:
    """The largest sensitivity of a threshold with at least that specificity.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) higher for a likelier yes.
        specificity: In 0..1.
        counts: As in `ranking_scores`.

    Returns:
        (r,) in 0..1; NaN where a class has no weight.
    """
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=float)
    counts = _once(labels) if counts is None else counts
    order = np.argsort(-scores, kind="stable")
    # Cases of one score are all above a threshold or all below it.
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    true, false = (np.cumsum((counts * group)[:, order], axis=1) for group in (labels, ~labels))
    yes, no = (np.maximum(sums[:, -1:], 1e-300) for sums in (true, false))
    allowed = last & (false / no <= 1 - specificity + 1e-12)
    best = np.where(allowed, true / yes, 0).max(axis=1)
    return np.where((true[:, -1] > 0) & (false[:, -1] > 0), best, np.nan)


def confusion(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> list[list[int]]:
    """The confusion matrix [[tn, fp], [fn, tp]] as scikit-learn has it."""
    predicted = np.asarray(probabilities) >= threshold
    cells = 2 * np.asarray(labels).astype(int) + predicted
    return [*np.bincount(cells, minlength=4).reshape(2, 2).tolist()]


def calibration_scores(
    labels: ArrayLike, probabilities: ArrayLike, counts: np.ndarray | None = None
) -> np.ndarray:
    """Brier score and expected calibration error.

    The Brier score (Brier 1950) is the mean squared error of the probabilities. The calibration
    error (Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning")
    is the mean, over `CALIBRATION_BINS` of equal width weighted by their cases, of the difference
    between the mean probability of yes and the share of yes.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in 0..1.
        counts: As in `ranking_scores`.

    Returns:
        (r, 2) in 0..1, 0 at best.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    counts = _once(labels) if counts is None else counts
    gaps = probabilities - labels
    bins = (probabilities * CALIBRATION_BINS).astype(int)
    in_bins = np.zeros((len(labels), CALIBRATION_BINS))
    in_bins[np.arange(len(labels)), np.minimum(bins, CALIBRATION_BINS - 1)] = gaps
    sums = np.stack([counts @ gaps**2, np.abs(counts @ in_bins).sum(axis=1)], axis=1)
    return np.asarray(sums / counts.sum(axis=1, keepdims=True))


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The temperature that minimises the cross-entropy of a validation split.

    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599): the logit is
    divided by one number, which changes no ranking. Above 1 the network was overconfident.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in 0..1.

    Returns:
        Between 0.05 and 20; 1 for one class alone.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        return 1.0
    signed = np.where(labels == 1, 1.0, -1.0) * _logits(probabilities)

    def crossentropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    return float(np.exp(minimize_scalar(crossentropy, bounds=np.log([0.05, 20])).x))


def with_temperature(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """Probabilities (n,) with their logits divided by a temperature."""
    return 1 / (1 + np.exp(-_logits(probabilities) / temperature))


def calibration(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    temperature: float,
    seed: int = 0,
) -> dict[str, Any]:
    """Brier score and calibration error before and after a temperature from `fit_temperature`.

    The other arguments are as in `classification_scores`, the probabilities before scaling.

    Returns:
        ``temperature``, ``brier_before``, ``brier_after``, the same of
        ``expected_calibration_error``, and ``ci95`` of these four by name.
    """
    scores: dict[str, Any] = {"temperature": temperature, "ci95": {}}
    scaled = with_temperature(probabilities, temperature)
    for when, values in (("before", probabilities), ("after", scaled)):
        statistic = partial(calibration_scores, labels, values)
        estimated = estimates(statistic, patients, seed)
        for name, value, ends in zip(_CALIBRATION, *estimated, strict=True):
            scores[f"{name}_{when}"] = value
            scores["ci95"][f"{name}_{when}"] = ends
    return scores


def differences(
    labels: ArrayLike,
    model: tuple[ArrayLike, ArrayLike],
    baselines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    patients: ArrayLike,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, dict[str, Any]]]:
    """How much better a model is than each baseline on the same cases, both estimated.

    Args:
        labels: As in `classification_scores`, like ``patients``.
        model: (n,) scores, higher for a likelier yes, and (n,) answers, 0 or 1.
        baselines: The same of every baseline, by its name.
        patients: (n,); the same resamples serve all, so that hard and easy patients cancel out.
        seed: Of the bootstrap.
        resamples: Number of resamples.

    Returns:
        By the baseline's name ``auroc`` and ``accuracy``, each ``{value, ci95}`` of the model's
        less the baseline's; None where it is undefined.
    """
    labels = np.asarray(labels).astype(int)

    def scores(counts: np.ndarray, ranks: ArrayLike, answers: ArrayLike) -> np.ndarray:
        right = (np.asarray(answers) == labels).astype(float)
        shares = counts @ right / counts.sum(axis=1)
        return np.stack([ranking_scores(labels, ranks, counts)[:, 0], shares], axis=1)

    def gaps(counts: np.ndarray) -> np.ndarray:
        of_model = scores(counts, *model)
        return np.hstack([of_model - scores(counts, *each) for each in baselines.values()])

    known = [
        {"value": None, "ci95": None} if np.isnan(value) else {"value": value, "ci95": ends}
        for value, ends in zip(*estimates(gaps, patients, seed, resamples), strict=True)
    ]
    pairs = zip(known[::2], known[1::2], strict=True)
    return {
        name: {"auroc": auroc, "accuracy": accuracy}
        for name, (auroc, accuracy) in zip(baselines, pairs, strict=True)
    }


def scores_by_group(
    groups: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    threshold: float,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """The main scores of each group of cases, such as each view, by the group's name.

    ``groups`` are (n,) names, "" for a case in none; the other arguments are as in
    `classification_scores`.
    """
    groups, labels, probabilities, patients = map(
        np.asarray, (groups, labels, probabilities, patients)
    )
    by_group = {}
    for group in sorted(set(groups) - {""}):
        rows = groups == group
        scores = classification_scores(
            labels[rows], probabilities[rows], patients[rows], threshold, seed
        )
        by_group[str(group)] = {name: scores[name] for name in _GROUP_SCORES}
    return by_group


def _shares(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each case's part (5, n) and whole (5, n) in the scores that are shares."""
    yes, predicted = labels == 1, probabilities >= threshold
    hit = yes & predicted
    parts = (yes == predicted, hit, hit, ~yes & ~predicted, 2 * hit)
    wholes = (np.ones_like(yes), predicted, yes, ~yes, yes.astype(int) + predicted)
    return np.stack(parts).astype(float), np.stack(wholes).astype(float)


def _logits(probabilities: ArrayLike) -> np.ndarray:
    # A float32 sigmoid gives 0 or 1 where the logit is beyond 17.
    clipped = np.clip(np.asarray(probabilities, dtype=float), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _once(labels: np.ndarray) -> np.ndarray:
    return np.ones((1, len(labels)), dtype=np.int32)


def _running_sum(weights: np.ndarray) -> np.ndarray:
    """(n, r) to (n + 1, r): the sum of the rows before each row, then of all rows."""
    total = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=total[1:])
    return total


def _midway(scores: ArrayLike, threshold: float) -> float:
    """Between the threshold and the next lower score: off a score, rounding cannot flip it."""
    lower = np.asarray(scores, dtype=float)
    lower = lower[lower < threshold]
    return float((threshold + lower.max()) / 2 if lower.size else threshold)
