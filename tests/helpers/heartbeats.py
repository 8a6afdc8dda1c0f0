"""A fourth project: is the pulse in a one-dimensional signal fast? Data that are no films."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from common.base.files import write_csv, write_json
from common.base.project import Project
from common.base.settings import SharedEvaluate, SharedTrain
from common.base.tables import Table
from common.records import preparing, shards
from common.records.prepared import Prepared, open_prepared
from common.reporting import html_report
from common.reporting.model_card import About
from common.scores.estimates import mean, share
from common.scores.formatting import main_score
from common.scores.intervals import scored
from common.training import evaluations, runs

LENGTH = 64
PROJECT = Project("heartbeats", "beats", "SYNTHETIC-beats", {})
ABOUT = About(
    model="One dense layer on a signal.",
    question="Is this pulse fast?",
    answer="A share, 0 to 1.",
    factors="The sensor.",
    metrics="Agreement and closeness, next to always the same answer.",
    caveats=("A pulse that was drawn is no pulse.",),
)


def signal(case: Mapping[str, object]) -> dict[str, object]:
    """A case to the features of its record."""
    beat = np.sin(np.linspace(0, 6 + 6 * int(str(case["fast"])), LENGTH) + len(str(case["case"])))
    return {"case": case["case"], "signal": beat.astype(np.float32), "fast": int(str(case["fast"]))}


def prepare(folder: Path, count: int = 12) -> Prepared:
    """Write signals as records, all of them to test."""
    (folder / "source").mkdir(parents=True)
    names = [f"beat-{number:02d}" for number in range(count)]
    cases = pd.DataFrame({"case": names, "patient": [f"p{number // 2}" for number in range(count)]})
    cases["split"], cases["left_out"] = "test", ""
    cases["fast"] = [number % 2 for number in range(count)]
    prepared = folder / "prepared"
    prepared.mkdir()
    written, _ = shards.write_shards(prepared, cases.to_dict("records"), signal, 8, 1)
    preparing.write_cases(prepared, cases)
    source = preparing.Source(folder / "source", True)
    disk = {"source_bytes": 1, "record_bytes": 1, "saved": 0.0}
    content = preparing.manifest(PROJECT, source, "k", {"folds": 0}, cases, written, disk)
    shards.finish(prepared, content)
    return open_prepared(prepared, PROJECT.name)


def model_inputs(run: runs.Run, prepared: Prepared, count: int) -> np.ndarray:
    """Some signals as the network sees them, (count, LENGTH, 1)."""
    rows = prepared.cases().head(count).to_dict("records")
    return np.stack([np.asarray(signal(row)["signal"]) for row in rows])[..., None]


def train(run: Path, prepared: Prepared, seed: int) -> runs.Run:
    """A run whose network is as it began."""
    import keras

    run.mkdir(parents=True)
    settings = SharedTrain(seed=seed, epochs=1, run=run)
    assert runs.begin_run(run, settings, prepared, "tests.helpers.heartbeats:model_inputs")
    keras.utils.set_random_seed(seed)
    beat = keras.Input((LENGTH, 1), name="signal")
    hidden = keras.layers.Conv1D(2, 5, activation="relu", name="hidden")(beat)
    pooled = keras.layers.GlobalAveragePooling1D(name="pooled")(hidden)
    answer = keras.layers.Dense(1, activation="sigmoid", name="answer")(pooled)
    keras.Model(beat, answer).save(run / "model.keras")
    epoch = {"epoch": 1, "seconds": 1.0, "learning_rate": 0.1, "loss": 0.5, "val_loss": 0.6}
    write_csv(run / "history.csv", epoch, [epoch])
    runs.end_run(run, {}, ["model.keras"])
    return runs.read_run(run)


def evaluate(run: runs.Run, prepared: Prepared) -> Path:
    """Score the network, and write metrics.json, predictions.csv and report.html."""
    from common.models.stored import load_model

    cases = prepared.cases()
    signals = model_inputs(run, prepared, len(cases))
    answers = load_model(run.folder / "model.keras").predict_on_batch(signals)[:, 0].astype(float)
    cases["answer"], cases["called"] = answers, (answers >= 0.5).astype(int)
    cases["closeness"] = 1 - np.abs(answers - cases["fast"])
    right, patients = cases["called"] == cases["fast"], cases["patient"]
    pulse = scored(share(right, patients))
    nearness = scored(mean(cases["closeness"], patients))
    half, name = {"value": 0.5, "ci95": None}, "always slow"
    n = len(cases)
    metrics = {
        "n": n,
        "main_scores": [
            main_score("rightness", pulse, half, name, n_of=(int(right.sum()), n),
                       statistic="agreement", truth="fast", prediction="called"),
            main_score("closeness", nearness, half, name, statistic="mean", column="closeness"),
        ],
        "fold_scores": [{"name": "rightness", "value": pulse["value"]}],
        "main_scores_of_groups": [{"group": "rate fast", "n": n // 2, "name": "closeness", **half}],
        "truth_columns": ["fast"],
        "evaluation_settings": {},
    }  # fmt: skip
    folder = run.folder / "evaluation" / "test"
    with evaluations.new_evaluation(folder) as new:
        settings = SharedEvaluate(seed=1)
        content = evaluations.metrics_of(run, prepared, cases, "test", settings, metrics)
        write_json(new / "metrics.json", content)
        columns = ["case", "patient", "fast", "called", "closeness"]
        write_csv(new / "predictions.csv", columns, cases[columns].to_dict("records"))
        page = html_report.Page(
            title="Pulses",
            answer=("Some are fast.",),
            scores=html_report.page_scores(metrics),
            charts=(html_report.training_picture(run, new, {"": run.folder}),),
            tables=(),
            examples=(),
            cases=Table("", ("case",), tuple((case,) for case in cases["case"])),
        )
        html_report.write_report(run, new, ABOUT, page)
    return folder


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """The rows of predictions.csv."""
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
