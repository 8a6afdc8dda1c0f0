"""A project: its folders by default, and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.base.errors import UserError
from common.base.files import ROOT
from common.base.settings import SharedEvaluate, SharedPredict, SharedPrepare, SharedTrain


@dataclass(frozen=True)
class Preset:
    """A named instance of a project's configuration.

    Attributes:
        about: The command, the expected score and the time it takes.
        prepare: What prepare_data.py does under it.
        train: What train.py does under it.
        evaluate: What evaluate.py does under it.
        predict: What predict.py does under it.
    """

    about: str
    prepare: SharedPrepare
    train: SharedTrain
    evaluate: SharedEvaluate
    predict: SharedPredict


@dataclass(frozen=True)
class Project:
    """What the scripts must know of their project.

    Attributes:
        name: The project's folder.
        dataset: Folder under data/raw that its dataset is put into.
        sample: Folder under data/synthetic that holds its built-in sample.
        presets: Its presets, by name: demo, cpu and gpu.
    """

    name: str
    dataset: str
    sample: str
    presets: Mapping[str, Preset]

    @property
    def train_settings(self) -> type[SharedTrain]:
        """The class of its settings of train.py."""
        return next((type(preset.train) for preset in self.presets.values()), SharedTrain)

    @property
    def raw(self) -> Path:
        """Where its dataset is put."""
        return ROOT / "data" / "raw" / self.dataset

    def prepared(self, synthetic: bool) -> Path:
        """Where its prepared data lies by default."""
        return ROOT / "data" / "prepared" / (f"SYNTHETIC-{self.name}" if synthetic else self.name)

    @property
    def runs(self) -> Path:
        """Where its runs lie by default."""
        return ROOT / "runs" / self.name


def newest_run(project: Project) -> Path:
    """The newest run of a project that ended.

    Raises:
        UserError: There is none.
    """
    runs = [config.parent for config in project.runs.glob("*/fitted.json")]
    if not runs:
        raise UserError(
            f"{project.runs}: there is no run that ended; start train.py, or name one with --run"
        )
    return max(runs, key=lambda run: (run / "fitted.json").stat().st_mtime)
