"""The Dice of a U-Net after some minutes of training, beside MONAI's BasicUNet.

    python -m benchmarks.time_to_score --source data/raw/Task02_Heart --minutes 10 20 40

Both learn the same slices of the same volumes on this machine, one after the other, with the
settings of --preset cpu: widths, batch, loss, augmentation, averaged weights. Each trains once, for
the longest of the minutes, as the learning rate falls to nothing; at each of the others its weights
are kept, and scored after the training. The score is the mean Dice of whole volumes on the working
grid, at a threshold of 0.5, without further cleaning: those of the test split, on which nothing was
chosen. To choose a setting, take --split validation.

What a side reached is written as soon as it is known. --side ours or --side other trains that one
alone, and takes the other's from --output, where it stands for the same minutes, volumes, settings
and machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atrium_segmentation.config import PROJECT
from benchmarks import table
from benchmarks.measuring import Row, find_torch_python
from common.base.errors import UserError, run_script
from common.base.files import ROOT, content_key, write_json
from common.scores.intervals import ci95_of_mean


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
    parser.add_argument("--train-here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train_here:
        reached = train_ours(given.work / "prepared", given.minutes, given.split)
        print(json.dumps(reached), flush=True)
        return
    if not given.source.is_dir():
        raise UserError(f"{given.source}: there is no such folder; give --source Task02_Heart")
    given.work.mkdir(parents=True, exist_ok=True)
    places = ["--source", str(given.source), "--prepared", str(given.work / "prepared")]
    prepare = [sys.executable, "-m", f"{PROJECT.name}.prepare_data", "--preset", "cpu", *places]
    subprocess.run(prepare, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    slices, minutes = given.work / "volumes.npz", sorted(given.minutes)
    cases = _export(given.work / "prepared", slices, given.split)
    settings = dataclasses.asdict(PROJECT.presets["cpu"].train)
    key = content_key({"machine": table.machine(), "settings": settings})
    of_what = {"minutes": minutes, "split": given.split, "cases": cases, "key": key}
    dices: dict[str, Any] = {**of_what, **reached_before(given.output, of_what)}

    if given.side != "other":
        print(f"training ours for {minutes[-1]:g} minutes", flush=True)
        dices["ours"] = _run(
            sys.executable, "-m", "benchmarks.time_to_score", "--train-here", "--work",
            given.work, "--split", given.split, "--minutes", *minutes,
        )  # fmt: skip
        write(given.output, dices)
    torch_python = find_torch_python(given.torch_python)
    if torch_python is None:
        print("no torch and monai here, ours alone: see benchmarks/requirements.txt")
    elif given.side != "ours":
        print(f"training MONAI's for {minutes[-1]:g} minutes", flush=True)
        script = Path(__file__).with_name("torch_score.py")
        dices["other"] = _run(torch_python, script, slices, *minutes)
    rows = write(given.output, dices)
    print(f"\n{table.as_text(rows)}\n\nwritten:\n  {given.output}")


def reached_before(file: Path, of_what: dict[str, Any]) -> dict[str, Any]:
    """The Dice that either side had in an earlier run, if it was the same in all of these."""
    dices = json.loads(file.read_text())["dices"] if file.exists() else {}
    same = all(dices.get(name) == value for name, value in of_what.items())
    return {name: dices[name] for name in ("ours", "other") if same and name in dices}


def write(file: Path, dices: dict[str, Any]) -> list[Row]:
    """Write what each side reached, and the lines that it makes; give the lines back."""
    ours, other = dices.get("ours"), dices.get("other")
    rows = [
        row_of(minute, ours[place], other and other[place])
        for place, minute in enumerate(dices["minutes"]) if ours
    ]  # fmt: skip
    write_json(
        file,
        {"machine": table.machine(), "rows": [vars(row) for row in rows], "dices": dices},
    )
    return rows


def row_of(minutes: float, ours: Sequence[float], other: Sequence[float] | None) -> Row:
    """A line of the table from the Dice of each volume.

    Args:
        minutes: After which they were reached.
        ours: (n,) of our network.
        other: (n,) of the other, of the same volumes; None where there is none.
    """
    against = "MONAI's BasicUNet of the same widths on the same slices"
    mean, its = float(np.mean(ours)), None if other is None else float(np.mean(other))
    if other is not None:
        apart = np.subtract(ours, other)
        limits = ci95_of_mean(apart, range(len(apart)))
        interval = "" if limits is None else " [{:+.3f}, {:+.3f}]".format(*limits)
        against += f"; difference {apart.mean():+.3f}{interval} over {len(apart)} volumes"
    return Row(
        f"Dice after {minutes:g} minutes", mean, its, "Dice", None if its is None else mean / its,
        "higher", None if its is None else mean > its, against,
    )  # fmt: skip


def train_ours(folder: Path, minutes: Sequence[float], split: str) -> list[list[float]]:
    """Train the project's U-Net, and score its averaged weights as they were at some minutes.

    Args:
        folder: Prepared data.
        minutes: Rising; the last ends the training.
        split: What is scored.

    Returns:
        For each of the minutes, the Dice of each volume of the split.
    """
    import keras

    from atrium_segmentation import networks, slices
    from atrium_segmentation.train import _losses
    from common.datasets.splits import training_splits
    from common.models.fused import fuse_batch_normalization
    from common.records.shards import open_prepared
    from common.training.precision import set_precision

    settings = dataclasses.replace(PROJECT.presets["cpu"].train, epochs=1_000_000)
    prepared = open_prepared(folder, PROJECT.name)
    train, _ = training_splits(prepared.splits, 0)
    set_precision(settings.precision)
    keras.utils.set_random_seed(settings.seed)
    model = fuse_batch_normalization(networks.build("unet", 1, settings))
    adam = keras.optimizers.Adam(
        settings.learning_rate, use_ema=True, ema_momentum=settings.ema_momentum
    )
    model.compile(adam, **_losses(settings, 1, 1))
    side, size = settings.image_size, settings.batch_size
    training = slices.training_data(prepared, train, side, 100, size, settings, 1)

    kept: list[list[np.ndarray]] = []

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.began = time.monotonic()

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            gone = (time.monotonic() - self.began) / (60 * minutes[-1])
            adam.learning_rate.assign(settings.learning_rate * rate_at(gone))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            gone = time.monotonic() - self.began
            while len(kept) < len(minutes) and gone >= 60 * minutes[len(kept)]:
                kept.append(averaged())
            self.model.stop_training = len(kept) == len(minutes)

    def averaged() -> list[np.ndarray]:
        own = model.get_weights()
        adam.finalize_variable_values(model.trainable_variables)
        found = model.get_weights()
        model.set_weights(own)
        return found

    model.fit(
        training.batches(), steps_per_epoch=100, epochs=settings.epochs, callbacks=[Clock()],
        shuffle=False, verbose=0,
    )  # fmt: skip
    evaluate, found = PROJECT.presets["cpu"].evaluate, []
    of_split = list(slices.volumes(prepared, [split]).as_numpy_iterator())
    for weights in kept:
        model.set_weights(weights)
        found.append([])
        for volume in of_split:
            said = networks._said(model, volume["image"], "axial", settings.neighbours, evaluate)
            found[-1].append(dice(volume["mask"] > 0, said[..., 0] >= 0.5))
    return found


def rate_at(gone: float) -> float:
    """The share of the learning rate after a share of the time: warm-up, then a cosine."""
    gone = min(gone, 1.0)
    return gone / 0.05 if gone < 0.05 else (1 + np.cos(np.pi * (gone - 0.05) / 0.95)) / 2


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice of two masks."""
    return float(2 * (truth & predicted).sum() / max(truth.sum() + predicted.sum(), 1))


def _export(folder: Path, file: Path, split: str) -> list[str]:
    """The working volumes as arrays, for a process without TensorFlow; the cases to be scored."""
    from atrium_segmentation import slices
    from common.datasets.splits import training_splits
    from common.records.shards import open_prepared

    prepared = open_prepared(folder, PROJECT.name)
    train, _ = training_splits(prepared.splits, 0)
    arrays, cases = {}, []
    for name, splits in (("train", train), ("scored", [split])):
        for number, volume in enumerate(slices.volumes(prepared, splits).as_numpy_iterator()):
            arrays[f"{name}-{number:03d}-image"] = volume["image"]
            arrays[f"{name}-{number:03d}-mask"] = volume["mask"]
            if name == "scored":
                cases.append(volume["case"].decode())
    np.savez(file, **arrays)
    return cases


def _run(*command: object) -> list[list[float]]:
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command[1]} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    run_script(main)
