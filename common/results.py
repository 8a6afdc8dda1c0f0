"""Show the results of finished runs as one table, with the folders of their pictures.

It also sums up the finished folds of every cross-validation, and trainings that differ in the seed
alone: the spread of retraining next to the interval of testing.

    python -m common.results runs
    python -m common.results runs --output runs/index.html
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.base.files import content_key, read_json
from common.base.tables import MISSING, Table, print_table
from common.datasets.splits import ROLES
from common.reporting.index_page import write_index
from common.scores.formatting import (
    below_chance,
    data_name,
    is_made_up,
    marked_name,
    score_rows,
    too_good,
    with_interval,
)
from common.scores.recipes import read_predictions, same_cases, score_of_runs

# What comes after the sample.
_NEXT = (
    "  python {0}/prepare_data.py --source FOLDER --prepared data/prepared/mine",
    "  python {0}/train.py --prepared data/prepared/mine --run runs/mine",
    "  python {0}/evaluate.py --run runs/mine",
)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a run.

    Attributes:
        folder: Where it is.
        run: The run's folder, from the folder that is shown.
        metrics: What its metrics.json says.
        rows: Of the table of all evaluations.
        scores: The values of its ``fold_scores`` by their names.
        group: A key of what must be equal in runs that are put together.
        fold: The fold that validated.
        seed: Of the training.
    """

    folder: Path
    run: str
    metrics: dict[str, Any]
    rows: tuple[tuple[str, ...], ...]
    scores: dict[str, float | None]
    group: str
    fold: int
    seed: int

    @property
    def title(self) -> str:
        """The project, and the run where it has a name of its own."""
        project: str = self.metrics["project"]
        return project if self.run == project else f"{project}: {self.run}"


def main() -> None:
    """Print the table of all evaluations under a folder, and those of runs put together."""
    parser = Parser("common.results", __doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("runs"), metavar="FOLDER",
        help="a folder with runs in it, at any depth (runs)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="HTML", help="also write a page that links all reports"
    )
    arguments = parser.parse_args()
    folder = arguments.folder
    paths = sorted(folder.glob("**/evaluation/*/metrics.json"))
    if not paths:
        raise UserError(f"{folder}: holds no metrics.json; run evaluate.py first")
    evaluations = [opened for path in paths if (opened := open_evaluation(path, folder))]
    if not evaluations:
        print(f"{folder}: holds no metrics.json that can be shown; run evaluate.py again")
        return
    head = ("project", "run", "data", "cases", "score", "model [95 % interval]", "baseline")
    table = Table("", head, tuple(row for part in evaluations for row in part.rows))
    table = table.without_repeated(head.index("run"))
    print_table(table)
    in_folds = [evaluation for evaluation in evaluations if evaluation.metrics["folds"]["of"]]
    for alike in _grouped(in_folds, attrgetter("group", "seed")).values():
        print_folds(alike)
    for alike in _grouped(in_folds, attrgetter("group")).values():
        print_seeds_of_folds(alike)
    for alike in _grouped(evaluations, attrgetter("group", "fold")).values():
        if len({evaluation.seed for evaluation in alike}) > 1:
            print_seeds(alike)
    print("\npictures:")
    for evaluation in evaluations:
        count = sum(path.suffix in (".png", ".gif") for path in evaluation.folder.rglob("*"))
        print(f"  {count} in {os.path.relpath(evaluation.folder)}")
    commands = ""
    if all(is_made_up(evaluation.metrics) for evaluation in evaluations):
        project = evaluations[0].metrics["project"]
        commands = "\n".join(line.format(project) for line in _NEXT)
        print(f"\nyour own data:\n{commands}")
    if arguments.output:
        about = [(e.title, e.folder, e.metrics) for e in evaluations]
        name = folder.resolve().name
        page = write_index(arguments.output, name, about, table, commands)
        print(f"\nopen first: {page}")


def open_evaluation(path: Path, folder: Path) -> Evaluation | None:
    """Read a metrics.json; where that cannot be done, print why and what to do, and give None.

    Args:
        path: The file, in ``RUN/evaluation/NAME``.
        folder: From which the run is named.
    """
    try:
        metrics = read_json(path)
        if isinstance(metrics, dict) and "main_scores" not in metrics:
            print(f"{path}: left out, of an earlier version; run evaluate.py again")
            return None
        run = os.path.relpath(path.parents[2], folder)
        run = folder.resolve().name if run == os.curdir else run
        trained = metrics["trained"]
        of_fiction = trained["synthetic"] and not is_made_up(metrics)
        name = f"{run} (trained on SYNTHETIC data)" if of_fiction else run
        about = (metrics["project"], name, marked_name(metrics), str(metrics["n"]))
        return Evaluation(
            path.parent,
            run,
            metrics,
            tuple((*about, *row) for row in score_rows(metrics)),
            {
                entry["name"]: None if entry["value"] is None else float(entry["value"])
                for entry in metrics["fold_scores"]
            },
            _group(metrics, trained),
            int(metrics["folds"]["fold"]),
            int(trained["seed"]),
        )
    except UserError as error:
        print(f"left out: {error}")
    except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        print(
            f"{path}: left out, is damaged or was not written by evaluate.py; run it again, or "
            "move the file away"
        )
    return None


