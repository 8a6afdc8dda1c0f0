"""How wide the intervals will be for so many patients, before anybody trains: ``--check``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special, stats

from common.base.tables import Table, print_table
from common.scores.intervals import FEW, FEW_IN_ALL, FEWEST, beta_limits, expected_auroc_limits

_AUROCS = (0.7, 0.8, 0.9, 0.95)
_SHARE = 0.9


def print_expected(
    cases: pd.DataFrame,
    test_share: float,
    truth: np.ndarray | None = None,
    names: Sequence[str] = (),
    mean: tuple[str, float, float] | None = None,
) -> None:
    """Print the intervals to expect of the test split, and where all cases are test cases.

    Args:
        cases: (n rows) the usable ones, with ``patient``.
        test_share: Of the test split, 0 to 1.
        truth: (n, classes) 0 or 1, of a classification: the table is of the rarest class.
        names: Of these classes, for one column that of yes.
        mean: Of another project, the name of its score, a value, and by how much it deviates
            between patients.
    """
    unit = "images (patients unknown)" if cases.attrs.get("patients_remark") else "patients"
    patients = cases["patient"].to_numpy()
    groups = [(f"all {unit} as test cases", 1.0)]
    if test_share:
        groups.insert(0, (f"a test split of {test_share:.0%}", test_share))
    if truth is None:
        few = len(np.unique(patients))
        numbers: list[tuple[int, int]] = [(round(few * share), 0) for _, share in groups]
        of_class = ""
    else:
        counts = [
            (len(np.unique(patients[column == 1])), len(np.unique(patients[column == 0])))
            for column in truth.T
        ]
        rarest = int(np.argmin([positives for positives, _ in counts]))
        yes, no = counts[rarest]
        numbers = [(round(yes * share), round(no * share)) for _, share in groups]
        of_class = f" with {ascii(names[rarest])[1:-1]}"
    head = [
        f"{name}: {some}{of_class}" + (f", {others} without" if of_class else f" {unit}")
        for (name, _), (some, others) in zip(groups, numbers, strict=True)
    ]
    rows = _of_mean(mean, numbers) if mean else _of_class(numbers)
    title = "95 % intervals to expect, of one film or volume a patient (docs/intervals.md)"
    print_table(Table(title, ("if the score is", *head), tuple(rows)))


def _of_class(numbers: Sequence[tuple[int, ...]]) -> list[tuple[str, ...]]:
    def auroc(value: float, positives: int, negatives: int) -> str:
        if min(positives, negatives) < FEWEST:
            return f"none: {FEW}"
        return _in_words(expected_auroc_limits(value, positives, negatives))

    rows = [(f"AUROC {value}", *(auroc(value, *pair) for pair in numbers)) for value in _AUROCS]
    for name, place in (("sensitivity", 0), ("specificity", 1)):
        rows.append((f"{name} {_SHARE}", *(_of_share(pair[place], FEW) for pair in numbers)))
    return rows


def _of_mean(
    mean: tuple[str, float, float], numbers: Sequence[tuple[int, ...]]
) -> list[tuple[str, ...]]:
    name, value, deviation = mean

    def limits(patients: int) -> str:
        if patients < 2:
            return "none: one patient"
        error = deviation / np.sqrt(patients) / (value * (1 - value))
        half = stats.t.ppf(0.975, patients - 1) * error
        return _in_words(special.expit(special.logit(value) + np.array([-half, half])))

    counts = [pair[0] for pair in numbers]
    title = f"{name} {value}, of patients that deviate by {deviation}"
    return [
        (title, *map(limits, counts)),
        (f"a share of {_SHARE}", *(_of_share(count, FEW_IN_ALL) for count in counts)),
    ]


def _of_share(patients: int, reason: str) -> str:
    return f"none: {reason}" if patients < FEWEST else _in_words(beta_limits(_SHARE, patients))


def _in_words(limits: np.ndarray) -> str:
    low, high = limits
    return f"[{low:.2f}, {high:.2f}]"
