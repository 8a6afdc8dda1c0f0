"""The settings that all projects share.

A setting has one home: a field of a frozen dataclass in a project's ``config.py``. What the
projects share has one name in all and is inherited from the dataclasses here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from common.base.errors import UserError

PresetName = Literal["auto", "demo", "cpu", "gpu"]
Value = TypeVar("Value")

WITHOUT_CONSEQUENCE = (
    *("preset", "run", "prepared"),
    *("checkpoint_seconds", "tensorboard_images", "profile", "device", "hosts"),
)
"""Settings of train.py that do not change the result of a training."""

BY_PATIENT, BY_SHORTCUT = "patient", "shortcut"
"""Values of --split-by that are no column."""

NO_RUN = ("none", "imagenet", "auto")
"""Values of --weights that are no file or folder, and saw none of the cases."""

SOURCE_SETTINGS = (
    *("validation_share", "test_share", "folds", "copies"),
    *("patients", "split_from", "split_by", "layout", "patient_pattern", "own_split"),
    *("bad_files_limit", "workers"),
)
"""Settings of prepare_data.py that do not decide how a case looks, but which cases there are and
how they are read. For another dataset evaluate.py has its own of some."""


def renamed(old: str, default: Value) -> Value:
    """A field of settings that had another name in earlier versions.

    The command line takes the old flag and prints a notice; `current_names` reads older runs.
    """
    return dataclasses.field(default=default, metadata={"old": old})


def choice(default: Any, names: Iterable[str]) -> Any:
    """A field that takes one of some names, or a tuple of them, as its default is."""
    return dataclasses.field(default=default, metadata={"choices": tuple(names)})


MAX_IMAGE_SIZE = 4096
"""Side of a model's input in pixels, at most: that of the finest films, and more than memory holds
of any larger."""


@dataclass(frozen=True)
class Shared:
    """The settings of every script."""

    preset: PresetName = "auto"
    """A named configuration: demo is for the SYNTHETIC sample (about two minutes), cpu for real
    data on two cores, gpu for a graphics card. auto is gpu where a card is found, otherwise cpu;
    and demo where there is no dataset; evaluate.py and predict.py take the run's. Settings that are
    given override those of the preset."""
    seed: int = 2022
    """Seed of everything random: splits, weights, order, augmentation, resampling. Of runs that
    differ in it alone, python -m common.results shows the spread of retraining."""


@dataclass(frozen=True)
class SharedPrepare(Shared):
    """The settings of every prepare_data.py."""

    source: Path | None = None
    """The dataset's folder as downloaded. Default: data/raw/DATASET, or the SYNTHETIC sample."""
    prepared: Path | None = None
    """Where to write. Default: data/prepared/PROJECT (SYNTHETIC-PROJECT for the sample)."""
    patients: Path | None = None
    """Whose each image is, for the split by patient: a CSV of patientId (volumes: case) and
    patient, or the mapping that RSNA publishes as JSON, since the challenge's PatientID names an
    image. Default: either of the two in the source folder, otherwise the PatientID of the files."""
    ids: Path | None = None
    """The id-map.csv of an earlier preparation or prediction, whose ids the same files get again.
    It has the key and the names behind the ids that stand for names of files; an empty file becomes
    a new one. Default: id-map.csv beside the prepared folder."""
    validation_share: float = 0.15
    """Share of the patients in the validation split, 0 to 1; at least one patient where not 0."""
    test_share: float = 0.15
    """Share of the patients in the test split, 0 to 1. 0: every case is for training and
    validation."""
    split_from: Path | None = None
    """A CSV of case and split (train, validation, test, or fold-0 and so on): an official split, or
    the cohort.csv of an earlier preparation. Cases that it does not name are left out."""
    split_by: str = BY_PATIENT
    """Which patients validate and test: patient, any; else half of them, marked shifted in
    cases.csv, are shortcut, those whose films look most like the other label in how they were
    taken (films are decoded once more for it); or those of values that do not train of a column of
    cases.csv, such as view, or of a DICOM keyword, such as Manufacturer. Not with --folds."""
    folds: int = 0
    """Number of folds for cross-validation with train.py --fold, over the patients outside the
    test split. 0: one training and one validation split."""
    workers: int = 0
    """Number of decoding processes. 0: one per core."""
    cluster: str = ""
    """Have the workers of dask write the shards: local:N, or the address of a scheduler, such as
    tls://login1:8786. Needs the extra cluster, and folders that all see (docs/cluster.md)."""
    cluster_tls: Path | None = None
    """A folder of ca.pem, cert.pem and key.pem, for a scheduler that other machines reach."""
    overwrite: bool = False
    """Replace a prepared folder that was made with other settings or from other files."""
    check: bool = False
    """Check the dataset and write its problems to findings.csv; prepare nothing."""
    bad_files_limit: float = 0.1
    """Maximum number of cases left out for problems in their files or labels; below 1, a share
    of all cases, of which 3 are always allowed; 0: none. More stop the script."""

    def __post_init__(self) -> None:
        """Refuse shares and folds that leave no case to train on."""
        for name in ("validation_share", "test_share"):
            require(0 <= getattr(self, name) < 1, name, "0 or more and below 1", self)
        require(
            self.validation_share + self.test_share < 1,
            "validation_share",
            "such that validation and test leave a share for training",
            self,
        )
        require(self.folds == 0 or self.folds >= 2, "folds", "0, or 2 and more", self)
        require(
            self.split_by == BY_PATIENT
            or (
                not self.folds
                and not self.split_from
                and self.validation_share + self.test_share > 0
            ),
            "split_by",
            "patient with --folds, with --split-from and without a share to validate or test",
            self,
        )
        require(self.bad_files_limit >= 0, "bad_files_limit", "0 or more", self)
        require(not (self.check and self.cluster), "cluster", "left out with --check", self)
        require(
            self.cluster_tls is None or self.cluster != "", "cluster_tls", "with --cluster", self
        )
        is_size = 1 <= getattr(self, "image_size", 1) <= MAX_IMAGE_SIZE
        require(is_size, "image_size", f"1 to {MAX_IMAGE_SIZE}", self)


