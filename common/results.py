"""Show the results of finished runs as one table, with the paths of their pictures.

It also summarises the finished folds of a cross-validation: their mean and standard deviation.

    python -m common.results runs
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.errors import UserError, run_script
from common.base.files import read_json
from common.base.tables import MISSING, Table, print_table
from common.scores.formatting import data_name, score_rows


def main() -> None:
    """Print the table of all evaluations under a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m common.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("runs"), metavar="FOLDER",
        help="a folder with runs in it, at any depth (runs)",
    )  # fmt: skip
    folder = parser.parse_args().folder
    paths = sorted(folder.glob("**/evaluation/*/metrics.json"))
    if not paths:
        raise UserError(f"{folder}: holds no metrics.json; run evaluate.py first")
    head = ("project", "data", "cases", "score", "model [95 % interval]", "baseline")
    rows: list[tuple[str, ...]] = []
    by_set: dict[tuple[str, ...], dict[int, Any]] = defaultdict(dict)
    for path in paths:
        metrics = read_json(path)
        if not isinstance(metrics, dict) or "main_scores" not in metrics:
            print(f"{path}: left out, of an earlier version; run evaluate.py again")
            continue
        try:
            data, cases = data_name(metrics), str(metrics["n"])
            rows += [(metrics["project"], data, cases, *row) for row in score_rows(metrics)]
            folds = metrics.get("folds", {"of": 0})
            if folds["of"]:
                key = (metrics["project"], metrics["split"], folds["of"], folds["data"])
                by_set[key][folds["fold"]] = metrics
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: was not written by evaluate.py; move it away") from None
    print_table(Table("", head, tuple(rows)))
    for (project, split, count, _), by_fold in by_set.items():
        finished = ", ".join(str(fold) for fold in sorted(by_fold))
        print(f"\n{project}, {split}: folds {finished} of {count}")
        print_table(_over_folds([by_fold[fold] for fold in sorted(by_fold)]))
    print("\npictures:")
    for path in paths:
        for picture in sorted(path.parent.rglob("*")):
            if picture.suffix in (".png", ".gif"):
                print(f"  {os.path.relpath(picture)}")


def _over_folds(evaluations: Sequence[Mapping[str, Any]]) -> Table:
    """The mean of every score over folds, its standard deviation, and every fold's."""
    by_fold = [
        {entry["name"]: entry["value"] for entry in metrics["fold_scores"]}
        for metrics in evaluations
    ]
    rows = []
    for name in by_fold[0]:
        values = [scores.get(name) for scores in by_fold]
        known = [value for value in values if value is not None]
        mean = f"{statistics.mean(known):.3f}" if known else MISSING
        deviation = f"{statistics.stdev(known):.3f}" if len(known) > 1 else MISSING
        each = " ".join(MISSING if value is None else f"{value:.3f}" for value in values)
        rows.append((name, mean, deviation, each))
    return Table("", ("score", "mean", "deviation", "each fold"), tuple(rows))


if __name__ == "__main__":
    run_script(main)
