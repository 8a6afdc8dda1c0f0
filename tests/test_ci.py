"""What every change has to pass: the types' exceptions."""

from __future__ import annotations

import re

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
