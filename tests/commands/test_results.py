"""The table of results."""

import json

import pytest

from atrium_segmentation.scores import main_scores as atrium_scores
from common import results
from common.base.errors import UserError
from common.scores.formatting import with_interval
from heart_detection.score_tables import main_scores as heart_scores
from pneumonia_classification.score_tables import main_scores as pneumonia_scores

METRICS = {
    "pneumonia": {
        "project": "pneumonia_classification", "synthetic": True, "split": "test", "n": 40,
        "folds": {"of": 0, "fold": 0, "data": "a"},
        "auroc": {"value": 0.8714, "ci95": [0.8, 0.93]}, "accuracy": 0.75,
        "average_precision": {"value": 0.5}, "recall": 0.7, "specificity": None, "brier": 0.2,
        "gradcam": {"pointing_game": None, "chance": None},
        "ci95": {"accuracy": [0.62, 0.875]},
        "baselines": {
            "majority": {"auroc": 0.5, "accuracy": 0.6, "ci95": {"accuracy": [0.45, 0.75]}},
            "metadata": {"auroc": {"value": 0.61, "ci95": None}, "accuracy": 0.6},
        },
    },
    "heart": {
        "project": "heart_detection", "synthetic": False, "split": "clinic", "n": 20,
        "folds": {"of": 0, "fold": 0, "data": "b"},
        "iou": {"mean": 0.8, "ci95": [0.75, 0.85]}, "iou_above": {"0.5": 19},
        "ci95": {"iou_above": {"0.5": [0.84, 1.0]}},
        "baselines": {
            "mean_box": {
                "n": 20, "iou": {"mean": 0.6, "ci95": [0.51, 0.69]}, "iou_mean": 0.6,
                "iou_above": {"0.5": 12}, "ci95": {"iou_above": {"0.5": None}},
            },
        },
    },
    "atrium": {
        "project": "atrium_segmentation", "synthetic": False, "split": "test", "cases": [{}, {}],
        "n": 2, "labels": ["atrium"],
        "folds": {"of": 0, "fold": 0, "data": "c"},
        "models": {
            "unet": {"dice": {"mean": 0.9, "ci95": [0.88, 0.92]}},
            "fcn8": {"dice": {"mean": 0.7, "ci95": None}},
        },
        "baselines": {
            "mean_shape": {"dice": 0.3, "scores": {"dice": {"mean": 0.3, "ci95": [0.2, 0.4]}}},
        },
    },
}  # fmt: skip


def with_main_scores(metrics):
    """The metrics with the lists that its project adds to them."""
    if "auroc" in metrics:
        return {**metrics, **pneumonia_scores(metrics)}
    if "iou" in metrics:
        return {**metrics, **heart_scores(metrics)}
    return {**metrics, **atrium_scores(metrics)}


METRICS = {name: with_main_scores(metrics) for name, metrics in METRICS.items()}


@pytest.fixture
def runs(tmp_path):
    for name, metrics in METRICS.items():
        folder = tmp_path / name / "evaluation" / metrics["split"]
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "a.png").touch()
        (folder / "deep").mkdir()
        (folder / "deep" / "b.gif").touch()
        (folder / "c.csv").touch()
    return tmp_path


