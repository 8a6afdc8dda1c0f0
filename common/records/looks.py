"""The films or volumes of a dataset that look odd among the others, for its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from common.records.outcomes import Case, Features

LOOK = "look"
"""A feature that no record has: the look of a film or volume, where it is checked."""


class Looking(NamedTuple):
    """How cases are looked at.

    Attributes:
        at: From a case's features to its look.
        over: From all looks, the patient of each and a seed to why each is doubted, or "".
    """

    at: Callable[[Features], Any]
    over: Callable[[Sequence[Any], Sequence[str], int], list[str]]


def decode_with_look(
    decode: Callable[[Case], Features], look: Callable[[Features], Any], case: Case
) -> Features:
    """A case's features, with its look."""
    features = decode(case)
    return {**features, LOOK: look(features)}


def patients_of(cases: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """The patient of each case that is named, from the table of cases."""
    patients = cases.set_index("case")["patient"].astype(str)
    return [patients[name] for name in names]


def find_odd(
    looking: Looking, features: Mapping[str, Features], cases: pd.DataFrame, seed: int
) -> dict[str, str]:
    """Why cases look odd, or "", by case, from their features with looks."""
    looks = [content[LOOK] for content in features.values()]
    odd = looking.over(looks, patients_of(cases, features), seed)
    return dict(zip(features, odd, strict=True))
