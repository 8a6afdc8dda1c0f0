"""What report.html of a pneumonia evaluation says under "Does this hold elsewhere?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.reporting.elsewhere import (
    Elsewhere,
    parts_apart,
    source_table,
    sources,
    tried_elsewhere,
)
from common.scores.formatting import score, with_interval
from common.scores.shortcuts import UNKNOWN, describe_shortcuts, shortcut_table
from common.training.runs import Run
from pneumonia_classification.score_tables import group_table

_HEAD = (
    *("accuracy", "sensitivity", "specificity"),
    *("calibration error", "rescaled", "Brier score, rescaled less as it is"),
)
_THRESHOLD = (
    "There too the threshold and the rescaling are those of this run's validation split: where "
    "sensitivity, specificity or the calibration error moved, they do not hold, and are to be "
    "fitted again on films of that source."
)
_NO_PARTS = (
    "These films have no shifted part: prepare_data.py --split-by shortcut keeps patients from "
    "training whose films belie the shortcuts, --split-by COLUMN the films of some makers, "
    "stations or views, and evaluate.py then scores them next to patients at random."
)


def elsewhere(run: Run, metrics: Mapping[str, Any]) -> Elsewhere:
    """Other sources, the shifted part, views and shortcuts, and what was not tried.

    Args:
        run: The run.
        metrics: The content of the ``metrics.json`` that the page is of.
    """
    evaluations = sources(run, metrics)
    text, tables = [tried_elsewhere(evaluations)], []
    if evaluations.others:
        text.append(_THRESHOLD)
        tables.append(source_table(evaluations, _HEAD, _cells))
    text.append(parts_apart(metrics) or _NO_PARTS)
    tables += [group_table(metrics, key) for key in ("per_part", "per_view") if metrics.get(key)]
    shortcuts = metrics.get("shortcuts", UNKNOWN)
    text.append(describe_shortcuts(shortcuts))
    tables += [shortcut_table(shortcuts)] if shortcuts["groups"] else []
    return Elsewhere(tuple(text), tuple(tables))


def _cells(metrics: Mapping[str, Any]) -> list[str]:
    calibration = metrics["calibration"]
    return [
        *(with_interval(score(metrics, name)) for name in ("accuracy", "recall", "specificity")),
        *(
            with_interval(score(calibration, f"expected_calibration_error_{when}"))
            for when in ("before", "after")
        ),
        with_interval(calibration.get("differences", {}).get("brier"), sign="+"),
    ]
