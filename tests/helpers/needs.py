"""What a test needs that a machine may lack, and how a run under CI takes it.

A test is skipped for one of two reasons. Something is missing that could be installed (a package,
a program, a browser): where CI is set, that fails. Or the machine is of another kind (with a GPU or
without, without Linux, without the real data, the user is root): that stays a skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from importlib.util import find_spec
from typing import NoReturn

import pytest

OTHER_MACHINE = "for another machine: "


def package(*names: str) -> None:
    """Skip where one of these packages is not installed."""
    for name in names:
        if find_spec(name) is None:
            pytest.skip(f"the package {name} is not installed")


def program(*names: str) -> str:
    """The path of the first of these programs that is there; skip where none is."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"the program {' or '.join(names)} is not installed")
    return path


def machine(fits: bool, need: str) -> pytest.MarkDecorator:
    """Mark a test that only a machine of one kind can run."""
    return pytest.mark.skipif(not fits, reason=OTHER_MACHINE + need)


def other_machine(need: str) -> NoReturn:
    """Skip a test that only a machine of another kind can run."""
    pytest.skip(OTHER_MACHINE + need)


# --- hooks of pytest, which conftest.py takes over ------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, make of a test that was skipped for what is missing one that failed."""
    return _no_silent_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file."""
    return _no_silent_skip((yield))


def _no_silent_skip(report):
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not reason.startswith(OTHER_MACHINE):
            report.outcome = "failed"
            report.longrepr = f"skipped, which fails where CI is set: {reason}"
    return report
