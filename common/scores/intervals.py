"""95 % intervals over patients (docs/intervals.md): which method is whose, and where there is none.

All are closed formulas of an `common.scores.estimates.Estimate`, so that they need no seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from common.scores.estimates import MEAN, RANKING, SHARE, Estimate, mean, share

FEWEST = 5
"""Patients that each class must have for the interval of a share or an AUROC."""

FEW = f"under {FEWEST} patients of a class"
FEW_IN_ALL = f"under {FEWEST} patients"
ALONE = "one patient"
BIASED = "chance alone raises it"
UNDEFINED = "undefined"

ON_LOGITS = "t on patients' means, on the logit scale"
ON_MEANS = "t on patients' means"
ON_DIFFERENCES = "t on patients' paired differences"
OF_SHARES = "mid-P Beta, effective number of patients"
OF_SHARE_DIFFERENCES = "Bonett and Price, effective number of patients"
OF_AUROCS = "logit, DeLong's variance by patient (Obuchowski)"
OF_AUROC_DIFFERENCES = "DeLong's paired variance by patient (Obuchowski)"
OF_MEDIANS = "Woodruff, effective number of patients"
OF_COEFFICIENTS = "t, sandwich variance by patient"
OF_RATIOS = "MOVER-R, from mid-P limits of both"
OF_INDEPENDENT = "square-and-add (Zou and Donner)"

_TAIL = 0.025
_Z = float(stats.norm.ppf(1 - _TAIL))

# A binormal AUROC near 0.99 is as sure as a share of so many times mn / (m + n) cases, and one of
# 0.93, about the lowest that separates one small data set in 20 perfectly, as one of so many.
_WORTH, _WORTH_AT_ONE = 10, 6
# So many of these cases are added to right and wrong ones: the odds are defined, and less extreme.
_ADDED = 0.3
# The binormal variance counts as so many of the patients that carry the observed one.
_WEIGHT = 0.5


@dataclass(frozen=True)
class Interval:
    """A 95 % interval.

    Attributes:
        limits: [low, high], or None.
        method: How it was made, "" without one.
        reason: Why there is none, "" with one.
    """

    limits: list[float] | None
    method: str = ""
    reason: str = ""

    @property
    def entries(self) -> dict[str, Any]:
        """As metrics.json has it next to a value."""
        if self.limits is None:
            return {"ci95": None, "ci95_reason": self.reason}
        return {"ci95": self.limits, "ci95_method": self.method}


def by_name(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals by name, or by name of name, as metrics.json has them next to plain numbers.

    Returns:
        ``ci95`` by the same names; ``ci95_method`` of those that are there, and ``ci95_reason`` of
        the others.
    """
    parts: dict[str, Any] = {"ci95": {}, "ci95_method": {}, "ci95_reason": {}}
    for name, part in intervals.items():
        for key, value in (part.entries if isinstance(part, Interval) else by_name(part)).items():
            if value or key == "ci95":
                parts[key][name] = value
    return {key: value for key, value in parts.items() if value or key == "ci95"}


def scored(estimate: Estimate, bounds: tuple[float, float] | None = (0, 1)) -> dict[str, Any]:
    """``value`` of a score, None where it is undefined, and its ``ci95`` as by `interval`."""
    undefined = bool(np.isnan(estimate.value))
    value = None if undefined else float(estimate.value)
    return {"value": value, **interval(estimate, bounds).entries}


def interval(estimate: Estimate, bounds: tuple[float, float] | None = (0, 1)) -> Interval:
    """The interval of one score.

    Args:
        estimate: The score.
        bounds: Of a mean: between what its values lie; (0, 1) takes the logit scale.
    """
    reason = _too_few(estimate)
    if np.isnan(estimate.value) or reason:
        return Interval(None, reason=reason or UNDEFINED)
    if estimate.kind == MEAN:
        limits = mean_limits(estimate, bounds)
        return Interval(limits.tolist(), ON_LOGITS if bounds == (0, 1) else ON_MEANS)
    if estimate.kind == SHARE:
        return Interval(share_limits(estimate).tolist(), OF_SHARES)
    return Interval(auroc_limits(estimate).tolist(), OF_AUROCS)


