"""The best epoch of a training, by the score that ``--monitor`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
