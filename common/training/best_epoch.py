"""The best epoch of a training, by the score that ``--monitor`` names, and an epoch in a line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.base.errors import UserError


def monitored(scores: Mapping[str, Any], monitor: str) -> float:
    """The score of an epoch that chooses the best one.

    Args:
        scores: By the names of Keras, which puts an output's name before a metric's where a network
            has several.
        monitor: `SharedTrain.monitor`, such as "val_loss" or "val_dice".
    """
    if monitor not in scores:
        metric = monitor.removeprefix("val")
        names = (name for name in scores if name.startswith("val_"))
        monitor = next(name for name in names if name.endswith(metric))
    return float(scores[monitor])


def best_epoch(history: Sequence[Mapping[str, Any]], monitor: str) -> int:
    """The number of the best epoch, from 1; the first of equal ones.

    Args:
        history: The scores of every epoch from the first, one or more.
        monitor: As of `monitored`; a loss is best where it is lowest, other scores where highest.
    """
    sign = 1 if monitor == "val_loss" else -1
    return 1 + min(range(len(history)), key=lambda row: sign * monitored(history[row], monitor))


def best_score(run: Path, monitor: str) -> float:
    """The monitored score of a run's best epoch; of several networks, that of the best.

    Args:
        run: The folder of a run that ended.
        monitor: As of `monitored`.

    Raises:
        UserError: The run has no history.csv, or a damaged one.
    """
    own = run / "history.csv"
    scores = []
    for path in [own] if own.exists() else sorted(run.glob("*/history.csv")):
        try:
            with open(path, newline="", encoding="utf-8") as file:
                history = list(csv.DictReader(file))
            scores.append(monitored(history[best_epoch(history, monitor) - 1], monitor))
        except (ValueError, TypeError, StopIteration):
            raise UserError(f"{path}: is damaged; train again into another folder") from None
    if not scores:
        raise UserError(f"{own}: is missing; train again into another folder")
    return min(scores) if monitor == "val_loss" else max(scores)


def epoch_line(history: Sequence[Mapping[str, Any]], epochs: int, monitor: str) -> str:
    """The last epoch in a line of at most 100 characters.

    Its seconds, the loss, and the score that is monitored, or where that is the loss the first
    other one, each in training and in validation; the best epoch, and the time that is left if all
    epochs run.

    Args:
        history: Of every epoch from the first: ``seconds``, and scores by the names of Keras.
        epochs: How many there are to be.
        monitor: As of `monitored`.
    """
    last = history[-1]
    validated = [name for name in last if name.startswith("val_")]
    others = [name for name in validated if not name.endswith("loss")]
    if monitor != "val_loss":
        others.sort(key=lambda name: not name.endswith(monitor.removeprefix("val")))
    scores = [
        # Of several outputs the name of each stands before its metrics.
        f"{name.rsplit('_', 1)[-1]} {last[name.removeprefix('val_')]:.4g}, val {last[name]:.4g}"
        for name in ["val_loss", *others[:1]]
        if name in last
    ]
    best = best_epoch(history, monitor)
    scores.append("the best so far" if best == len(history) else f"best is epoch {best}")
    left_s = (epochs - len(history)) * float(np.median([row["seconds"] for row in history]))
    if left_s:
        scores.append(f"{left_s / 60:.0f} min left" if left_s >= 90 else f"{left_s:.0f} s left")
    head = f"epoch {len(history):>{len(str(epochs))}}/{epochs}  {last['seconds']:5.1f} s"
    return f"{head}  {'; '.join(scores)}"
