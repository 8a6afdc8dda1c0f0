"""report.html of a heart evaluation.

Written by evaluate.py, and again from the evaluation's files, predicting nothing, by

    python -m heart_detection.report runs/my-run/evaluation/test
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import run_script
from common.base.files import read_json
from common.base.tables import Table
from common.reporting.examples import BEST, TYPICAL, WORST
from common.reporting.html_report import (
    Page,
    Picture,
    example_pictures,
    page_scores,
    training_picture,
    write_again,
    write_report,
)
from common.scores.boxes import EDGES
from common.training.runs import Run
from heart_detection import score_tables
from heart_detection.config import PROJECT, EvaluateSettings
from heart_detection.dataset import BOX
from heart_detection.model_card import ABOUT


def write_page(run: Run, folder: Path) -> Path:
    """Write report.html of an evaluation from its files; gives the path back."""
    metrics = read_json(folder / "metrics.json")
    text = {"case": str, "patient": str}
    cases = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    mean_box = metrics["baselines"]["mean_box"]["iou"]["mean"]
    iou, ious = metrics["iou"], dict(zip(cases["case"], cases["iou"], strict=True))
    histogram = Picture(
        folder / score_tables.HISTOGRAM,
        "How many cases have which IoU, of the model and of the mean box of training.",
        f"Histogram of IoU: the model's mean is {iou['mean']:.2f}, the mean box's {mean_box:.2f}.",
    )
    page = Page(
        title="The heart on chest films",
        answer=_answer(metrics),
        scores=page_scores(score_tables.main_scores(metrics))[:1],
        charts=(histogram, training_picture(run, folder, {"": run.folder})),
        tables=score_tables.tables(metrics),
        examples=example_pictures(
            folder,
            metrics,
            {kind: kind.capitalize() for kind in (WORST, TYPICAL, BEST)},
            lambda case: (
                f"{case}: IoU {ious[case]:.3f}",
                f"Chest film {case} with the true box in blue and the predicted box in red; they "
                f"share {100 * ious[case]:.0f} % of the area of both.",
            ),
        ),
        cases=Table(
            "",
            ("case", "patient", "IoU", *(f"{edge} off, px" for edge in EDGES)),
            tuple(
                (
                    row["case"],
                    row["patient"],
                    f"{row['iou']:.3f}",
                    *(f"{row[edge] - row[f'true_{edge}']:+.1f}" for edge in BOX),
                )
                for row in cases.sort_values("iou", kind="stable").to_dict("records")
            ),
        ),
    )
    return write_report(run, folder, ABOUT, page)


def _answer(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    mean_box, n = metrics["baselines"]["mean_box"], metrics["n"]
    sentences = [
        "Of the area that the predicted or the true box covers, both cover "
        f"{100 * metrics['iou']['mean']:.0f} % on average. The mean box of the training films, "
        f"laid on every film unseen, shares {100 * mean_box['iou']['mean']:.0f} %.",
        f"More than half is shared on {metrics['iou_above']['0.5']} of {n} films (the mean box: "
        f"{mean_box['iou_above']['0.5']}), more than three quarters on "
        f"{metrics['iou_above']['0.75']} ({mean_box['iou_above']['0.75']}).",
    ]
    # Of films whose headers have a spacing; a part of them does not speak for all.
    in_mm = metrics.get("edge_error_mm")
    unit = "mm" if in_mm and in_mm.get("n", n) == n else "px"
    error = metrics[f"edge_error_{unit}"]["mean"]
    return *sentences, f"An edge of the box is off by {error:.1f} {unit} on average."


if __name__ == "__main__":
    run_script(lambda: write_again(PROJECT, EvaluateSettings(), write_page))
