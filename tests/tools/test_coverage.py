"""The intervals hold the truth as often as docs/intervals.md says, in simulated data sets."""

import pytest

from tests.tools import coverage


def test_a_few_data_sets_of_a_few_kinds(monkeypatch):
    monkeypatch.setattr(coverage, "AUROCS", (0.85,))
    monkeypatch.setattr(coverage, "FILMS", (40,))
    monkeypatch.setattr(coverage, "MOST_FILMS", (1, 3))
    monkeypatch.setattr(coverage, "MEANS", (3, 10))
    monkeypatch.setattr(coverage, "SHARES", (0.92, 0.98))
    rows = coverage.all_rows(200, {})
    assert [row for row in rows if not row.held] == []
    assert {row.part for row in rows} == {
        "AUROC",
        "AUROC, exponential",
        "mean",
        "share",
        "equal runs",
    }
    # 40 films of patients with up to 3, a fifth of them positive: often under five patients.
    assert any(row.refused for row in rows if row.part == "AUROC")


@pytest.mark.slow
def test_all_kinds_of_data_sets():
    rows = coverage.all_rows(2000, {})
    assert [row for row in rows if not row.held] == []
