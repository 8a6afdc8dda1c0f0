"""A run's folder: begun by train.py, read by evaluate.py.

It holds ``config.json`` (settings, data, versions), what `common.training.fitting.fit` writes, and
``fitted.json``, written last: the constants fitted on the training and validation splits
(threshold, baselines). A folder without it did not end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.base import hosts
from common.base.environment import recorded_environment
from common.base.errors import UserError
from common.base.files import (
    content_key,
    is_locked,
    lock_folder,
    read_json,
    remove_partial_files,
    sha256,
    versions,
    visible_names,
    write_json,
)
from common.base.formats import stamp
from common.base.project import Project, newest_run
from common.base.settings import (
    NO_RUN,
    WITHOUT_CONSEQUENCE,
    SharedEvaluate,
    SharedPredict,
    SharedTrain,
    current_names,
)
from common.records.prepared import Prepared, open_prepared

SEEN = "seen.csv"
"""In a run: what it has learned from (`common.training.seen`)."""

NOBODY = "patients unknown"
"""The role in a row of it which says that nobody knows who is on all images of a run."""

# What a run keeps of its data's manifest.
_OF_DATA = ("key", "settings", "classes", "exclusive", "patients_key")
_KEYS = {"project", "synthetic", "prepared", "data", "settings"}

# How a run goes on with what it was computed with.
_MENDS = {
    "precision": "give --run {run} --precision {value}",
    "devices": "go on where {value} can be used (CUDA_VISIBLE_DEVICES chooses cards)",
    "deterministic_ops": "set TF_DETERMINISTIC_OPS to {value:d}",
}


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


def find_prepared(project: Project, settings: SharedTrain) -> Prepared:
    """The data to train on, prepared first where none was named and none is there.

    Args:
        project: Whose data.
        settings: With ``prepared`` where it was given, and the preset.
    """
    folder = settings.prepared
    if folder is None:
        folder = project.prepared_to_train(settings.preset)
        if not (folder / "manifest.json").exists():
            if settings.hosts:
                raise UserError(f"{folder}: holds no data; with --hosts, run prepare_data.py first")
            print(f"nothing is prepared in {folder}: preparing first")
            folder = project.prepare_to_train(settings)
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


def locked(run: Path) -> contextlib.AbstractContextManager[None]:
    """Lock a run's folder (`lock_folder`), where this process is the one that writes into it."""
    return lock_folder(run) if hosts.is_first() else contextlib.nullcontext()


def begin_run(
    run: Path,
    settings: SharedTrain,
    prepared: Prepared,
    inputs_function: str | None = None,
    computed_with: Mapping[str, Any] | None = None,
    adapted: Mapping[str, str] | None = None,
) -> bool:
    """Begin a run, or go on with one.

    A run of fewer epochs goes on too, after its last. From there on the learning rate is that of a
    training of all epochs, so it rises again, and the run ends unlike one that had them all from
    its first. Its scores are of a model that will be no more, and get a name that says so. Of
    several ranks (`common.base.hosts`) the first does it.

    Args:
        run: The run's folder.
        settings: Of the training.
        prepared: What it trains on.
        inputs_function: That of the project, for what asks the models without their project.
        computed_with: `common.training.precision.computed_with`; a run that goes on needs the same.
        adapted: By the name of a setting that the preset changed for this data, the reason.

    Returns:
        False where it ended already: there is nothing to do.

    Raises:
        UserError: The folder holds something else, or a run with other settings or data, or
            computed with other formats or devices; or ranks differ in what is to be done.
    """
    if hosts.present() is not None:
        same = as_stored(settings), prepared.sha256, versions(), computed_with
        hosts.refuse_others(content_key(same))
    goes_on = hosts.is_first() and _begin(
        run, settings, prepared, inputs_function, computed_with, adapted
    )
    return bool(hosts.of_first(goes_on))


