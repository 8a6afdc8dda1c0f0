"""Merge the parts that jobs of predict.py --part I/N wrote into what one run would have written.

All N have to have ended. The files are those of one run, byte for byte, but for the time in
predictions.json; the parts then go. A merge that was killed goes on with the same command. Parts of
evaluate.py are no matter of this: the same evaluate.py without --part scores them.

    python predict.py films/ --run runs/my-run --output predictions --part 1/8
    python -m common.merge predictions
"""

from __future__ import annotations

from pathlib import Path

from common.base.arguments import Parser
from common.base.errors import run_script
from common.base.printing import print_paths
from common.prediction.parts import merge


def main() -> None:
    """Merge, and print what was written."""
    parser = Parser("common.merge", __doc__)
    parser.add_argument("output", type=Path, help="the --output of predict.py --part")
    if paths := merge(parser.parse_args().output):
        print_paths(paths)


if __name__ == "__main__":
    run_script(main)
