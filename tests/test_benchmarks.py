"""The table of benchmarks/: its command line, its rows, and what stands beside nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import table, time_to_score
from benchmarks.measuring import MissingError, compared, in_turn, side
from common.base.files import ROOT

KEYS = {"stage", "ours", "other", "unit", "ratio", "target", "reached"}


def bench(*arguments):
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_part_by_its_name_writes_the_table(tmp_path):
    # With no PyTorch beside it, a part gives our figure and says that the other is missing.
    done = bench(
        *("--quick", "surface_scores", "--torch-python", tmp_path / "none"),
        *("--work", tmp_path / "work", "--output", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "not measured" in done.stdout
    written = json.loads((tmp_path / "results.json").read_text())
    (row,) = written["rows"]
    assert set(row) >= KEYS
    assert row["ours"] > 0 and row["other"] is row["ratio"] is row["reached"] is None
    assert written["machine"]["cores"] and written["versions"]["numpy"] and written["date"]
    assert (tmp_path / "results.png").read_bytes()[:4] == b"\x89PNG"


def test_lines_of_other_parts_stay_in_the_table_if_they_are_this_machines(tmp_path):
    def lines(machine_is, **found):
        content = json.loads((tmp_path / "results.json").read_text())
        if not machine_is:
            content["machine"]["processor"] = "another"
            (tmp_path / "results.json").write_text(json.dumps(content))
        table.write(tmp_path, found, ["start", "disk", "large"], {})
        rows = json.loads((tmp_path / "results.json").read_text())["rows"]
        return [(row["part"], row["ours"]) for row in rows]

    def row(ours):
        return compared("a stage", "another", ours, 1.0, "s", 1.0)

    table.write(
        tmp_path, {"large": [row(1.0)], "start": [row(2.0), row(3.0)]}, ["start", "large"], {}
    )
    assert lines(True, disk=[row(4.0)]) == [("start", 2), ("start", 3), ("disk", 4), ("large", 1)]
    assert lines(True, start=[row(5.0)]) == [("start", 5), ("disk", 4), ("large", 1)]
    assert lines(False, disk=[row(6.0)]) == [("disk", 6)]


@pytest.mark.slow
def test_the_large_table_tells_seconds_and_memory_of_each_layout(tmp_path):
    arguments = ["--counts", "40", "--layouts", "csv", "nih", "--work", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.large_table", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:4]]
    assert [row[:2] for row in figures] == [["csv", "40"], ["nih", "40"]]
    assert all(float(seconds) > 0 and float(gib) > 0 for _, _, seconds, gib in figures)
    manifest = json.loads((tmp_path / "table-csv-40-prepared" / "manifest.json").read_text())
    assert sum(manifest["counts"].values()) == 40 and manifest["left_out"] == 0


def test_parts_are_listed_and_an_unknown_one_is_refused():
    listed = bench("--list")
    assert listed.returncode == 0 and "  surface_scores " in listed.stdout
    refused = bench("nonsense")
    assert refused.returncode == 2
    assert "no such part" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("unit", "ours", "other", "ratio"),
    [("images/s", 30.0, 10.0, 3.0), ("s", 10.0, 30.0, 3.0), ("s", 30.0, 10.0, 1 / 3)],
)
def test_a_ratio_above_one_is_better_in_either_unit(unit, ours, other, ratio):
    row = compared("a stage", "another", ours, other, unit, 2.0)
    assert row.ratio == pytest.approx(ratio) and row.reached is (ratio >= 2)


def test_repeats_are_in_turn_after_a_warm_up_and_a_median_is_taken():
    seen = []

    def one(name, seconds):
        times = iter(seconds)
        return lambda: (seen.append(name), next(times))[1]

    assert in_turn(one("a", [99, 1, 5, 2]), one("b", [99, 7, 7, 8])) == [2, 7]
    assert seen == ["a", "b"] * 4


def test_a_side_answers_line_by_line_and_one_that_ends_says_why():
    program = "print('ready', flush=True)\nfor _ in open(0): print(0.25, flush=True)"
    with side(sys.executable, "-c", program) as seconds:
        assert seconds() == seconds() == 0.25
    nonsense = side(sys.executable, "-c", "import nonsense")
    with pytest.raises(MissingError, match="No module named 'nonsense'"), nonsense:
        pass


def test_a_side_of_the_time_to_score_is_kept_for_the_other_where_all_else_is_the_same(tmp_path):
    file = tmp_path / "score.json"
    of_what = {"minutes": [10.0, 20.0], "split": "test", "cases": ["a", "b"], "key": "0f"}
    assert time_to_score.reached_before(file, of_what) == {}
    ours = [[0.5, 0.7], [0.8, 0.6]]
    alone = time_to_score.write(file, {**of_what, "ours": ours})
    assert [(row.ours, row.other, row.reached) for row in alone] == [
        (pytest.approx(0.6), None, None),
        (pytest.approx(0.7), None, None),
    ]
    assert time_to_score.reached_before(file, of_what) == {"ours": ours}
    for name, other in [
        ("minutes", [10.0]),
        ("split", "validation"),
        ("cases", ["a"]),
        ("key", ""),
    ]:
        assert time_to_score.reached_before(file, {**of_what, name: other}) == {}
    both = {**of_what, "ours": ours, "other": [[0.4, 0.6], [0.9, 0.7]]}
    assert [row.reached for row in time_to_score.write(file, both)] == [True, False]
    written = json.loads(file.read_text())
    assert set(written["rows"][0]) >= KEYS
    assert "difference +0.100 [+0.100, +0.100] over 2 volumes" in written["rows"][0]["against"]
