"""Compare the runs of a project: the settings that differ, and the difference of their scores.

The other runs are compared with the first. A difference is taken case by case, and its 95 %
interval is over patients and paired, so that hard and easy patients cancel out (docs/intervals.md).

    python -m common.compare runs/a runs/b --split validation --output compare.html
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.base.files import read_json, write_text
from common.base.settings import SharedTrain, current_names
from common.base.tables import MISSING, Table, print_table
from common.reporting.html_report import render
from common.scores.formatting import is_made_up, score_rows, too_good, with_interval
from common.scores.intervals import difference
from common.scores.recipes import estimate, read_predictions
from common.training.runs import name_of_data

# Settings that say where files are, and do not change a score.
_NO_SETTING = ("run", "prepared")

# What two runs may differ by in a truth that both rounded.
_TRUTH_TOLERANCE = 0.02


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of a run.

    Attributes:
        name: The run's folder, as it was given.
        settings: Of the data, the training, the evaluation and the versions, by part and name: the
            data has a seed as the training has.
        metrics: What metrics.json says.
        predictions: predictions.csv in the order of its cases.
    """

    name: str
    settings: dict[tuple[str, str], Any]
    metrics: dict[str, Any]
    predictions: pd.DataFrame


def main() -> None:
    """Print the comparison, and write its page where one is asked for."""
    arguments = _arguments()
    runs = [open_evaluation(folder, arguments.split) for folder in arguments.runs]
    refuse_others(runs)
    tables = [settings_table(runs), scores_table(runs), differences_table(runs)]
    metrics = runs[0].metrics
    made_up = is_made_up(metrics)
    data = name_of_data({**metrics, "synthetic": made_up}, metrics["split"])
    known = metrics.get("patients_known", True)
    patients = f" of {metrics['n_patients']} patients" if known else f"; {metrics['split_warning']}"
    print(f"\n{metrics['project']}, {data}: {metrics['n']} cases{patients}")
    of_fiction = [run.name for run in runs if run.metrics.get("trained", {}).get("synthetic")]
    of_synthetic = f"trained on SYNTHETIC data: {', '.join(of_fiction)}" if of_fiction else ""
    if of_synthetic and not made_up:
        print(of_synthetic)
    for table in tables:
        print_table(table)
    if arguments.output:
        words = {"of_synthetic": of_synthetic, "metrics": metrics, "made_up": made_up}
        page = render("compare.html.j2", runs=runs, tables=tables, **words)
        write_text(arguments.output, page)
        print(f"\nwritten:\n  {arguments.output}")


