"""What every change has to pass: the types' exceptions, skips, and turns of slow tests."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.scripts import ROOT
from tests.helpers.turns import LONGEST, TURNS, in_turn, places_from_first

PRODUCT = [init.parent for init in ROOT.glob("*/__init__.py") if init.parent.name != "tests"]
MAX_IGNORES = 20


def test_what_the_types_leave_out_is_rare_and_has_a_reason():
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PRODUCT
        for path in sorted(package.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"#\s*(type|mypy):", line)
    ]
    assert len(lines) <= MAX_IGNORES
    for line in lines:
        assert re.search(r"# type: ignore\[[a-z, -]+\]  # \w", line), line


# --- skips ----------------------------------------------------------------------------------------

SKIPS = """
import pytest
from tests.helpers import needs

def test_package():
    needs.package("pytest", "no_such_package")

def test_program():
    assert needs.program("no-such-program", "sh").endswith("/sh")
    needs.program("no-such-program")

def test_import():
    pytest.importorskip("no_such_package")

@needs.machine(False, "two suns")
def test_mark():
    pass

def test_machine():
    needs.other_machine("two suns")
"""


def pytest_in(folder, *arguments: str, ci: str = "", code: int = 0) -> str:
    """What a run of pytest over one folder prints, with the hooks of the tests' conftest.py."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    command = [sys.executable, "-m", "pytest", f"--rootdir={folder}", "-p", "no:cacheprovider"]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-c", os.devnull, *arguments, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_missing_fails_under_ci_and_what_no_machine_can_have_does_not(tmp_path):
    (tmp_path / "test_skips.py").write_text(SKIPS)
    assert "5 skipped" in pytest_in(tmp_path)
    printed = pytest_in(tmp_path, ci="true", code=1)
    assert "3 failed, 2 skipped" in printed
    for missing in ["package no_such_package", "program no-such-program", "could not import"]:
        assert re.search(f"skipped, which fails where CI is set: .*{missing}", printed)


def test_tests_say_what_they_need_by_one_helper():
    here = {"needs.py", "test_ci.py"}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        skips = re.findall(r"pytest\.skip|importorskip|skipif|mark\.skip", path.read_text())
        assert path.name in here or not skips, f"{path}: {skips}; ask by tests/helpers/needs.py"


@pytest.mark.slow
def test_a_file_that_skips_itself_fails_under_ci(tmp_path):
    (tmp_path / "test_whole.py").write_text("import pytest; pytest.importorskip('no_such_package')")
    assert "1 skipped" in pytest_in(tmp_path, code=5)
    assert "1 error" in pytest_in(tmp_path, ci="true", code=2)


# --- turns ----------------------------------------------------------------------------------------

FILES = st.lists(st.text("abcdef/", min_size=1, max_size=6), unique=True, max_size=12)
TESTS = FILES.flatmap(
    lambda files: st.permutations([f"{file}.py::test_{n}" for file in files for n in range(3)])
)


def file_of(test):
    return test.partition("::")[0]


@given(TESTS, st.integers(0, 10_000))
def test_as_many_turns_in_a_row_as_there_are_put_each_test_first_once(tests, turn):
    firsts = []
    for number in range(turn, turn + TURNS):
        order = in_turn(tests, number)
        assert sorted(order) == sorted(tests) and order == in_turn(tests, number)
        due = [test for test in order if places_from_first(test, number) == 0]
        assert order[: len(due)] == due
        firsts += due
    assert sorted(firsts) == sorted(tests)


@given(TESTS, st.integers(0, 10_000))
def test_a_files_tests_stay_together_in_their_order(tests, turn):
    order = in_turn(tests, turn)
    groups = [list(group) for _, group in itertools.groupby(order, file_of)]
    assert len(groups) == len({file_of(test) for test in tests})
    for group in groups:
        assert group == [test for test in tests if file_of(test) == file_of(group[0])]


def test_the_turns_are_alike_in_size():
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "mark.slow" in path.read_text() and path.name != "test_ci.py"
    ]
    sizes = [sum(places_from_first(file, turn) == 0 for file in marked) for turn in range(TURNS)]
    assert min(sizes) >= len(marked) // (2 * TURNS), sizes


@pytest.mark.slow
def test_what_did_not_run_for_time_is_named(tmp_path):
    for name in "abcdef":
        (tmp_path / f"test_{name}.py").write_text("def test(): pass")
    tests = [f"test_{name}.py::test" for name in "abcdef"]
    assert "not run for time: none\n" in pytest_in(tmp_path, "--minutes", "5")
    printed = pytest_in(tmp_path, "--minutes", "0")
    assert f"not run for time: {', '.join(tests)}\n" in printed
    assert "skipped" not in printed
    processes = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    printed = pytest_in(tmp_path, *processes, "--minutes", "0", "--turn", "7")
    assert f"not run for time: {', '.join(tests)}\n" in printed


def test_the_longest_files_are_there():
    assert all((ROOT / file).is_file() for file in LONGEST)
