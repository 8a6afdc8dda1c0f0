"""Scores with the influence of each case on them, from which variances by patient come.

The influence of a case is by how much it moves the score, to first order. Cases of one patient are
alike, so the variance of a score is the sum over patients of the squared sum of their influences
(the linearised or "sandwich" variance; Huber 1967). That of an AUROC is DeLong's (1988,
10.2307/2531595), clustered as by Obuchowski (1997, 10.2307/2533958). Influences of two scores on
the same cases subtract, which pairs them, and those of several classes or runs average.

Leading axes of values and scores are data sets of the same cases, computed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

MEAN, SHARE, RANKING = "mean", "share", "ranking"
"""The kinds of scores, by which their intervals differ."""


@dataclass(frozen=True)
class Estimate:
    """A score of some cases.

    Attributes:
        value: (...), NaN where it is undefined.
        influence: (..., n) of each case, scaled so that the sum over patients of their squared sums
            is the variance of the value.
        patients: (n,) the patient of each case.
        kind: `MEAN`, `SHARE` or `RANKING`.
        fewest: Independent cases where those of a patient are all alike (Kish 1965): of a share's
            denominator; of a ranking mn / (m + n) from m positives and n negatives.
        most: The same where cases of a patient are independent.
        smallest: Patients of the smallest class that the score needs, of a mean all patients.
        values: (..., n) whose mean over cases the score is, where it is one.
    """

    value: Any
    influence: np.ndarray
    patients: np.ndarray
    kind: str
    fewest: float
    most: float
    smallest: int
    values: np.ndarray | None = None

    @property
    def sums(self) -> np.ndarray:
        """(..., patients) the influence of each patient."""
        return _by_patient(self.influence, self.patients)

    @property
    def variance(self) -> np.ndarray:
        """(...) of the value."""
        return np.asarray((self.sums**2).sum(axis=-1))


def mean(values: ArrayLike, patients: ArrayLike, kind: str = MEAN) -> Estimate:
    """The mean of (..., n) values over cases; of hits, 0 or 1, with ``kind`` `SHARE`."""
    values = np.asarray(values, dtype=float)
    return ratio(values, np.ones(values.shape[-1]), patients, kind, values)


def share(hits: ArrayLike, patients: ArrayLike) -> Estimate:
    """The share of (..., n) cases that are hits, 0 to 1."""
    return mean(hits, patients, SHARE)


def ratio(
    parts: ArrayLike,
    wholes: ArrayLike,
    patients: ArrayLike,
    kind: str = SHARE,
    values: np.ndarray | None = None,
) -> Estimate:
    """The sum of (..., n) parts over that of (n,) wholes: NaN where the wholes are all 0."""
    parts, wholes = np.asarray(parts, dtype=float), np.asarray(wholes, dtype=float)
    patients, total = np.asarray(patients), wholes.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        value = parts.sum(axis=-1) / total
        influence = (parts - value[..., None] * wholes) / total
    counted = wholes > 0
    fewest, of_whole = _alike(patients[counted])
    influence = influence * _unbiased(of_whole)
    return Estimate(value, influence, patients, kind, fewest, counted.sum(), of_whole, values)


def auroc(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> Estimate:
    """The AUROC, ties counting half: NaN where a class has no case.

    Args:
        labels: (n,) 0 or 1.
        scores: (..., n) higher for a likelier yes.
        patients: (n,) the patient of each case.
    """
    yes, scores, patients = np.asarray(labels) == 1, np.asarray(scores, float), np.asarray(patients)
    positives, negatives = int(yes.sum()), int((~yes).sum())
    influence = np.zeros(scores.shape)
    if not positives or not negatives:
        value = np.full(scores.shape[:-1], np.nan)
        return Estimate(value, influence, patients, RANKING, 0, 0, 0)
    # Of each case the share of the other class that it is ranked rightly against.
    ranks = rankdata(scores, axis=-1)
    placed = (ranks[..., yes] - rankdata(scores[..., yes], axis=-1)) / negatives
    others = (ranks[..., ~yes] - rankdata(scores[..., ~yes], axis=-1)) / positives
    value = placed.mean(axis=-1)
    (alike, of_yes), (alike_others, of_no) = _alike(patients[yes]), _alike(patients[~yes])
    influence[..., yes] = (placed - value[..., None]) / positives * _unbiased(of_yes)
    influence[..., ~yes] = (1 - value[..., None] - others) / negatives * _unbiased(of_no)
    fewest, most = _half_harmonic(alike, alike_others), _half_harmonic(positives, negatives)
    return Estimate(value, influence, patients, RANKING, fewest, most, min(of_yes, of_no))


def average_precision(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> Estimate:
    """Average precision as scikit-learn has it: NaN where a class has no case.

    The arguments are those of `auroc`, the scores (n,).
    """
    yes, scores, patients = np.asarray(labels) == 1, np.asarray(scores, float), np.asarray(patients)
    # Its numbers of independent cases and of patients are those of the AUROC.
    like = auroc(yes, scores, patients)
    if np.isnan(like.value):
        return like
    _, group = np.unique(-scores, return_inverse=True)
    ties_yes, ties_no = (np.bincount(group, weights) for weights in (yes, ~yes))
    above_yes, above_no = np.cumsum(ties_yes), np.cumsum(ties_no)
    precision, count = above_yes / (above_yes + above_no), int(yes.sum())
    value = float((ties_yes * precision).sum() / count)
    # A case changes the precision at every score at or below its own.
    squared = (above_yes + above_no) ** 2.0
    for_yes, for_no = (
        np.cumsum((ties_yes * part / squared)[::-1])[::-1] for part in (above_no, -above_yes)
    )
    influence = np.where(yes, precision[group] - value + for_yes[group], for_no[group]) / count
    influence = influence * _unbiased(like.smallest)
    return Estimate(value, influence, patients, RANKING, like.fewest, like.most, like.smallest)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of scores on the same cases, over those that are defined: classes, say, or runs."""
    defined = [part for part in estimates if not np.isnan(part.value)]
    if not defined:
        return estimates[0]
    first, count = defined[0], len(defined)
    values = [part.values for part in defined if part.values is not None]
    return Estimate(
        float(np.mean([part.value for part in defined])),
        np.mean([part.influence for part in defined], axis=0),
        first.patients,
        first.kind,
        # Alike they are worth one of them, independent ones together.
        count / sum(1 / part.fewest for part in defined),
        count**2 / sum(1 / part.most for part in defined),
        min(part.smallest for part in defined),
        np.mean(values, axis=0) if len(values) == count else None,
    )


def _by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    order = np.argsort(patients, kind="stable")
    ranked = patients[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))


def _alike(patients: np.ndarray) -> tuple[float, int]:
    """Kish's number of independent cases, and how many patients there are."""
    counts = np.unique(patients, return_counts=True)[1]
    return (float(counts.sum() ** 2 / (counts**2).sum()) if counts.size else 0.0), len(counts)


def _unbiased(patients: int) -> float:
    return float(np.sqrt(patients / (patients - 1))) if patients > 1 else 1.0


def _half_harmonic(some: float, others: float) -> float:
    return some * others / (some + others)