@dataclass(frozen=True)
class SharedTrain(Shared):
    """The settings of every train.py."""

    prepared: Path | None = None
    """A folder that prepare_data.py wrote. Default: data/prepared/PROJECT, prepared first where
    there is nothing yet."""
    run: Path | None = None
    """The run's folder. Default: a new runs/PROJECT/DATE-TIME. A run that did not end goes on."""
    epochs: int = 30
    """Maximum number of epochs. A larger one goes on."""
    batch_size: int = 16
    """Images per step."""
    learning_rate: float = 1e-3
    """Adam's peak learning rate: a warm-up to it, then a cosine down to a hundredth."""
    warmup_share: float = 0.1
    """Share of all steps in which the learning rate rises from 0."""
    monitor: str = choice("val_loss", ("val_loss",))
    """The score of the validation split that chooses the epoch to keep, and that early stopping
    watches."""
    patience: int = 10
    """Early stopping: epochs without a better --monitor before the training ends."""
    image_size: int = 0
    """Height and width of the model's input in pixels. 0: as prepared."""
    weights: str = "none"
    """Initial weights: imagenet, none, auto (either), a file, or a run's folder."""
    head_epochs: int = 0
    """First epochs, which train only the head, on a frozen backbone."""
    head_learning_rate: float = 1e-3
    """Peak learning rate of those epochs."""
    ema_momentum: float = renamed("averaging", 0.0)
    """Momentum, 0 to below 1, of an exponential moving average of the weights over the steps; the
    average is validated and kept. 0: the weights of the last step."""
    weight_decay: float = 0.0
    """Weight decay as in AdamW: an update takes this share, times the learning rate, off every
    weight but biases and those of batch normalisation. 0: none."""
    clip_norm: float = 0.0
    """Maximum norm of the gradient of all weights together, to which a longer one is scaled down.
    0: none."""
    accumulate: int = 1
    """Number of steps whose gradients are averaged into one update, as if --batch-size were so many
    times larger, but for batch normalisation. For one device."""
    checkpoint_seconds: float = 30.0
    """Maximum seconds of work that a kill may cost, or 20 times the duration of a save where that
    is longer. 0: save after every step."""
    tensorboard_images: int = renamed("board_pictures", 6)
    """Number of validation cases that TensorBoard shows after every epoch, always the same, and of
    augmented samples that it shows before the first epoch. 0: none."""
    profile: int = 0
    """Print where the time of the first epoch went, and let the profiler trace so many steps, from
    the second on: TensorBoard shows them after pip install tensorboard-plugin-profile. 0: none."""
    fold: int = 0
    """The fold that validates, counted from 0, of data that was prepared in folds."""
    nested: bool = False
    """Nested cross-validation: leave --fold out, for evaluate.py --split fold, and validate on the
    next one, so that a score is of cases that chose no epoch and no threshold."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: all graphics cards that the machine shows (CUDA_VISIBLE_DEVICES chooses some), else the
    CPU; cpu: the CPU, though there is a card."""
    hosts: str = ""
    """Train as one of several processes, on JAX (KERAS_BACKEND=jax): COORDINATOR:PORT,N,I, the I-th
    from 0 of N, which meet at the port; or auto, which takes it from Slurm's srun or Open MPI's
    mpirun. --batch-size is that of all together. Needs --run, in a folder that all see
    (docs/cluster.md)."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "onednn_bfloat16"] = (
        "auto"
    )
    """Number format of the arithmetic; weights stay float32. auto: on a GPU mixed_bfloat16, or
    mixed_float16 where it lacks that; on a CPU onednn_bfloat16, or float32 where it lacks that."""
    augment: Literal["host", "device"] = "host"
    """Where online augmentation is computed: by the host, ahead of a step, or by the device."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile training and validation by XLA, on one device. auto: on one GPU, where Keras can."""

    def __post_init__(self) -> None:
        """Refuse values that no training can use."""
        for name in ("epochs", "batch_size", "patience", "accumulate"):
            require(getattr(self, name) >= 1, name, "1 or more", self)
        require(self.learning_rate > 0, "learning_rate", "above 0", self)
        require(self.head_learning_rate > 0, "head_learning_rate", "above 0", self)
        require(0 <= self.head_epochs <= self.epochs, "head_epochs", "0 to --epochs", self)
        require(0 <= self.ema_momentum < 1, "ema_momentum", "0 or more and below 1", self)
        require(0 <= self.warmup_share < 1, "warmup_share", "0 or more and below 1", self)
        for name in (
            *("fold", "checkpoint_seconds", "tensorboard_images", "profile"),
            *("weight_decay", "clip_norm"),
        ):
            require(getattr(self, name) >= 0, name, "0 or more", self)
        require(not self.hosts or self.run is not None, "run", "named with --hosts", self)
        is_size = self.image_size == 0 or 32 <= self.image_size <= MAX_IMAGE_SIZE
        require(is_size, "image_size", f"0, or 32 to {MAX_IMAGE_SIZE}", self)


