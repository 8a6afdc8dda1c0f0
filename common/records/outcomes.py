"""A case decoded, in another process, to the features of its record or the reason for none."""

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
"""A feature that is reported and not written: the finding of a check in a case that is kept."""

# From this number of cases on, some ten milliseconds each, processes share the work.
_POOL_FROM = 50


class Outcome(NamedTuple):
    """A decoded case.

    Attributes:
        features: The content of its record; None where it is left out.
        left_out: Why it is left out, "CHECK: detail"; "" where it is not.
        remark: A finding in a case that is kept, in the same form; "" for none.
    """

    features: Features | None
    left_out: str
    remark: str


def outcomes(decode: Callable[[Case], Features], cases: Sequence[Case]) -> list[Outcome]:
    """Decode cases; a `UserError` leaves its case out and never stops the others."""
    return [_outcome(decode, case) for case in cases]


def try_cases(
    decode: Callable[[Case], Features], cases: Sequence[Case], workers: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Decode cases to find those that can't be used, and keep nothing else.

    Args:
        decode: As for `common.records.shards.write_shards`.
        cases: Rows with ``case``.
        workers: Number of processes; 0: one per core.

    Returns:
        By case, `Outcome.left_out` where there is one, and `Outcome.remark` where there is one.
    """
    checked = each(partial(_check, decode), cases, _POOL_FROM, workers, desc="check", unit="case")
    left_out = {name: reason for name, reason, _ in checked if reason}
    return left_out, {name: remark for name, _, remark in checked if remark}


def _outcome(decode: Callable[[Case], Features], case: Case) -> Outcome:
    try:
        features = dict(decode(case))
    except UnusableError as error:
        return Outcome(None, f"{error.check}: {error}", "")
    except UserError as error:
        return Outcome(None, str(error), "")
    return Outcome(features, "", features.pop(REMARK, ""))


def _check(decode: Callable[[Case], Features], case: Case) -> tuple[str, str, str]:
    outcome = _outcome(decode, case)
    return case["case"], outcome.left_out, outcome.remark
