"""A run's folder: begun by train.py, read by evaluate.py.

It holds ``config.json`` (settings, data, versions), what `common.training.fitting.fit` writes, and
``fitted.json``, written last: the constants fitted on the training and validation splits
(threshold, baselines). A folder without it did not end.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.errors import UserError
from common.base.files import (
    is_locked,
    lock_folder,
    read_json,
    remove_partial_files,
    sha256,
    sync_folder,
    versions,
    visible_names,
    write_json,
)
from common.base.formats import stamp
from common.base.project import Project, newest_run
from common.base.settings import (
    SPLIT_SETTINGS,
    WITHOUT_CONSEQUENCE,
    SharedEvaluate,
    SharedPredict,
    SharedTrain,
    current_names,
)
from common.datasets.splits import TEST, VALIDATION, training_splits
from common.records.prepared import Prepared, open_prepared
from common.training.trained import trained_as

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

OVERLAP = "overlap.csv"
"""In an evaluation: the cases that the run has seen in training, and as which."""

_KEYS = {"project", "synthetic", "prepared", "data", "settings"}

# Settings of prepare_data.py that do not decide how a case looks to a model.
_NOT_OF_A_CASE = (*SPLIT_SETTINGS, "seed", "all_test", "duplicates")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that ended.

    Attributes:
        folder: Where it is.
        config: The content of ``config.json``: ``settings``, ``prepared``, ``data``, ``versions``.
        fitted: The content of ``fitted.json``.
    """

    folder: Path
    config: dict[str, Any]
    fitted: dict[str, Any]


def find_prepared(project: Project, settings: SharedTrain, prepare: Callable[[], Path]) -> Prepared:
    """The data to train on, prepared first where none was named and none is there.

    Args:
        project: Whose data.
        settings: With ``prepared`` where it was given, and the preset.
        prepare: Prepares the data of the same preset, and returns where.
    """
    folder = settings.prepared
    if folder is None:
        folder = project.prepared(synthetic=settings.preset == "demo")
        if not (folder / "manifest.json").exists():
            print(f"nothing is prepared in {folder}: preparing first")
            folder = prepare()
    return open_prepared(folder, project.name)


def run_folder(project: Project, settings: SharedTrain, prepared: Prepared) -> Path:
    """The folder that was given; else that of the newest run, if it is this one and did not end.

    Else a new one, named after the time.
    """
    if settings.run is not None:
        return settings.run
    begun = project.runs.glob("*/config.json")
    newest = max(begun, key=lambda config: config.stat().st_mtime, default=None)
    if (
        newest is not None
        and not (newest.parent / "fitted.json").exists()
        and not is_locked(newest.parent)
        and not _differences(read_json(newest), settings, prepared)
    ):
        return newest.parent
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return project.runs / (f"SYNTHETIC-{time}" if prepared.manifest["synthetic"] else time)


def begin_run(
    run: Path, settings: SharedTrain, prepared: Prepared, inputs_function: str | None = None
) -> bool:
    """Begin a run, or go on with one.

    Args:
        run: The run's folder.
        settings: Of the training.
        prepared: What it trains on.
        inputs_function: That of the project, for what asks the models without their project.

    Returns:
        False where it ended already: there is nothing to do.

    Raises:
        UserError: The folder holds something else, or a run with other settings or data.
    """
    begun = any(run.rglob("checkpoint.npz")) or any(run.rglob("history.csv"))
    if not (run / "config.json").exists() and visible_names(run):
        raise UserError(f"{run}: is not empty and is no run; choose another --run")
    remove_partial_files(run)
    # A try that failed before its first epoch holds nothing that other settings could spoil.
    if not begun and not (run / "fitted.json").exists():
        write_json(
            run / "config.json",
            {
                **stamp("config.json"),
                "project": prepared.manifest["project"],
                "dataset": prepared.manifest["dataset"],
                "synthetic": prepared.manifest["synthetic"],
                "model_inputs": inputs_function,
                "split_warning": prepared.split_warning,
                "prepared": str(prepared.folder.resolve()),
                "data": {
                    **{name: prepared.manifest[name] for name in ("key", "settings")},
                    "sha256": prepared.sha256,
                },
                "settings": _as_json(dataclasses.asdict(settings)),
                "versions": versions(),
                "created": now(),
            },
        )
        return True
    config = read_json(run / "config.json")
    differ = _differences(config, settings, prepared)
    if differ:
        flags = ", ".join("--" + name.replace("_", "-") for name in differ)
        raise UserError(
            f"{run}: was begun with other settings ({flags}); choose another --run, or give the "
            "settings of its config.json"
        )
    if (run / "fitted.json").exists():
        return False
    changed = {name for name, value in versions().items() if config["versions"].get(name) != value}
    if changed:
        print(
            f"\n{run}: was begun with another version ({', '.join(sorted(changed))}); it may not "
            "end as an unbroken run would",
            flush=True,
        )
    return True


