"""The results of finished runs as one table, with the paths of their pictures.

Runs that trained on the folds of one cross-validation are summed up too: the mean over the
finished folds and its standard deviation.

    python -m common.results runs
"""

from __future__ import annotations

import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.errors import UserError, run_script
from common.base.files import read_json
from common.base.tables import MISSING, Table, print_table


def with_interval(
    score: Mapping[str, Any] | None, name: str = "value", digits: int = 3, sign: str = ""
) -> str:
    """A score with its 95 % interval: ``0.912 [0.874, 0.944]``; ``-`` where there is none.

    Args:
        score: With its value under ``name`` and ``ci95``, [low, high] or None.
        name: Where the value is.
        digits: After the point.
        sign: "+" writes the sign of what is above 0 too, for a difference.
    """
    if not score or score.get(name) is None:
        return MISSING
    ends = score.get("ci95")
    interval = ", ".join(f"{end:{sign}.{digits}f}" for end in ends or ())
    return f"{score[name]:{sign}.{digits}f}" + (f" [{interval}]" if ends else "")


def score(of: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """A number of a ``metrics.json`` with its interval, which stands at its place in ``ci95``."""
    value, limits = of, of.get("ci95")
    for name in path:
        value, limits = value[name], (limits or {}).get(name)
    return {"value": value, "ci95": limits}


def share(of: Mapping[str, Any], *path: str) -> str:
    """A count of ``n`` cases as a share with its interval: ``48 of 57, 84 % [74, 94]``."""
    count = score(of, *path)
    ends = ", ".join(f"{100 * end:.0f}" for end in count["ci95"] or ())
    said = f"{count['value']} of {of['n']}, {100 * count['value'] / of['n']:.0f} %"
    return f"{said} [{ends}]" if ends else said


def main() -> None:
    """Print the table of all evaluations under a folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    found = sorted(folder.glob("**/evaluation/*/metrics.json"))
    if not found:
        raise UserError(f"{folder}: holds no metrics.json; run evaluate.py first")
    head = ("project", "data", "cases", "score", "model [95 % interval]", "baseline")
    rows, folds = [], defaultdict(dict)
    for path in found:
        try:
            metrics = read_json(path)
            rows += score_rows(metrics)
            of = metrics.get("folds", {"of": 0})
            if of["of"]:
                folds[metrics["project"], metrics["split"], of["of"], of["data"]][of["fold"]] = (
                    metrics
                )
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: was not written by evaluate.py; move it away") from None
    print_table(Table("", head, tuple(rows)))
    for (project, split, count, _), by_fold in folds.items():
        done = ", ".join(str(fold) for fold in sorted(by_fold))
        print(f"\n{project}, {split}: folds {done} of {count}")
        print_table(_over_folds([by_fold[fold] for fold in sorted(by_fold)]))
    print("\npictures:")
    for path in found:
        for picture in sorted(path.parent.rglob("*")):
            if picture.suffix in (".png", ".gif"):
                print(f"  {os.path.relpath(picture)}")


def _over_folds(of_folds: Sequence[Mapping[str, Any]]) -> Table:
    """The mean of every main score over folds, its standard deviation, and every fold's."""
    rows = []
    for name in _main_scores(of_folds[0]):
        values = [_main_scores(metrics).get(name) for metrics in of_folds]
        known = [value for value in values if value is not None]
        mean = f"{statistics.mean(known):.3f}" if known else MISSING
        deviation = f"{statistics.stdev(known):.3f}" if len(known) > 1 else MISSING
        each = " ".join(MISSING if value is None else f"{value:.3f}" for value in values)
        rows.append((name, mean, deviation, each))
    return Table("", ("score", "mean", "deviation", "each fold"), tuple(rows))


def _main_scores(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    if "auroc" in metrics:
        return {
            "AUROC": metrics["auroc"]["value"],
            "AUROC of view, sex and age": metrics["baselines"]["metadata"]["auroc"]["value"],
            "average precision": metrics["average_precision"]["value"],
            **{name: metrics[name] for name in ("accuracy", "recall", "specificity", "brier")},
            "pointing game": metrics["gradcam"]["pointing_game"],
            "its chance": metrics["gradcam"]["chance"],
        }
    if "iou" in metrics:
        over = {f"IoU over {at}": n / metrics["n"] for at, n in metrics["iou_above"].items()}
        mean_box = metrics["baselines"]["mean_box"]["iou_mean"]
        return {"mean IoU": metrics["iou"]["mean"], "mean IoU of the mean box": mean_box, **over}
    dice = {f"Dice, {name}": model["dice"]["mean"] for name, model in metrics["models"].items()}
    return {**dice, "Dice of the mean shape": metrics["baselines"]["mean_shape"]["dice"]}


def score_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The main scores of a ``metrics.json``.

    Returns:
        Rows of project, data, cases, score, its value with its interval, and the baseline's.
    """

    def row(score: str, value: str, baseline: str) -> tuple[str, ...]:
        data = ("SYNTHETIC " if metrics["synthetic"] else "") + metrics["split"]
        cases = str(metrics.get("n", len(metrics.get("cases", []))))
        return metrics["project"], data, cases, score, value, baseline

    baselines = metrics["baselines"]
    if "auroc" in metrics:
        majority = with_interval(score(baselines["majority"], "accuracy"))
        metadata = with_interval(baselines["metadata"]["auroc"])
        return [
            row("AUROC", with_interval(metrics["auroc"]), f"{metadata} (view, sex and age)"),
            row(
                "accuracy",
                with_interval(score(metrics, "accuracy")),
                f"{majority} (always the majority)",
            ),
        ]
    if "iou" in metrics:
        mean_box = baselines["mean_box"]
        return [
            row(
                "mean IoU",
                with_interval(metrics["iou"], "mean"),
                f"{with_interval(mean_box['iou'], 'mean')} (the mean box)",
            ),
            row("IoU over 0.5", *(share(of, "iou_above", "0.5") for of in (metrics, mean_box))),
        ]
    mean_shape = with_interval(baselines["mean_shape"]["scores"]["dice"], "mean")
    return [
        row(f"Dice, {name}", with_interval(model["dice"], "mean"), f"{mean_shape} (the mean shape)")
        for name, model in metrics["models"].items()
    ]


if __name__ == "__main__":
    run_script(main)
