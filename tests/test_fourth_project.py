"""A project whose data are no films goes through all that is shared, without a change in it."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from common import compare, export, results
from common.reporting import model_card
from tests.helpers import heartbeats
from tests.helpers.scripts import ROOT

PROJECTS = ("pneumonia_classification", "heart_detection", "atrium_segmentation")
# What their metrics.json and predictions.csv call their scores and truths.
KEYS = {
    *("auroc", "average_precision", "iou", "iou_above", "iou_mean", "mean_box", "dice"),
    *("mean_shape", "hd95_mm", "unet_minus_fcn8", "probability", "true_x0", "truth_ml"),
    *("metadata", "majority", "per_view", "per_sex", "per_label", "gradcam"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fourth")
    prepared = heartbeats.prepare(folder)
    made = [heartbeats.train(folder / "runs" / name, prepared, seed) for name, seed in
            (("first", 1), ("second", 2))]  # fmt: skip
    return folder, made, [heartbeats.evaluate(run, prepared) for run in made]


def rows_of(text):
    return [[cell for cell in re.split(r"  +", line.strip()) if cell] for line in text.splitlines()]


def test_its_scores_stand_in_the_table_of_results(made, monkeypatch, capsys):
    folder, _, evaluations = made
    monkeypatch.setattr("sys.argv", ["results", str(folder / "runs")])
    results.main()
    rows = rows_of(capsys.readouterr().out)
    right = sum(row["fast"] == row["called"] for row in heartbeats.read_predictions(evaluations[0]))
    first = next(row for row in rows if row[4:5] == ["rightness"])
    assert first[:4] == ["heartbeats", "first", "SYNTHETIC test", "12"]
    assert first[5].startswith(f"{right} of 12") and first[6] == "6 of 12, 50 % (always slow)"
    closeness = next(row for row in rows if row[4:5] == ["closeness"])
    assert closeness[6] == "0.500 (always slow)"


def test_its_runs_are_compared(made, monkeypatch, capsys):
    _, runs, evaluations = made
    monkeypatch.setattr("sys.argv", ["compare", *(str(run.folder) for run in runs)])
    compare.main()
    rows = rows_of(capsys.readouterr().out)
    means = [
        sum(float(row["closeness"]) for row in heartbeats.read_predictions(folder)) / 12
        for folder in evaluations
    ]
    difference = next(row for row in rows if row[:2] == ["run 2 less run 1", "closeness"])
    assert difference[2].startswith(f"{means[1] - means[0]:+.3f} [")
    assert any(row[:2] == ["run 2 less run 1", "rightness"] for row in rows)


def test_its_network_is_exported_and_held_against_its_own_signals(made, tmp_path):
    from common.models.stored import load_model

    run = made[1][0]
    signals, source = export.check_images(run)
    assert signals.shape == (export.COUNT, heartbeats.LENGTH, 1) and "3 images of" in source
    model = load_model(run.folder / "model.keras")
    assert export.export(model, tmp_path / "model", "saved_model", signals) <= export.TOLERANCE


def test_a_fault_in_what_gives_the_inputs_is_not_taken_for_its_absence(made, monkeypatch):
    def faulty(*_):
        raise AttributeError("a bug")

    monkeypatch.setattr(heartbeats, "signal", faulty)
    with pytest.raises(AttributeError, match="a bug"):
        export.check_images(made[1][0])


def test_without_what_gives_the_inputs_there_is_noise(made):
    run = made[1][0]
    config = {**run.config, "model_inputs": "pulses_moved.inference:model_inputs"}
    images, source = export.check_images(replace(run, config=config))
    assert images is None and source == "noise; pulses_moved.inference:model_inputs is not there"


def test_its_page_and_its_card_have_its_scores(made):
    _, runs, evaluations = made
    page = (evaluations[0] / "report.html").read_text()
    assert "closeness" in page and "always slow" in page and heartbeats.ABOUT.question in page
    card = model_card.as_markdown(model_card.model_card(runs[0], heartbeats.ABOUT))
    assert "| SYNTHETIC test | 12 | 6 | rightness |" in card
    assert "| rate fast | test | 6 | closeness | 0.500 |" in card


def strings(path: Path):
    """Every string of a module that is no docstring."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip


def test_what_is_shared_names_no_project():
    for path in (ROOT / "common").rglob("*"):
        if path.suffix in (".py", ".j2", ".js", ".css"):
            text = path.read_text()
            # The file of heart boxes is called rsna_heart_detection.csv.
            text = text.replace("rsna_heart_detection.csv", "")
            assert not [name for name in PROJECTS if name in text], path


@pytest.mark.parametrize("module", ["results", "compare", "export", "reporting/model_card",
                                    "reporting/html_report", "scores/formatting"])  # fmt: skip
def test_what_tabulates_reads_no_key_of_a_project(module):
    found = strings(ROOT / "common" / f"{module}.py") & KEYS
    # "auroc" is also the name of a statistic that any project may use.
    assert found <= ({"auroc"} if module in ("compare", "scores/formatting") else set())


def test_templates_read_no_key_of_a_project():
    for path in (ROOT / "common" / "reporting" / "templates").glob("*.j2"):
        words = set(re.findall(r"metrics\.(\w+)", path.read_text()))
        assert not words & KEYS, path
