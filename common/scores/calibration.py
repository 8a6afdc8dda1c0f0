"""Whether probabilities are shares: how far off they are, and how they are rescaled.

Labels are (n,) of 0 and 1, probabilities (n,) in 0..1, patients (n,). A rescaling is fitted to a
validation split; whether it made probabilities better or worse is measured on other cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import chi2

from common.scores import estimates
from common.scores.estimates import MEAN, Estimate
from common.scores.intervals import (
    BIASED,
    FEW,
    FEWEST,
    OF_COEFFICIENTS,
    Interval,
    by_name,
    difference,
    interval,
    interval_of_share,
    mean_limits,
)

BINS = 15
"""Bins of equal width of the calibration error and of the reliability chart."""

NONE, TEMPERATURE, PLATT = "none", "temperature", "Platt"
"""The methods of a rescaling."""

COLUMNS = {TEMPERATURE: "temperature_scaled", PLATT: "platt_scaled"}
"""What tables call probabilities that were rescaled; `NONE` has no column."""

EARLIER_COLUMN = "calibrated"
"""What earlier versions called those at a temperature."""

BETTER, WORSE, CHANCE, UNKNOWN = "better", "worse", "no more than chance", "not known"
"""What the interval of a difference says, where less is better."""

SEPARATED = "separated perfectly, or all probabilities are equal"
ERROR = "expected_calibration_error"

_WHEN = "before", "after"
# Of a rescaling.
_SLOPES = 1 / 20, 1 / 0.05
# Of the tests by which a rescaling is chosen.
_LEVEL = 0.05


@dataclass(frozen=True)
class Rescaling:
    """Logits divided by a temperature, plus a shift: no ranking changes.

    Attributes:
        method: `NONE`, `TEMPERATURE` (Guo et al. 2017, arXiv:1706.04599) or `PLATT` (Platt 1999,
            "Probabilistic outputs for support vector machines").
        temperature: Above 1 the network was overconfident; 0.05 to 20.
        shift: Added to the logits.
    """

    method: str = NONE
    temperature: float = 1.0
    shift: float = 0.0

    @property
    def column(self) -> str:
        """What tables call the rescaled probabilities; "" where nothing is rescaled."""
        return COLUMNS.get(self.method, "")

    def apply(self, probabilities: ArrayLike) -> np.ndarray:
        """Probabilities (...) rescaled."""
        if self.method == NONE:
            return np.asarray(probabilities, float)
        return np.asarray(expit(logits(probabilities) / self.temperature + self.shift))


def logits(probabilities: ArrayLike) -> np.ndarray:
    """The logits of probabilities (...), at most 16.1 to either side."""
    # A float32 sigmoid gives 0 or 1 where the logit is beyond 17.
    clipped = np.clip(np.asarray(probabilities, dtype=float), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped / (1 - clipped)))


def log_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """(...) minus the logarithm of the probability of what is true, at most 16.1."""
    signs = np.where(np.asarray(labels) == 1, 1.0, -1.0)
    return np.asarray(np.logaddexp(0, -signs * logits(probabilities)))


# ---- A rescaling


def choose_rescaling(labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike) -> Rescaling:
    """The rescaling that so many cases can carry: none, a temperature, or Platt's.

    A closed test (Vergouwe et al. 2017, 10.1002/sim.7179): probabilities stay as they are unless
    Platt's two numbers raise the likelihood by more than chance at a level of 5 %; then one number,
    the temperature, has to do, unless two are better than one by more than chance. So few cases
    change probabilities only where these are far off. Films of a patient count as Kish's number of
    independent ones.
    """
    if len(np.unique(np.asarray(labels))) < 2:
        return Rescaling()
    temperature = Rescaling(TEMPERATURE, fit_temperature(labels, probabilities))
    platt = fit_platt(labels, probabilities)
    losses = {
        rescaling.method: log_losses(labels, rescaling.apply(probabilities))
        for rescaling in (Rescaling(), temperature, platt)
    }
    if not is_more_than_chance(losses[NONE] - losses[PLATT], patients, 2):
        return Rescaling()
    if not is_more_than_chance(losses[TEMPERATURE] - losses[PLATT], patients, 1):
        return temperature
    return platt


def is_more_than_chance(gains: ArrayLike, patients: ArrayLike, parameters: int) -> bool:
    """Whether (n,) gains in log likelihood are more than some parameters give by chance."""
    gain = estimates.mean(gains, patients)
    return bool(2 * gain.value * gain.fewest > chi2.ppf(1 - _LEVEL, parameters))


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The temperature that minimises the cross-entropy (Guo et al. 2017, arXiv:1706.04599).

    Returns:
        Between 0.05 and 20; 1 for one class alone.
    """
    if len(np.unique(np.asarray(labels))) < 2:
        return 1.0
    slope, _ = _fit_line(logits(probabilities), np.asarray(labels), _SLOPES, has_shift=False)
    return 1 / slope


