"""How the tests run the scripts: as a user does, or in forks of a process that is ready."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.base.film_settings import BACKBONES
from tests.helpers.forked import run_forked
from tests.helpers.formats_checked import check_folder

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ("pneumonia_classification", "heart_detection", "atrium_segmentation")

FIRST_PROJECT_FAST = (
    PROJECTS[0],
    *(pytest.param(project, marks=pytest.mark.slow) for project in PROJECTS[1:]),
)
"""For what the projects share: one of them in the fast tests, the others in the slow ones."""
FIRST_BACKBONE_FAST = (
    "resnet50",
    *(pytest.param(name, marks=pytest.mark.slow) for name in list(BACKBONES)[1:]),
)
CHEST = ("pneumonia_classification", "heart_detection")

TINY = {
    "pneumonia_classification": ["--image-size", "32", "--batch-size", "8"],
    "heart_detection": ["--image-size", "32", "--batch-size", "8"],
    "atrium_segmentation": ["--image-size", "32", "--unet-width", "2", "--unet-depth", "2",
                            "--fcn8-width", "1"],
}  # fmt: skip
TINY_DATA = {
    "pneumonia_classification": ["--image-size", "32"],
    "heart_detection": ["--image-size", "32"],
    "atrium_segmentation": ["--spacing-mm", "3", "3", "6"],
}


LONGEST_S = 1800
"""Seconds that a script may take: one of the demo's trainings takes ten minutes next to others."""


def run_alone(project: str, script: str, *arguments: object) -> str:
    """Run a script in a process of its own, as a user does; give back what it printed."""
    command = [sys.executable, str(ROOT / project / f"{script}.py"), *map(str, arguments)]
    return printed(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S)
    )


def run(project: str, script: str, *arguments: object, cwd: Path = ROOT, code: int = 0) -> str:
    """Run a script; give back what it printed, standard error after standard output."""
    done = run_forked(
        ROOT / project / f"{script}.py", [*map(str, arguments)], cwd, timeout=LONGEST_S
    )
    return printed(done, code)


def printed(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """What a process printed, standard error after standard output, whose status is as given."""
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def refused(project: str, script: str, *arguments: object) -> str:
    """Run a script that must be refused: status 2, one line on standard error, no traceback."""
    done = run_forked(ROOT / project / f"{script}.py", [*map(str, arguments)], ROOT, timeout=600)
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-4000:]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's size and time, to see that nothing was touched."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def copy_run(run: Path, place: Path) -> Path:
    """A copy of a run elsewhere, which still knows where its data lies; gives the place."""
    shutil.copytree(run, place)
    config = json.loads((place / "config.json").read_text())
    config["prepared"] = os.path.relpath((run / config["prepared"]).resolve(), place.resolve())
    (place / "config.json").write_text(json.dumps(config))
    return place


def copy_with_data(run: Path, place: Path) -> Path:
    """`copy_run`, with its prepared data next to it: how often that was scored is its own count."""
    shutil.copytree(run, place)
    config = json.loads((run / "config.json").read_text())
    shutil.copytree(run / config["prepared"], place.parent / "prepared")
    (place / "config.json").write_text(json.dumps({**config, "prepared": "../prepared"}))
    return place


def copy_of_tree(place: Path) -> Path:
    """A copy of the repository without what its scripts made; gives the place."""
    made = shutil.ignore_patterns(
        ".*", "__pycache__", "raw", "synthetic", "prepared", "runs", "build", "*.egg-info"
    )
    shutil.copytree(ROOT, place, ignore=made)
    return place


class Whole:
    """One project once through: its folders and what its scripts printed.

    Args:
        project: Which.
        sample: The folder of its dataset.
        folder: Where it goes through; a folder where it went is taken as it is.
        own: Where a copy of its run goes, for evaluations of one's own; none if not given.
    """

    def __init__(self, project: str, sample: Path, folder: Path, own: Path | None = None) -> None:
        self.project, self.sample = project, sample
        self.prepared, self.run = folder / "prepared", folder / "run"
        if not (folder / "said.json").exists():
            said = self._through()
            check_folder(folder)
            (folder / "said.json").write_text(json.dumps(said))
        self.said = json.loads((folder / "said.json").read_text())
        if own:
            self.run = copy_run(self.run, own / "run")
        self.evaluation = self.run / "evaluation" / "test"
        self.metrics = json.loads((self.evaluation / "metrics.json").read_text())
        with open(self.evaluation / "predictions.csv") as file:
            self.predictions = list(csv.DictReader(file))

    def _through(self) -> dict[str, str]:
        # The first as a user does it; forks of a ready process start faster.
        go = run_alone if self.project == PROJECTS[0] else run
        return {
            "prepare": go(
                self.project, "prepare_data", "--preset", "cpu", "--source", self.sample,
                "--prepared", self.prepared, "--validation-share", 0.2, "--test-share", 0.3,
                *TINY_DATA[self.project],
            ),
            "train": go(self.project, "train", *self.training(2)),
            "evaluate": go(self.project, "evaluate", "--run", self.run, "--pictures", 2),
        }  # fmt: skip

    def training(self, epochs: int) -> list[object]:
        """The command line of its training."""
        return [
            "--preset", "cpu", "--prepared", self.prepared, "--run", self.run,
            "--epochs", epochs, "--precision", "float32", *TINY[self.project],
        ]  # fmt: skip