def _group(metrics: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """A key of what two evaluations must have in common to be put together."""
    names: tuple[str, ...] = ("project", "split", "evaluation_settings")
    if metrics["split"] not in ROLES:
        # An evaluation of another dataset bears a name that the user gave.
        names += ("dataset", "n", "n_patients")
    scored = [metrics.get(name) for name in names]
    data = (metrics["folds"]["of"], metrics["folds"]["data"], trained["data_sha256"])
    return content_key((scored, data, trained["settings_key"]))


def _grouped(
    evaluations: Iterable[Evaluation], key: Callable[[Evaluation], Any]
) -> dict[Any, list[Evaluation]]:
    groups: dict[Any, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        groups[key(evaluation)].append(evaluation)
    return groups


def print_folds(evaluations: Sequence[Evaluation]) -> None:
    """Print the scores over the folds of a cross-validation.

    Args:
        evaluations: Of runs that differ in the fold alone.
    """
    members, notes = _newest(evaluations, "fold")
    count = members[0].metrics["folds"]["of"]
    numbers = ", ".join(str(member.fold) for member in members)
    if len(members) == 1:
        alone = "no other run is of this data, these settings and this seed"
        _print_title(f"fold {numbers} of {count} alone; {alone}", members, notes)
        return
    same, cases, tested = _tested([[member] for member in members], notes)
    pooled = same is False
    if pooled:
        notes.append(f"pooled: one score of the out-of-fold predictions, of {cases}")
    elif same:
        notes.append(f"interval: of the mean over folds, which all scored the same {cases}")
    _print_title(f"folds {numbers} of {count}", members, notes)
    rows = []
    for name, values in _values(members).items():
        mean, deviation, *_ = _spread(name, values, None if pooled else tested.get(name))
        own = (with_interval(tested.get(name)),) if pooled else ()
        rows.append((name, mean, deviation, *own, _in_a_row(values)))
    own = ("pooled [95 % interval]",) if pooled else ()
    head = ("score", "mean [95 % interval]" if same else "mean", "deviation", *own, "each fold")
    print_table(Table("", head, tuple(rows)))


def print_seeds_of_folds(evaluations: Sequence[Evaluation]) -> None:
    """Print the pooled scores of cross-validations that differ in the seed of training alone.

    Nothing where there is one seed, where not all have the same folds, or where these scored the
    same cases.

    Args:
        evaluations: Of runs that differ in the fold and in the seed alone.
    """
    by_seed = sorted(_grouped(evaluations, attrgetter("seed")).items())
    every = {seed: _newest(members, "fold")[0] for seed, members in by_seed}
    folds = {tuple(member.fold for member in members) for members in every.values()}
    notes: list[str] = []
    if len(every) < 2 or len(folds) > 1 or len(*folds) < 2:
        return
    each = [_tested([[member] for member in members], []) for members in every.values()]
    same, cases, tested = _tested([*every.values()], notes)
    if not same or any(alike is not False for alike, *_ in each):
        return
    notes.append(f"each seed: one score of the out-of-fold predictions, of {cases}")
    notes.append("deviation: of training again; interval: of testing, of the mean over seeds")
    members = [member for of_seed in every.values() for member in of_seed]
    seeds = ", ".join(map(str, every))
    _print_title(f"cross-validations that differ in the seed alone, {seeds}", members, notes)
    rows = []
    for name, score in tested.items():
        values = [scores[name]["value"] for *_, scores in each]
        mean, deviation, *_ = _spread(name, values, score)
        rows.append((name, mean, deviation, _in_a_row(values)))
    head = ("score", "mean [95 % interval]", "deviation", "each seed")
    print_table(Table("", head, tuple(rows)))


def print_seeds(evaluations: Sequence[Evaluation]) -> None:
    """Print the spread of retraining next to the interval of testing.

    Args:
        evaluations: Of runs that differ in the seed alone.
    """
    members, notes = _newest(evaluations, "seed")
    folds = members[0].metrics["folds"]
    fold = f"fold {folds['fold']} of {folds['of']}, " if folds["of"] else ""
    seeds = ", ".join(str(member.seed) for member in members)
    same, cases, tested = _tested([[member] for member in members], notes)
    notes.append("deviation, lowest, highest: of training again with another seed")
    if same:
        notes.append(f"interval: of testing, of the mean over seeds on the same {cases}")
    _print_title(f"{fold}runs that differ in the seed alone, {seeds}", members, notes)
    rows = tuple(
        (name, *_spread(name, values, tested.get(name) if same else None))
        for name, values in _values(members).items()
    )
    head = ("score", "mean [95 % interval]", "deviation", "lowest", "highest")
    print_table(Table("", head, rows))


def _newest(evaluations: Sequence[Evaluation], what: str) -> tuple[list[Evaluation], list[str]]:
    """Of the evaluations of each fold, or seed, the newest, in order; and notes on the others."""
    members, notes = [], []
    for number, alike in sorted(_grouped(evaluations, attrgetter(what)).items()):
        *_, newest = sorted(alike, key=lambda evaluation: str(evaluation.metrics.get("created")))
        members.append(newest)
        if len(alike) > 1:
            names = ", ".join(evaluation.run for evaluation in alike)
            notes.append(f"{what} {number} is that of {names}: the newest counts, {newest.run}")
    return members, notes


def _tested(
    groups: Sequence[Sequence[Evaluation]], notes: list[str]
) -> tuple[bool | None, str, dict[str, dict[str, Any]]]:
    """The scores of evaluations together, with their intervals over patients.

    Args:
        groups: Each of evaluations whose predictions are pooled: the folds of a cross-validation.
        notes: Where a note comes to.

    Returns:
        Whether all scored the same cases (True), or no two the same (False); None where there is
        no interval, which a note then says. How many cases and patients, in words. By the name of
        a score its ``value`` and ``ci95``.
    """
    metrics = groups[0][0].metrics
    try:
        tables = [
            pd.concat(read_predictions(member.folder / "predictions.csv") for member in group)
            for group in groups
        ]
        tables = [table.sort_values("case", kind="stable") for table in tables]
        scores = {
            entry["name"]: score
            for entry in (*metrics["fold_scores"], *metrics["main_scores"])
            if (score := score_of_runs(tables, entry.get("from", {})))
        }
    except UserError as error:
        notes.append(f"no interval: {error}")
        return None, "", {}
    except (ValueError, TypeError):
        notes.append("no interval: a predictions.csv of these is damaged; run evaluate.py again")
        return None, "", {}
    same = same_cases(tables)
    if same is None:
        notes.append("no interval: these runs scored some cases in common, but not all")
    every = pd.concat(tables)
    unit = "patients" if metrics.get("patients_known", True) else "images (patients unknown)"
    cases = f"{every['case'].nunique()} cases of {every['patient'].nunique()} {unit}"
    return same, cases, scores


def _print_title(title: str, members: Sequence[Evaluation], notes: Sequence[str]) -> None:
    metrics = members[0].metrics
    print(f"\n{metrics['project']}, {data_name(metrics)}: {title}")
    notes = [f"runs: {', '.join(member.run for member in members)}", *notes]
    for reasons, alike in _grouped(members, lambda member: too_good(member.metrics)).items():
        if reasons:
            runs = "" if len(alike) == len(members) else f": {', '.join(row.run for row in alike)}"
            notes.append(f"CAUTION, scores are too good: {reasons}{runs}")
    print("\n".join(f"  {note}" for note in notes))


def _in_a_row(values: Sequence[float | None]) -> str:
    return " ".join(MISSING if value is None else f"{value:.3f}" for value in values)


def _values(members: Sequence[Evaluation]) -> dict[str, list[float | None]]:
    """Every run's value of each score."""
    return {name: [member.scores.get(name) for member in members] for name in members[0].scores}


def _spread(
    name: str, values: Sequence[float | None], tested: Mapping[str, Any] | None
) -> tuple[str, str, str, str]:
    """Mean with its interval, standard deviation, lowest and highest of the values there are."""
    known = [value for value in values if value is not None]
    if not known:
        return MISSING, MISSING, MISSING, MISSING
    mean = statistics.mean(known)
    interval = with_interval({"value": mean, "ci95": tested and tested["ci95"]})
    deviation = f"{statistics.stdev(known):.3f}" if len(known) > 1 else MISSING
    of_ranking = name.startswith("AUROC") and " less " not in name
    words = below_chance(mean) if of_ranking else ""
    return interval + words, deviation, f"{min(known):.3f}", f"{max(known):.3f}"


if __name__ == "__main__":
    run_script(main)
