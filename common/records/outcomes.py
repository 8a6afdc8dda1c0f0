"""A case decoded, in another process, to what its record holds, or to why it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from common.base.errors import UnusableError, UserError
from common.base.processes import each

Features = Mapping[str, Any]
"""Name to bytes, str, int, float, or an array of floats or ints."""

Case = Mapping[str, Any]
"""A row of the table of cases, with ``split``."""

REMARK = "remark"
"""The feature that is told and not written: what a check found in a case that is kept."""

_POOL_FROM = 50  # cases, some ten milliseconds each


class Outcome(NamedTuple):
    """What became of a case.

    Attributes:
        features: What its record holds; None where it is left out.
        left_out: Why it is left out, "CHECK: what was found"; "" where it is not.
        remark: In the same form, what was found in a case that is kept; "" for nothing.
    """

    features: Features | None
    left_out: str
    remark: str


def outcomes(decode: Callable[[Case], Features], cases: Sequence[Case]) -> list[Outcome]:
    """Decode some cases; a `UserError` leaves its case out and never stops the others."""
    return [_outcome(decode, case) for case in cases]


def try_cases(
    decode: Callable[[Case], Features], cases: Sequence[Case], workers: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Decode cases to see what can't be used, and keep nothing else.

    Args:
        decode: As for `common.records.shards.write_shards`.
        cases: Rows with ``case``.
        workers: Processes; 0 is one a core.

    Returns:
        By case, `Outcome.left_out` where there is one, and `Outcome.remark` where there is one.
    """
    tried = each(partial(_told, decode), cases, _POOL_FROM, workers, desc="check", unit="case")
    names = [case["case"] for case in cases]
    left_out = {name: found[0] for name, found in zip(names, tried, strict=True) if found[0]}
    remarks = {name: found[1] for name, found in zip(names, tried, strict=True) if found[1]}
    return left_out, remarks


def _outcome(decode: Callable[[Case], Features], case: Case) -> Outcome:
    try:
        features = dict(decode(case))
    except UnusableError as error:
        return Outcome(None, f"{error.check}: {error}", "")
    except UserError as error:
        return Outcome(None, str(error), "")
    return Outcome(features, "", features.pop(REMARK, ""))


def _told(decode: Callable[[Case], Features], case: Case) -> tuple[str, str]:
    outcome = _outcome(decode, case)
    return outcome.left_out, outcome.remark
