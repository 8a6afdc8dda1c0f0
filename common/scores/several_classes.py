"""Scores of several classes, or of several labels at once, each with its interval.

Truth and answers are (n, classes) of 0 and 1, probabilities (n, classes) in 0..1. Of classes that
exclude each other the likeliest is the answer, and each is scored against all others together; of
labels that come side by side each has a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from common.scores import calibration, estimates
from common.scores.calibration import NONE, TEMPERATURE, Rescaling
from common.scores.classification import class_estimates, class_scores, known_scores, mean_auroc
from common.scores.estimates import Estimate, mean_of
from common.scores.intervals import by_name, interval, scored


def answers_of(probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
    """Probabilities to answers, (n, classes) int: the likeliest class without thresholds."""
    if thresholds is None:
        return np.asarray(np.eye(probabilities.shape[1], dtype=int)[probabilities.argmax(axis=1)])
    return np.asarray(probabilities >= np.asarray(thresholds), int)


def several_scores(
    names: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    patients: ArrayLike,
    thresholds: Sequence[float] | None,
) -> dict[str, Any]:
    """All scores of a set of cases, under the names of ``metrics.json``.

    Args:
        names: Of the classes.
        truth: As in the module, like ``probabilities``.
        probabilities: Of the classes.
        patients: (n,) the patient of each case, for the intervals.
        thresholds: One per label; None where the classes exclude each other.

    Returns:
        As of `common.scores.classification.classification_scores`: ``accuracy`` is the share of
        cases whose every answer is right; the others are means over the classes in which they are
        defined, scikit-learn's macro average, in which the precision of a class that is never the
        answer counts as 0. But of classes that exclude each other ``brier`` is half the sum over
        classes (Brier 1950), and ``expected_calibration_error`` that of the likeliest class (Guo et
        al. 2017). ``per_class`` has the scores of each class against the others by its name,
        ``confusion_matrix`` the counts (classes, classes), a row per true class, None where labels
        come side by side.
    """
    truth, patients = truth.astype(int), np.asarray(patients)
    answers, exclusive = answers_of(probabilities, thresholds), thresholds is None
    columns = [*zip(truth.T, probabilities.T, answers.T, strict=True)]
    by_class = [class_estimates(*column, patients) for column in columns]
    means = {name: mean_of([of_class[name] for of_class in by_class]) for name in by_class[0]}
    means["precision"] = mean_of([_precision(of_class) for of_class in by_class])
    means["accuracy"] = estimates.share(_right(truth, answers), patients)
    means["brier"] = brier(truth, probabilities, patients, exclusive)
    each_threshold: Sequence[float | None] = thresholds or [None] * len(names)
    per_class = {
        name: class_scores(of_class, *column, threshold)
        for name, of_class, column, threshold in zip(
            names, by_class, columns, each_threshold, strict=True
        )
    }
    matrix = (truth.T @ answers).tolist() if exclusive else None
    error = calibration_error(truth, probabilities, exclusive)
    known = known_scores(means, error, confusion_matrix=matrix)
    return {"n": len(truth), **known, "per_class": per_class}


def macro_scores(
    truth: np.ndarray, probabilities: np.ndarray, answers: np.ndarray, patients: ArrayLike
) -> dict[str, Any]:
    """``n``, the mean ``auroc`` over classes, ``accuracy``, and its ``ci95``, of some cases."""
    right = estimates.share(_right(truth, answers), patients)
    return {
        "n": len(truth),
        "auroc": scored(mean_auroc(truth, probabilities, patients)),
        "accuracy": float(right.value),
        **by_name({"accuracy": interval(right)}),
    }


def brier(
    truth: np.ndarray, probabilities: np.ndarray, patients: ArrayLike, exclusive: bool
) -> Estimate:
    """The Brier score, as `several_scores` has it."""
    errors = (probabilities - truth) ** 2
    return estimates.mean(errors.sum(axis=1) / 2 if exclusive else errors.mean(axis=1), patients)


def calibration_error(truth: np.ndarray, probabilities: np.ndarray, exclusive: bool) -> float:
    """The expected calibration error, as `several_scores` has it."""
    if not exclusive:
        pairs = zip(truth.T, probabilities.T, strict=True)
        return float(np.mean([calibration.calibration_error(*pair) for pair in pairs]))
    likeliest = np.argmax(probabilities, axis=1)[:, None]
    labels, top = (np.take_along_axis(part, likeliest, 1)[:, 0] for part in (truth, probabilities))
    return calibration.calibration_error(labels, top)


def log_losses(truth: np.ndarray, probabilities: np.ndarray, exclusive: bool) -> np.ndarray:
    """(n,) minus the logarithm of the probability of the true class, or the mean over labels."""
    if not exclusive:
        return np.asarray(calibration.log_losses(truth, probabilities).mean(axis=1))
    return np.asarray(-np.log(np.maximum((truth * probabilities).sum(axis=1), 1e-7)))


def choose_rescaling(
    truth: np.ndarray, probabilities: np.ndarray, patients: ArrayLike, exclusive: bool
) -> Rescaling:
    """A temperature, or none where that is no better by more than chance.

    As `common.scores.calibration.choose_rescaling`, but for Platt's: a shift for each class would
    take many cases.
    """
    fitted = Rescaling(TEMPERATURE, fit_temperature(truth, probabilities, exclusive))
    before, after = (
        log_losses(truth, rescaled(probabilities, part, exclusive), exclusive)
        for part in (Rescaling(), fitted)
    )
    gains = (before - after) * (1 if exclusive else truth.shape[1])
    return fitted if calibration.is_more_than_chance(gains, patients, 1) else Rescaling()


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray, exclusive: bool) -> float:
    """The temperature that minimises the cross-entropy of a validation split.

    As `common.scores.calibration.fit_temperature`, one for all classes.
    """
    if not exclusive:
        return calibration.fit_temperature(truth.ravel(), probabilities.ravel())

    def crossentropy(log_temperature: float) -> float:
        scaled = with_temperature(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(scaled[truth > 0], 1e-300)).mean())

    if len(np.unique(np.argmax(truth, axis=1))) < 2:
        return 1.0
    return float(np.exp(minimize_scalar(crossentropy, bounds=np.log([0.05, 20])).x))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, classes) of classes that exclude each other, their logits divided."""
    logits = np.log(np.maximum(probabilities, 1e-7)) / temperature
    return np.asarray(softmax(logits, axis=1))


