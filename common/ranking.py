"""Whether an evaluation ranks runs as another one does, by Kendall's tau.

Settings are chosen by a validation score. Whether the choice holds elsewhere is not known before
another hospital's cases are scored; with several runs of different settings it can be measured: an
evaluation that ranks them as the other hospital does is worth choosing by. The last evaluation that
is named is the one the others are to foretell. Of an evaluation of data that was prepared with
--split-by, EVALUATION/PART takes the cases of one part.

    python -m common.ranking runs/a runs/b runs/c runs/d --by validation/shifted other-hospital

Tau is 1 where two evaluations order all pairs of runs alike, -1 where they order none alike
(Kendall 1938, 10.1093/biomet/30.1-2.81). Its interval is over patients, with these runs: all scores
are drawn together from their joint normal distribution, whose covariance is that of the cases'
influences, summed by patient. Scores that lie within the noise of each other swap places in it, so
that it is wide and, where they are all alike, around 0. The p-value is the exact one of runs in
random order. It says nothing of other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.base.files import read_json
from common.base.tables import Table, print_table
from common.compare import Evaluated, open_evaluation, refuse_others
from common.records.prepared import open_prepared
from common.scores.estimates import Estimate
from common.scores.formatting import with_interval
from common.scores.intervals import scored
from common.scores.recipes import estimate
from common.training.runs import prepared_folder

FEWEST = 4
"""Runs that a rank correlation needs: of three even the best order comes by chance in one of six.
"""

_DRAWS = 10_000


def main() -> None:
    """Print the runs' scores by each evaluation, and how alike two evaluations rank them."""
    arguments = _arguments()
    columns = {name: _scores(arguments.runs, name) for name in arguments.by}
    main_score = columns[arguments.by[0]][0][0]
    scores = {name: [score for _, score in column] for name, column in columns.items()}
    rows = [
        (str(run), *(with_interval(scored(column[number])) for column in scores.values()))
        for number, run in enumerate(arguments.runs)
    ]
    print_table(Table(f"{main_score} [95 % interval]", ("run", *columns), tuple(rows)))
    foretold = arguments.by[-1]
    taus = []
    for name in arguments.by[:-1]:
        value, low, high, by_chance = tau(scores[name], scores[foretold])
        taus.append((name, f"{value:+.2f} [{low:+.2f}, {high:+.2f}]", f"{by_chance:.2f}"))
    title = f"Kendall's tau with {foretold}, {len(arguments.runs)} runs"
    print_table(Table(title, ("evaluation", "tau [95 % interval]", "p"), tuple(taus)))


def tau(
    some: Sequence[Estimate], others: Sequence[Estimate], seed: int = 0
) -> tuple[float, float, float, float]:
    """Kendall's tau-b of two evaluations' scores of the same runs.

    Args:
        some: A score of each run, (runs,), all on the same cases.
        others: Another of each, all on the same cases, which are others than those of ``some``.
        seed: Of the draws.

    Returns:
        Tau, its 95 % limits over patients, and the p-value of runs in random order; NaN where all
        scores of an evaluation are equal.
    """
    test = stats.kendalltau(*([float(score.value) for score in side] for side in (some, others)))
    generator = np.random.default_rng(seed)
    draws = [_drawn(side, generator) for side in (some, others)]
    pairs = np.triu_indices(len(some), 1)
    signs = [np.sign(side[:, pairs[0]] - side[:, pairs[1]]) for side in draws]
    low, high = np.percentile((signs[0] * signs[1]).mean(axis=1), (2.5, 97.5))
    return float(test.statistic), float(low), float(high), float(test.pvalue)


def _drawn(scores: Sequence[Estimate], generator: np.random.Generator) -> np.ndarray:
    """(draws, runs) scores as they come out with other patients of the same kind."""
    sums = np.stack([score.sums for score in scores])
    values = np.array([float(score.value) for score in scores])
    return values + generator.standard_normal((_DRAWS, sums.shape[1])) @ sums.T


def _scores(runs: Sequence[Path], name: str) -> list[tuple[str, Estimate]]:
    """The first main score of each run in an evaluation or a part of it, with its name."""
    split, _, part = name.partition("/")
    evaluated = [open_evaluation(run, split) for run in runs]
    refuse_others(evaluated)
    pairs = zip(runs, evaluated, strict=True)
    return [_score(run, evaluation, name, part) for run, evaluation in pairs]


def _score(run: Path, evaluated: Evaluated, name: str, part: str) -> tuple[str, Estimate]:
    entry, table = evaluated.metrics["main_scores"][0], evaluated.predictions
    if part:
        folder = prepared_folder(run, read_json(run / "config.json"))
        cases = open_prepared(folder, evaluated.metrics["project"]).cases()
        table = table[table["case"].isin(cases.loc[cases["part"] == part, "case"])]
    score = estimate(table.reset_index(drop=True), entry.get("from", {})) if len(table) else None
    if score is None or np.isnan(score.value):
        raise UserError(
            f"{run}: has no {entry['name']} by {name}; name its evaluations, such as validation, "
            "with /random or /shifted where prepare_data.py had --split-by"
        )
    return entry["name"], score


def _arguments() -> argparse.Namespace:
    parser = Parser("common.ranking", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of train.py")
    parser.add_argument(
        "--by", nargs="+", required=True, metavar="EVALUATION",
        help="two evaluations or more; the others are compared with the last",
    )  # fmt: skip
    arguments = parser.parse_args()
    if len(arguments.runs) < FEWEST:
        parser.error(f"give {FEWEST} runs or more")
    if len(arguments.by) < 2:
        parser.error("give two evaluations or more to --by")
    return arguments


if __name__ == "__main__":
    run_script(main)
