"""A project: its folders by default, and its presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

from common.base.errors import UserError
from common.base.files import ROOT
from common.base.settings import (
    SOURCE_SETTINGS,
    Shared,
    SharedEvaluate,
    SharedPredict,
    SharedPrepare,
    SharedTrain,
)

Kind = TypeVar("Kind", bound=Shared)


@dataclass(frozen=True)
class Preset:
    """A named instance of a project's configuration.

    Attributes:
        about: The data, the duration where it is known, and the command.
        prepare: The settings of prepare_data.py.
        train: The settings of train.py.
        evaluate: The settings of evaluate.py.
        predict: The settings of predict.py.
    """

    about: str
    prepare: SharedPrepare
    train: SharedTrain
    evaluate: SharedEvaluate
    predict: SharedPredict


@dataclass(frozen=True)
class Project:
    """A project, as the shared code knows it.

    Attributes:
        name: The project's folder.
        dataset: The folder of its dataset under data/raw.
        sample: The folder of its built-in sample under data/synthetic.
        presets: Its presets by name: demo, cpu and gpu.
        prepare_function: Prepares its data, from the settings and whether all of it is to test to
            the prepared folder. As "module:function", since to import it takes a while. Where data
            has classes it also takes ``accept``, which is called with them before any is prepared.
        inputs_function: Gives some inputs of a run's models, from the run, its prepared data and a
            count to (count, height, width, channels), or to such by the name of each network. As
            "module:function" too.
    """

    name: str
    dataset: str
    sample: str
    presets: Mapping[str, Preset]
    prepare_function: str = ""
    inputs_function: str = ""

    @property
    def train_settings(self) -> type[SharedTrain]:
        """The class of its train.py settings."""
        return next((type(preset.train) for preset in self.presets.values()), SharedTrain)

    def usual(self, settings: Kind) -> Kind:
        """What the preset has in place of a script's settings; the defaults without a preset."""
        parts = vars(self.presets[settings.preset]) if settings.preset in self.presets else {}
        kinds = (part for part in parts.values() if type(part) is type(settings))
        return next(kinds, type(settings)())

    @property
    def raw(self) -> Path:
        """The default folder of its dataset."""
        return ROOT / "data" / "raw" / self.dataset

    def prepared(self, synthetic: bool) -> Path:
        """The default folder of its prepared data."""
        return ROOT / "data" / "prepared" / (f"SYNTHETIC-{self.name}" if synthetic else self.name)

    def prepared_to_train(self, preset: str) -> Path:
        """The prepared data that a training takes where none is named.

        The sample's under the preset ``demo``, and where the usual dataset is a sample itself.
        """
        of_cases = self.prepared(synthetic=False)
        is_sample = (self.raw / "SYNTHETIC.json").exists()
        is_here = (of_cases / "manifest.json").exists()
        return self.prepared(synthetic=preset == "demo" or (is_sample and not is_here))

    def prepare_to_train(self, train: SharedTrain) -> Path:
        """Prepare data under the preset and the seed of a training; gives its folder."""
        settings = self.presets[train.preset].prepare
        settings = dataclasses.replace(settings, preset=train.preset, seed=train.seed)
        folder: Path = resolve_name(self.prepare_function)(settings)
        return folder

    def prepare_to_test(
        self, stored: Mapping[str, Any], given: SharedEvaluate, folder: Path, **more: Any
    ) -> Path:
        """Prepare another dataset under the settings in a manifest, all of it to test.

        Args:
            stored: The settings of prepare_data.py by name.
            given: With the dataset's ``source``, and what is known of it (`SOURCE_SETTINGS`).
            folder: Where to; what was prepared there is replaced. It is returned.
            more: For `prepare_function`.
        """
        kind = type(next(iter(self.presets.values())).prepare)
        values: dict[str, Any] = {
            field.name: tuple(value) if isinstance(value, list) else value
            for field in dataclasses.fields(kind)
            if field.name not in SOURCE_SETTINGS and (value := stored.get(field.name)) is not None
        }
        values |= {name: value for name, value in vars(given).items() if name in SOURCE_SETTINGS}
        if positive := getattr(given, "positive_class", ""):
            values["positive_class"] = positive
        settings = kind(
            **values, source=given.source, prepared=folder, ids=given.ids, overwrite=True
        )
        return Path(resolve_name(self.prepare_function)(settings, all_test=True, **more))

    @property
    def runs(self) -> Path:
        """The default folder of its runs."""
        return ROOT / "runs" / self.name


def newest_run(project: Project) -> Path:
    """The folder of the newest finished run of a project.

    Raises:
        UserError: No run has finished.
    """
    runs = [config.parent for config in project.runs.glob("*/fitted.json")]
    if not runs:
        raise UserError(
            f"{project.runs}: there is no run that ended; start train.py, or name one with --run"
        )
    return max(runs, key=lambda run: (run / "fitted.json").stat().st_mtime)
