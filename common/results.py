"""The results of finished runs as one table, with the paths of their pictures.

python -m common.results runs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.artefacts import read_json
from common.errors import UserError, run_script


def with_interval(score: Mapping[str, Any] | None, name: str = "value") -> str:
    """A score with its 95 % interval: ``0.912 [0.874, 0.944]``; ``-`` where there is none."""
    if not score or score.get(name) is None:
        return "-"
    ends = score.get("ci95")
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    return f"{score[name]:.3f}{interval}"


def main() -> None:
    """Print the table of all evaluations under a folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    found = sorted(folder.glob("**/evaluation/*/metrics.json"))
    if not found:
        raise UserError(f"{folder}: holds no metrics.json; run evaluate.py first")
    head = ("project", "data", "cases", "score", "model [95 % interval]", "baseline")
    rows = [head]
    for path in found:
        try:
            rows += _rows(read_json(path))
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: was not written by evaluate.py; move it away") from None
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print()
    for row in rows:
        print(
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print("\npictures:")
    for path in found:
        for picture in sorted(path.parent.rglob("*")):
            if picture.suffix in (".png", ".gif"):
                print(f"  {os.path.relpath(picture)}")


def _rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    def row(score: str, value: str, baseline: str) -> tuple[str, ...]:
        data = ("SYNTHETIC " if metrics["synthetic"] else "") + metrics["split"]
        cases = str(metrics.get("n", len(metrics.get("cases", []))))
        return metrics["project"], data, cases, score, value, baseline

    baselines = metrics["baselines"]
    if "auroc" in metrics:
        majority = f"{baselines['majority']['accuracy']:.3f} (always the majority)"
        metadata = with_interval(baselines["metadata"]["auroc"])
        return [
            row("AUROC", with_interval(metrics["auroc"]), f"{metadata} (view, sex and age)"),
            row("accuracy", f"{metrics['accuracy']:.3f}", majority),
        ]
    if "iou" in metrics:
        mean_box = baselines["mean_box"]
        over, of_mean = metrics["iou_above"]["0.5"], mean_box["iou_above"]["0.5"]
        return [
            row(
                "mean IoU",
                with_interval(metrics["iou"], "mean"),
                f"{mean_box['iou_mean']:.3f} (the mean box)",
            ),
            row("IoU over 0.5", f"{over} of {metrics['n']}", f"{of_mean} of {metrics['n']}"),
        ]
    mean_shape = f"{baselines['mean_shape']['dice']:.3f} (the mean shape)"
    return [
        row(f"Dice, {name}", with_interval(model["dice"], "mean"), mean_shape)
        for name, model in metrics["models"].items()
    ]


if __name__ == "__main__":
    run_script(main)
