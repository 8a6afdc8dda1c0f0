"""A project whose training takes no time, and searches of its settings in processes.

Its runs are as those of any project. Its loss is a formula of the settings, so that a search can be
held against it. What a test writes into its folder makes a training misbehave.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME = "stand_in"

_CONFIG = """
from dataclasses import dataclass
from common.base.project import Preset, Project
from common.base.settings import (
    SharedEvaluate, SharedPredict, SharedPrepare, SharedTrain, choice
)

@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    monitor: str = choice("val_loss", ("val_loss", "val_dice"))
    loss: str = choice("dice", ("dice", "focal"))
    flip: bool = False

PRESET = Preset(
    "nothing", SharedPrepare(), TrainSettings(epochs=3), SharedEvaluate(), SharedPredict()
)
PROJECT = Project("stand_in", "none", "none", {"demo": PRESET, "cpu": PRESET, "gpu": PRESET})
"""

_TRAIN = '''
"""Train nothing, an epoch a few moments."""
import csv, os, signal, sys, time
from pathlib import Path
from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.files import lock_folder, write_csv
from common.base.signals import Stopped, held_signals
from common.records.prepared import open_prepared
from common.training import runs
from stand_in.config import PROJECT
from tests.helpers.searches import loss_of

HERE = Path(__file__).parent

def is_asked(name):
    """Whether a test asked for something, once."""
    try:
        (HERE / name).unlink()
    except FileNotFoundError:
        return False
    return True

def main():
    settings = parse(PROJECT, "train", __doc__)
    run = settings.run
    with lock_folder(run):
        if not runs.begin_run(run, settings, open_prepared(settings.prepared, PROJECT.name)):
            return
        if (HERE / "fails").exists():
            raise UserError(f"{run}: has a loss that is no number")
        history = []
        if (run / "history.csv").exists():
            with open(run / "history.csv") as file:
                history = list(csv.DictReader(file))
            print(f"goes on after epoch {len(history)}", flush=True)
        if is_asked("kills-itself"):
            os.kill(os.getpid(), signal.SIGKILL)
        seconds = float((HERE / "seconds").read_text())
        with held_signals() as held:
            while len(history) < settings.epochs:
                time.sleep(seconds)
                loss = loss_of(vars(settings)) + 0.1 * (settings.epochs - len(history) - 1)
                row = {"epoch": len(history) + 1, "val_loss": loss, "val_dice": 1 - loss}
                history.append(row)
                write_csv(run / "history.csv", list(row), history)
                with open(HERE / "epochs.txt", "a") as file:
                    file.write(f"{run.name} {len(history)}\\n")
                if held.received:
                    raise Stopped(held.received)
        runs.end_run(run, {}, ["history.csv"])
        print("ended", flush=True)
    if is_asked("kills-worker"):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

if __name__ == "__main__":
    run_script(main)
'''


def loss_of(settings: dict[str, Any]) -> float:
    """The loss of the last epoch, which is the best."""
    rate = math.log10(settings["learning_rate"])
    return 0.1 + abs(rate + 3) + (0.05 if settings.get("loss") == "focal" else 0)


class StandIn:
    """The project in a folder, its prepared data, and a search in another.

    Args:
        folder: A new one.
        seconds: That an epoch takes.
    """

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.package, self.search = folder / NAME, folder / "search"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        (self.package / "config.py").write_text(_CONFIG)
        (self.package / "train.py").write_text(_TRAIN)
        self.ask("seconds", str(seconds))
        self.prepared = folder / "prepared"
        self.prepared.mkdir()
        self.prepare("0")

    def prepare(self, sha256: str) -> None:
        """Write a manifest of one shard."""
        shard = {"file": "train", "records": 1, "bytes": 0, "sha256": sha256}
        manifest = {
            "project": NAME, "dataset": "none", "synthetic": True, "key": "k", "settings": {},
            "shards": {"train": [shard]}, "split_warning": "", "patients_known": True,
        }  # fmt: skip
        (self.prepared / "manifest.json").write_text(json.dumps(manifest))

    def ask(self, what: str, text: str = "") -> None:
        """Have a training misbehave."""
        (self.package / what).write_text(text)

    def command(self, *more: object, trials: int = 3, words: tuple[object, ...] = ()) -> list[str]:
        """A worker's command line, with more of its own and of train.py's words."""
        own = (NAME, "--folder", self.search, "--trials", trials, *more)
        if not {"--over", "--space"} & set(map(str, more)):
            own = (*own, "--over", "learning_rate=1e-5:1e-1:log")
        given = ("--preset", "cpu", "--prepared", self.prepared, *words)
        line = [sys.executable, "-m", "common.search", *own, "--", *given]
        return list(map(str, line))

    def start(self, *more: object, **options: Any) -> subprocess.Popen[str]:
        """Start a worker."""
        # Here, since every training imports this file.
        from tests.tools.kills import hear_ctrl_c

        path = os.pathsep.join([str(ROOT), str(self.package.parent)])
        return subprocess.Popen(
            self.command(*more, **options), env={**os.environ, "PYTHONPATH": path},
            cwd=self.package.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=hear_ctrl_c,
        )  # fmt: skip

    def work(self, *more: object, code: int = 0, **options: Any) -> str:
        """Let a worker work to its end; what it printed, standard error last."""
        process = self.start(*more, **options)
        out, error = process.communicate(timeout=300)
        assert process.returncode == code, out[-2000:] + error[-3000:]
        assert "Traceback" not in error
        return out + error

    @property
    def epochs(self) -> Counter[str]:
        """How often each epoch of each run was trained to its end."""
        file = self.package / "epochs.txt"
        return Counter(file.read_text().splitlines() if file.exists() else [])

    def told(self) -> dict[int, list[tuple[str, float | None]]]:
        """By trial, every state and value in Optuna's journal, as its lines stand there."""
        states = {1: "complete", 3: "failed"}
        lines = (self.search / "journal.log").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        trials: dict[int, list[tuple[str, float | None]]] = {}
        for record in records:
            if record["op_code"] == 4:
                trials[len(trials)] = []
            elif record["op_code"] == 6:
                value = record["values"][0] if record["values"] else None
                trials[record["trial_id"]].append((states[record["state"]], value))
        return trials

    def assert_complete(self, count: int) -> None:
        """So many trials, each told once and with the formula's score; each run whole, no lease."""
        told = self.told()
        assert sorted(told) == list(range(count))
        for number, ends in told.items():
            run = self.search / f"trial-{number:04d}"
            settings = json.loads((run / "config.json").read_text())["settings"]
            [(state, value)] = ends
            assert state == "complete" and value is not None
            assert abs(value - loss_of(settings)) < 1e-9
            assert (run / "fitted.json").exists() and not list(run.glob(".lease*"))
