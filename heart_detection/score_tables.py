"""What evaluate.py prints and draws of a heart run's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.base.tables import Table, print_table
from common.imaging.letterbox import Letterbox
from common.reporting.charts import histogram_picture
from common.reporting.examples import Example
from common.reporting.figures import box_picture
from common.scores.boxes import EDGES
from common.scores.formatting import fold_score, main_score, score, share, strongest, with_interval

GROUPS = {"per_view": "view", "per_sex": "sex"}
BASELINES = {"mean_box": "the mean box", "thumbnail": "16 x 16 thumbnail"}
"""The baselines of metrics.json in words, the simplest first."""

HISTOGRAM = "iou_histogram.png"


def draw_scores(
    folder: Path, ious: np.ndarray, baseline_ious: np.ndarray, synthetic: bool | str
) -> None:
    """Draw the IoUs (n,) of the model next to those of the mean box."""
    label = "IoU with the true box; the baseline is the mean box of training"
    histogram_picture(folder / HISTOGRAM, ious, baseline_ious, label, synthetic)


def draw_cases(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    drawn: Mapping[int, str],
    truth: np.ndarray,
    predicted: np.ndarray,
    squares: Sequence[Letterbox],
    films: Mapping[str, np.ndarray],
    synthetic: bool | str,
) -> list[Example]:
    """Draw films with their true and predicted box.

    Args:
        folder: Where the PNGs go.
        rows: Of predictions.csv.
        drawn: The rows to draw, and their kinds.
        truth: (n, 4) boxes in pixels of each image.
        predicted: The same.
        squares: How each image lies in its stored square.
        films: The stored squares (image_size, image_size) by the case's name.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    examples = []
    for rank, (i, kind) in enumerate(drawn.items(), start=1):
        case, square = rows[i]["case"], squares[i]
        film = square.cut_out(films[case])
        # The film is drawn at the size it was stored in; its boxes come along.
        true_box, box = (square.to_cut_out(boxes[i]) for boxes in (truth, predicted))
        file = f"boxes/{rank:02d}-{case}.png"
        title = f"{case[:36]}\nIoU {rows[i]['iou']:.2f}"
        box_picture(folder / file, film, true_box, box, title, synthetic)
        examples.append(Example(case, kind, (file,)))
    return examples


