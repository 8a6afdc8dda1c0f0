"""The runs of a project side by side: what differs in them, and what that did to their scores.

The first run is the one that the others are held against. A difference is taken case by case and
its 95 % interval by bootstrap over patients, the same resamples for both runs, so that hard and
easy patients cancel out.

    python -m common.compare runs/a runs/b --split validation --output compare.html
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.errors import UserError, run_script
from common.base.files import read_json, write_text
from common.base.settings import SharedTrain, current_names
from common.base.tables import MISSING, Table, print_table
from common.results import score_rows, with_interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Statistic = Callable[["np.ndarray"], "np.ndarray"]
"""From counts (r, n), how often each case was drawn, to values (r,)."""

_TRUTH = ("label", "true_x0", "true_y0", "true_x1", "true_y1", "truth_ml")
_NO_SETTING = ("run", "prepared")
_OF_EVALUATION = ("flip", "moves", "ensemble", "largest_component", "threshold_from")
_SEED = 2022


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of a run.

    Attributes:
        name: The run's folder, as it was given.
        settings: Of the data, the training, the evaluation and the versions.
        metrics: What metrics.json says.
        predictions: predictions.csv in the order of its cases.
    """

    name: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    predictions: pd.DataFrame


def main() -> None:
    """Print the comparison, and write its page where one is asked for."""
    asked = _arguments()

    from common.training.runs import name_of_data

    runs = [open_evaluation(folder, asked.split) for folder in asked.runs]
    refuse_others(runs)
    tables = [settings_table(runs), scores_table(runs), differences_table(runs)]
    metrics = runs[0].metrics
    data = name_of_data(metrics, metrics["split"])
    print(
        f"\n{metrics['project']}, {data}: {metrics['n']} cases of {metrics['n_patients']} patients"
    )
    for table in tables:
        print_table(table)
    if asked.output:
        from common.reporting.html_report import render

        page = render("compare.html.j2", metrics=metrics, runs=runs, tables=tables)
        write_text(asked.output, page)
        print(f"\nwritten:\n  {asked.output}")


def open_evaluation(run: Path, split: str) -> Evaluated:
    """What an evaluation wrote.

    Args:
        run: The run's folder.
        split: The evaluation's name: test, validation or another.

    Raises:
        UserError: It is not there.
    """
    import pandas as pd

    folder = run / "evaluation" / split
    if not (run / "config.json").is_file():
        raise UserError(f"{run}: is no run (no config.json); name folders that train.py wrote")
    if not (folder / "metrics.json").is_file():
        raise UserError(
            f"{folder}: holds no metrics.json; run evaluate.py first, or give a --split"
        )
    config = read_json(run / "config.json")
    text = {"case": str, "patient": str}
    try:
        predictions = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
        keys = [name for name in ("case", "model", "label") if name in predictions]
        metrics = read_json(folder / "metrics.json")
        of_evaluation = {name: metrics[name] for name in _OF_EVALUATION if name in metrics}
        trained = current_names(SharedTrain, config["settings"])
        settings = (config["data"]["settings"], trained, of_evaluation)
        return Evaluated(
            str(run),
            {name: value for of in (*settings, config["versions"]) for name, value in of.items()},
            metrics,
            predictions.sort_values(keys).reset_index(drop=True),
        )
    except (OSError, ValueError, KeyError):
        raise UserError(f"{folder}: is damaged; run evaluate.py again") from None


def refuse_others(runs: Sequence[Evaluated]) -> None:
    """Refuse runs whose scores cannot be compared.

    Raises:
        UserError: They are of different projects, or were scored on different cases or truths.
    """
    first, *others = runs
    for run in others:
        projects = [of.metrics["project"] for of in (first, run)]
        if projects[0] != projects[1]:
            raise UserError(
                f"{run.name}: is a run of {projects[1]}, and {first.name} of {projects[0]}; "
                "compare runs of one project"
            )
        ours, theirs = (set(of.predictions["case"]) for of in (first, run))
        if ours != theirs:
            raise UserError(
                f"{run.name}: was scored on other cases than {first.name} ({len(ours & theirs)} of "
                f"{len(ours | theirs)} are in both); evaluate both on the same prepared data or "
                "--source"
            )
        for name in _TRUTH:
            if name in first.predictions and name in run.predictions:
                truths = [
                    of.predictions.drop_duplicates(["case", *_of_label(of)])[name].to_numpy()
                    for of in (first, run)
                ]
                if not _equal(*truths):
                    raise UserError(
                        f"{run.name}: was scored against another truth than {first.name} ({name}); "
                        "evaluate both on the same labels"
                    )


