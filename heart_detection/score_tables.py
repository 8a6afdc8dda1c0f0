"""What evaluate.py prints and draws of a heart run's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.tables import Table, print_table
from common.reporting.examples import Example
from common.scores.formatting import main_score, score, share, with_interval

GROUPS = {"per_view": "view", "per_sex": "sex"}
HISTOGRAM = "iou_histogram.png"


def draw_scores(folder: Path, ious: Any, of_mean_box: Any, synthetic: bool) -> None:
    """Draw the IoUs (n,) of the model next to those of the mean box."""
    from common.reporting.charts import histogram_picture

    label = "IoU with the true box; the baseline is the mean box of training"
    histogram_picture(folder / HISTOGRAM, ious, of_mean_box, label, synthetic)


def draw_cases(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    drawn: Mapping[int, str],
    truth: Any,
    predicted: Any,
    squares: Sequence[Any],
    films: Mapping[str, Any],
    synthetic: bool,
) -> list[Example]:
    """Draw films with their true and predicted box.

    Args:
        folder: Where the PNGs go.
        rows: Of predictions.csv.
        drawn: The rows to draw, and their kinds.
        truth: (n, 4) boxes in pixels of each image.
        predicted: The same.
        squares: The `Letterbox` of each image.
        films: Their stored squares by the case's name.
        synthetic: Whether the data was made up.
    """
    import numpy as np

    from common.reporting.figures import box_picture

    examples = []
    for rank, (i, kind) in enumerate(drawn.items(), start=1):
        case, square = rows[i]["case"], squares[i]
        film = square.cut_out(films[case])
        # The film is drawn at the size it was stored in; its boxes come along.
        scale = np.tile([square.width / square.columns, square.height / square.rows], 2)
        file = f"boxes/{rank:02d}-{case}.png"
        title = f"{case[:36]}\nIoU {rows[i]['iou']:.2f}"
        box_picture(folder / file, film, truth[i] * scale, predicted[i] * scale, title, synthetic)
        examples.append(Example(case, kind, (file,)))
    return examples


def main_scores(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What tables of several evaluations show of an evaluation's metrics."""
    n, mean_box = metrics["n"], metrics["baselines"]["mean_box"]
    pair = (metrics, mean_box)
    means = [{"value": part["iou"]["mean"], "ci95": part["iou"]["ci95"]} for part in pair]
    over = [score(part, "iou_above", "0.5") for part in pair]
    shares = [{**count, "value": count["value"] / n} for count in over]
    folds = {
        "mean IoU": metrics["iou"]["mean"],
        "mean IoU of the mean box": mean_box["iou_mean"],
        **{f"IoU over {at}": count / n for at, count in metrics["iou_above"].items()},
    }
    groups = [
        {
            "group": f"{key.removeprefix('per_')} {group}",
            "n": scores_of_group["n"],
            "name": "mean IoU",
            "value": scores_of_group["iou"]["mean"],
            "ci95": scores_of_group["iou"]["ci95"],
        }
        for key in GROUPS
        for group, scores_of_group in metrics.get(key, {}).items()
    ]
    return {
        "main_scores": [
            main_score("mean IoU", *means, "the mean box", statistic="mean", column="iou"),
            main_score("IoU over 0.5", *shares, "the mean box", n_of=(over[0]["value"], n)),
        ],
        "fold_scores": [{"name": name, "value": value} for name, value in folds.items()],
        "main_scores_of_groups": groups,
        "truth_columns": ["true_x0", "true_y0", "true_x1", "true_y1"],
    }


def print_scores(metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the counts over and under IoU 0.5, every score next to the mean box's, the worst."""
    over, under = metrics["iou_above"]["0.5"], metrics["iou_below"]["0.5"]
    print(f"\nNumber of predictions where iou > threshold(0.5): {over}")
    print(f"Number of predictions where iou < threshold(0.5): {under}")
    for table in tables(metrics):
        print_table(table)
    worst = sorted(rows, key=lambda row: row["iou"])[:3]
    print(f"\n  worst cases: {', '.join(f'''{row['case']} {row['iou']:.3f}''' for row in worst)}")


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores: next to the mean box's, per edge, and per group."""
    both = (metrics, metrics["baselines"]["mean_box"])
    medians = ({**of["iou"], "ci95": of["iou"]["median_ci95"]} for of in both)
    rows = [
        ("mean IoU", *(with_interval(of["iou"], "mean") for of in both)),
        ("median IoU", *(with_interval(median, "median") for median in medians)),
    ]
    for threshold in metrics["iou_above"]:
        shares = (share(of, "iou_above", threshold) for of in both)
        rows.append((f"IoU over {threshold}", *shares))
    for threshold in metrics["average_precision"]:
        precisions = (with_interval(score(of, "average_precision", threshold)) for of in both)
        rows.append((f"AP at {threshold}", *precisions))
    scores = Table("", ("score", "model", "mean box of training"), tuple(rows))
    edges = (_edges(both, unit) for unit in ("px", "mm") if f"edge_error_{unit}" in metrics)
    groups = (_groups(metrics, key) for key in GROUPS if metrics[key])
    return scores, *edges, *groups


def _edges(both: tuple[Mapping[str, Any], ...], unit: str) -> Table:
    from common.scores.boxes import EDGES

    error, bias = f"edge_error_{unit}", f"edge_bias_{unit}"
    n = both[0][error].get("n", both[0]["n"])

    def off(of: Mapping[str, Any], edge: str) -> str:
        shift = with_interval(score(of, bias, edge), digits=1, sign="+")
        return f"{with_interval(score(of, error, edge), digits=1)} ({shift})"

    rows = [(edge, *(off(of, edge) for of in both)) for edge in EDGES]
    rows.append(("all four", *(with_interval(score(of, error, "mean"), digits=1) for of in both)))
    return Table(
        f"error of an edge in {unit}, {n} cases: mean absolute (mean; + is right or down)",
        ("edge", "model", "mean box of training"),
        tuple(rows),
    )


def _groups(metrics: Mapping[str, Any], key: str) -> Table:
    thresholds = (f"over {threshold}" for threshold in metrics["iou_above"])
    return Table(
        "",
        (GROUPS[key], "cases", "mean IoU", *thresholds, "mean box's mean IoU"),
        tuple(
            (
                name,
                str(of["n"]),
                with_interval(of["iou"], "mean"),
                *map(str, of["iou_above"].values()),
                with_interval(of["baselines"]["mean_box"]["iou"], "mean"),
            )
            for name, of in metrics[key].items()
        ),
    )
