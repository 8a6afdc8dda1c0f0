"""Scores of a yes-or-no classifier, and the baseline that knows only the header.

Labels are (n,) of 0 and 1, probabilities (n,) in 0..1. "Yes" is a probability at or above
the threshold. What is undefined, such as the AUROC of one class alone or the precision of
a classifier that never says yes, is None and not a number that looks like a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from common.scores.intervals import bootstrap, interval

CALIBRATION_BINS = 15
IN_A_GROUP = ("n", "positives", "auroc", "accuracy", "recall", "specificity")


def classification_scores(
    labels: Sequence[int],
    probabilities: Sequence[float],
    patients: Sequence,
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
    """
    labels = np.asarray(labels).astype(int)
    probabilities = np.asarray(probabilities, dtype=float)
    (tn, fp), (fn, tp) = confusion(labels, probabilities, threshold)
    auroc, average_precision = _ranking_with_intervals(labels, probabilities, patients, seed)
    return {
        "n": len(labels),
        "positives": int(labels.sum()),
        "threshold": float(threshold),
        "auroc": auroc,
        "average_precision": average_precision,
        "accuracy": _share(tp + tn, len(labels)),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "sensitivity_at_90_specificity": sensitivity_at_specificity(labels, probabilities, 0.9),
        "confusion_matrix": [[tn, fp], [fn, tp]],
        "brier": brier(labels, probabilities),
        "expected_calibration_error": expected_calibration_error(labels, probabilities),
    }


def ranking_scores(
    labels: Sequence[int], scores: Sequence[float], counts: np.ndarray | None = None
) -> np.ndarray:
    """AUROC and average precision for many weightings of the cases at once.

    Both are sums over the positive cases of what is ranked below and above each, so one
    sort serves every resample. They equal scikit-learn's ``roc_auc_score`` and
    ``average_precision_score`` with ``sample_weight``, ties included.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) higher for a likelier yes.
        counts: (r, n) the weight of each case in each resample; once each if not given.

    Returns:
        (r, 2) AUROC and average precision; NaN where a class has no weight.
    """
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=float)
    if counts is None:
        counts = np.ones((1, len(labels)), dtype=np.int32)
    # Cases along the first axis: a chunk's weights of one case lie side by side.
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


def youden_threshold(labels: Sequence[int], scores: Sequence[float]) -> float:
    """The threshold with the largest sensitivity + specificity (Youden 1950).

    It lies midway between the two neighbouring scores. With one class alone there is no
    such threshold, and 0.5 is returned.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        return 0.5
    false_rate, true_rate, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    return _midway(scores, thresholds[1:][np.argmax((true_rate - false_rate)[1:])])


def threshold_for_sensitivity(
    labels: Sequence[int], scores: Sequence[float], sensitivity: float
) -> float:
    """The highest threshold at which at least that share of the positives is found.

    It lies midway between the two neighbouring scores; 0.5 if there are no positives.
    """
    positives = np.sort(np.asarray(scores, dtype=float)[np.asarray(labels) == 1])[::-1]
    if not positives.size:
        return 0.5
    # Rounded before it is rounded up: 0.9 * 10 may come out above 9.
    needed = max(1, int(np.ceil(np.round(sensitivity * len(positives), 9))))
    return _midway(scores, positives[needed - 1])


def sensitivity_at_specificity(
    labels: Sequence[int], scores: Sequence[float], specificity: float
) -> float | None:
    """The largest sensitivity of a threshold with at least that specificity, or None."""
    if len(np.unique(np.asarray(labels))) < 2:
        return None
    false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(true_rate[false_rate <= 1 - specificity + 1e-12].max())


def confusion(
    labels: Sequence[int], probabilities: Sequence[float], threshold: float
) -> list[list[int]]:
    """The confusion matrix [[tn, fp], [fn, tp]] as scikit-learn has it."""
    labels = np.asarray(labels).astype(int)
    said = (np.asarray(probabilities) >= threshold).astype(int)
    return np.bincount(2 * labels + said, minlength=4).reshape(2, 2).tolist()


def brier(labels: Sequence[int], probabilities: Sequence[float]) -> float:
    """The mean squared error of the probabilities (Brier 1950), 0 at best."""
    return float(np.mean((np.asarray(probabilities) - np.asarray(labels)) ** 2))


def expected_calibration_error(
    labels: Sequence[int], probabilities: Sequence[float], bins: int = CALIBRATION_BINS
) -> float:
    """How far the probability of yes is from the share of yes, over bins of equal width.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning":
    the mean over cases of the distance in their bin, in 0..1.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(which, weights=probabilities - np.asarray(labels), minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))


