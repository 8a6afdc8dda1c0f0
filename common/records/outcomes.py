"""A case decoded, in another process, to the features of its record or the reason for none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from common.base.errors import NotInstalledError, UnusableError, UserError
from common.base.processes import each
from common.datasets.published import is_public_path
from common.imaging.library_warnings import library_warnings

Features = Mapping[str, Any]
"""Name to bytes, str, int, float, or an array of floats or ints."""

Case = Mapping[str, Any]
"""A row of the table of cases, with ``split``."""

ACQUISITION = "acquisition"
"""The feature of a record that holds `common.imaging.acquisition.as_text`."""

REMARK = "remark"
"""A feature that is reported and not written: the findings in a case that is kept, a line each."""

WARNING = "library warning"
"""The check of what a library warned of while it read a case (`common.imaging.library_warnings`).
"""


class Outcome(NamedTuple):
    """A decoded case.

    Attributes:
        features: The content of its record; None where it is left out.
        left_out: Why it is left out, "CHECK: detail"; "" where it is not.
        remark: The findings in a case that is kept, a line each in the same form; "" for none.
    """

    features: Features | None
    left_out: str
    remark: str


def outcome(decode: Callable[[Case], Features], case: Case) -> Outcome:
    """Decode a case; a `UserError` leaves it out, any other error says the case.

    Raises:
        NotInstalledError: As soon as it is installed, the case can be used.
    """
    try:
        with library_warnings() as kinds:
            features = dict(decode(case))
    except NotInstalledError:
        raise
    except UnusableError as error:
        return Outcome(None, f"{error.check}: {error}", "")
    except UserError as error:
        return Outcome(None, str(error), "")
    except Exception as error:
        error.add_note(f"while reading {_shown_path(case)}")
        raise
    remarks = [features.pop(REMARK, ""), *(f"{WARNING}: {kind}" for kind in sorted(kinds))]
    return Outcome(features, "", "\n".join(filter(None, remarks)))


def lost(case: Case, reason: str) -> Outcome:
    """The outcome of a case whose decoding ended its process."""
    return Outcome(None, f"{_shown_path(case)}: {reason}", "")


def _shown_path(case: Case) -> str:
    """The path of a case, or its name where a path may tell who it is."""
    path: str = case["path"] if is_public_path(case["path"]) else case["case"]
    return path


def try_cases(
    decode: Callable[[Case], Features], cases: Sequence[Case], workers: int, kept: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], dict[str, Features]]:
    """Decode cases to find those that can't be used, and keep little else.

    Args:
        decode: As for `common.records.shards.write_shards`.
        cases: Rows with ``case``.
        workers: Number of processes; 0: one per core.
        kept: Names of features.

    Returns:
        By case `Outcome.left_out` and `Outcome.remark`, where there are, and the kept features.
    """
    check = partial(_with_few_features, decode, kept)
    checked = each(check, cases, 1, workers, lost, desc="check", unit="case")
    by_name = {case["case"]: result for case, result in zip(cases, checked, strict=True)}
    left_out = {name: o.left_out for name, o in by_name.items() if o.left_out}
    remarks = {name: o.remark for name, o in by_name.items() if o.remark}
    features = {name: o.features for name, o in by_name.items() if o.features}
    return left_out, remarks, features


def _with_few_features(
    decode: Callable[[Case], Features], kept: Sequence[str], case: Case
) -> Outcome:
    result = outcome(decode, case)
    features = result.features or {}
    return result._replace(features={name: features[name] for name in kept if name in features})