def end_run(run: Path, fitted: Mapping[str, Any], kept: Sequence[str]) -> None:
    """Write ``fitted.json``, which makes a run whole.

    Args:
        run: The run's folder.
        fitted: The constants.
        kept: The files of the run that evaluate.py reads; their hashes are written too.
    """
    hashes = {name: sha256(run / name) for name in kept}
    write_json(run / "fitted.json", {**stamp("fitted.json"), **fitted, "sha256": hashes})


def open_run(project: Project, settings: SharedEvaluate | SharedPredict) -> Run:
    """Open the run that was given, or the newest.

    Raises:
        UserError: It is not there, did not end, is another project's, or a file of it was altered.
    """
    run = read_run(settings.run or newest_run(project), project.train_settings)
    if run.config["project"] != project.name:
        raise UserError(f"{run.folder}: is a run of {run.config['project']}, not of {project.name}")
    return run


def read_run(folder: Path, settings: type[SharedTrain] = SharedTrain) -> Run:
    """Read a run of any project.

    Args:
        folder: The run's folder.
        settings: The class of the settings that it was begun with.

    Raises:
        UserError: It is not there, did not end, or a file of it was altered.
    """
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: is no run (no config.json); name a folder that train.py wrote")
    if not (folder / "fitted.json").exists():
        raise UserError(
            f"{folder}: this run did not end; start the same train.py again, it goes on from there"
        )
    config, fitted = read_json(folder / "config.json"), read_json(folder / "fitted.json")
    if not isinstance(config, dict) or not isinstance(fitted, dict) or not set(config) >= _KEYS:
        raise UserError(f"{folder}/config.json: is damaged; train again into another folder")
    for name, expected in fitted.get("sha256", {}).items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: is missing; train again into another folder")
        if sha256(folder / name) != expected:
            raise UserError(
                f"{folder / name}: was altered since its training; train again into another folder"
            )
    config["settings"] = current_names(settings, config["settings"])
    return Run(folder, config, fitted)


def evaluation_folder(run: Run, settings: SharedEvaluate) -> tuple[str, Path]:
    """The name of an evaluation, and its folder in the run."""
    name = settings.name or settings.split
    if settings.source is not None:
        if not settings.source.is_dir():
            raise UserError(f"{settings.source}: there is no such folder; --source is a dataset")
        name = settings.name or settings.source.resolve().name
    if name in (TEST, VALIDATION) and (settings.source is not None or name != settings.split):
        raise UserError(f"{name}: would be taken for the {name} split; give another --name")
    return name, run.folder / "evaluation" / name


