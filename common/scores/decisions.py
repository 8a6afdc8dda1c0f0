"""What decisions are worth: predictive values at a prevalence, net benefit, and declining.

Labels are (n,) of 0 and 1, probabilities (n,) in 0..1, patients (n,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.scores import estimates
from common.scores.intervals import (
    OF_RATIOS,
    UNDEFINED,
    Interval,
    difference,
    interval_of_share,
    scored,
)

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""The threshold probabilities of the table of net benefit."""

UNDECIDED = "undecided"


def predictive_values(
    sensitivity: Mapping[str, Any], specificity: Mapping[str, Any], prevalence: float
) -> dict[str, Any]:
    """The predictive values where another share of patients is ill than in the data.

    By Bayes' theorem (Altman and Bland 1994, 10.1136/bmj.309.6947.102): the odds of a yes being
    right are the odds of the prevalence times the likelihood ratio, sensitivity over
    1 - specificity. Its interval is MOVER-R (Newcombe 2016, 10.1177/0962280213502144) from those of
    both, which are of different patients.

    Args:
        sensitivity: ``value`` and ``ci95``, from metrics.json, like ``specificity``.
        specificity: Of the same threshold.
        prevalence: The share of patients who are ill, above 0 and below 1.

    Returns:
        ``prevalence``, ``ppv``, the share of right answers among yes, and ``npv``, that among no,
        each ``{value, ci95}``.
    """
    odds = prevalence / (1 - prevalence)
    return {
        "prevalence": prevalence,
        "ppv": _of_answers(sensitivity, specificity, odds),
        "npv": _of_answers(specificity, sensitivity, 1 / odds),
    }


def _of_answers(
    right: Mapping[str, Any], others_right: Mapping[str, Any], odds: float
) -> dict[str, Any]:
    """The share of right answers of a kind: rates of those and of other answers, prior odds."""
    if right["value"] is None or others_right["value"] is None:
        return {"value": None, **Interval(None, reason=UNDEFINED).entries}
    value, wrong = right["value"], 1 - others_right["value"]
    if value + wrong == 0:
        return {"value": None, **Interval(None, reason="no such answer").entries}
    share = odds * value / (odds * value + wrong)
    if not right["ci95"] or not others_right["ci95"]:
        lacking = others_right if right["ci95"] else right
        known = {key: lacking[key] for key in ("ci95_reason",) if lacking.get(key)}
        return {"value": share, "ci95": None, **known}
    wrong_limits = [1 - limit for limit in reversed(others_right["ci95"])]
    low, high = (odds * ratio for ratio in _ratio_limits(value, right["ci95"], wrong, wrong_limits))
    limits = [low / (1 + low), high / (1 + high) if np.isfinite(high) else 1.0]
    return {"value": share, **Interval(limits, OF_RATIOS).entries}


def _ratio_limits(
    top: float, limits: Sequence[float], bottom: float, bottom_limits: Sequence[float]
) -> tuple[float, float]:
    """MOVER-R limits of a ratio of shares; the upper one is infinite where the bottom may be 0."""
    (low, high), (bottom_low, bottom_high) = limits, bottom_limits

    def root(end: float, bottom_end: float) -> float:
        return float(
            np.sqrt(
                max(
                    0.0,
                    (top * bottom) ** 2
                    - end * bottom_end * (2 * top - end) * (2 * bottom - bottom_end),
                )
            )
        )

    # Multiplied by the conjugate where the difference would cancel, and its divisor vanish.
    lower = low * (2 * top - low) / (top * bottom + root(low, bottom_high)) if low else 0.0
    if bottom_low == 0:
        return lower, np.inf
    divisor = bottom_low * (2 * bottom - bottom_low)
    return lower, (top * bottom + root(high, bottom_low)) / divisor


