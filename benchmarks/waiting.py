"""Waiting for data while training, next to the same steps on one batch in memory."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, keras_side

PROJECTS = ("pneumonia_classification", "heart_detection", "atrium_segmentation")


def rows(options: Options) -> Iterator[Row]:
    """Steps per second of each project's own ``fit``, with its data and augmentation."""
    for project in PROJECTS:
        folder = datasets.prepared(options, project)
        steps = options.size(50, 2)
        work = ("fit", folder, project, steps)
        with keras_side(*work, "files") as fit_run, keras_side(*work, "memory") as memory_run:
            fit_seconds, memory_seconds = in_turn(fit_run, memory_run)
        stage, against = f"waiting for data: {project}", "one batch in memory"
        figures = steps / fit_seconds, steps / memory_seconds
        yield compared(stage, against, *figures, "steps/s", 0.95)