def fit_platt(labels: ArrayLike, probabilities: ArrayLike) -> Rescaling:
    """Temperature and shift that minimise the cross-entropy to Platt's targets (1999).

    These are (positives + 1) / (positives + 2) and 1 / (negatives + 2) in place of 1 and 0, so
    that separated classes give no infinite logits.
    """
    yes = np.asarray(labels) == 1
    positives, negatives = int(yes.sum()), int((~yes).sum())
    targets = np.where(yes, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, shift = _fit_line(logits(probabilities), targets, _SLOPES)
    return Rescaling(PLATT, 1 / slope, shift)


def _fit_line(
    values: np.ndarray,
    targets: np.ndarray,
    slopes: tuple[float, float] = (-np.inf, np.inf),
    has_shift: bool = True,
) -> tuple[float, float]:
    """Slope, within limits, and shift of the logits that minimise the cross-entropy to targets."""
    terms = np.stack([values, np.ones_like(values)][: 2 if has_shift else 1])
    slope, *shift = _fit_terms(terms, targets)
    if not slopes[0] <= slope <= slopes[1]:
        # The cross-entropy is convex: within the limits it is least at the nearer one.
        slope = float(np.clip(slope, *slopes))
        shift = [fit_shift(slope * values, targets)] if has_shift else []
    return slope, shift[0] if shift else 0.0


def fit_shift(values: np.ndarray, targets: np.ndarray) -> float:
    """What added to logits (n,) minimises the cross-entropy to targets (n,) in 0..1."""
    return _fit_terms(np.ones((1, len(values))), targets, values)[0]


def _fit_terms(terms: np.ndarray, targets: np.ndarray, offset: ArrayLike = 0.0) -> list[float]:
    """Coefficients of terms (k, n) of the logits, by Newton's method with halved steps.

    Where classes are separated they have no end, and the search stops where nothing changes.
    """

    def crossentropy(coefficients: np.ndarray) -> float:
        z = offset + coefficients @ terms
        return float((np.logaddexp(0, z) - targets * z).sum())

    coefficients = np.zeros(len(terms))
    for _ in range(100):
        fitted = expit(offset + coefficients @ terms)
        information = (terms * (fitted * (1 - fitted))) @ terms.T + 1e-10 * np.eye(len(terms))
        step = np.linalg.solve(information, terms @ (targets - fitted))
        loss = crossentropy(coefficients)
        while np.abs(step).max() > 1e-9 and crossentropy(coefficients + step) > loss:
            step /= 2
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-8:
            break
    return [float(coefficient) for coefficient in coefficients]


# ---- How far off


def bins_of(probabilities: ArrayLike) -> np.ndarray:
    """(n,) the bin, 0 to `BINS` - 1, of each probability."""
    bins = (np.asarray(probabilities, dtype=float) * BINS).astype(int)
    return np.asarray(np.minimum(bins, BINS - 1))


def calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The expected calibration error, 0 to 1, 0 at best.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning": the mean,
    over `BINS` of equal width weighted by their cases, of the difference between the mean
    probability of yes and the share of yes.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    gaps = np.bincount(bins_of(probabilities), probabilities - labels)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(
    labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike
) -> list[dict[str, Any]]:
    """The bins that hold cases, those of the calibration error.

    Returns:
        Of each its ends ``from`` and ``to``, the number ``n`` of cases, their mean
        ``probability``, and the ``share`` of yes, ``{value, ci95}``.
    """
    labels, patients = np.asarray(labels), np.asarray(patients)
    probabilities = np.asarray(probabilities, dtype=float)
    places, rows = bins_of(probabilities), []
    for place in np.unique(places):
        cases = places == place
        yes = labels[cases] == 1
        rows.append(
            {
                "from": float(place / BINS),
                "to": float((place + 1) / BINS),
                "n": int(cases.sum()),
                "probability": float(probabilities[cases].mean()),
                "share": {
                    "value": float(yes.mean()),
                    **interval_of_share(yes, patients[cases]).entries,
                },
            }
        )
    return rows


def calibration_line(
    labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike
) -> dict[str, Estimate]:
    """The intercept and the slope of calibration (Cox 1958, 10.1093/biomet/45.3-4.562).

    ``intercept`` is calibration in the large, 0 at best: what has to be added to all logits, with
    their slope left at 1, for as many yes as there are; below 0 probabilities are too high.
    ``slope``, 1 at best, is that of a logistic regression on the logits; below 1 they are too
    extreme (Van Calster et al. 2019, 10.1186/s12916-019-1466-7). NaN where undefined.
    """
    yes, values, patients = np.asarray(labels) == 1, logits(probabilities), np.asarray(patients)
    like = estimates.auroc(yes, values, patients)
    targets, ones, count = yes.astype(float), np.ones_like(values), len(np.unique(patients))
    slope, intercept, shift = np.nan, np.nan, np.nan
    if like.smallest:
        intercept = fit_shift(values, targets)
        some, others = values[yes], values[~yes]
        if some.min() < others.max() and others.min() < some.max():
            slope, shift = _fit_line(values, targets)

    def estimate(value: float, fitted: np.ndarray, *terms: np.ndarray) -> Estimate:
        """Of the first of the terms' coefficients."""
        influence = np.zeros(len(values))
        if not np.isnan(value):
            design = np.stack(terms)
            information = (design * (fitted * (1 - fitted))) @ design.T
            influence = np.linalg.solve(information, design * (targets - fitted))[0]
            influence = influence * np.sqrt(count / max(1, count - len(terms)))
        sizes = (like.fewest, like.most, like.smallest)
        return Estimate(value, influence, patients, MEAN, *sizes)

    return {
        "intercept": estimate(intercept, expit(values + intercept), ones),
        "slope": estimate(slope, expit(slope * values + shift), values, ones),
    }


def line_interval(estimate: Estimate) -> Interval:
    """The interval of one of `calibration_line`: t, with the sandwich variance by patient."""
    if estimate.smallest < FEWEST:
        return Interval(None, reason=FEW)
    if np.isnan(estimate.value):
        return Interval(None, reason=SEPARATED)
    patients = len(np.unique(estimate.patients))
    limits = mean_limits(replace(estimate, smallest=patients), None)
    return Interval(limits.tolist(), OF_COEFFICIENTS)


# ---- Before and after


def rescaled_scores(
    labels: ArrayLike, probabilities: ArrayLike, patients: ArrayLike, rescaling: Rescaling
) -> dict[str, Any]:
    """How far off probabilities are before and after a rescaling, and which is better.

    Args:
        labels: Of other cases than it was fitted to, like ``probabilities``, those before it.
        probabilities: See the module.
        patients: See the module.
        rescaling: From `choose_rescaling`.

    Returns:
        `before_and_after`, and of both ``intercept``, ``slope`` and the bins of `reliability`,
        ``bins``.
    """
    labels = np.asarray(labels)
    parts = [np.asarray(probabilities, float), rescaling.apply(probabilities)]
    scores = before_and_after(
        rescaling,
        [estimates.mean((part - labels) ** 2, patients) for part in parts],
        [estimates.mean(log_losses(labels, part), patients) for part in parts],
        [calibration_error(labels, part) for part in parts],
    )
    limits: dict[str, Interval] = {}
    for when, part in zip(_WHEN, parts, strict=True):
        for name, estimate in calibration_line(labels, part, patients).items():
            limits[f"{name}_{when}"] = line_interval(estimate)
            value = None if np.isnan(estimate.value) else float(estimate.value)
            scores[f"{name}_{when}"] = value
        scores[f"bins_{when}"] = reliability(labels, part, patients)
    for key, by in by_name(limits).items():
        scores[key] = {**scores.get(key, {}), **by}
    return scores


def before_and_after(
    rescaling: Rescaling,
    briers: Sequence[Estimate],
    losses: Sequence[Estimate],
    errors: Sequence[float],
) -> dict[str, Any]:
    """Two Brier scores, log losses and calibration errors as metrics.json has them.

    Returns:
        ``method``, ``temperature`` and ``shift`` of the rescaling; ``brier_before``,
        ``brier_after``, the same of ``log_loss`` and ``expected_calibration_error``, and ``ci95``
        of these by name; ``differences`` of the first two, after less before, paired on the same
        patients, each with its ``verdict`` in words.
    """
    scores: dict[str, Any] = asdict(rescaling)
    limits: dict[str, Interval] = {}
    for when, brier, loss, error in zip(_WHEN, briers, losses, errors, strict=True):
        scores |= {f"brier_{when}": float(brier.value), f"log_loss_{when}": float(loss.value)}
        scores[f"{ERROR}_{when}"] = error
        limits[f"brier_{when}"] = interval(brier)
        limits[f"log_loss_{when}"] = interval(loss, (0, np.inf))
        limits[f"{ERROR}_{when}"] = Interval(None, reason=BIASED)
    gaps = {
        name: difference(after, before)
        for name, (before, after) in (("brier", briers), ("log_loss", losses))
    }
    scores["differences"] = {name: {**gap, "verdict": verdict(gap)} for name, gap in gaps.items()}
    return {**scores, **by_name(limits)}


def verdict(gap: Mapping[str, Any]) -> str:
    """What the ``ci95`` of a difference says in words, where less is better."""
    if not gap["ci95"]:
        return UNKNOWN
    low, high = gap["ci95"]
    return BETTER if high < 0 else WORSE if low > 0 else CHANCE
