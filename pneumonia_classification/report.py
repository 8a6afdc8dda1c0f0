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
from common.base.tables import MISSING, Table
from common.datasets.classes import TWO, Classes
from common.reporting.html_report import (
    Page,
    Picture,
    example_pictures,
    page_scores,
    training_picture,
    write_again,
    write_report,
)
from common.scores import calibration
from common.training.runs import Run
from pneumonia_classification import score_tables
from pneumonia_classification.config import PROJECT, EvaluateSettings
from pneumonia_classification.elsewhere import elsewhere
from pneumonia_classification.model_card import about
from pneumonia_classification.score_pictures import SHEET, in_words

KINDS = {
    "missed": "{1}, missed",
    "false alarm": "{0}, called {1}",
    "wrong": "the surest of the wrong answers",
    "typical": "the middle of its label",
    "found": "{1}, surely said so",
    "cleared": "{0}, surely said so",
    "right": "the surest of the right answers",
}
"""The kinds of cases that are drawn, the worst first; of two classes with the words of both."""


COLUMNS = ("case", "patient", "truth", "probability", "rescaled", "decision", "result")
"""Of the table of cases."""

_RESULTS = (("cleared", "false alarm"), ("missed", "found"))


def write_page(run: Run, folder: Path) -> Path:
    """Write report.html of an evaluation from its files; gives the path back."""
    metrics = read_json(folder / "metrics.json")
    classes, text = Classes.described(metrics), {"case": str, "patient": str}
    text |= {} if classes.are_two else {"label": str, "predicted": str}
    cases = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    probabilities = dict(zip(cases["case"], cases["probability"], strict=True))
    words = [in_words(label, classes.names) for label in (0, 1)]
    records = sorted(cases.to_dict("records"), key=lambda row: _badness(row, classes), reverse=True)
    rows = {row["case"]: _row(row, classes) for row in records}
    page = Page(
        title="Pneumonia on chest films" if classes.names == TWO else ", ".join(classes.names),
        answer=_answer(metrics),
        scores=page_scores(score_tables.main_scores(metrics)),
        charts=_charts(run, folder, metrics),
        tables=score_tables.tables(metrics),
        examples=example_pictures(
            folder,
            metrics,
            {
                kind: f"{kind.capitalize()}: {meaning.format(*words)}"
                for kind, meaning in KINDS.items()
            },
            lambda case: (
                f"{case}: {rows[case][2]}, probability {probabilities[case]:.2f}, {rows[case][-1]}",
                f"{'Chest film' if classes.are_two else 'Image'} {case}, and the same film under "
                "maps of where the network looked, with the radiologist's boxes, if any.",
            ),
        ),
        cases=Table("", COLUMNS, tuple(rows.values())),
        elsewhere=elsewhere(run, metrics),
    )
    return write_report(run, folder, about(classes), page)


def _answer(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    if "per_class" in metrics:
        return _answer_of_classes(metrics)
    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    sentences, positive = [], in_words(1, Classes.described(metrics).names)
    if metrics["auroc"]["value"] is not None:
        sentences.append(
            f"Of a film with {positive} and a film without, the model gives the higher probability "
            f"to the one with {positive} in {100 * metrics['auroc']['value']:.0f} of 100 such "
            "pairs."
        )
    sentences.append(
        f"At its threshold it finds {tp} of {tp + fn} films with {positive}, and raises a false "
        f"alarm on {fp} of {tn + fp} films without."
    )
    return tuple(sentences)


def _answer_of_classes(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    sentences = []
    aurocs = {
        name: part["auroc"]["value"]
        for name, part in metrics["per_class"].items()
        if part["auroc"]["value"] is not None
    }
    if aurocs:
        best, worst = max(aurocs, key=aurocs.__getitem__), min(aurocs, key=aurocs.__getitem__)
        sentences.append(
            "Of an image with a class and one without, the model gives the higher probability of "
            f"it to the one with it in {100 * metrics['auroc']['value']:.0f} of 100 such pairs, on "
            f"average over classes: {100 * aurocs[best]:.0f} of {best}, {100 * aurocs[worst]:.0f} "
            f"of {worst}."
        )
    right = round(metrics["accuracy"] * metrics["n"])
    whole = "The likeliest class" if metrics["exclusive"] else "Every label at its threshold"
    return *sentences, f"{whole} is right on {right} of {metrics['n']} images."


def _charts(run: Run, folder: Path, metrics: Mapping[str, Any]) -> tuple[Picture, ...]:
    if "per_class" in metrics:
        matrix = "Confusion matrix; its counts are in metrics.json."
        curves = "ROC curve of each class against all others."
        kinds = "right, wrong"
    else:
        (tn, fp), (fn, tp) = metrics["confusion_matrix"]
        matrix = (
            f"Confusion matrix: {tn} true negatives, {fp} false positives, {fn} false negatives, "
            f"{tp} true positives."
        )
        curves = (
            "ROC curve; net benefit by the probability from which one would act; precision and "
            "recall; and how far probabilities are shares, with 95 % intervals and the number of "
            "cases of each bin, as they are and rescaled by the validation split."
        )
        kinds = "found, missed, false alarms, cleared"
    pictures = (
        (
            "confusion_matrix.png",
            "What was true against what was predicted; shares are of each true label.",
            matrix,
        ),
        (
            "curves.png",
            curves,
            "Curves. Their numbers stand in the tables of all scores.",
        ),
        (
            SHEET,
            "The surest cases of each kind, with their probability; radiologists' boxes in blue.",
            f"Rows of films: {kinds}.",
        ),
    )
    charts = [
        Picture(folder / name, caption, alternative)
        for name, caption, alternative in pictures
        if (folder / name).exists()
    ]
    return *charts, training_picture(run, folder, {"": run.folder})


def _badness(case: Mapping[Hashable, Any], classes: Classes) -> tuple[bool, float]:
    """How wrong an answer is: wrong ones before right ones, the surest wrong one most of all."""
    is_wrong, probability = case["label"] != case["predicted"], float(case["probability"])
    if classes.are_two:
        return is_wrong, abs(case["label"] - probability)
    return is_wrong, probability if is_wrong else -probability


def _row(case: Mapping[Hashable, Any], classes: Classes) -> tuple[str, ...]:
    if classes.are_two:
        result = _RESULTS[case["label"]][case["predicted"]]
    else:
        result = "right" if case["label"] == case["predicted"] else "wrong"
    names = (*calibration.COLUMNS.values(), calibration.EARLIER_COLUMN)
    rescaled = next((case[name] for name in names if name in case), None)
    return (
        case["case"],
        case["patient"],
        in_words(case["label"], classes.names),
        f"{case['probability']:.3f}",
        MISSING if rescaled is None else f"{rescaled:.3f}",
        in_words(case["predicted"], classes.names),
        result,
    )


if __name__ == "__main__":
    run_script(lambda: write_again(PROJECT, EvaluateSettings(), write_page))
