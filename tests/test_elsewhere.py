"""The part of a pneumonia report that asks whether its scores hold elsewhere."""

import json
import tarfile

import pytest

from common.reporting.elsewhere import NEVER
from common.training.runs import Run
from pneumonia_classification.elsewhere import elsewhere
from pneumonia_classification.score_tables import main_scores
from tests.helpers.scripts import ROOT


@pytest.fixture(scope="module")
def scored():
    """Scores of an evaluation, as an earlier version wrote them."""
    with tarfile.open(ROOT / "tests" / "golden" / "d371bf6.tar.xz") as archive:
        file = archive.extractfile("pneumonia/run/evaluation/test/metrics.json")
        return json.loads(file.read())


@pytest.fixture
def run(tmp_path, scored):
    return Run(tmp_path / "run", {"dataset": scored["dataset"]}, {})


def test_what_was_not_tried_is_named_with_its_command(run, scored):
    said = elsewhere(run, scored)
    text = " ".join(said.text)
    assert NEVER in text and "--split-by shortcut" in text
    assert "Whether there are shortcuts to the label is not known: an earlier version" in text
    assert [table.head[0] for table in said.tables] == ["view"]


def test_what_was_tried_stands_side_by_side(run, scored):
    group = {**next(iter(scored["per_view"].values())), "auroc": {"value": 0.8, "ci95": [0.7, 0.9]}}
    shifted = {**group, "auroc": {"value": 0.6, "ci95": [0.5, 0.7]}}
    shortcuts = {"n": 90, "groups": {"tone": {"value": 0.6, "ci95": [0.5, 0.7]}},
                 "readable": [], "remark": ""}  # fmt: skip
    metrics = {**scored, "per_part": {"random": group, "shifted": shifted}, "shortcuts": shortcuts}
    metrics |= main_scores(metrics)
    folder = run.folder / "evaluation" / "north"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(
        json.dumps({**metrics, "split": "north", "other_source": True})
    )
    said = elsewhere(run, metrics)
    assert said.text[0].startswith("Tried on 1 other source: AUROC ")
    assert "AUROC is 0.600 [0.500, 0.700]; on patients at random 0.800" in said.text[2]
    assert said.text[3] == "No shortcut is shown over 0.75; the highest AUROC is 0.60."
    sources, parts, _, found = said.tables
    assert sources.head[-3:-1] == ("calibration error", "rescaled")
    assert [row[0] for row in sources.rows] == ["SYNTHETIC test", "SYNTHETIC north"]
    after = scored["calibration"]["expected_calibration_error_after"]
    assert sources.rows[1][-2].startswith(f"{after:.3f}")
    assert [row[0] for row in parts.rows] == ["random", "shifted"]
    assert found.rows == (("tone", "0.600 [0.500, 0.700]"),)