def main_scores(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What tables of several evaluations show of an evaluation's metrics."""
    n, baselines = metrics["n"], _baselines(metrics)

    def mean(part: Mapping[str, Any]) -> dict[str, Any]:
        gap = part.get("differences", {}).get("iou")
        return {**_mean(part), "difference": gap}

    def over_half(part: Mapping[str, Any]) -> dict[str, Any]:
        count = score(part, "iou_above", "0.5")
        gap = part.get("differences", {}).get("iou_above_0.5")
        return {**count, "value": count["value"] / n, "difference": gap}

    means, shares = (
        strongest({name: of_part(part) for name, part in baselines.items()})
        for of_part in (mean, over_half)
    )
    of_model: dict[str, Any] = {"statistic": "mean", "column": "iou"}
    folds = [fold_score("mean IoU", metrics["iou"]["mean"], **of_model)]
    for key, title in BASELINES.items():
        if part := baselines.get(title):
            recipe, gap = {**of_model, "column": f"iou_{key}"}, mean(part)["difference"] or {}
            folds += [
                fold_score(f"mean IoU of {title}", part["iou_mean"], **recipe),
                fold_score(
                    *(f"mean IoU less that of {title}", gap.get("value")),
                    score=of_model,
                    less=recipe,
                ),
            ]
    folds += [fold_score(f"IoU over {at}", count / n) for at, count in metrics["iou_above"].items()]
    groups = [
        {
            "group": f"{GROUPS[key]} {group}",
            "n": part["n"],
            "name": "mean IoU",
            **_mean(part),
        }
        for key in GROUPS
        for group, part in metrics.get(key, {}).items()
    ]
    return {
        "main_scores": [
            main_score("mean IoU", mean(metrics), *means, **of_model),
            main_score(
                *("IoU over 0.5", over_half(metrics), *shares),
                n_of=(metrics["iou_above"]["0.5"], n),
            ),
        ],
        "fold_scores": folds,
        "main_scores_of_groups": groups,
        "truth_columns": ["true_x0", "true_y0", "true_x1", "true_y1"],
    }


def print_scores(metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the counts over and under IoU 0.5, every score next to the baselines', the worst."""
    over, under = metrics["iou_above"]["0.5"], metrics["iou_below"]["0.5"]
    print(f"\nNumber of predictions where iou > threshold(0.5): {over}")
    print(f"Number of predictions where iou < threshold(0.5): {under}")
    for table in tables(metrics):
        print_table(table)
    worst = sorted(rows, key=lambda row: row["iou"])[:3]
    print(f"\n  worst cases: {', '.join(f'''{row['case']} {row['iou']:.3f}''' for row in worst)}")


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores: next to the baselines', per edge, and per group."""
    baselines = _baselines(metrics)
    parts = (metrics, *baselines.values())
    medians = (
        {
            "median": part["iou"]["median"],
            "ci95": part["iou"]["median_ci95"],
            "ci95_reason": part["iou"].get("median_ci95_reason", ""),
        }
        for part in parts
    )
    gaps = (part.get("differences", {}).get("iou") for part in baselines.values())
    rows = [
        ("mean IoU", *(with_interval(part["iou"], "mean") for part in parts)),
        ("mean IoU, model less baseline", "", *(with_interval(gap, sign="+") for gap in gaps)),
        ("median IoU", *(with_interval(median, "median") for median in medians)),
    ]
    for threshold in metrics["iou_above"]:
        shares = (share(part, "iou_above", threshold) for part in parts)
        rows.append((f"IoU over {threshold}", *shares))
    for threshold in metrics["average_precision"]:
        precisions = (with_interval(score(part, "average_precision", threshold)) for part in parts)
        rows.append((f"AP at {threshold}", *precisions))
    scores = Table("", ("score", "model", *baselines), tuple(rows))
    edges = (_edges(metrics, unit) for unit in ("px", "mm") if f"edge_error_{unit}" in metrics)
    groups = (_groups(metrics, key) for key in GROUPS if metrics[key])
    return scores, *edges, *groups


def _mean(part: Mapping[str, Any]) -> dict[str, Any]:
    limits = {key: value for key, value in part["iou"].items() if key.startswith("ci95")}
    return {"value": part["iou"]["mean"], **limits}


def _baselines(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The scores of every baseline, by its name in words."""
    parts = metrics["baselines"]
    return {title: parts[name] for name, title in BASELINES.items() if name in parts}


def _edges(metrics: Mapping[str, Any], unit: str) -> Table:
    error, bias = f"edge_error_{unit}", f"edge_bias_{unit}"
    n = metrics[error].get("n", metrics["n"])
    baselines = _baselines(metrics)
    parts = (metrics, *baselines.values())

    def error_and_bias(part: Mapping[str, Any], edge: str) -> str:
        shift = with_interval(score(part, bias, edge), digits=1, sign="+")
        return f"{with_interval(score(part, error, edge), digits=1)} ({shift})"

    rows = [(edge, *(error_and_bias(part, edge) for part in parts)) for edge in EDGES]
    rows.append(
        ("all four", *(with_interval(score(part, error, "mean"), digits=1) for part in parts))
    )
    return Table(
        f"error of an edge in {unit}, {n} cases: mean absolute (mean; + is right or down)",
        ("edge", "model", *baselines),
        tuple(rows),
    )


def _groups(metrics: Mapping[str, Any], key: str) -> Table:
    thresholds = (f"over {threshold}" for threshold in metrics["iou_above"])
    return Table(
        "",
        (
            *(GROUPS[key], "cases", "mean IoU", *thresholds),
            *(f"mean IoU, {name}" for name in _baselines(metrics)),
        ),
        tuple(
            (
                name,
                str(part["n"]),
                with_interval(part["iou"], "mean"),
                *map(str, part["iou_above"].values()),
                *(with_interval(other["iou"], "mean") for other in _baselines(part).values()),
            )
            for name, part in metrics[key].items()
        ),
    )