def rescaled(probabilities: np.ndarray, rescaling: Rescaling, exclusive: bool) -> np.ndarray:
    """Probabilities (n, classes) rescaled."""
    if exclusive and rescaling.method != NONE:
        return with_temperature(probabilities, rescaling.temperature)
    return rescaling.apply(probabilities)


def rescaled_scores(
    truth: np.ndarray,
    probabilities: np.ndarray,
    patients: ArrayLike,
    rescaling: Rescaling,
    exclusive: bool,
) -> dict[str, Any]:
    """How far off probabilities are before and after a rescaling, and which is better.

    Returns:
        As `common.scores.calibration.before_and_after`.
    """
    parts = [probabilities, rescaled(probabilities, rescaling, exclusive)]
    return calibration.before_and_after(
        rescaling,
        [brier(truth, part, patients, exclusive) for part in parts],
        [estimates.mean(log_losses(truth, part, exclusive), patients) for part in parts],
        [calibration_error(truth, part, exclusive) for part in parts],
    )


def _precision(of_class: Mapping[str, Estimate]) -> Estimate:
    """That of a class which is there and never the answer counts as 0."""
    precision, recall = of_class["precision"], of_class["recall"]
    if np.isnan(precision.value) and not np.isnan(recall.value):
        return replace(recall, value=0.0, influence=np.zeros_like(recall.influence))
    return precision


def _right(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    return np.asarray((truth == answers).all(axis=1), float)
