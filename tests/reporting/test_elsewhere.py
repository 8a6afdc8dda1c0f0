"""What a page and a card say of a run's scores elsewhere."""

import json

import pytest

from common.reporting.elsewhere import (
    NEVER,
    card_lines,
    elsewhere,
    parts_apart,
    source_table,
    sources,
    tried_elsewhere,
)
from common.scores.formatting import main_score
from common.training.runs import Run

NONE = {"value": None, "ci95": None}
SHORTCUTS = {
    "n": 90, "groups": {"tone": {"value": 0.81, "ci95": [0.7, 0.9]}}, "readable": ["tone"],
    "remark": "",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", {"dataset": "clinic"}, {})


def write(run, name, auroc, ci95, day=1, other_source=False, **more):
    metrics = {
        "split": name, "dataset": "clinic", "synthetic": False, "n": 90,
        "other_source": other_source,
        "created": f"2026-01-{day:02d}T00:00:00+00:00",
        "main_scores": [main_score("AUROC", {"value": auroc, "ci95": ci95}, NONE, None)], **more,
    }  # fmt: skip
    folder = run.folder / "evaluation" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return metrics


def test_what_was_never_tried_is_said_to_be_and_how_to_try_it(run):
    assert tried_elsewhere(sources(run)) == NEVER
    write(run, "test", 0.99, [0.97, 1.0])
    assert card_lines(run) == (NEVER,) and "--source" in NEVER
    assert elsewhere(run, write(run, "test", 0.99, [0.97, 1.0])).tables == ()


def test_what_was_lost_elsewhere_stands_beside_what_is_known_here(run):
    write(run, "validation", 0.999, [0.99, 1.0], day=4)
    write(run, "test", 0.9, [0.88, 0.92], day=1, shortcuts=SHORTCUTS)
    write(run, "north", 0.7, [0.66, 0.74], day=2, other_source=True)
    write(run, "south", 0.95, None, day=3, other_source=True)
    found = sources(run)
    assert found.own["split"] == "test"
    assert tried_elsewhere(found) == (
        "Tried on 2 other sources: AUROC 0.900 [0.880, 0.920] on test; 0.700 [0.660, 0.740] on "
        "north, a change of -0.200 [-0.245, -0.155]; 0.950 on south, a change of +0.050."
    )
    table = source_table(found, ["name"], lambda metrics: [metrics["split"]])
    assert [row[0] for row in table.rows] == ["test", "north", "south"]
    # The halves of the intervals are 0.02 and 0.04.
    assert table.rows[1][3:] == ("-0.200 [-0.245, -0.155]", "north")
    assert table.rows[0][3] == "" and table.rows[2][3] == "+0.050"
    assert "can be read from tone (0.81)" in card_lines(run)[1]


def test_scores_of_two_networks_are_not_compared(run):
    write(run, "test", 0.9, [0.88, 0.92])
    north = write(run, "north", 0.7, [0.66, 0.74], other_source=True)
    [auroc] = north["main_scores"]
    others = {**north, "main_scores": [{**auroc, "name": "another", "value": 0.1}, auroc]}
    found = sources(run, others)
    assert source_table(found).rows[1][2:] == ("0.700 [0.660, 0.740]", "-0.200 [-0.245, -0.155]")
    found = sources(run, {**others, "main_scores": others["main_scores"][:1]})
    assert source_table(found).rows[1][2:] == ("-", "-")


def test_an_evaluation_that_does_not_say_whose_the_data_is_is_left_out(run):
    write(run, "test", 0.9, [0.88, 0.92])
    before = write(run, "north", 0.7, [0.66, 0.74])
    del before["other_source"]
    (run.folder / "evaluation" / "north" / "metrics.json").write_text(json.dumps(before))
    assert sources(run).own["split"] == "test" and sources(run).others == ()
    (run.folder / "evaluation" / "test" / "metrics.json").unlink()
    assert sources(run).own is None


@pytest.mark.damaged
def test_the_evaluation_that_is_being_written_counts_and_a_broken_one_does_not(run):
    write(run, "north", 0.7, [0.66, 0.74], other_source=True)
    (run.folder / "evaluation" / "south").mkdir(parents=True)
    (run.folder / "evaluation" / "south" / "metrics.json").write_text("{")
    newest = {**write(run, "test", 0.1, [0.0, 0.2]), "main_scores": [
        {"name": "AUROC", "value": 0.9, "ci95": [0.8, 1.0]}]}  # fmt: skip
    found = sources(run, newest)
    assert found.own is newest and len(found.others) == 1
    assert tried_elsewhere(sources(run)).count("0.100 [0.000, 0.200] on test") == 1
    (run.folder / "evaluation" / "test" / "metrics.json").unlink()
    alone = "Tried on 1 other source: AUROC 0.700 [0.660, 0.740] on north."
    assert tried_elsewhere(sources(run)) == alone


def test_the_parts_are_compared_where_there_are_both(run):
    groups = [
        {"group": "part random", "n": 40, "name": "AUROC", "value": 0.9, "ci95": [0.87, 0.93]},
        {"group": "part shifted", "n": 40, "name": "AUROC", "value": 0.6, "ci95": [0.56, 0.64]},
    ]
    assert parts_apart({}) == parts_apart({"main_scores_of_groups": groups[:1]}) == ""
    assert parts_apart({"main_scores_of_groups": groups}).endswith("-0.300 [-0.350, -0.250].")
