"""report.html of a pneumonia evaluation.

Written by evaluate.py, and again from the evaluation's files, predicting nothing, by

    python -m pneumonia_classification.report runs/my-run/evaluation/test
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import run_script
from common.base.files import read_json
from common.base.tables import Table
from common.reporting.html_report import (
    Page,
    Picture,
    example_pictures,
    page_scores,
    training_picture,
    write_again,
    write_report,
)
from common.training.runs import Run
from pneumonia_classification import score_tables
from pneumonia_classification.config import PROJECT, EvaluateSettings
from pneumonia_classification.model_card import ABOUT

KINDS = {
    "found": "pneumonia, surely said so",
    "missed": "pneumonia, missed",
    "false alarm": "none, called pneumonia",
    "cleared": "none, surely said so",
    "typical": "the middle of its label",
}


COLUMNS = ("case", "patient", "truth", "probability", "calibrated", "decision", "result")
"""Of the table of cases."""


def write_page(run: Run, folder: Path) -> Path:
    """Write report.html of an evaluation from its files; gives the path back."""
    metrics = read_json(folder / "metrics.json")
    text = {"case": str, "patient": str}
    cases = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    probabilities = dict(zip(cases["case"], cases["probability"], strict=True))
    rows = {row["case"]: _row(row) for row in cases.to_dict("records")}
    page = Page(
        title="Pneumonia on chest films",
        answer=_answer(metrics),
        scores=page_scores(score_tables.main_scores(metrics)),
        charts=_charts(run, folder, metrics),
        tables=score_tables.tables(metrics),
        examples=example_pictures(
            folder,
            metrics,
            {kind: f"{kind.capitalize()}: {meaning}" for kind, meaning in KINDS.items()},
            lambda case: (
                f"{case}: {rows[case][2]}, probability {probabilities[case]:.2f}, {rows[case][-1]}",
                f"Chest film {case}, and the same film under its Grad-CAM map, with the "
                "radiologist's boxes where there are any.",
            ),
        ),
        cases=Table("", COLUMNS, tuple(rows.values())),
    )
    return write_report(run, folder, ABOUT, page)


def _answer(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    sentences = []
    if metrics["auroc"]["value"] is not None:
        sentences.append(
            "Of a film with pneumonia and a film without, the model gives the higher probability "
            f"to the one with pneumonia in {100 * metrics['auroc']['value']:.0f} of 100 such pairs."
        )
    sentences.append(
        f"At its threshold it finds {tp} of {tp + fn} films with pneumonia, and raises a false "
        f"alarm on {fp} of {tn + fp} films without."
    )
    return tuple(sentences)


def _charts(run: Run, folder: Path, metrics: Mapping[str, Any]) -> tuple[Picture, ...]:
    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    pictures = (
        (
            "confusion_matrix.png",
            "What was true against what was predicted; shares are of each true label.",
            f"Confusion matrix: {tn} true negatives, {fp} false positives, {fn} false negatives, "
            f"{tp} true positives.",
        ),
        (
            "curves.png",
            "ROC curve, precision and recall, and how far probabilities are shares, before and "
            "after the temperature from the validation split.",
            "Three curves. Their numbers stand in the tables of all scores.",
        ),
        (
            score_tables.SHEET,
            "The surest cases of each kind, with their probability; radiologists' boxes in blue.",
            "Rows of chest films: found, missed, false alarms, cleared.",
        ),
    )
    charts = [
        Picture(folder / name, *texts) for name, *texts in pictures if (folder / name).exists()
    ]
    return *charts, training_picture(run, folder, {"": run.folder})


def _row(case: Mapping[Hashable, Any]) -> tuple[str, ...]:
    results = (("cleared", "false alarm"), ("missed", "found"))
    return (
        case["case"],
        case["patient"],
        score_tables.TRUTHS[case["label"]],
        f"{case['probability']:.3f}",
        f"{case['calibrated']:.3f}",
        score_tables.TRUTHS[case["predicted"]],
        results[case["label"]][case["predicted"]],
    )


if __name__ == "__main__":
    run_script(lambda: write_again(PROJECT, EvaluateSettings(), write_page))
