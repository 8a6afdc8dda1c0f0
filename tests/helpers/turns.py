"""Runs with a limit of time: which tests come first, and the names of those that did not run.

`--turn N` puts a fifth of the test files first, and in turn N + 1 the next fifth, so that five
turns in a row begin at every test once. `--minutes M` begins no test after M minutes. What did not
run is deselected, not skipped, and named at the end. Without a turn the `LONGEST` files come first.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

BEGAN = time.monotonic()
TURNS = 5
LONGEST = (
    "tests/test_scripts.py",
    "tests/training/test_fitting.py",
    "tests/training/test_averaging.py",
    "tests/training/test_tensorboard.py",
    "tests/tools/test_guard.py",
    "tests/base/test_bundled.py",
    "tests/datasets/test_duplicates.py",
    "tests/models/test_film_networks.py",
    "tests/models/test_starting_weights.py",
    "tests/synthetic_sample/test_sample.py",
    "tests/test_install.py",
    "tests/test_predict.py",
    "tests/test_patients.py",
    "tests/test_reliability.py",
)
"""Files of minutes, which come first in this order: begun last, one of them would keep a single
process busy. Between the first, which takes each project once through, and those that wait for it
stands what the other process does meanwhile."""
NOT_RUN = pytest.StashKey[list[str]]()


def places_from_first(test: str, turn: int) -> int:
    """In how many turns from this one a test comes first: 0 to 4.

    A file's tests stay together, as they share what they have trained; a file's fifth hangs on its
    name alone, so that another new one moves none.
    """
    return (zlib.crc32(test.partition("::")[0].encode()) - turn) % TURNS


def in_turn(tests: Sequence[str], turn: int) -> list[str]:
    """Test ids in the order of a turn.

    In each fifth the file with the most tests comes first, as it takes a process for the longest.
    """
    sizes = Counter(test.partition("::")[0] for test in tests)

    def place(test: str) -> tuple[int, int, str]:
        file = test.partition("::")[0]
        return places_from_first(test, turn), -sizes[file], file

    return sorted(tests, key=place)


# --- hooks of pytest, which conftest.py takes over ------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="begin no test after so many minutes")
    parser.addoption("--turn", type=int, help="a number that says which fifth of tests comes first")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    turn = config.getoption("turn")
    if turn is None:
        first = {file: place for place, file in enumerate(LONGEST)}
        items.sort(key=lambda item: first.get(item.nodeid.partition("::")[0], len(first)))
        return
    tests = in_turn([item.nodeid for item in items], turn)
    places = {test: place for place, test in enumerate(tests)}
    items.sort(key=lambda item: places[item.nodeid])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    minutes = item.config.getoption("minutes")
    if minutes is None or time.monotonic() - BEGAN < 60 * minutes:
        return None
    item.config.stash[NOT_RUN].append(item.nodeid)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist hands over what it did not run."""
    node.config.stash[NOT_RUN] += getattr(node, "workeroutput", {}).get("not_run", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["not_run"] = config.stash[NOT_RUN]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.getoption("minutes") is not None:
        names = ", ".join(sorted(config.stash[NOT_RUN])) or "none"
        terminalreporter.write_line(f"not run for time: {names}")
