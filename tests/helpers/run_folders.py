"""Runs' folders without a training: begun, at work, and ended."""

import json
from dataclasses import dataclass
from pathlib import Path

from common.base.project import Project
from common.base.settings import SharedTrain
from common.records.prepared import Prepared
from common.training import runs


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """With a setting that JSON keeps in another form."""

    widths: tuple[int, ...] = (8, 16)


@dataclass(frozen=True)
class Here(Project):
    """A project in a folder of its own."""

    root: Path = Path()

    def prepared(self, synthetic: bool) -> Path:
        return self.root / ("SYNTHETIC" if synthetic else "real")

    def prepare_to_train(self, train: SharedTrain) -> Path:
        return prepared_in(self.prepared(train.preset == "demo")).folder

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def runs(self) -> Path:
        return self.root / "runs"


SETTINGS = TrainSettings(preset="cpu")


def project_in(folder):
    """The heart project in a folder of its own."""
    return Here("heart_detection", "rsna", "sample", {}, root=folder)


def prepared_in(folder, key="k", splits=("train", "validation", "test"), sha256="0", **settings):
    """A prepared folder of a case a split."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {
        split: [{"file": split, "records": 1, "bytes": 0, "sha256": sha256}] for split in splits
    }
    content = {
        "project": "heart_detection", "dataset": "rsna", "synthetic": False, "key": key,
        "settings": {"image_size": 64, "folds": 0, **settings}, "shards": shards,
        "split_warning": "", "patients_known": True,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content))
    return Prepared(folder, content)


def run_at_work(folder, prepared):
    """A run that is at work."""
    folder.mkdir(parents=True)
    assert runs.begin_run(folder, SETTINGS, prepared)
    (folder / "history.csv").write_text("epoch\n1\n")
    return folder


def end(run, **fitted):
    (run / "fitted.json").write_text(json.dumps(fitted))
