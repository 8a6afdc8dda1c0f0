"""The settings that all projects share.

A setting has one home: a field of a frozen dataclass in a project's ``config.py``. What the
projects share has one name in all and is inherited from the dataclasses here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from common.base.errors import UserError

PresetName = Literal["auto", "demo", "cpu", "gpu"]
Value = TypeVar("Value")

WITHOUT_CONSEQUENCE = (
    *("preset", "run", "prepared"),
    *("checkpoint_seconds", "tensorboard_images", "profile"),
)
"""Settings of train.py that do not change what a training ends with."""


def renamed(old: str, default: Value) -> Value:
    """A field for a setting that was called otherwise in earlier versions.

    The command line takes the old flag with a notice, and older runs are read (`current_names`).
    """
    return dataclasses.field(default=default, metadata={"old": old})


@dataclass(frozen=True)
class Shared:
    """What every script takes."""

    preset: PresetName = "auto"
    """A named configuration: demo is the SYNTHETIC sample in about a minute, cpu real data on two
    cores, gpu what one would run on a card. auto is gpu where a card is found, else cpu; and demo
    where there is no dataset. Any setting given beside it wins."""
    seed: int = 2022
    """The seed of everything that is drawn: splits, weights, order, augmentation, resampling."""


@dataclass(frozen=True)
class SharedPrepare(Shared):
    """What every prepare_data.py takes."""

    source: Path | None = None
    """The dataset's folder as downloaded. Default: data/raw/DATASET, else the SYNTHETIC sample."""
    prepared: Path | None = None
    """Where to write. Default: data/prepared/PROJECT (SYNTHETIC-PROJECT for the sample)."""
    validation_share: float = 0.15
    """Share of the patients in the validation split, 0 to 1; at least one patient where not 0."""
    test_share: float = 0.15
    """Share of the patients in the test split, 0 to 1. 0: every case is for training and
    validation."""
    folds: int = 0
    """Number of folds that the patients outside the test split are dealt into, for
    cross-validation with train.py --fold. 0: one training and one validation split."""
    workers: int = 0
    """Processes that decode. 0: one a core."""
    overwrite: bool = False
    """Replace a prepared folder that was made with other settings or from other files."""
    check: bool = False
    """Check the dataset, write what was found to findings.csv, and prepare nothing."""
    bad_files_limit: float = 0.1
    """How many cases may be left out for what is wrong with their files or labels: from 1 a
    number, below 1 a share of all, of which 3 may always be; 0: none. More of them stop it."""

    def __post_init__(self) -> None:
        """Refuse shares and folds that leave nothing to train on."""
        for name in ("validation_share", "test_share"):
            require(0 <= getattr(self, name) < 1, name, "0 or more and below 1", self)
        require(
            self.validation_share + self.test_share < 1,
            "validation_share",
            "such that validation and test leave a share for training",
            self,
        )
        require(self.folds == 0 or self.folds >= 2, "folds", "0, or 2 and more", self)
        require(self.bad_files_limit >= 0, "bad_files_limit", "0 or more", self)


