"""The films of a dataset that look odd among the others, for its check."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from common.imaging.film_doubts import look_over
from common.imaging.film_looks import Look
from common.records.outcomes import Case, Features

LOOK = "look"
"""A feature that no record has: the film's look, where it is checked."""


def decode_with_look(
    decode: Callable[[Case], Features], look: Callable[[Features], Look], case: Case
) -> Features:
    """A case's features, with its look."""
    features = decode(case)
    return {**features, LOOK: look(features)}


def find_odd(features: Mapping[str, Features], cases: pd.DataFrame, seed: int) -> dict[str, str]:
    """Why films look odd, or "", by case, from their features with looks."""
    patients = cases.set_index("case")["patient"]
    looks = [content[LOOK] for content in features.values()]
    odd = look_over(looks, [str(patients[case]) for case in features], seed)
    return dict(zip(features, odd, strict=True))
