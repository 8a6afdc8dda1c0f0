"""95 % intervals by bootstrap over patients.

Cases of one patient are alike, so patients are drawn with replacement, each with all of its
cases (Efron and Tibshirani 1993, chapters 6 and 13). A resample is a count per case, the number
of times its patient was drawn; a statistic is computed from the counts of many resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000

# Resamples at once, which bounds memory: 7 MB of counts for 26,684 cases.
_CHUNK = 64


def patient_resamples(
    patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """Draw as many patients as there are, with replacement.

    Args:
        patients: (n,) the patient of each case, a label of any kind.
        resamples: Number of draws.
        seed: The same seed gives the same resamples.

    Yields:
        (r, n) int32, how often each case's patient was drawn in each of the next r resamples,
        as a transposed array: a column, one case, is contiguous.
    """
    _, case_patient = np.unique(np.asarray(patients), return_inverse=True)
    n_patients = int(case_patient.max()) + 1
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        drawn = rng.integers(0, n_patients, (size, n_patients), dtype=np.int32)
        cells = drawn * size + np.arange(size, dtype=np.int32)[:, np.newaxis]
        counts = np.bincount(cells.ravel(), minlength=n_patients * size).astype(np.int32)
        yield counts.reshape(n_patients, size)[case_patient].T


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """The values of a statistic over resamples of patients.

    Args:
        statistic: From counts (r, n) to values (r,) or (r, k); NaN where it is undefined.
        patients: (n,) the patient of each case.
        resamples: Number of resamples.
        seed: The same seed gives the same resamples.

    Returns:
        (resamples,) or (resamples, k).
    """
    chunks = patient_resamples(patients, resamples, seed)
    return np.concatenate([statistic(counts) for counts in chunks])


def interval(values: ArrayLike) -> list[float] | None:
    """The 2.5th and 97.5th percentile of the values that are not NaN; None without any."""
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if not array.size:
        return None
    low, high = np.percentile(array, [2.5, 97.5])
    return [float(low), float(high)]


def ci95(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: ArrayLike,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[float] | None:
    """The 95 % interval [low, high] of a statistic, or None.

    None where there are fewer than two patients, and so nothing to vary, or where the
    statistic is undefined in every resample. See `bootstrap` for the arguments.
    """
    return estimates(lambda counts: statistic(counts)[:, None], patients, seed, resamples)[1][0]


def estimates(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: ArrayLike,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[list[float], list[list[float] | None]]:
    """The values of statistics on all cases, and the 95 % interval of each, as from `ci95`.

    Args:
        statistic: From counts (r, n) to values (r, k); NaN where one is undefined.
        patients: (n,) the patient of each case.
        seed: The same seed gives the same resamples.
        resamples: Number of resamples.

    Returns:
        k values and k intervals.
    """
    patients = np.asarray(patients)
    values = statistic(np.ones((1, len(patients)), dtype=np.int32))[0].tolist()
    if len(np.unique(patients)) < 2:
        return values, [None] * len(values)
    return values, [*map(interval, bootstrap(statistic, patients, resamples, seed).T)]


def limits_of_share(
    share: float, limits: list[float] | None, patients: ArrayLike
) -> list[float] | None:
    """The 95 % interval of a share, also of 0 and 1.

    There all resamples are alike, which says nothing of the uncertainty: the interval is that of
    Clopper and Pearson 1934 (Biometrika 26, 404), with patients for trials.

    Args:
        share: In 0..1.
        limits: Of the bootstrap.
        patients: (n,) the patient of each case in the share's denominator.
    """
    trials = len(np.unique(np.asarray(patients)))
    if share not in (0, 1) or trials < 2:
        return limits
    end = 0.025 ** (1 / trials)
    return [end, 1.0] if share else [0.0, 1 - end]


def ci95_of_share(hits: ArrayLike, patients: ArrayLike, seed: int = 0) -> list[float] | None:
    """The 95 % interval [low, high] of the share of (n,) cases that are hits, or None."""
    hits = np.asarray(hits, dtype=float)
    return limits_of_share(hits.mean(), ci95_of_mean(hits, patients, seed), patients)


def ci95_of_mean(
    values: ArrayLike, patients: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> list[float] | None:
    """The 95 % interval [low, high] of the mean of (n,) values over cases, or None."""
    return ci95_of_means(np.asarray(values)[:, np.newaxis], patients, seed, resamples)[0]


def ci95_of_means(
    values: np.ndarray, patients: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> list[list[float] | None]:
    """`ci95_of_mean` of each column of (n, k) values, from the same resamples."""
    values = np.asarray(values, dtype=float)
    values_and_one = np.column_stack([values, np.ones(len(values))])

    def means(counts: np.ndarray) -> np.ndarray:
        sums = np.asarray(counts @ values_and_one)
        return np.asarray(sums[:, :-1] / sums[:, -1:])

    return estimates(means, patients, seed, resamples)[1]


def ci95_of_median(
    values: ArrayLike, patients: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> list[float] | None:
    """The 95 % interval [low, high] of the median of (n,) values over cases, or None."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values)
    ranked = values[order]

    def median(counts: np.ndarray) -> np.ndarray:
        running = np.cumsum(counts[:, order], axis=1)
        total = running[:, -1:]
        # The median of an even number of cases is the mean of the two in the middle.
        low, high = ((running > place).argmax(axis=1) for place in ((total - 1) // 2, total // 2))
        return np.asarray((ranked[low] + ranked[high]) / 2)

    return ci95(median, patients, seed, resamples)