def net_benefit(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[dict[str, Any]]:
    """The net benefit of calling all from a threshold probability on (Vickers and Elkin 2006).

    10.1177/0272989X06295361: true positives a case less false ones a case, which count as much as
    the odds of the threshold say: at 0.1 nine false alarms undo one find. At the share of positives
    in these cases.

    Returns:
        Of each ``threshold`` the net benefit of the ``model`` and of calling ``all``, and the
        ``difference`` of the model to the better of all and none, each ``{value, ci95}``.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    rows = []
    for threshold in thresholds:
        worth = _worth(labels, threshold)
        model = estimates.mean(np.where(probabilities >= threshold, worth, 0), patients)
        everybody = estimates.mean(worth, patients)
        nobody = estimates.mean(np.zeros(len(worth)), patients)
        rows.append(
            {
                "threshold": float(threshold),
                "model": scored(model, None),
                "all": scored(everybody, None),
                "difference": difference(model, everybody if everybody.value > 0 else nobody),
            }
        )
    return rows


def decision_curve(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike
) -> np.ndarray:
    """(thresholds,) the net benefit of calling all from each threshold probability on."""
    probabilities = np.asarray(probabilities, dtype=float)
    benefits = [
        np.where(probabilities >= threshold, _worth(labels, threshold), 0).mean()
        for threshold in np.asarray(thresholds)
    ]
    return np.asarray(benefits)


def _worth(labels: ArrayLike, threshold: float) -> np.ndarray:
    """(n,) what calling each case is worth."""
    return np.where(np.asarray(labels) == 1, 1.0, -threshold / (1 - threshold))


@dataclass(frozen=True)
class Band:
    """Where no answer is given: from ``low`` to ``high``; no below, yes above."""

    low: float
    high: float

    def answers(self, probabilities: ArrayLike) -> np.ndarray:
        """(n,) 0, 1, or NaN for no answer."""
        probabilities = np.asarray(probabilities, dtype=float)
        answers = np.where(probabilities < self.low, 0.0, np.nan)
        return np.where(probabilities > self.high, 1.0, answers)


def fit_band(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    share: float,
    threshold: float,
) -> Band | None:
    """The band in which to decline, so that few patients of each label get a wrong answer.

    Split conformal sets by label (Vovk et al. 2003, "Mondrian confidence machine") with the patient
    as the unit: a patient is as hard as the hardest of the films with that label. Of new patients
    from where these are from at most ``share`` of each label get a wrong answer on any film, on
    average over sets of patients such as these. Where no band is needed for it, all get an answer,
    by the threshold or the nearest one that does.

    Args:
        labels: Of cases that did not train, like the next two.
        probabilities: See the module.
        patients: See the module.
        share: Of patients, above 0 and below 1.
        threshold: Of the run.

    Returns:
        None where a label has fewer patients than 1 / share - 1: nothing can be promised.
    """
    ends = []
    for label, sign in ((1, 1.0), (0, -1.0)):
        rows = np.asarray(labels) == label
        values = sign * np.asarray(probabilities, dtype=float)[rows]
        _, of_patient = np.unique(np.asarray(patients)[rows], return_inverse=True)
        hardest = np.full(of_patient.max(initial=-1) + 1, np.inf)
        np.minimum.at(hardest, of_patient, values)
        rank = int(share * (len(hardest) + 1) + 1e-9)
        if rank < 1:
            return None
        ends.append(sign * np.sort(hardest)[rank - 1])
    low, high = map(float, ends)
    if low <= high:
        return Band(low, high)
    between = float(np.clip(threshold, high, low))
    return Band(between, between)


def band_scores(
    labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike, band: Band
) -> dict[str, Any]:
    """What declining within a band comes to on some cases.

    Returns:
        ``low`` and ``high``; the share of cases ``declined``; and of the patients with positive and
        with negative cases the share with a wrong answer on any, ``missed`` and ``false_alarms``;
        each share ``{value, ci95}``.
    """
    labels, patients = np.asarray(labels), np.asarray(patients)
    answers = band.answers(probabilities)
    scores: dict[str, Any] = {"low": band.low, "high": band.high}
    scores["declined"] = _share(np.isnan(answers), patients)
    for name, label in (("missed", 1), ("false_alarms", 0)):
        rows = labels == label
        wrong = set(patients[rows & (answers == 1 - label)])
        those = np.unique(patients[rows])
        scores[name] = _share(np.isin(those, list(wrong)), those)
    return scores


def _share(hits: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    if not len(hits):
        return {"value": None, **Interval(None, reason=UNDEFINED).entries}
    return {"value": float(hits.mean()), **interval_of_share(hits, patients).entries}
