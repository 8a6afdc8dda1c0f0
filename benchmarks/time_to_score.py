"""The Dice of a U-Net after some minutes of training, next to MONAI's BasicUNet.

    python -m benchmarks.time_to_score --source data/raw/Task02_Heart --minutes 10 20 40

Both learn the same slices of the same volumes on this machine, one after the other, with the
settings of --preset cpu: widths, batch, loss, augmentation, averaged weights. Each trains once, for
the longest of the minutes, in which the learning rate falls to zero. At each earlier one the
weights are kept, to be scored after the training. The score is the mean Dice of whole volumes on
the working grid, at a threshold of 0.5, without further cleaning, over the test split, on which
nothing was chosen. To choose a setting, take --split validation.

The Dice of a side are written as soon as they are known. --side ours or --side other trains that
side alone, and takes the other side's Dice from --output, if they are there for the same minutes,
volumes, settings and machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atrium_segmentation.config import PROJECT
from atrium_segmentation.dataset import Volumes
from benchmarks import table
from benchmarks.datasets import prepare_command
from benchmarks.measuring import Row, find_torch_python
from common.base.errors import UserError, run_script
from common.base.files import ROOT, content_key, write_json
from common.datasets.splits import training_splits
from common.records.prepared import open_prepared
from common.scores.estimates import mean as mean_of_cases
from common.scores.intervals import interval


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=ROOT / "data" / "raw" / "Task02_Heart")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 20, 40])
    parser.add_argument("--torch-python", help="a Python with torch and monai, if not this one")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "prepared" / "benchmarks")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "score.json")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--side", choices=("both", "ours", "other"), default="both")
    arguments = parser.parse_args()
    if not arguments.source.is_dir():
        raise UserError(f"{arguments.source}: there is no such folder; give --source Task02_Heart")
    prepared, slices = arguments.work / "prepared", arguments.work / "volumes.npz"
    arguments.work.mkdir(parents=True, exist_ok=True)
    prepare = prepare_command(PROJECT.name, arguments.source, prepared)
    subprocess.run(prepare, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    cases, minutes = _export(prepared, slices, arguments.split), sorted(arguments.minutes)
    settings = dataclasses.asdict(PROJECT.presets["cpu"].train)
    key = content_key({"machine": table.machine(), "settings": settings})
    conditions = {"minutes": minutes, "split": arguments.split, "cases": cases, "key": key}
    dices: dict[str, Any] = {**conditions, **reached_before(arguments.output, conditions)}

    if arguments.side != "other":
        print(f"training ours for {minutes[-1]:g} minutes", flush=True)
        program = sys.executable, "-m", "benchmarks.keras_score"
        dices["ours"] = _run(*program, prepared, arguments.split, *minutes)
        write(arguments.output, dices)
    torch_python = find_torch_python(arguments.torch_python)
    if torch_python is None:
        print("no torch and monai here, ours alone: see benchmarks/requirements.txt")
    elif arguments.side != "ours":
        print(f"training MONAI's for {minutes[-1]:g} minutes", flush=True)
        script = Path(__file__).with_name("torch_score.py")
        dices["other"] = _run(torch_python, script, slices, *minutes)
    rows = write(arguments.output, dices)
    print(f"\n{table.as_text(rows)}\n\nwritten:\n  {arguments.output}")


def reached_before(file: Path, conditions: dict[str, Any]) -> dict[str, Any]:
    """The Dice of either side in an earlier run under the same conditions."""
    dices = json.loads(file.read_text())["dices"] if file.exists() else {}
    same = all(dices.get(name) == value for name, value in conditions.items())
    return {name: dices[name] for name in ("ours", "other") if same and name in dices}


def write(file: Path, dices: dict[str, Any]) -> list[Row]:
    """Write the Dice of each side and the rows of the table; return the rows."""
    ours, other = dices.get("ours"), dices.get("other")
    rows = [
        _row(minute, ours[place], other and other[place])
        for place, minute in enumerate(dices["minutes"]) if ours
    ]  # fmt: skip
    lines = [vars(row) for row in rows]
    write_json(file, {"machine": table.machine(), "rows": lines, "dices": dices})
    return rows


def _row(minutes: float, ours: Sequence[float], other: Sequence[float] | None) -> Row:
    """A row of the table from each volume's Dice by our network and, if known, by MONAI's."""
    against = "MONAI's BasicUNet of the same widths on the same slices"
    mean, alternative = float(np.mean(ours)), None if other is None else float(np.mean(other))
    if other is not None:
        differences = np.subtract(ours, other)
        limits = interval(mean_of_cases(differences, range(len(ours))), None).limits
        ends = "" if limits is None else " [{:+.3f}, {:+.3f}]".format(*limits)
        against += f"; difference {differences.mean():+.3f}{ends} over {len(ours)} volumes"
    stage, ratio = f"Dice after {minutes:g} minutes", alternative and mean / alternative
    higher = None if alternative is None else mean > alternative
    return Row(stage, mean, alternative, "Dice", ratio, "higher", higher, against)


def _export(folder: Path, file: Path, split: str) -> list[str]:
    """The working volumes as arrays, for a process without TensorFlow; the cases to be scored."""
    prepared = open_prepared(folder, PROJECT.name)
    train, _ = training_splits(prepared.splits)
    arrays, cases = {}, []
    for name, splits in (("train", train), ("scored", [split])):
        for number, volume in enumerate(Volumes(prepared, splits)):
            arrays[f"{name}-{number:03d}-image"] = volume["image"]
            arrays[f"{name}-{number:03d}-mask"] = volume["mask"]
            if name == "scored":
                cases.append(volume["case"])
    np.savez(file, **arrays)
    return cases


def _run(*command: object) -> list[list[float]]:
    words = [str(word) for word in command]
    printed = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


if __name__ == "__main__":
    run_script(main)
