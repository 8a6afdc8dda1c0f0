"""The rows of README's results: each names its films, in a list that prepare_data.py takes."""

from __future__ import annotations

import re

import pytest

from common.datasets.cohort import COLUMNS, read_cohort
from tests.helpers.scripts import ROOT

README = (ROOT / "README.md").read_text()
LISTS = sorted((ROOT / "data" / "lists").iterdir())
RESULTS = re.findall(r"<!-- results of real/.*?-->(.*?)<!-- end of results -->", README, re.DOTALL)
SOURCES = README.partition("### Each row again")[2].partition("## Promises")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.stem)
def test_a_list_is_small_and_holds_names_splits_and_hashes_alone(file):
    lines = file.read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert all(
        re.fullmatch(r"[\w-]+,(train|validation|test),[0-9a-f]{64}", row) for row in lines[1:]
    )
    assert len(read_cohort(file)) == len(lines) - 1 and file.stat().st_size < 1_000_000


def test_every_row_of_the_results_names_source_terms_conversion_and_list():
    sources = {row[0]: row for row in rows(SOURCES)}
    named = {name.split("`")[1]: row for name, row in sources.items() if "half" not in name}
    counted = 0
    for row in (row for table in RESULTS for row in rows(table)):
        match = re.match(r"(\S+?)( test| validation)?( \(|$)", row[2])
        source = named[match[1]]
        assert all(source) and source[1] and source[2]
        assert re.fullmatch(r"`data\.convert (\w+)`", source[3])
        splits = read_cohort(ROOT / source[4].strip("`"))["split"]
        split = (match[2] or "").strip()
        assert int(row[3]) == ((splits == split).sum() if split else len(splits)), row
        assert re.search("byte by byte|expect another number", source[5])
        counted += 1
    assert counted > 8
    assert {file.relative_to(ROOT).as_posix() for file in LISTS} == {
        row[4].strip("`") for row in sources.values() if row[4].startswith("`")
    }