def difference(some: Estimate, other: Estimate) -> dict[str, Any]:
    """``value`` and ``ci95`` of a score less another, of one kind and the same cases: paired."""
    gap = some.value - other.value
    if np.isnan(gap):
        return {"value": None, **Interval(None, reason=UNDEFINED).entries}
    reason = _too_few(some) or _too_few(other)
    methods = {MEAN: ON_DIFFERENCES, SHARE: OF_SHARE_DIFFERENCES, RANKING: OF_AUROC_DIFFERENCES}
    if reason:
        return {"value": float(gap), **Interval(None, reason=reason).entries}
    limits = difference_limits(some, other).tolist()
    return {"value": float(gap), **Interval(limits, methods[some.kind]).entries}


def mean_limits(estimate: Estimate, bounds: tuple[float, float] | None = (0, 1)) -> np.ndarray:
    """(..., 2) limits of means: Student's t with the variance over patients.

    The standard deviation is the unbiased one, by n - 1.5 (Brugger 1969, Am. Stat. 23, 32). In 0..1
    the limits are made on the logit scale, whose skewness is that of such scores; where nothing
    varies they are those of a share.
    """
    patients, value = estimate.smallest, np.asarray(estimate.value)
    error = np.sqrt(estimate.variance * (patients - 1) / (patients - 1.5))
    half = stats.t.ppf(1 - _TAIL, patients - 1) * error
    if bounds != (0, 1):
        limits = np.stack([value - half, value + half], axis=-1)
        return limits if bounds is None else np.clip(limits, *bounds)
    inside = np.clip(value, 1e-9, 1 - 1e-9)
    logit, half = special.logit(inside), half / (inside * (1 - inside))
    limits = special.expit(np.stack([logit - half, logit + half], axis=-1))
    constant = (error <= 1e-12)[..., None]
    return np.where(constant, beta_limits(value, patients), limits) if constant.any() else limits


def share_limits(estimate: Estimate) -> np.ndarray:
    """(..., 2) limits of shares: `beta_limits` of the effective number of patients.

    That is the number of independent cases with the variance of the share (Korn and Graubard 1998),
    at least Kish's number, where a patient's cases are all alike, and at most all cases.
    """
    value, variance = np.asarray(estimate.value), estimate.variance
    with np.errstate(divide="ignore", invalid="ignore"):
        number = np.nan_to_num(value * (1 - value) / variance, nan=0)
    return beta_limits(value, np.clip(number, estimate.fewest, estimate.most))


def beta_limits(value: ArrayLike, number: ArrayLike) -> np.ndarray:
    """(..., 2) the mid-P limits of a share of ``number`` independent trials, in fractions too.

    Each is the quantile of an equal mixture of two Betas, those of Clopper and Pearson's limit with
    and without the observed count (Lancaster 1961; Berry and Armitage 1995, 10.2307/2348891).
    """
    value, number = np.broadcast_arrays(np.asarray(value, float), np.asarray(number, float))
    hits, misses = value * number, (1 - value) * number
    return np.stack([_lower(hits, misses), 1 - _lower(misses, hits)], axis=-1)


