"""What every change has to pass: exceptions from the types, what may be skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.helpers.scripts import PROJECTS, ROOT

PRODUCT = ["common", *PROJECTS, "synthetic_sample", "benchmarks"]
MAX_IGNORES = 20


def test_what_the_types_leave_out_is_rare_and_has_a_reason():
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
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


def pytest_in(folder, *arguments: str, ci: str = "") -> str:
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
    return done.stdout + done.stderr


def test_what_is_missing_fails_under_ci_and_what_no_machine_can_have_does_not(tmp_path):
    (tmp_path / "test_skips.py").write_text(SKIPS)
    assert "5 skipped" in pytest_in(tmp_path)
    printed = pytest_in(tmp_path, ci="true")
    assert "3 failed, 2 skipped" in printed
    for missing in ["package no_such_package", "program no-such-program", "could not import"]:
        assert re.search(f"skipped, which fails where CI is set: .*{missing}", printed)


def test_a_file_that_skips_itself_fails_under_ci(tmp_path):
    (tmp_path / "test_whole.py").write_text("import pytest; pytest.importorskip('no_such_package')")
    assert "1 skipped" in pytest_in(tmp_path)
    assert "1 error" in pytest_in(tmp_path, ci="true")
