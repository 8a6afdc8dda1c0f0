"""Training on the CPU with oneDNN's convolutions, next to TensorFlow's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, keras_side, side
from benchmarks.waiting import PROJECTS


def rows(options: Options) -> Iterator[Row]:
    """Steps per second of each project's own ``fit``, on one batch in memory."""
    for project in PROJECTS:
        steps = options.size(6, 2)
        work = ("fit", datasets.prepared(options, project), project, steps, "memory")
        module = (sys.executable, "-m", "benchmarks.keras_side", *map(str, work))
        with (
            keras_side(*work) as one_dnn,
            side("env", "TF_ENABLE_ONEDNN_OPTS=0", *module) as plain,
        ):
            seconds, plain_seconds = in_turn(one_dnn, plain)
        stage, against = f"oneDNN: {project}", "TensorFlow's own convolutions"
        yield compared(stage, against, steps / seconds, steps / plain_seconds, "steps/s", 1)