def settings_table(runs: Sequence[Evaluated]) -> Table:
    """The runs' folders, and the settings, data and versions that are not the same in all."""
    rows = [("folder", *(run.name for run in runs))]
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = [str(run.settings.get(name, MISSING)) for run in runs]
        if name not in _NO_SETTING and len(set(values)) > 1:
            rows.append((name, *values))
    return Table("", ("what differs", *_numbers(runs)), tuple(rows))


def scores_table(runs: Sequence[Evaluated]) -> Table:
    """The main scores of every run with their intervals, and the baseline's."""
    by_run = [{row[3]: row[4] for row in score_rows(run.metrics)} for run in runs]
    baselines = {row[3]: row[5] for run in runs for row in score_rows(run.metrics)}
    return Table(
        "",
        ("score [95 % interval]", *_numbers(runs), "baseline"),
        tuple(
            (score, *(of.get(score, MISSING) for of in by_run), baseline)
            for score, baseline in baselines.items()
        ),
    )


def differences_table(runs: Sequence[Evaluated]) -> Table:
    """Every other run less the first, with its interval over patients, case by case."""
    rows = []
    for number, run in zip(_numbers(runs)[1:], runs[1:], strict=True):
        for score, found in differences(runs[0].predictions, run.predictions).items():
            low, high = found["ci95"] or (0.0, 0.0)
            said = "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
            rows.append((f"{number} less run 1", score, with_interval(found, sign="+"), said))
    return Table("", ("difference", "score", "value [95 % interval]", "is"), tuple(rows))


def _numbers(runs: Sequence[Evaluated]) -> list[str]:
    return [f"run {number}" for number in range(1, len(runs) + 1)]


def differences(first: pd.DataFrame, other: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How much better another run is than the first, on the same cases.

    Args:
        first: A predictions.csv, sorted by case.
        other: Another of the same cases.

    Returns:
        By score ``value``, the other's less the first's, and its ``ci95``, or None where there is
        one patient alone. A score that one of them has not (a network, say) is left out.
    """
    import numpy as np

    from common.scores.intervals import ci95

    ours, theirs = statistics(first), statistics(other)
    patients = first.drop_duplicates("case")["patient"].to_numpy()
    once = np.ones((1, len(patients)), dtype=int)
    found = {}
    for name in (name for name in ours if name in theirs):

        def difference(counts: np.ndarray, name: str = name) -> np.ndarray:
            return theirs[name](counts) - ours[name](counts)

        value = float(difference(once)[0])
        found[name] = {
            "value": None if np.isnan(value) else value,
            "ci95": ci95(difference, patients, _SEED),
        }
    return found


def statistics(predictions: pd.DataFrame) -> Mapping[str, Statistic]:
    """The main scores of a predictions.csv, sorted by case, as functions of resamples."""
    import numpy as np

    from common.scores.classification import ranking_scores

    def mean_of(values: pd.Series) -> Statistic:
        each = values.to_numpy(float)
        return lambda counts: counts @ each / counts.sum(axis=1)

    if "probability" in predictions:
        labels = predictions["label"].to_numpy(int)
        scores = predictions["probability"].to_numpy(float)
        right = predictions["predicted"].to_numpy(int) == labels
        return {
            "AUROC": lambda counts: ranking_scores(labels, scores, np.asarray(counts))[:, 0],
            "accuracy": lambda counts: counts @ right / counts.sum(axis=1),
        }
    if "iou" in predictions:
        return {"mean IoU": mean_of(predictions["iou"])}
    # Of several labels a case's score is the mean over them.
    by_case = predictions.groupby(["model", "case"])["dice"].mean()
    return {f"Dice, {name}": mean_of(by_case[name]) for name in predictions["model"].unique()}


def _of_label(run: Evaluated) -> list[str]:
    """Where a case has a row a model and label, the label's column."""
    return ["label"] if "model" in run.predictions and "label" in run.predictions else []


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    import numpy as np

    return len(a) == len(b) and (
        np.array_equal(a, b)
        if a.dtype.kind not in "fi"
        else np.allclose(a.astype(float), b.astype(float), atol=0.02)
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message}; --help shows how")


def _arguments() -> argparse.Namespace:
    parser = _Parser(
        prog="python -m common.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of train.py")
    parser.add_argument(
        "--split", default="test", help="the evaluation: test, validation or another (test)"
    )
    parser.add_argument("--output", type=Path, help="an HTML page to write")
    asked = parser.parse_args()
    if len(asked.runs) < 2:
        parser.error("give two runs or more")
    return asked


if __name__ == "__main__":
    run_script(main)
