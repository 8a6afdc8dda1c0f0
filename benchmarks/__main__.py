"""Time every stage next to what a user would pick instead, and write one table.

    python -m benchmarks                       # all parts but time_to_score
    python -m benchmarks dicom nifti           # some
    python -m benchmarks --torch-python ../torch/bin/python

Prints the table and writes results.json and results.png. Rows of other parts in results.json stay,
if they are from this machine. A part whose alternative is not installed says so and gives our
figure alone.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.measuring import MissingError, Options, Row, find_torch_python
from common.base.errors import UserError, run_script
from common.base.files import ROOT

PARTS = ["start", "dicom", "nifti", "disk", "reading", "steps", "kernels", "waiting"]
PARTS += ["surface_scores", "large", "cluster"]
_LARGE = ("large", "cluster")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", help="the parts to run; none: all")
    add("--list", action="store_true", help="list the parts and end")
    add("--quick", action="store_true", help="small sizes: to try a part, not for figures")
    add("--large", action="store_true", help="also time sets of 1,000 to 26,684 films, and dask")
    add("--torch-python", help="a Python with torch and monai, if not this one")
    add("--work", type=Path, default=ROOT / "data" / "synthetic" / "benchmarks")
    add("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    if arguments.list:
        for name in PARTS:
            print(f"  {name:<16}{_title(name)}")
        return
    if unknown := set(arguments.parts) - set(PARTS):
        raise UserError(f"{', '.join(sorted(unknown))}: no such part; --list names them")
    wanted = arguments.parts or [name for name in PARTS if name not in _LARGE or arguments.large]
    options = Options(arguments.work, arguments.quick, find_torch_python(arguments.torch_python))
    options.work.mkdir(parents=True, exist_ok=True)
    # A bar per short run would bury the table.
    os.environ.setdefault("TQDM_DISABLE", "1")

    measured: dict[str, list[Row]] = {}
    for name in wanted:
        print(f"\n== {name}: {_title(name)}", flush=True)
        began = time.monotonic()
        try:
            for row in _part(name).rows(options):
                measured.setdefault(name, []).append(row)
                print(table.as_text([row]).splitlines()[1], flush=True)
        except MissingError as missing:
            print(f"   not measured: {missing}", flush=True)
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{table.as_text([row for rows in measured.values() for row in rows])}\n")
    print("written:")
    for path in table.write(arguments.output, measured, PARTS, _torch_versions(options)):
        print(f"  {path}")


def _part(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def _title(name: str) -> str:
    return _part(name).__doc__.splitlines()[0]


def _torch_versions(options: Options) -> dict[str, str]:
    if options.torch_python is None or shutil.which(options.torch_python) is None:
        return {}
    program = "import torch, monai as m; print(torch.__version__, m.__version__)"
    command = [options.torch_python, "-c", program]
    versions = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return dict(zip(("torch", "monai"), versions, strict=False))


if __name__ == "__main__":
    run_script(main)