def auroc_limits(estimate: Estimate) -> np.ndarray:
    """(..., 2) limits of an AUROC or average precision, on the logit scale.

    Where few cases are ranked wrongly the variance is known badly, and too small more often than
    too large. It is averaged with that of a binormal AUROC, which weighs as half of one of the
    patients that carry it; their number is that of equal influences with the same kurtosis, and
    Student's t has four times as many degrees of freedom. At 1 the lower limit is the mid-P limit
    of a share. Where all scores are equal there is nothing to vary.
    """
    value, sums = np.asarray(estimate.value, float), estimate.sums
    variance, cases = (sums**2).sum(axis=-1), estimate.fewest
    at_end = (value >= 1) | (value <= 0)
    degenerate = at_end | (variance <= 0)
    fourth = np.where(degenerate, 1, (sums**4).sum(axis=-1))
    carrying = np.where(degenerate, 0, variance**2 / fourth)
    typical = _binormal_variance(_added(value, _WORTH * cases, 0.5)) / cases
    variance = (carrying * variance + _WEIGHT * typical) / (carrying + _WEIGHT)
    inside = _added(value, _WORTH * cases, _ADDED)
    half = (
        stats.t.ppf(1 - _TAIL, 4 * (carrying + _WEIGHT))
        * np.sqrt(variance)
        / (inside * (1 - inside))
    )
    logit = special.logit(inside)
    limits = special.expit(np.stack([logit - half, logit + half], axis=-1))
    limits = np.where(degenerate[..., None], value[..., None], limits)
    if not at_end.any():
        return np.asarray(limits)
    return np.where(at_end[..., None], beta_limits(value, _WORTH_AT_ONE * cases), limits)