@dataclass(frozen=True)
class SharedEvaluate(Shared):
    """The settings of every evaluate.py."""

    run: Path | None = None
    """The run to evaluate. Default: the newest of runs/PROJECT."""
    prepared: Path | None = None
    """The folder of the data that the run was trained on, where it was moved. Default: where it
    was, or where it lies as the run sees it if both were moved together."""
    source: Path | None = None
    """Another dataset, in any layout; each of its cases is a test case. Default: the test
    split of the data that the run was trained on."""
    patients: Path | None = None
    """Whose each image of --source is, as of prepare_data.py. Default: a file in that folder, or
    the PatientID of the files."""
    ids: Path | None = None
    """The id-map.csv for the films or volumes of --source, as of prepare_data.py. Default:
    id-map.csv beside the run."""
    bad_files_limit: float = 0.1
    """How many cases of --source may be unusable, as of prepare_data.py."""
    workers: int = 0
    """Processes that read --source. 0: one per core."""
    name: str = ""
    """Name of the evaluation's folder. Default: test, or the source folder's name."""
    split: Literal["test", "validation", "fold"] = "test"
    """The split to score, without --source. The validation split chose the best epoch, so its
    score is too good; fold is what train.py --nested left out."""
    score_seen: bool = False
    """Score also the cases that trained or validated the run, or a run that its weights came from.
    Off: they are named and left out."""
    pictures: int = 12
    """Maximum number of cases that are drawn."""
    batch_size: int = 32
    """Images per batch."""
    part: str = ""
    """Predict the I-th of N parts of the cases, I/N, such as 3/8, as one job of an array, and score
    nothing; the same command without it scores all N parts."""

    def __post_init__(self) -> None:
        """Refuse values that no evaluation can use, such as a name that no folder can have."""
        require(self.pictures >= 0, "pictures", "0 or more", self)
        _require_part(self.part, self)
        require(self.batch_size >= 1, "batch_size", "1 or more", self)
        for name in ("bad_files_limit", "workers"):
            require(getattr(self, name) >= 0, name, "0 or more", self)
        require(
            not self.name
            or (re.fullmatch(r"[\w.-]{1,100}", self.name) is not None and set(self.name) != {"."}),
            "name",
            "letters, digits, '.', '_' and '-'",
            self,
        )