@contextmanager
def new_evaluation(folder: Path, *pictures: str) -> Iterator[Path]:
    """Lock an evaluation's folder, and give a folder to write a new one into.

    Where the block ends well, what it wrote takes the place of an earlier evaluation,
    metrics.json last; else the earlier one stays as it was.

    Args:
        folder: The evaluation's folder.
        pictures: Folders and files that an earlier evaluation may have and a new one lack.

    Yields:
        The folder to write into, within the evaluation's.
    """
    with lock_folder(folder):
        new = folder / ".new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for name in ("metrics.json", OVERLAP, *pictures):
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
            for entry in sorted(new.iterdir(), key=lambda entry: entry.name == "metrics.json"):
                os.replace(entry, folder / entry.name)
            sync_folder(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def evaluation_data(
    run: Run,
    settings: SharedEvaluate,
    folder: Path,
    prepare: Callable[[Mapping[str, Any], Path, Path], Path],
) -> tuple[Prepared, list[str]]:
    """The prepared data to score, and its splits.

    Args:
        run: The run to evaluate.
        settings: With ``source``, where another dataset was given, and ``split``.
        folder: The evaluation's folder.
        prepare: `Project.prepare_to_test`.

    Raises:
        UserError: The run's data is gone or was prepared anew, the split has no cases, or another
            dataset was prepared in another way than the run's.
    """
    project = run.config["project"]
    if settings.source is not None:
        stored = run.config["data"]["settings"]
        prepared = open_prepared(prepare(stored, settings.source, folder / "prepared"), project)
        _refuse_other_preparing(run, prepared)
        return prepared, [TEST]
    prepared = open_prepared(Path(run.config["prepared"]), project)
    data = run.config["data"]
    if (data["key"], data.get("sha256", prepared.sha256)) != (
        prepared.manifest["key"],
        prepared.sha256,
    ):
        raise UserError(
            f"{prepared.folder}: was prepared anew after {run.folder} was trained, so its test "
            "split may hold what the run was trained on; train again, or give a --source"
        )
    splits = [TEST]
    if settings.split == VALIDATION:
        _, splits = training_splits(prepared.splits, run.config["settings"]["fold"])
    if prepared.count(splits) == 0:
        raise UserError(
            f"{prepared.folder}: holds no {settings.split} split; evaluate another dataset with "
            "--source, or --split validation"
        )
    return prepared, splits


def metrics_of(
    run: Run,
    prepared: Prepared,
    cases: pd.DataFrame,
    name: str,
    settings: SharedEvaluate,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """The content of ``metrics.json``: what all projects have, then the project's own."""
    return {
        **stamp("metrics.json"),
        "project": run.config["project"],
        "dataset": prepared.manifest["dataset"],
        "synthetic": prepared.manifest["synthetic"],
        "split": name,
        "n_patients": int(cases["patient"].nunique()),
        "patients_known": prepared.patients_known,
        "split_warning": prepared.split_warning,
        "seed": settings.seed,
        "folds": {
            "of": run.config["data"]["settings"]["folds"],
            "fold": run.config["settings"]["fold"],
            "data": run.config["data"]["key"],
        },
        "trained": trained_as(run.config),
        **metrics,
        "versions": versions(),
        "created": now(),
    }


def refuse_nan(run: Run, cases: Iterable[str], predictions: ArrayLike) -> None:
    """Raise a `UserError` that names the first case whose prediction (n, ...) is no number."""
    finite = np.isfinite(np.asarray(predictions, float))
    finite = finite.reshape(len(finite), -1).all(axis=1)
    if not finite.all():
        case = list(cases)[int(finite.argmin())]
        raise UserError(
            f"{run.folder}: predicts NaN for {(~finite).sum()} of {len(finite)} cases, the first: "
            f"{case}; its weights or that image are broken: train again, or leave the case out"
        )


def name_of_data(manifest: Mapping[str, Any], split: str = "") -> str:
    """The data's name as it is shown, marked where this repository made it up."""
    name = " ".join(dict.fromkeys(word for word in (manifest["dataset"], split) if word))
    return f"SYNTHETIC data, {name}" if manifest["synthetic"] else name


def print_data(prepared: Prepared, name: str, cases: pd.DataFrame) -> None:
    """Print what is scored: the data, its cases and patients, and what is wrong with its splits."""
    patients = f" of {cases['patient'].nunique()} patients" if prepared.patients_known else ""
    print(f"\n{name_of_data(prepared.manifest, name)}: {len(cases)} cases{patients}", flush=True)
    if prepared.split_warning:
        print(f"  CAUTION: {prepared.split_warning}", flush=True)


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _differences(config: Mapping[str, Any], settings: SharedTrain, prepared: Prepared) -> list[str]:
    """The settings in which a run differs; ``prepared`` for other data."""
    # A setting that is newer than the run: its default is what was done before it existed.
    begun_with = {field.name: _as_json(field.default) for field in dataclasses.fields(settings)}
    begun_with |= current_names(type(settings), config["settings"])
    differ = [
        name
        for name, value in _as_json(dataclasses.asdict(settings)).items()
        if name not in WITHOUT_CONSEQUENCE and value != begun_with[name]
    ]
    data = config["data"]
    same = data["key"] == prepared.manifest["key"]
    if not same or data.get("sha256", prepared.sha256) != prepared.sha256:
        differ.append("prepared")
    return differ


def _refuse_other_preparing(run: Run, prepared: Prepared) -> None:
    """Refuse data whose cases were made in another way than those that the run learned from."""
    expected, settings = run.config["data"]["settings"], prepared.manifest["settings"]
    differ = [
        f"{name} {settings.get(name, 'none')}, not {expected.get(name, 'none')}"
        for name in sorted((expected.keys() | settings.keys()).difference(_NOT_OF_A_CASE))
        if expected.get(name) != settings.get(name)
    ]
    if differ:
        raise UserError(
            f"{prepared.folder}: was prepared in another way than what {run.folder} was trained "
            f"on ({'; '.join(differ)}); train again on data of this version"
        )


def _as_json(value: Any) -> Any:
    """A setting, or a dictionary of them, as JSON gives it back."""
    if isinstance(value, dict):
        return {name: _as_json(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_as_json(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
