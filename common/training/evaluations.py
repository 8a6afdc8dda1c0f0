"""An evaluation of a run: its folder, its data, and what metrics.json says of both."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.errors import UserError
from common.base.files import atomic_write, content_key, lock_folder, sync_folder, versions
from common.base.formats import stamp
from common.base.parts import PARTS
from common.base.settings import SOURCE_SETTINGS, SharedEvaluate
from common.base.tables import print_table
from common.datasets.splits import FOLD, ROLES, TEST, splits_by_role
from common.records.participants import participant_tables, participants, participants_note
from common.records.prepared import Prepared, open_prepared
from common.training.runs import Run, name_of_data, now
from common.training.trained import trained_as

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

PART = "part.npz"
"""What completes a part of an evaluation."""

OVERLAP = "overlap.csv"
"""In an evaluation: the cases that the run has seen in training, and as which."""

_LAST = ("metrics.json", PART)

# In an evaluation of another dataset: which.
_SOURCE = "source.key"

# Settings of evaluate.py that say what another dataset is.
_OF_A_SOURCE = (*SOURCE_SETTINGS, "positive_class")

# Settings of prepare_data.py that do not decide how a case looks to a model.
_NOT_OF_A_CASE = (*_OF_A_SOURCE, "seed", "all_test", "duplicates")


def evaluation_folder(run: Run, settings: SharedEvaluate) -> tuple[str, Path]:
    """The name of an evaluation, and its folder in the run."""
    name = settings.name or settings.split
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if settings.source is None and field.name in _OF_A_SOURCE and value != field.default:
            raise UserError(
                f"{value}: --{field.name.replace('_', '-')} is for another dataset; give --source "
                "too, or give it to prepare_data.py"
            )
    if settings.source is not None:
        if not settings.source.is_dir():
            raise UserError(f"{settings.source}: there is no such folder; --source is a dataset")
        name = settings.name or settings.source.resolve().name
    if name in ROLES and (settings.source is not None or name != settings.split):
        raise UserError(f"{name}: would be taken for the {name} split; give another --name")
    return name, run.folder / "evaluation" / name


@contextmanager
def new_evaluation(folder: Path, *pictures: str) -> Iterator[Path]:
    """Lock an evaluation's folder, and give a folder to write a new one into.

    Where the block ends well, what it wrote takes the place of an earlier evaluation, that which
    completes it last, and parts of it go (`common.training.evaluation_parts`). Where it fails or
    writes nothing, the earlier one stays as it was.

    Args:
        folder: The evaluation's folder, or that of a part of it.
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
            entries = sorted(new.iterdir(), key=lambda entry: entry.name in _LAST)
            for name in ("metrics.json", OVERLAP, *pictures) if entries else ():
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
            for entry in entries:
                os.replace(entry, folder / entry.name)
            sync_folder(folder)
            if entries and (folder / PARTS).is_dir():
                os.replace(folder / PARTS, new / PARTS)  # all at once, and then they go
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _refuse_other_source(folder: Path, source: Path) -> None:
    """Refuse a source in the evaluation of another, whose folder bears the same name."""
    # By a hash: a run may be given away, and a path tells of its owner.
    key, file = content_key(str(source.resolve())), folder / _SOURCE
    if file.exists() and file.read_text() != key:
        raise UserError(
            f"{folder}: is the evaluation of another source, whose folder bears the same name; "
            "give --name, or remove that folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_text(key)


def evaluation_data(
    run: Run,
    settings: SharedEvaluate,
    folder: Path,
    prepare: Callable[[Mapping[str, Any], SharedEvaluate, Path], Path],
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
        _refuse_other_source(folder, settings.source)
        made = prepare(stored, settings, folder / "prepared")
        prepared = open_prepared(made, project)
        _refuse_other_preparing(run, prepared)
        return prepared, [TEST]
    where = Path(run.config["prepared"])
    if not where.is_dir():
        raise UserError(
            f"{where}: there is no such folder; give --prepared the one where the data that "
            f"{run.folder} was trained on lies now, or another dataset's --source"
        )
    prepared = open_prepared(where, project)
    data = run.config["data"]
    if (data["key"], data.get("sha256", prepared.sha256)) != (
        prepared.manifest["key"],
        prepared.sha256,
    ):
        raise UserError(
            f"{prepared.folder}: was prepared anew after {run.folder} was trained, so its test "
            "split may hold what the run was trained on; train again, or give a --source"
        )
    trained = run.config["settings"]
    roles = splits_by_role(prepared.splits, trained["fold"], trained.get("nested", False))
    splits = roles[settings.split]
    if settings.split == FOLD and not splits:
        raise UserError(
            f"{run.folder}: its training left no fold out; train with --nested, or give --split "
            "validation"
        )
    if prepared.count(splits) == 0:
        raise UserError(
            f"{prepared.folder}: holds no {settings.split} split; evaluate another dataset with "
            f"--source, or --split {'fold' if roles[FOLD] else 'validation'}"
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
        # Two facts: a run of the demo may be scored on real patients.
        "trained_on_synthetic": run.config["synthetic"],
        "data_synthetic": prepared.manifest["synthetic"],
        "synthetic": run.config["synthetic"] or prepared.manifest["synthetic"],
        "split": name,
        "other_source": prepared.folder.resolve() != Path(run.config["prepared"]).resolve(),
        "n_patients": int(cases["patient"].nunique()) if prepared.patients_known else None,
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
        "participants": participants(
            _data_of(run),
            run.config["settings"],
            prepared,
            name if settings.source else settings.split,
            list(cases["case"]),
            metrics.get("seen", {}),
        ),
        "versions": versions(),
        "created": now(),
    }


def _data_of(run: Run) -> Prepared | None:
    """What a run was trained on, where it is still there, whole and the same."""
    try:
        prepared = open_prepared(Path(run.config["prepared"]), run.config["project"])
        prepared.cases()
    except UserError:
        return None
    return prepared if prepared.manifest["key"] == run.config["data"]["key"] else None


def doubted(doubts: Mapping[str, str] | None) -> dict[str, Any] | None:
    """``doubted`` of metrics.json, from why each case is, or ""; None where nobody looked."""
    if doubts is None:
        return None
    kinds = Counter(kind for doubt in doubts.values() for kind in doubt.split("; ") if kind)
    names = [case for case, doubt in doubts.items() if doubt]
    return {"n": len(names), "first": names[0] if names else "", "kinds": dict(kinds)}


def doubted_note(metrics: Mapping[str, Any]) -> str:
    """How many cases of an evaluation look odd, in a sentence; "" where none does."""
    short = metrics.get("doubted")
    if not short or not short["n"]:
        return ""
    kinds = ", ".join(f"{kind} ({count})" for kind, count in short["kinds"].items())
    return (
        f"{short['n']} of {metrics['n']} cases are doubted by how they look, and scored all the "
        f"same: {kinds}; the first is {short['first']}."
    )


def print_participants(metrics: Mapping[str, Any]) -> None:
    """Print who is in the splits and what was left out, and how many cases look odd."""
    for table in participant_tables(metrics):
        print_table(table)
    for note in filter(None, (participants_note(metrics), doubted_note(metrics))):
        print(f"  {note}")


def print_data(prepared: Prepared, name: str, cases: pd.DataFrame) -> None:
    """Print what is scored: the data, its cases and patients, and what is wrong with its splits."""
    patients = f" of {cases['patient'].nunique()} patients" if prepared.patients_known else ""
    print(f"\n{name_of_data(prepared.manifest, name)}: {len(cases)} cases{patients}", flush=True)
    if prepared.split_warning:
        print(f"  CAUTION: {prepared.split_warning}", flush=True)


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