@dataclass(frozen=True)
class SharedPredict(Shared):
    """The settings of every predict.py."""

    inputs: tuple[Path, ...] = dataclasses.field(default=(), metadata={"positional": "INPUT ..."})
    """Files and folders to predict. In a folder and its subfolders, every file of the right kind
    is taken, whatever its name."""
    run: Path | None = None
    """The run whose model predicts. Default: the newest of runs/PROJECT."""
    output: Path | None = None
    """Where to write. Default: predictions/ in the run's folder."""
    ids: Path | None = None
    """The id-map.csv of an earlier preparation or prediction, so that predictions join with it.
    Default: id-map.csv beside the output, or beside the run for an output in it."""
    pictures: int = -1
    """Maximum number of files that are drawn, the first ones. -1: all."""
    batch_size: int = 32
    """Images per batch."""
    workers: int = 0
    """Number of decoding processes. 0: one per core, two for volumes."""
    part: str = ""
    """Predict the I-th of N parts of the files, I/N, such as 3/8, as one job of an array;
    python -m common.merge makes of all N what one run writes."""
    strict: bool = False
    """Predict no file that is doubted; its row has the doubt as its error."""
    dicom: bool = False
    """Write each result as DICOM too, into dicom/, for the archive that the file came from: a
    film's picture, or a series' mask. These files carry the patient's identity."""
    overwrite: bool = False
    """Replace predictions of other files, of another run or with other settings."""

    def __post_init__(self) -> None:
        """Refuse values that no prediction can use."""
        require(self.pictures >= -1, "pictures", "-1, 0 or more", self)
        _require_part(self.part, self)
        require(self.batch_size >= 1, "batch_size", "1 or more", self)
        require(self.workers >= 0, "workers", "0 or more", self)


def current_names(settings: type[Shared], values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored values of settings by the current names, whatever version stored them.

    Args:
        settings: The class of the settings.
        values: A value by the name that its setting had when it was stored.
    """
    new = new_names(settings)
    return {new.get(name, name): value for name, value in values.items()}


def first_names(settings: Shared) -> dict[str, Any]:
    """Values by the first names of settings, so that a hash of them outlives a renaming."""
    old = {new: old for old, new in new_names(type(settings)).items()}
    return {old.get(name, name): value for name, value in dataclasses.asdict(settings).items()}


def new_names(settings: type[Shared]) -> dict[str, str]:
    """The current name of each renamed setting, by its old name."""
    fields = dataclasses.fields(settings)
    return {field.metadata["old"]: field.name for field in fields if "old" in field.metadata}


def require(condition: bool, name: str, wanted: str, settings: Shared) -> None:
    """Raise a `UserError` that names a setting's flag and its values, unless a condition holds."""
    if not condition:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be {wanted}. Received: {getattr(settings, name)}")


def _require_part(text: str, settings: Shared) -> None:
    parts = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    is_part = not text or (parts and 1 <= int(parts[1]) <= int(parts[2]))
    require(bool(is_part), "part", "I/N, from 1/N to N/N", settings)
