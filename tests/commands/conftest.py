"""Evaluated runs, without a network."""

import json

import pandas as pd
import pytest

from tests.helpers.score_files import METRICS, TRAINED, with_main_scores


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


@pytest.fixture
def evaluated(tmp_path):
    """Writes an evaluation of a run, of the heart project where nothing else is said."""

    def write(run, cases=(), *, project="heart", split="test", fold=0, of=0, data="b", **more):
        folder = tmp_path / run / "evaluation" / split
        folder.mkdir(parents=True)
        trained = TRAINED | {name: more.pop(name) for name in TRAINED if name in more}
        metrics = {
            **METRICS[project], "split": split, "trained": trained,
            "folds": {"of": of, "fold": fold, "data": data}, **more,
        }  # fmt: skip
        columns = ["case", "patient", "iou", "iou_mean_box"]
        table = pd.DataFrame(cases, columns=columns[: len(cases[0]) if cases else 3])
        if len(table):
            metrics |= {"iou": {"mean": table["iou"].mean(), "ci95": None}, "n": len(table)}
            table.sample(frac=1, random_state=1).to_csv(folder / "predictions.csv", index=False)
        (folder / "metrics.json").write_text(json.dumps(with_main_scores(metrics)))
        return folder

    return write