@dataclass(frozen=True)
class SharedTrain(Shared):
    """What every train.py takes."""

    prepared: Path | None = None
    """A folder that prepare_data.py wrote. Default: data/prepared/PROJECT, prepared first where
    there is nothing yet."""
    run: Path | None = None
    """The run's folder. Default: a new runs/PROJECT/DATE-TIME. A run that did not end goes on."""
    epochs: int = 30
    """The most passes over the training split."""
    batch_size: int = 16
    """Images in one step."""
    learning_rate: float = 1e-3
    """Adam's highest learning rate; it warms up to it and falls to a hundredth by a cosine."""
    warmup_share: float = 0.1
    """Share of all steps in which the learning rate rises from 0."""
    patience: int = 10
    """EarlyStopping: epochs without a better val_loss before the training ends."""
    image_size: int = 0
    """Side of the model's input in pixels. 0: the side that was prepared."""
    weights: str = "none"
    """Where the weights start: imagenet, none, a .keras or .weights.h5 file, or a run's folder."""
    head_epochs: int = 0
    """Epochs in which the head alone learns first, on a frozen backbone."""
    head_learning_rate: float = 1e-3
    """The highest learning rate of those epochs."""
    ema_momentum: float = renamed("averaging", 0.0)
    """Momentum, 0 to below 1, of a running average of the weights over the steps; the average is
    what is validated and kept. 0: the weights of the last step."""
    checkpoint_seconds: float = 30.0
    """Seconds of work that a kill may cost at most, or 20 times what saving takes, where that is
    more. 0: save after every step."""
    tensorboard_images: int = renamed("board_pictures", 6)
    """Cases of the validation split that TensorBoard shows after every epoch, always the same, and
    augmented samples that it shows before the first. 0: none."""
    profile: int = 0
    """Steps that the profiler traces, from the second on, for TensorBoard, which can show the
    trace only after pip install tensorboard-plugin-profile. 0: none."""
    fold: int = 0
    """With a set prepared in folds: the fold that validates, from 0."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "onednn_bfloat16"] = (
        "auto"
    )
    """Number format of the arithmetic; weights stay float32. auto: mixed_bfloat16 on a GPU that
    has it, else mixed_float16; onednn_bfloat16 on a CPU that has it; else float32."""

    def __post_init__(self) -> None:
        """Refuse numbers that no training can use."""
        for name in ("epochs", "batch_size", "patience"):
            require(getattr(self, name) >= 1, name, "1 or more", self)
        require(self.learning_rate > 0, "learning_rate", "above 0", self)
        require(self.head_learning_rate > 0, "head_learning_rate", "above 0", self)
        require(0 <= self.head_epochs <= self.epochs, "head_epochs", "0 to --epochs", self)
        require(0 <= self.ema_momentum < 1, "ema_momentum", "0 or more and below 1", self)
        require(0 <= self.warmup_share < 1, "warmup_share", "0 or more and below 1", self)
        for name in ("fold", "checkpoint_seconds", "tensorboard_images", "profile"):
            require(getattr(self, name) >= 0, name, "0 or more", self)
        require(
            self.image_size == 0 or self.image_size >= 32, "image_size", "0, or 32 and more", self
        )


@dataclass(frozen=True)
class SharedEvaluate(Shared):
    """What every evaluate.py takes."""

    run: Path | None = None
    """The run to evaluate. Default: the newest of runs/PROJECT."""
    source: Path | None = None
    """Any other dataset in the same layout; every case of it is a test case. Default: the test
    split of the data that the run was trained on."""
    name: str = ""
    """Name of the evaluation's folder. Default: test, or the source folder's name."""
    split: Literal["test", "validation"] = "test"
    """The split to score, without --source. A validation score chose the best epoch and is
    therefore too good."""
    pictures: int = 12
    """The most cases that are drawn."""
    batch_size: int = 32
    """Images the model sees at once."""

    def __post_init__(self) -> None:
        """Refuse numbers that no evaluation can use, and a name that is no folder name."""
        require(self.pictures >= 0, "pictures", "0 or more", self)
        require(self.batch_size >= 1, "batch_size", "1 or more", self)
        require(
            not self.name
            or (re.fullmatch(r"[\w.-]{1,100}", self.name) is not None and set(self.name) != {"."}),
            "name",
            "letters, digits, '.', '_' and '-'",
            self,
        )


@dataclass(frozen=True)
class SharedPredict(Shared):
    """What every predict.py takes."""

    inputs: tuple[Path, ...] = dataclasses.field(default=(), metadata={"positional": "INPUT ..."})
    """Files and folders to predict. Of a folder, and of those in it, every file of the right kind
    is taken, whatever it is called."""
    run: Path | None = None
    """The run whose model is asked. Default: the newest of runs/PROJECT."""
    output: Path | None = None
    """Where to write. Default: predictions/ in the run's folder."""
    pictures: int = -1
    """The most files that are drawn, the first ones. -1: all of them."""
    batch_size: int = 32
    """Images the model sees at once."""
    workers: int = 0
    """Processes that decode. 0: one a core."""
    overwrite: bool = False
    """Replace predictions that were made of other files, by another run or with other settings."""

    def __post_init__(self) -> None:
        """Refuse numbers that no prediction can use."""
        require(self.pictures >= -1, "pictures", "-1, 0 or more", self)
        require(self.batch_size >= 1, "batch_size", "1 or more", self)
        require(self.workers >= 0, "workers", "0 or more", self)


def current_names(settings: type[Shared], values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored values of settings by the names of today, whatever the version that stored them.

    Args:
        settings: The class of settings that they are values of.
        values: A value by the name that its setting had when it was stored.
    """
    new = new_names(settings)
    return {new.get(name, name): value for name, value in values.items()}


def first_names(settings: Shared) -> dict[str, Any]:
    """Values by the names that settings had at first, so that a key of them outlives a new name."""
    old = {new: old for old, new in new_names(type(settings)).items()}
    return {old.get(name, name): value for name, value in dataclasses.asdict(settings).items()}


def new_names(settings: type[Shared]) -> dict[str, str]:
    """The name of today by the old one, of each setting that was renamed."""
    fields = dataclasses.fields(settings)
    return {field.metadata["old"]: field.name for field in fields if "old" in field.metadata}


def require(condition: bool, name: str, wanted: str, settings: Shared) -> None:
    """Refuse a setting's value, with its flag and what it must be, as a `UserError`."""
    if not condition:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be {wanted}. Received: {getattr(settings, name)}")