def test_every_score_beside_its_baseline(runs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", str(runs)])
    monkeypatch.chdir(runs)
    results.main()
    said = capsys.readouterr().out
    lines = [line.split("  ") for line in said.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    clinic, real, made_up = "clinic", "test", "SYNTHETIC test"
    assert rows[1:8] == [
        ["project", "data", "cases", "score", "model [95 % interval]", "baseline"],
        ["atrium_segmentation", real, "2", "Dice, unet", "0.900 [0.880, 0.920]",
         "0.300 [0.200, 0.400] (the mean shape)"],
        ["atrium_segmentation", real, "2", "Dice, fcn8", "0.700",
         "0.300 [0.200, 0.400] (the mean shape)"],
        ["heart_detection", clinic, "20", "mean IoU", "0.800 [0.750, 0.850]",
         "0.600 [0.510, 0.690] (the mean box)"],
        ["heart_detection", clinic, "20", "IoU over 0.5", "19 of 20, 95 % [84, 100]",
         "12 of 20, 60 % (the mean box)"],
        ["pneumonia_classification", made_up, "40", "AUROC", "0.871 [0.800, 0.930]",
         "0.610 (view, sex and age)"],
        ["pneumonia_classification", made_up, "40", "accuracy", "0.750 [0.620, 0.875]",
         "0.600 [0.450, 0.750] (always the majority)"],
    ]  # fmt: skip
    pictures = said.split("pictures:\n")[1].split()
    assert len(pictures) == 6
    assert {"heart/evaluation/clinic/a.png", "atrium/evaluation/test/deep/b.gif"} <= set(pictures)
    # Columns stand under each other.
    table = said.splitlines()[1:8]
    assert len({line.index(cell) for line, cell in zip(table[1:3], ["Dice"] * 2, strict=True)}) == 1


def test_help_says_which_folder(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", "--help"])
    with pytest.raises(SystemExit) as leaving:
        results.main()
    assert leaving.value.code == 0
    assert "FOLDER" in capsys.readouterr().out


def test_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    with pytest.raises(UserError, match=r"holds no metrics\.json; run evaluate.py first"):
        results.main()


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        ({"value": 0.9124, "ci95": [0.874, 0.9436]}, "0.912 [0.874, 0.944]"),
        ({"value": 0.9124, "ci95": None}, "0.912"),
        ({"value": 0.0}, "0.000"),
        ({"value": None, "ci95": None}, "-"),
        (None, "-"),
    ],
)
def test_a_score_with_its_interval(score, shown):
    assert with_interval(score) == shown


@pytest.mark.parametrize("name", ["pneumonia", "atrium"])
def test_folds_of_every_project_are_summed_up(tmp_path, monkeypatch, capsys, name):
    for fold in (0, 1):
        folder = tmp_path / f"run-{fold}" / "evaluation" / "test"
        folder.mkdir(parents=True)
        folds = {"folds": {"of": 2, "fold": fold, "data": "b"}}
        (folder / "metrics.json").write_text(json.dumps({**METRICS[name], **folds}))
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    results.main()
    said = capsys.readouterr().out.split("folds 0, 1 of 2")[1].split("pictures:")[0]
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in said.splitlines()]
    expected = {
        "pneumonia": [
            ["AUROC", "0.871", "0.000", "0.871 0.871"],
            ["AUROC of view, sex and age", "0.610", "0.000", "0.610 0.610"],
            ["specificity", "-", "-", "- -"],
            ["pointing game", "-", "-", "- -"],
        ],
        "atrium": [
            ["Dice, unet", "0.900", "0.000", "0.900 0.900"],
            ["Dice of the mean shape", "0.300", "0.000", "0.300 0.300"],
        ],
    }
    assert all(row in rows for row in expected[name])


def test_finished_folds_are_summed_up(tmp_path, monkeypatch, capsys):
    for fold, iou in ((0, 0.7), (2, 0.8), (1, 0.9)):
        folder = tmp_path / f"run-{fold}" / "evaluation" / "validation"
        folder.mkdir(parents=True)
        of = {"split": "validation", "folds": {"of": 5, "fold": fold, "data": "b"}}
        scores = {"iou": {"mean": iou, "ci95": None}, "iou_above": {"0.5": 10 + fold}}
        (folder / "metrics.json").write_text(
            json.dumps(with_main_scores({**METRICS["heart"], **of, **scores}))
        )
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    results.main()
    said = capsys.readouterr().out
    assert "heart_detection, validation: folds 0, 1, 2 of 5\n" in said
    table = said.split("of 5")[1].split("pictures:")[0]
    rows = [line.split("  ") for line in table.splitlines() if line]
    assert [[cell.strip() for cell in row if cell] for row in rows[1:]] == [
        ["mean IoU", "0.800", "0.100", "0.700 0.900 0.800"],
        ["mean IoU of the mean box", "0.600", "0.000", "0.600 0.600 0.600"],
        ["IoU over 0.5", "0.550", "0.050", "0.500 0.550 0.600"],
    ]