def difference_limits(some: Estimate, other: Estimate) -> np.ndarray:
    """(..., 2) limits of a score less another of the same kind and cases.

    Of means t on the differences of patients. Of shares Bonett and Price's (2012,
    10.3102/1076998611411915) of the effective number: one case is added to either kind of
    disagreement. Of AUROCs DeLong's paired variance; where one is 1 or 0, and its variance unknown,
    the limits are square-and-add of both intervals.
    """
    gap = np.asarray(some.value - other.value, float)
    influence = some.influence - other.influence
    paired = Estimate(
        gap, influence, some.patients, some.kind, some.fewest, some.most, some.smallest
    )
    variance = paired.variance
    if some.kind == SHARE and some.values is not None and other.values is not None:
        spread = ((some.values - other.values) ** 2).mean(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            number = np.where(variance > 0, (spread - gap**2) / variance, 0)
        number = np.clip(number, some.fewest, some.most)
        centre = gap * number / (number + 2)
        spread = (spread * number + 2) / (number + 2)
        half = _Z * np.sqrt((spread - centre**2) / (number + 2))
        return np.asarray(np.clip(np.stack([centre - half, centre + half], axis=-1), -1, 1))
    quantile = stats.t.ppf(1 - _TAIL, some.smallest - 1) if some.kind == MEAN else _Z
    half = quantile * np.sqrt(variance)
    limits = np.stack([gap - half, gap + half], axis=-1)
    if some.kind != RANKING:
        return np.asarray(limits)
    values = np.stack([some.value, other.value])
    at_end = np.asarray(((values >= 1) | (values <= 0)).any(axis=0))
    if at_end.any():
        apart = _square_and_add(values[0], values[1], auroc_limits(some), auroc_limits(other))
        limits = np.where(at_end[..., None], apart, limits)
    return np.asarray(np.clip(limits, -1, 1))


def interval_of_median(values: ArrayLike, patients: ArrayLike) -> Interval:
    """The interval of the median of (n,) values over cases.

    Woodruff's (1952, 10.2307/2280781): the values at the limits of the share below the median.
    """
    values = np.asarray(values, dtype=float)
    below = share(values <= np.median(values), patients)
    if below.smallest < FEWEST:
        return Interval(None, reason=FEW_IN_ALL)
    # The share itself is about a half, and of ties it may be any.
    variance = below.variance
    number = np.clip(0.25 / variance if variance > 0 else 0, below.fewest, below.most)
    low, high = beta_limits(0.5, number)
    limits = [float(np.quantile(values, low, method="lower")),
              float(np.quantile(values, high, method="higher"))]  # fmt: skip
    return Interval(limits, OF_MEDIANS)


def interval_of_mean(
    values: ArrayLike, patients: ArrayLike, bounds: tuple[float, float] | None = (0, 1)
) -> Interval:
    """The interval of the mean of (n,) values over cases."""
    return interval(mean(values, patients), bounds)


def interval_of_share(hits: ArrayLike, patients: ArrayLike) -> Interval:
    """The interval of the share of (n,) cases that are hits."""
    return interval(share(hits, patients))


def difference_of_independent(some: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` and ``ci95`` of a score less another of other patients, each with these two.

    The interval is by square-and-add from the intervals of both; None where one of them has none.
    """
    if some["value"] is None or other["value"] is None:
        return {"value": None, **Interval(None, reason=UNDEFINED).entries}
    gap = some["value"] - other["value"]
    if not some["ci95"] or not other["ci95"]:
        lacking = other if some["ci95"] else some
        known = {key: lacking[key] for key in ("ci95_reason",) if lacking.get(key)}
        return {"value": gap, "ci95": None, **known}
    limits = _square_and_add(
        some["value"], other["value"], np.asarray(some["ci95"]), np.asarray(other["ci95"])
    )
    return {"value": gap, **Interval(limits.tolist(), OF_INDEPENDENT).entries}


def _square_and_add(
    value: Any, other: Any, limits: np.ndarray, other_limits: np.ndarray
) -> np.ndarray:
    """(..., 2) limits of a value less another from the (..., 2) limits of both.

    Zou and Donner 2008 (10.1002/sim.3095).
    """
    below = np.hypot(value - limits[..., 0], other_limits[..., 1] - other)
    above = np.hypot(limits[..., 1] - value, other - other_limits[..., 0])
    return np.stack([value - other - below, value - other + above], axis=-1)


def expected_auroc_limits(auroc: float, positives: int, negatives: int) -> np.ndarray:
    """(2,) about what interval an AUROC will have, of a film of each of so many patients.

    The variance is that of two normal distributions (Hanley and McNeil 1982,
    10.1148/radiology.143.1.7063747, with the binormal model's probabilities of triples).
    """
    pairs, others = positives * negatives, positives + negatives - 2
    variance = (auroc * (1 - auroc) + others * _binormal_variance(auroc)) / pairs
    half = _Z * np.sqrt(variance) / (auroc * (1 - auroc))
    return np.asarray(special.expit(special.logit(auroc) + np.array([-half, half])))


def _too_few(estimate: Estimate) -> str:
    if estimate.kind == MEAN:
        return "" if estimate.smallest > 1 else ALONE
    whole = estimate.values is not None
    return "" if estimate.smallest >= FEWEST else FEW_IN_ALL if whole else FEW


def _binormal_variance(auroc: ArrayLike) -> np.ndarray:
    """That of the share of the other class which a case is ranked rightly against."""
    auroc = np.asarray(auroc, dtype=float)
    # Of three cases of two classes: that one is ranked rightly against both others.
    both = auroc - 2 * special.owens_t(special.ndtri(auroc), 1 / np.sqrt(3))
    return np.asarray(both - auroc**2)


def _added(value: np.ndarray, cases: float, pairs: float) -> np.ndarray:
    return np.asarray((value * cases + pairs) / (cases + 2 * pairs))


def _lower(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """The probability with which so many hits, half of them counted, or more are in the tail."""
    some, few = np.maximum(hits, 1e-9), np.maximum(misses, 1e-9)
    low, high = np.zeros(hits.shape), np.ones(hits.shape)
    for _ in range(45):
        middle = (low + high) / 2
        more = np.where(misses > 1e-9, special.betainc(hits + 1, few, middle), 0)
        tail = (special.betainc(some, misses + 1, middle) + more) / 2
        high, low = np.where(tail > _TAIL, middle, high), np.where(tail > _TAIL, low, middle)
    return np.where(hits > 1e-9, (low + high) / 2, 0)
