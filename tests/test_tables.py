"""The tables of results in the README files."""

import runpy

from tests.helpers.scripts import ROOT

with_tables = runpy.run_path(str(ROOT / "tools" / "make_tables.py"))["with_tables"]
PAGE = "before\n\n<!-- results of {} -->\n\nold\n\n<!-- end of results -->\n\nafter\n"


def test_a_table_shows_what_was_written(whole):
    once = whole("heart_detection")
    path = once.evaluation.relative_to(once.run.parent)
    text = with_tables(PAGE.format(path), once.run.parent)
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    iou = once.metrics["iou"]
    assert f"| mean IoU | {iou['mean']:.3f} [{iou['ci95'][0]:.3f}, {iou['ci95'][1]:.3f}] |" in text
    assert once.metrics["created"][:10] in text
    assert with_tables(text, once.run.parent) == text


def test_a_folder_of_runs_shows_the_main_scores(whole):
    once = whole("heart_detection")
    text = with_tables(PAGE.format("run"), once.run.parent)
    assert "| heart_detection | run | SYNTHETIC data, SYNTHETIC-rsna test |" in text


def test_what_is_not_there_stays(tmp_path, capsys):
    page = PAGE.format("none")
    assert with_tables(page, tmp_path) == page
    assert "its table stays as it is" in capsys.readouterr().out
