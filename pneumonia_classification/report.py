"""report.html of a pneumonia evaluation.

Written by evaluate.py, and again from the evaluation's files, predicting nothing, by

    python -m pneumonia_classification.report runs/my-run/evaluation/test
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.base.errors import run_script
from common.base.files import read_json
from common.base.tables import Table
from common.reporting.examples import examples_of
from common.reporting.html_report import (
    Page,
    Picture,
    page_scores,
    training_picture,
    write_again,
    write_report,
)
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


def write_page(run: Any, folder: Path) -> Path:
    """Write report.html of an evaluation from its files; gives the path back."""
    import pandas as pd

    metrics = read_json(folder / "metrics.json")
    text = {"case": str, "patient": str}
    cases = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    page = Page(
        title="Pneumonia on chest films",
        answer=_answer(metrics),
        scores=page_scores(score_tables.main_scores(metrics)),
        charts=_charts(run, folder, metrics),
        tables=score_tables.tables(metrics),
        examples=_examples(folder, metrics, cases),
        cases=Table(
            "",
            ("case", "patient", "truth", "probability", "calibrated", "decision", "result"),
            tuple(
                (
                    row.case,
                    row.patient,
                    score_tables.TRUTHS[row.label],
                    f"{row.probability:.3f}",
                    f"{row.calibrated:.3f}",
                    score_tables.TRUTHS[row.predicted],
                    _result(row),
                )
                for row in cases.itertuples()
            ),
        ),
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


def _charts(run: Any, folder: Path, metrics: Mapping[str, Any]) -> tuple[Any, ...]:
    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    shown = (
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
    charts = [Picture(folder / name, *of) for name, *of in shown if (folder / name).exists()]
    return *charts, training_picture(run, folder, {"": run.folder})


def _examples(folder: Path, metrics: dict[str, Any], cases: Any) -> tuple[Any, ...]:
    rows = {row.case: row for row in cases.itertuples()}
    return tuple(
        Picture(
            folder / file,
            f"{one.case}: {score_tables.TRUTHS[rows[one.case].label]}, probability "
            f"{rows[one.case].probability:.2f}, {_result(rows[one.case])}",
            f"Chest film {one.case}, and the same film under its Grad-CAM map, with the "
            "radiologist's boxes where there are any.",
            f"{one.kind.capitalize()}: {KINDS[one.kind]}",
            one.case,
        )
        for kind in KINDS
        for one in examples_of(metrics)
        if one.kind == kind
        for file in one.files
    )


def _result(row: Any) -> str:
    names = (("cleared", "false alarm"), ("missed", "found"))
    return names[row.label][row.predicted]


if __name__ == "__main__":
    run_script(lambda: write_again(PROJECT, EvaluateSettings(), write_page))
