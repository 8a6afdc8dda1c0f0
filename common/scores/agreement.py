"""How well a measured quantity agrees with the true one: Bland and Altman's limits of agreement.

Bland and Altman 1986 (10.1016/S0140-6736(86)90837-8). The mean of predicted less true is the bias,
and about 95 % of new cases are expected between the limits, 1.96 standard deviations to either side
of it, if the differences are about normal and do not grow with the quantity.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from common.scores.intervals import FEW_IN_ALL, FEWEST, Interval, interval_of_mean

OF_LIMITS = "noncentral t (Carkeet)"
"""The method of the limits' intervals."""

SEVERAL = "patients have several volumes"
_WIDTH = float(stats.norm.ppf(0.975))


def agreement(predicted: ArrayLike, truth: ArrayLike, patients: ArrayLike) -> dict[str, Any]:
    """The bias and the limits of agreement, each with its 95 % interval.

    The limits' intervals are the exact ones for normal differences (Carkeet 2015,
    10.1097/OPX.0000000000000513), each by itself. They need one case a patient.

    Args:
        predicted: (n,) in any unit.
        truth: (n,) in the same.
        patients: (n,) the patient of each case.

    Returns:
        ``mean`` of predicted less true with its interval; ``low`` and ``high``, the limits, each
        with ``value`` (None with one case) and ``ci95``, or None and why (``ci95_reason``).
    """
    differences = np.asarray(predicted, float) - np.asarray(truth, float)
    n, bias = len(differences), float(np.mean(differences))
    spread = float(np.std(differences, ddof=1)) if n > 1 else None
    reason = FEW_IN_ALL if n < FEWEST else SEVERAL if len(set(np.asarray(patients))) < n else ""

    def limit(sign: int) -> dict[str, Any]:
        interval = Interval(None, reason=reason)
        if spread is not None and not reason:
            near, far = (sign * factor * spread for factor in _factors(n))
            interval = Interval(sorted([bias + near, bias + far]), OF_LIMITS)
        value = None if spread is None else bias + sign * _WIDTH * spread
        return {"value": value, **interval.entries}

    mean = {"mean": bias, **interval_of_mean(differences, patients, None).entries}
    return {**mean, "low": limit(-1), "high": limit(1)}


@cache
def _factors(n: int) -> tuple[float, float]:
    """Between how many standard deviations of a sample from its mean its upper limit lies."""
    quantiles = stats.nct.ppf([0.025, 0.975], n - 1, _WIDTH * np.sqrt(n)) / np.sqrt(n)
    return float(quantiles[0]), float(quantiles[1])