def _begin(
    run: Path,
    settings: SharedTrain,
    prepared: Prepared,
    inputs_function: str | None,
    computed_with: Mapping[str, Any] | None,
    adapted: Mapping[str, str] | None,
) -> bool:
    begun = any(run.rglob("checkpoint.npz")) or any(run.rglob("history.csv"))
    if not (run / "config.json").exists() and visible_names(run):
        raise UserError(f"{run}: is not empty and is no run; choose another --run")
    remove_partial_files(run)
    # A try that failed before its first epoch holds nothing that other settings could spoil.
    manifest = prepared.manifest
    if not begun and not (run / "fitted.json").exists():
        (run / SEEN).unlink(missing_ok=True)
        write_json(
            run / "config.json",
            {
                **stamp("config.json"),
                **{name: manifest[name] for name in ("project", "dataset", "synthetic")},
                "model_inputs": inputs_function,
                "split_warning": prepared.split_warning,
                # From the run: whole paths would tell whose machine this is.
                "prepared": os.path.relpath(prepared.folder.resolve(), run.resolve()),
                **_starting_weights(run, settings.weights),
                "data": {
                    **{name: manifest[name] for name in _OF_DATA if name in manifest},
                    "sha256": prepared.sha256,
                },
                "settings": as_stored(settings),
                "adapted": dict(adapted or {}),
                "computed_with": dict(computed_with or {}),
                "versions": versions(),
                "environment": recorded_environment(),
                "created": now(),
            },
        )
        return True
    config = read_json(run / "config.json")
    differ = _differences(config, settings, prepared)
    used, present = config.get("computed_with", {}), computed_with or {}
    if used and present:
        # What "auto" chose is what counts.
        differ = [name for name in differ if name != "precision"]
    has_more = differ == ["epochs"] and settings.epochs > config["settings"]["epochs"]
    if differ and not has_more:
        flags = ", ".join("--" + name.replace("_", "-") for name in differ)
        raise UserError(
            f"{run}: was begun with other settings ({flags}); choose another --run, or give the "
            "settings of its config.json, of which --epochs alone may grow"
        )
    for name, value in used.items():
        if name in _MENDS and value != present.get(name, value):
            mend = _MENDS[name].format(run=run, value=value)
            raise UserError(
                f"{run}: was computed with {name} {value}, and here it would be {present[name]}; "
                f"{mend}, or choose another --run"
            )
    if has_more:
        # In this order, so that a kill in between leaves a run to which the same can be done.
        (run / "fitted.json").unlink(missing_ok=True)
        for scores in run.glob("evaluation/*/metrics.json"):
            scores.rename(scores.with_name(f"metrics-{config['settings']['epochs']}-epochs.json"))
        print(f"\n{run}: goes on to {settings.epochs} epochs; then evaluate it again", flush=True)
        config["settings"]["epochs"] = settings.epochs
        write_json(run / "config.json", config)
    if (run / "fitted.json").exists():
        return False
    environment = recorded_environment()
    here = {**versions(), **environment, "hosts": present.get("hosts", 1)}
    # A run that is older than the record of its environment: this one is taken for it.
    begun_with = {
        **config["versions"],
        **config.get("environment", environment),
        "hosts": used.get("hosts", 1),
    }
    names = sorted({**here, **begun_with})
    changed = ", ".join(name for name in names if here.get(name) != begun_with.get(name))
    if changed:
        print(
            f"\n{run}: was begun with other versions or variables ({changed}); it may not end "
            "as an unbroken run would",
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
    if isinstance(settings, SharedEvaluate) and settings.prepared is not None:
        run.config["prepared"] = str(settings.prepared.resolve())
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
    config["prepared"] = str(prepared_folder(folder, config))
    return Run(folder, config, fitted)


def prepared_folder(run: Path, config: Mapping[str, Any]) -> Path:
    """Where the data lies that a run was trained on, as it sees it; it need not be there.

    Args:
        run: The run's folder.
        config: The content of its ``config.json``.
    """
    return Path(run.resolve(), config["prepared"]).resolve()


def as_stored(settings: SharedTrain) -> dict[str, Any]:
    """The settings as they are written: of a path its last two names, which tell no machine."""
    values: dict[str, Any] = _as_json(dataclasses.asdict(settings)) | {"hosts": ""}
    for name in ("prepared", "run", "weights"):
        if values[name] is not None and os.sep in values[name]:
            values[name] = "/".join(Path(values[name]).parts[-2:])
    return values


def name_of_data(manifest: Mapping[str, Any], split: str = "") -> str:
    """The data's name as it is shown, marked where this repository made it up."""
    name = " ".join(dict.fromkeys(word for word in (manifest["dataset"], split) if word))
    return f"SYNTHETIC data, {name}" if manifest["synthetic"] else name


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
        for name, value in as_stored(settings).items()
        if name not in WITHOUT_CONSEQUENCE
        and value != begun_with[name]
        and getattr(settings, name) != begun_with[name]
    ]
    data = config["data"]
    same = data["key"] == prepared.manifest["key"]
    if not same or data.get("sha256", prepared.sha256) != prepared.sha256:
        differ.append("prepared")
    return differ


def run_of_weights(weights: str, file: str) -> Path | None:
    """The run that starting weights are of, its folder or a file in it; None where none is known.

    Args:
        weights: The setting.
        file: The name of one that the run's folder holds.
    """
    folders = [] if weights in NO_RUN else [Path(weights), *Path(weights).parents[:2]]
    return next((folder for folder in folders if (folder / file).is_file()), None)


def _starting_weights(run: Path, weights: str) -> dict[str, str]:
    """Where the starting weights lie, from the run; nothing where they are no file or folder."""
    if weights in NO_RUN:
        return {}
    return {"weights": os.path.relpath(Path(weights).resolve(), run.resolve())}


def _as_json(value: Any) -> Any:
    """A setting, or a dictionary of them, as JSON gives it back."""
    if isinstance(value, dict):
        return {name: _as_json(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_as_json(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
