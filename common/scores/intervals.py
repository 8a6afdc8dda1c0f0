"""95 % intervals by bootstrap over patients.

Cases of one patient are alike, so what is drawn again and again, with replacement, is a
patient with all of its cases (Efron and Tibshirani 1993, chapter 6 and 13). A resample is
a count for every case, how often its patient was drawn, and a statistic is computed from
such counts for many resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

RESAMPLES = 2000

# Bounds the memory: 7 MB of counts for 26,684 cases.
_CHUNK = 64


def patient_resamples(
    patients: Sequence, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """Draw as many patients as there are, again and again, with replacement.

    Args:
        patients: (n,) the patient of each case, as any kind of label.
        resamples: How many times.
        seed: The same seed gives the same resamples.

    Yields:
        (r, n) int32, how often each case's patient was drawn in each of the next r
        resamples. It is a transposed array: a column, one case, is contiguous.
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
    patients: Sequence,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """The values of a statistic over resamples of patients.

    Args:
        statistic: From counts (r, n) to values (r,) or (r, k); NaN where it is undefined.
        patients: (n,) the patient of each case.
        resamples: How many times.
        seed: The same seed gives the same resamples.

    Returns:
        (resamples,) or (resamples, k).
    """
    chunks = patient_resamples(patients, resamples, seed)
    return np.concatenate([statistic(counts) for counts in chunks])


def interval(values: Sequence[float]) -> list[float] | None:
    """The 2.5th and 97.5th percentile of the values that are not NaN; None without any."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def ci95(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: Sequence,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[float] | None:
    """The 95 % interval [low, high] of a statistic, or None.

    None where there are fewer than two patients, and so nothing to vary, or where the
    statistic is undefined in every resample. See `bootstrap` for the arguments.
    """
    _, (limits,) = estimates(
        lambda counts: statistic(counts)[:, np.newaxis], patients, seed, resamples
    )
    return limits


def estimates(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: Sequence,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[list[float], list[list[float] | None]]:
    """What some statistics say of all cases, and the 95 % interval of each, as `ci95` gives it.

    Args:
        statistic: From counts (r, n) to values (r, k); NaN where one is undefined.
        patients: (n,) the patient of each case.
        seed: The same seed gives the same resamples.
        resamples: How many times.

    Returns:
        k values and k intervals.
    """
    patients = np.asarray(patients)
    values = statistic(np.ones((1, len(patients)), dtype=np.int32))[0].tolist()
    if len(np.unique(patients)) < 2:
        return values, [None] * len(values)
    return values, [*map(interval, bootstrap(statistic, patients, resamples, seed).T)]


def limits_of_share(
    share: float, limits: list[float] | None, patients: Sequence
) -> list[float] | None:
    """The 95 % interval of a share, also where every case is in it, or none.

    There all resamples are alike and say nothing of how sure that is: the interval is then that
    of Clopper and Pearson 1934 (Biometrika 26, 404), with patients for trials.

    Args:
        share: In 0..1.
        limits: Of the bootstrap.
        patients: (n,) the patient of each case that the share is of.
    """
    trials = len(np.unique(np.asarray(patients)))
    if share not in (0, 1) or trials < 2:
        return limits
    end = 0.025 ** (1 / trials)
    return [end, 1.0] if share else [0.0, 1 - end]


def ci95_of_share(hits: Sequence[bool], patients: Sequence, seed: int = 0) -> list[float] | None:
    """The 95 % interval [low, high] of the share of (n,) cases that are hits, or None."""
    hits = np.asarray(hits, dtype=float)
    return limits_of_share(hits.mean(), ci95_of_mean(hits, patients, seed), patients)


def ci95_of_mean(
    values: Sequence[float], patients: Sequence, seed: int = 0, resamples: int = RESAMPLES
) -> list[float] | None:
    """The 95 % interval [low, high] of the mean of (n,) values over cases, or None."""
    return ci95_of_means(np.asarray(values)[:, np.newaxis], patients, seed, resamples)[0]


def ci95_of_means(
    values: np.ndarray, patients: Sequence, seed: int = 0, resamples: int = RESAMPLES
) -> list[list[float] | None]:
    """The same of each column of (n, k) values, from the same resamples."""
    values = np.asarray(values, dtype=float)
    sums_and_count = np.column_stack([values, np.ones(len(values))])

    def means(counts: np.ndarray) -> np.ndarray:
        drawn = counts @ sums_and_count
        return drawn[:, :-1] / drawn[:, -1:]

    return estimates(means, patients, seed, resamples)[1]


def ci95_of_median(
    values: Sequence[float], patients: Sequence, seed: int = 0, resamples: int = RESAMPLES
) -> list[float] | None:
    """The 95 % interval [low, high] of the median of (n,) values over cases, or None."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values)
    ranked = values[order]

    def median(counts: np.ndarray) -> np.ndarray:
        so_far = np.cumsum(counts[:, order], axis=1)
        drawn = so_far[:, -1:]
        # Of an even number of cases it is the mean of the two in the middle.
        low, high = ((so_far > place).argmax(axis=1) for place in ((drawn - 1) // 2, drawn // 2))
        return (ranked[low] + ranked[high]) / 2

    return ci95(median, patients, seed, resamples)
