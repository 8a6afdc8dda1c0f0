"""The cases to draw: not the prettiest, but the worst, some typical ones and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WORST, TYPICAL, BEST = "worst", "typical", "best"


@dataclass(frozen=True)
class Example:
    """A case that was drawn.

    Attributes:
        case: Its name.
        kind: The reason for drawing it, such as `WORST`.
        files: Its pictures, relative to the evaluation's folder.
    """

    case: str
    kind: str
    files: tuple[str, ...]


def worst_typical_best(scores: Sequence[float], count: int) -> dict[int, str]:
    """Rows by score: the lowest, those around the median and the highest, a third each.

    Args:
        scores: (n,) higher is better.
        count: Maximum number of rows; the remainder goes to the worst, then to the best.

    Returns:
        The rows in the order of their scores, the worst first, each with its kind.
    """
    order = [int(row) for row in np.argsort(np.asarray(scores, dtype=float), kind="stable")]
    count = min(count, len(order))
    lowest, highest = -(-count // 3), (count + 1) // 3
    middle = count - lowest - highest
    between = order[lowest : len(order) - highest]
    first = (len(between) - middle) // 2
    return {
        **dict.fromkeys(order[:lowest], WORST),
        **dict.fromkeys(between[first : first + middle], TYPICAL),
        **dict.fromkeys(order[len(order) - highest :], BEST),
    }


def examples_of(metrics: dict[str, Any]) -> list[Example]:
    """The drawn cases of ``metrics.json``; files of older versions list none."""
    examples = metrics.get("examples", [])
    return [Example(row["case"], row["kind"], tuple(row["files"])) for row in examples]


def evaluation_files(folder: Path, examples: Sequence[Example], *further: str) -> list[Path]:
    """The files and folders of an evaluation that evaluate.py names when it ends."""
    return [
        *(folder / name for name in ("report.html", "metrics.json", "predictions.csv")),
        *sorted(folder.glob("*.png")),
        *(folder / name for name in further),
        *(folder / file for example in examples for file in example.files),
    ]
