"""The scores of groups of cases, such as each view, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.scores.formatting import score
from common.scores.intervals import difference_of_independent

ScoreCases = Callable[[np.ndarray], Mapping[str, Any]]
"""Rows, (n,) of true and false, to the scores of these cases, as in metrics.json."""

_SAID_OF_INTERVALS = ("ci95", "ci95_method", "ci95_reason")


def scores_by_group(
    groups: ArrayLike, score_cases: ScoreCases, names: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """The scores of each group of cases, by the group's name, sorted.

    Args:
        groups: (n,) names, "" for a case in none.
        score_cases: Scores some of the cases.
        names: The scores that are kept, with what is said of their intervals; none for all.
    """
    groups = np.asarray(groups)
    kept = {*names, *_SAID_OF_INTERVALS}
    by_group = {}
    for group in sorted(set(groups.tolist()) - {""}):
        scores = score_cases(groups == group)
        by_group[str(group)] = {n: s for n, s in scores.items() if not names or n in kept}
    return by_group


def gaps_of_groups(
    columns: Mapping[str, ArrayLike],
    score_cases: ScoreCases,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The scores of each group less those of all cases in the other groups of its kind.

    Where there are two groups one gap says all. Intervals are square-and-add, as of other patients;
    where a patient is in both groups they are too wide rather than too narrow.

    Args:
        columns: (n,) names of groups, "" for a case in none, by their kind, such as "sex".
        score_cases: Scores some of the cases.
        names: The scores that are compared.

    Returns:
        Of each group its ``kind``, ``group``, ``n``, and the gaps, ``{value, ci95}``, by name.
    """
    gaps = []
    for kind, column in columns.items():
        groups = np.asarray(column)
        known = sorted(set(groups) - {""})
        if len(known) < 2:
            continue
        for group in known[:1] if len(known) == 2 else known:
            mine = groups == group
            own, others = score_cases(mine), score_cases(~mine & (groups != ""))
            gaps.append(
                {
                    "kind": kind,
                    "group": str(group),
                    "n": int(mine.sum()),
                    **{
                        name: difference_of_independent(_part(own, name), _part(others, name))
                        for name in names
                    },
                }
            )
    return gaps


def describe_gaps(gaps: Sequence[Mapping[str, Any]]) -> str:
    """How many gaps were looked at, and how many of them chance alone would show, in words."""
    limits = [
        part["ci95"]
        for gap in gaps
        for part in gap.values()
        if isinstance(part, Mapping) and part["ci95"]
    ]
    outside = sum(low > 0 or high < 0 for low, high in limits)
    return (
        f"{len(limits)} gaps with an interval were looked at: chance alone puts 0 outside of about "
        f"{0.05 * len(limits):.1f} of them, here it is outside of {outside}"
    )


def _part(scores: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = scores[name]
    return value if isinstance(value, Mapping) else score(scores, name)