def fit_temperature(labels: Sequence[int], probabilities: Sequence[float]) -> float:
    """The temperature that makes a validation split's cross-entropy least.

    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599): the logit is
    divided by one number, which changes no ranking. Above 1 the network was too sure.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in 0..1.

    Returns:
        Between 0.05 and 20; 1 where there is one class alone.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        return 1.0
    signed = np.where(labels == 1, 1.0, -1.0) * _logits(probabilities)

    def crossentropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    return float(np.exp(minimize_scalar(crossentropy, bounds=np.log([0.05, 20])).x))


def with_temperature(probabilities: Sequence[float], temperature: float) -> np.ndarray:
    """Probabilities (n,) after their logits were divided by a temperature."""
    return 1 / (1 + np.exp(-_logits(probabilities) / temperature))


def calibration(
    labels: Sequence[int], probabilities: Sequence[float], temperature: float
) -> dict[str, float]:
    """Brier score and calibration error before and after a temperature fitted elsewhere."""
    after = with_temperature(probabilities, temperature)
    return {
        "temperature": temperature,
        "brier_before": brier(labels, probabilities),
        "brier_after": brier(labels, after),
        "expected_calibration_error_before": expected_calibration_error(labels, probabilities),
        "expected_calibration_error_after": expected_calibration_error(labels, after),
    }


def scores_by_group(
    groups: Sequence[str],
    labels: Sequence[int],
    probabilities: Sequence[float],
    patients: Sequence,
    threshold: float,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """The main scores of each group of cases, such as each view, by the group's name.

    Args:
        groups: (n,) the group of each case; cases of "" are in none.
        labels: As in `classification_scores`.
        probabilities: Likewise.
        patients: Likewise.
        threshold: Likewise.
        seed: Likewise.
    """
    groups, labels, probabilities, patients = map(
        np.asarray, (groups, labels, probabilities, patients)
    )
    found = {}
    for group in sorted(set(groups) - {""}):
        of = groups == group
        scores = classification_scores(labels[of], probabilities[of], patients[of], threshold, seed)
        found[str(group)] = {name: scores[name] for name in IN_A_GROUP}
    return found


def fit_metadata(
    view: Sequence[str], sex: Sequence[str], age: Sequence[float], labels: Sequence[int]
) -> dict[str, Any]:
    """Fit the baseline that sees no pixel: a logistic regression on view, sex and age.

    Args:
        view: (n,) such as "PA" and "AP"; "" where the header has none.
        sex: (n,) such as "F" and "M"; "" where the header has none.
        age: (n,) years; NaN where the header has none, taken as the median.
        labels: (n,) 0 or 1.

    Returns:
        Plain numbers and names, for JSON: intercept, coefficients ("view=PA", ...),
        age_median, age_mean, age_deviation. With one class alone only the intercept speaks.
    """
    age, labels = np.asarray(age, dtype=float), np.asarray(labels).astype(int)
    known = age[~np.isnan(age)]
    median = float(np.median(known)) if known.size else 0.0
    filled = np.where(np.isnan(age), median, age)
    model = {
        "intercept": 0.0,
        "coefficients": dict.fromkeys(sorted({*_named("view", view), *_named("sex", sex)}), 0.0)
        | {"age": 0.0},
        "age_median": median,
        "age_mean": float(filled.mean()),
        "age_deviation": float(filled.std()) or 1.0,
    }
    if len(np.unique(labels)) < 2:
        yes = int(labels.sum())
        model["intercept"] = float(np.log((yes + 1) / (len(labels) - yes + 1)))
        return model
    fitted = LogisticRegression(max_iter=1000).fit(_metadata(model, view, sex, age), labels)
    model["intercept"] = float(fitted.intercept_[0])
    model["coefficients"] = dict(zip(model["coefficients"], fitted.coef_[0].tolist(), strict=True))
    return model


def predict_metadata(
    model: dict[str, Any], view: Sequence[str], sex: Sequence[str], age: Sequence[float]
) -> np.ndarray:
    """The probabilities (n,) of `fit_metadata`'s model; an unseen view or sex adds nothing."""
    weights = np.array(list(model["coefficients"].values()))
    return 1 / (1 + np.exp(-(model["intercept"] + _metadata(model, view, sex, age) @ weights)))


def _metadata(model: dict[str, Any], view: Sequence, sex: Sequence, age: Sequence) -> np.ndarray:
    age = np.asarray(age, dtype=float)
    years = np.where(np.isnan(age), model["age_median"], age)
    known = {"age": (years - model["age_mean"]) / model["age_deviation"]}
    for names in (_named("view", view), _named("sex", sex)):
        known |= {name: np.asarray(names) == name for name in set(names)}
    nothing = np.zeros(len(age))
    return np.stack([known.get(name, nothing) for name in model["coefficients"]], axis=1)


def _named(field: str, values: Sequence) -> list[str]:
    # A table read by pandas has NaN where a cell is empty.
    return [f"{field}={value if isinstance(value, str) else ''}" for value in values]


def _logits(probabilities: Sequence[float]) -> np.ndarray:
    # A float32 sigmoid says 0 or 1 where the logit is beyond 17.
    kept = np.clip(np.asarray(probabilities, dtype=float), 1e-7, 1 - 1e-7)
    return np.log(kept / (1 - kept))


def _ranking_with_intervals(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence, seed: int
) -> list[dict[str, Any]]:
    values = ranking_scores(labels, scores)[0]
    if np.isnan(values[0]):
        return [{"value": None, "ci95": None}] * 2
    intervals = [None, None]
    if len(np.unique(np.asarray(patients))) > 1:
        resampled = bootstrap(
            lambda counts: ranking_scores(labels, scores, counts), patients, seed=seed
        )
        intervals = [interval(column) for column in resampled.T]
    return [
        {"value": float(value), "ci95": limits}
        for value, limits in zip(values, intervals, strict=True)
    ]


def _running_sum(weights: np.ndarray) -> np.ndarray:
    """(n, r) to (n + 1, r): the sum of the rows before each, and at last of all."""
    total = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=total[1:])
    return total


def _midway(scores: Sequence[float], threshold: float) -> float:
    """Between the threshold and the next lower score: off a score, rounding cannot flip it."""
    lower = np.asarray(scores, dtype=float)
    lower = lower[lower < threshold]
    return float((threshold + lower.max()) / 2 if lower.size else threshold)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
