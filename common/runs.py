"""A run's folder: begun by train.py, read by evaluate.py.

It holds ``config.json`` (settings, data, versions), what `common.fitting.fit` writes, and
``fitted.json``, written last: the constants fitted on the training and validation splits
(threshold, baselines). A folder without it did not end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common.artefacts import read_json, versions, write_json
from common.errors import UserError
from common.records import Prepared, open_prepared
from common.settings import Project, SharedEvaluate, SharedTrain, newest_run
from common.splits import TEST, VALIDATION, training_splits

_KEYS = {"project", "synthetic", "prepared", "data", "settings"}
_MAY_CHANGE = ("preset", "run", "prepared")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that ended.

    Attributes:
        folder: Where it is.
        config: What ``config.json`` says: ``settings``, ``prepared``, ``data``, ``versions``.
        fitted: What ``fitted.json`` says.
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
    """The folder that was given, or a new one named after the time."""
    if settings.run is not None:
        return settings.run
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return project.runs / (f"SYNTHETIC-{time}" if prepared.manifest["synthetic"] else time)


def begin_run(run: Path, settings: SharedTrain, prepared: Prepared) -> bool:
    """Begin a run, or go on with one.

    Returns:
        False where it ended already: there is nothing to do.

    Raises:
        UserError: The folder holds something else, or a run with other settings or data.
    """
    asked = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(settings).items()
    }
    begun = any(run.rglob("checkpoint.npz")) or any(run.rglob("history.csv"))
    if not (run / "config.json").exists():
        others = [path.name for path in run.iterdir() if path.name != ".lock"]
        if others:
            raise UserError(f"{run}: is not empty and is no run; choose another --run")
    # A try that failed before its first epoch holds nothing that other settings could spoil.
    if not begun and not (run / "fitted.json").exists():
        write_json(
            run / "config.json",
            {
                "project": prepared.manifest["project"],
                "dataset": prepared.manifest["dataset"],
                "synthetic": prepared.manifest["synthetic"],
                "prepared": str(prepared.folder.resolve()),
                "data": {name: prepared.manifest[name] for name in ("key", "settings")},
                "settings": asked,
                "versions": versions(),
                "created": now(),
            },
        )
        return True
    config = read_json(run / "config.json")
    # A setting that is newer than the run: its default is what was done before there was one.
    begun_with = {field.name: _as_json(field.default) for field in dataclasses.fields(settings)}
    begun_with |= config["settings"]
    differ = [
        name
        for name, value in asked.items()
        if name not in _MAY_CHANGE and _as_json(value) != begun_with[name]
    ]
    if config["data"]["key"] != prepared.manifest["key"]:
        differ.append("prepared")
    if differ:
        flags = ", ".join("--" + name.replace("_", "-") for name in differ)
        raise UserError(
            f"{run}: was begun with other settings ({flags}); choose another --run, or give the "
            "settings of its config.json"
        )
    return not (run / "fitted.json").exists()


def open_run(project: Project, settings: SharedEvaluate) -> Run:
    """Open the run that was given, or the newest.

    Raises:
        UserError: It is not there, did not end, or is another project's.
    """
    folder = settings.run or newest_run(project)
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: is no run (no config.json); name a folder that train.py wrote")
    if not (folder / "fitted.json").exists():
        raise UserError(
            f"{folder}: this run did not end; start the same train.py again, it goes on from there"
        )
    config, fitted = read_json(folder / "config.json"), read_json(folder / "fitted.json")
    if not isinstance(config, dict) or not isinstance(fitted, dict) or not set(config) >= _KEYS:
        raise UserError(f"{folder}/config.json: is damaged; train again into another folder")
    if config.get("project") != project.name:
        raise UserError(f"{folder}: is a run of {config.get('project')}, not of {project.name}")
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


def evaluation_data(
    run: Run, settings: SharedEvaluate, folder: Path, prepare_all: Callable[[Path], Path]
) -> tuple[Prepared, list[str]]:
    """The prepared data to score, and its splits.

    Args:
        run: The run to evaluate.
        settings: With ``source``, where another dataset was given, and ``split``.
        folder: The evaluation's folder.
        prepare_all: Prepares the source into a folder, every case a test case.

    Raises:
        UserError: The run's data is gone or was prepared anew, or the split has no cases.
    """
    project = run.config["project"]
    if settings.source is not None:
        prepared = open_prepared(prepare_all(folder / "prepared"), project)
        return prepared, [TEST]
    prepared = open_prepared(Path(run.config["prepared"]), project)
    if prepared.manifest["key"] != run.config["data"]["key"]:
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
    cases: Any,
    name: str,
    settings: SharedEvaluate,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """The content of ``metrics.json``: what all projects say, then the project's own."""
    return {
        "project": run.config["project"],
        "dataset": prepared.manifest["dataset"],
        "synthetic": prepared.manifest["synthetic"] or run.config["synthetic"],
        "split": name,
        "n_patients": int(cases["patient"].nunique()),
        "seed": settings.seed,
        "folds": {
            "of": run.config["data"]["settings"]["folds"],
            "fold": run.config["settings"]["fold"],
            "data": run.config["data"]["key"],
        },
        **metrics,
        "versions": versions(),
        "created": now(),
    }


def name_of_data(manifest: Mapping[str, Any], split: str = "") -> str:
    """The data's name as it is shown, marked where this repository made it up."""
    name = " ".join(dict.fromkeys(word for word in (manifest["dataset"], split) if word))
    return f"SYNTHETIC data, {name}" if manifest["synthetic"] else name


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