def open_evaluation(run: Path, split: str) -> Evaluated:
    """What an evaluation wrote.

    Args:
        run: The run's folder.
        split: The evaluation's name: test, validation or another.

    Raises:
        UserError: It is not there, damaged, or of an earlier version.
    """
    folder = run / "evaluation" / split
    if not (run / "config.json").is_file():
        raise UserError(f"{run}: is no run (no config.json); name folders that train.py wrote")
    if not (folder / "metrics.json").is_file():
        problem = "holds no metrics.json; run evaluate.py first, or give a --split"
        raise UserError(f"{folder}: {problem}")
    config = read_json(run / "config.json")
    try:
        metrics = read_json(folder / "metrics.json")
        if "main_scores" not in metrics:
            problem = "was written by an earlier version; run evaluate.py again"
            raise UserError(f"{folder / 'metrics.json'}: {problem}")
        trained = current_names(SharedTrain, config["settings"])
        parts = {
            "prepared": config["data"]["settings"],
            "training": trained,
            "evaluation": metrics["evaluation_settings"],
            "versions": config["versions"],
            "environment": config.get("environment", {}),
        }
        return Evaluated(
            str(run),
            {(part, name): own[name] for part, own in parts.items() for name in own},
            metrics,
            read_predictions(folder / "predictions.csv"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: is damaged; run evaluate.py again") from None


def refuse_others(runs: Sequence[Evaluated]) -> None:
    """Refuse runs whose scores cannot be compared.

    Raises:
        UserError: They are of different projects, or were scored on different cases or truths.
    """
    first, *others = runs
    for run in others:
        projects = [evaluated.metrics["project"] for evaluated in (first, run)]
        if projects[0] != projects[1]:
            raise UserError(
                f"{run.name}: is a run of {projects[1]}, and {first.name} of {projects[0]}; "
                "compare runs of one project"
            )
        cases = [set(evaluated.predictions["case"]) for evaluated in (first, run)]
        if cases[0] != cases[1]:
            raise UserError(
                f"{run.name}: was scored on other cases than {first.name} "
                f"({len(cases[0] & cases[1])} of {len(cases[0] | cases[1])} are in both); evaluate "
                "both on the same prepared data or --source"
            )
        for name in first.metrics["truth_columns"]:
            if not _equal(*(_truth(evaluated.predictions, name) for evaluated in (first, run))):
                raise UserError(
                    f"{run.name}: was scored against another truth than {first.name} ({name}); "
                    "evaluate both on the same labels"
                )


def settings_table(runs: Sequence[Evaluated]) -> Table:
    """The runs' folders, and the settings, data and versions that are not the same in all.

    A name that several parts of a run have is shown with its part.
    """
    rows = [("folder", *(run.name for run in runs))]
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    parts = Counter(name for _, name in keys)
    for key in keys:
        part, name = key
        values = [str(run.settings.get(key, MISSING)) for run in runs]
        if name not in _NO_SETTING and len(set(values)) > 1:
            rows.append((f"{part}: {name}" if parts[name] > 1 else name, *values))
    return Table("", ("what differs", *_numbers(runs)), tuple(rows))


def scores_table(runs: Sequence[Evaluated]) -> Table:
    """The main scores of every run, the baseline's, and why they are too good, if they are."""
    rows = [score_rows(run.metrics) for run in runs]
    by_run = [{name: value for name, value, _ in run_rows} for run_rows in rows]
    baselines = {name: baseline for run_rows in rows for name, _, baseline in run_rows}
    cautions = [too_good(run.metrics) for run in runs]
    return Table(
        "",
        ("score [95 % interval]", *_numbers(runs), "baseline"),
        (
            *([("TOO GOOD, since", *cautions, "")] if any(cautions) else []),
            *(
                (name, *(values.get(name, MISSING) for values in by_run), baseline)
                for name, baseline in baselines.items()
            ),
        ),
    )


def differences_table(runs: Sequence[Evaluated]) -> Table:
    """Every other run less the first, with its interval over patients, case by case."""
    rows = []
    first = runs[0]
    for number, run in zip(_numbers(runs)[1:], runs[1:], strict=True):
        pairs = differences(first.predictions, run.predictions, first.metrics["main_scores"])
        for name, gap in pairs.items():
            low, high = gap["ci95"] or (0.0, 0.0)
            verdict = "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
            value = with_interval(gap, sign="+")
            rows.append((f"{number} less run 1", name, value, verdict))
    return Table("", ("difference", "score", "value [95 % interval]", "is"), tuple(rows))


def _numbers(runs: Sequence[Evaluated]) -> list[str]:
    return [f"run {number}" for number in range(1, len(runs) + 1)]


def differences(
    first: pd.DataFrame, other: pd.DataFrame, main_scores: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """How much better another run is than the first, on the same cases.

    Args:
        first: A predictions.csv, sorted by case.
        other: Another of the same cases.
        main_scores: Of the first run's metrics.json.

    Returns:
        By score ``value``, the other's less the first's, and its ``ci95``, or None with
        ``ci95_reason`` where there are too few patients. A score that one of them has not (a
        network, say) is left out.
    """
    pairs = {}
    for entry in main_scores:
        scores = [estimate(table, entry.get("from", {})) for table in (other, first)]
        if scores[0] is not None and scores[1] is not None:
            pairs[entry["name"]] = difference(scores[0], scores[1])
    return pairs


def _truth(predictions: pd.DataFrame, column: str) -> np.ndarray:
    """The values of a truth, each once per case, in the order of cases and values."""
    values = predictions[["case", column]].drop_duplicates()
    return values.sort_values(["case", column])[column].to_numpy()


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if len(a) != len(b) or a.dtype.kind not in "fi":
        return np.array_equal(a, b)
    return np.allclose(a.astype(float), b.astype(float), atol=_TRUTH_TOLERANCE)


def _arguments() -> argparse.Namespace:
    parser = Parser("common.compare", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of train.py")
    parser.add_argument(
        "--split", default="test", help="the evaluation: test, validation, fold or another (test)"
    )
    parser.add_argument("--output", type=Path, help="an HTML page to write")
    arguments = parser.parse_args()
    if len(arguments.runs) < 2:
        parser.error("give two runs or more")
    return arguments


if __name__ == "__main__":
    run_script(main)
