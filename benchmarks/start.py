"""Start of a script: ``--help`` of each, next to ``python -c "import tensorflow"``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.measuring import Options, Row, in_turn, timed
from common.base.files import ROOT

SECONDS = 0.5
_NAMES = ("prepare_data", "train", "evaluate", "predict")


def rows(options: Options) -> Iterator[Row]:
    """The slowest script's start, in seconds."""
    scripts = [f for f in sorted(ROOT.glob("*_*/*.py")) if f.stem in _NAMES]

    def start(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    helps = [timed(partial(start, str(script), "--help")) for script in scripts]
    *ours, other = in_turn(
        *helps, timed(partial(start, "-c", "import tensorflow")), repeats=options.size(5, 1)
    )
    slowest = max(ours)
    stage = f"start: --help of {len(scripts)} scripts, the slowest"
    against = 'python -c "import tensorflow"'
    target, reached = f"under {SECONDS} s", slowest < SECONDS
    yield Row(stage, slowest, other, "s", other / slowest, target, reached, against)
