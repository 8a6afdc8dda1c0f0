"""How often 95 % intervals hold the true score, in simulated data sets of patients.

    python -m tests.tools.coverage --sets 2000

The table is that of docs/intervals.md. Seeds are fixed. Real scores of cases, of a validation
split, are read with --scores and stored nowhere.

A cell is the coverage, the mean width of an interval, and that width over the narrowest of the
reference methods that cover: for an AUROC DeLong's interval, that on the logit scale, and
Newcombe's method 5; for a mean Student's t. A star: 1 % or more of the data sets are perfectly
separated. Of equal runs it is how often they are called different, and the width. (!) is outside
the bars.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from common.base.tables import Table, print_table
from common.scores.estimates import Estimate, auroc, mean, share
from common.scores.intervals import (
    FEWEST,
    auroc_limits,
    difference_limits,
    mean_limits,
    share_limits,
)

SEED = 24
_GROUPS = 8
AUROCS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.997)
FILMS = (40, 100, 600)
PREVALENCES = (0.2, 0.5)
MOST_FILMS = (1, 2, 3)
MEANS = (3, 4, 5, 8, 10, 16, 25, 40)
SHARES = tuple(np.arange(0.9, 0.996, 0.005).round(3).tolist())

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Row:
    """The intervals of one kind of data sets.

    Attributes:
        part: What is estimated.
        data: The data sets, in words.
        column: What they differ by from others of these.
        coverage: The share of data sets whose interval holds the truth; NaN where all are refused.
        width: Mean width of an interval.
        ratio: Of that to the narrowest reference that covers; NaN without one.
        degenerate: The share of data sets that are perfectly separated, or all or none.
        held: Whether the bars of the acceptance hold for this row.
        refused: The share of data sets that have no interval.
    """

    part: str
    data: str
    column: str
    coverage: float
    width: float = np.nan
    ratio: float = np.nan
    degenerate: float = 0.0
    held: bool = True
    refused: float = 0.0


def of_aurocs(sets: int) -> Iterator[Row]:
    """AUROCs of two normal distributions; the films of a patient have a label and half a mood."""
    for number, films in enumerate(FILMS):
        for prevalence in PREVALENCES:
            for most in MOST_FILMS:
                for truth in AUROCS:
                    rng = np.random.default_rng((SEED, 1, number, most, round(1000 * truth)))
                    yield _of_auroc(rng, sets, films, prevalence, most, truth)


def _of_auroc(
    rng: np.random.Generator, sets: int, films: int, prevalence: float, most: int, truth: float
) -> Row:
    data = f"{films} films, {prevalence:.0%} positive, to {most} a patient"
    parts, values, refused = [], [], 0
    # Who has how many films differs between groups of data sets.
    for _ in range(_GROUPS):
        patients = patients_of(rng, films, most)
        labels = labels_of(patients, prevalence)
        shift = special.ndtri(truth) * np.sqrt(2) * labels
        estimate = auroc(labels, moods(rng, sets // _GROUPS, patients, 0.5) + shift, patients)
        if estimate.smallest < FEWEST:
            refused += 1
            continue
        methods = (auroc_limits, _wald, _logit_wald, _hanley_mcneil)
        parts.append([method(estimate) for method in methods])
        values.append(estimate.value)
    if not parts:
        return Row("AUROC", data, str(truth), np.nan, refused=1.0)
    limits, *references = (np.concatenate(part) for part in zip(*parts, strict=True))
    separated = float((np.concatenate(values) >= 1).mean())
    row = _row("AUROC", data, str(truth), truth, limits, references, separated)
    return replace(row, refused=refused / _GROUPS)


def of_heavy_tails(sets: int) -> Iterator[Row]:
    """AUROCs of exponential scores, the positives' longer: reported, for no interval covers them.

    Negatives with a high score carry the AUROC, and few data sets have one.
    """
    for films in FILMS:
        for truth in AUROCS:
            rng = np.random.default_rng((SEED, 6, films, round(1000 * truth)))
            labels = labels_of(np.arange(films), 0.2)
            scores = rng.exponential(size=(sets, films)) * np.where(labels, truth / (1 - truth), 1)
            estimate = auroc(labels, scores, np.arange(films))
            data, ends = f"{films} films, 20% positive", auroc_limits(estimate)
            separated = float((estimate.value >= 1).mean())
            row = _row("AUROC, exponential", data, str(truth), truth, ends, [], separated)
            yield replace(row, held=True)


def of_means(sets: int, real: dict[str, np.ndarray]) -> Iterator[Row]:
    """Means of 3 to 40 patients; of a mixture with failures the coverage is only reported."""
    for name, (draw, truth) in distributions(real).items():
        for count in MEANS:
            rng = np.random.default_rng((SEED, 2, count))
            estimate = mean(draw(rng, (sets, count)), np.arange(count))
            half = stats.t.ppf(0.975, count - 1) * np.sqrt(estimate.variance)
            plain = np.stack([estimate.value - half, estimate.value + half], axis=-1)
            limits = mean_limits(estimate)
            row = _row("mean", name, f"{count} patients", truth, limits, [plain], 0)
            yield replace(row, held=row.held or name.startswith("mixture"))


def of_shares(sets: int) -> Iterator[Row]:
    """Shares from 0.9 to 0.995, whose films of a patient are hits together more often or not."""
    for films in FILMS:
        for most in MOST_FILMS:
            covered, widths, worst = [], [], 1.0
            for truth in SHARES:
                rng = np.random.default_rng((SEED, 3, films, most, round(1000 * truth)))
                patients = patients_of(rng, films, most)
                hits = moods(rng, sets, patients, 0.5) < special.ndtri(truth)
                limits = share_limits(share(hits, patients))
                covered.append(_holds(limits, truth).mean())
                widths.append(np.diff(limits).mean())
            worst, middle = min(covered), float(np.mean(covered))
            slack = 2 * np.sqrt(0.95 * 0.05 / sets) if sets < 2000 else 0.0
            held = worst >= 0.9 - slack and 0.94 - slack <= middle <= 0.985 + slack
            data = f"{films} films, to {most} a patient"
            yield Row(
                "share", data, "mean over 0.9 to 0.995", middle, float(np.mean(widths)), held=held
            )
            yield Row("share", data, "lowest", worst)


def of_differences(sets: int, real: dict[str, np.ndarray]) -> Iterator[Row]:
    """Runs that are equally good: how often their difference's interval leaves out 0."""
    for name, (draw, _) in distributions(real).items():
        for count in MEANS:
            rng = np.random.default_rng((SEED, 4, count))
            # Run less run of one distribution, alike case by case: the ranks are correlated.
            normal = moods(rng, 2 * sets, np.arange(count), 0.0)
            hard = moods(rng, sets, np.arange(count), 0.0)
            pairs = np.sqrt(0.6) * hard + np.sqrt(0.4) * normal.reshape(2, sets, count)
            pool = np.sort(draw(rng, (4000,)))
            values = np.interp(special.ndtr(pairs), np.linspace(0, 1, len(pool)), pool)
            some, other = (mean(part, np.arange(count)) for part in values)
            row = _errors(f"mean, {name}", f"{count} patients", some, other)
            yield replace(row, held=row.held or name.startswith("mixture"))
    for truth in (0.8, 0.9, 0.95):
        for films, most in ((20, 1), (40, 1), (40, 3)):
            rng = np.random.default_rng((SEED, 5, films, most, round(1000 * truth)))
            patients = patients_of(rng, films, most)
            labels = labels_of(patients, 0.5)
            hard = moods(rng, sets, patients, 0.5)
            pairs = [
                np.sqrt(0.6) * hard + np.sqrt(0.4) * moods(rng, sets, patients, 0.5) for _ in "ab"
            ]
            shift = special.ndtri(truth) * np.sqrt(2) * labels
            data = f"{films} films, to {most} a patient"
            some, other = (auroc(labels, part + shift, patients) for part in pairs)
            yield _errors(f"AUROC, {data}", str(truth), some, other)
            some, other = (share(part < special.ndtri(truth), patients) for part in pairs)
            yield _errors(f"share, {data}", str(truth), some, other)


def distributions(real: dict[str, np.ndarray]) -> dict[str, tuple[Draw, float]]:
    """How scores of cases are drawn, and their true mean, by name."""

    def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(0.85, 0.04, shape)

    def beta(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.beta(18, 2, shape)

    def mixture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        fails = rng.random(shape) < 0.05
        return np.where(fails, rng.beta(2, 5, shape), rng.beta(40, 4, shape))

    def smooth(scores: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.interp(rng.random(shape), np.linspace(0, 1, len(scores)), scores)

    # The mean of the line through the sorted scores, from which `smooth` draws.
    truths = {name: float(np.mean((part[1:] + part[:-1]) / 2)) for name, part in real.items()}
    return {
        "normal": (normal, 0.85),
        "Beta(18, 2)": (beta, 0.9),
        **{name: (partial(smooth, part), truths[name]) for name, part in real.items()},
        "mixture with 5 % failures": (mixture, 0.05 * 2 / 7 + 0.95 * 40 / 44),
    }


def patients_of(rng: np.random.Generator, films: int, most: int) -> np.ndarray:
    """(films,) the patient of each film: 1 to ``most`` films each."""
    return np.repeat(np.arange(films), rng.integers(1, most + 1, films))[:films]


def labels_of(patients: np.ndarray, prevalence: float) -> np.ndarray:
    """(films,) 0 or 1, one label a patient."""
    return np.asarray(patients < round(prevalence * (patients[-1] + 1)), int)


def moods(rng: np.random.Generator, sets: int, patients: np.ndarray, alike: float) -> np.ndarray:
    """(sets, films) standard normal values, correlated by ``alike`` within a patient."""
    of_patient = rng.standard_normal((sets, patients[-1] + 1))[:, patients]
    own = rng.standard_normal((sets, len(patients)))
    return np.asarray(np.sqrt(alike) * of_patient + np.sqrt(1 - alike) * own)


def _row(
    part: str,
    data: str,
    column: str,
    truth: float,
    limits: np.ndarray,
    references: list[np.ndarray],
    degenerate: float,
) -> Row:
    coverage, width = float(_holds(limits, truth).mean()), float(np.diff(limits).mean())
    # The bars are for 2,000 data sets; of fewer a coverage is known but for its error.
    slack = 2 * np.sqrt(0.95 * 0.05 / len(limits)) if len(limits) < 2000 else 0.0
    covering = [ends for ends in references if _holds(ends, truth).mean() >= 0.93 + slack]
    ratio = width / min(np.diff(ends).mean() for ends in covering) if covering else np.nan
    held = coverage >= 0.93 - slack
    held &= degenerate >= 0.01 or coverage <= 0.975 + slack
    held &= not ratio > 1.3 + slack
    return Row(part, data, column, coverage, width, float(ratio), float(degenerate), bool(held))


def _errors(data: str, column: str, some: Estimate, other: Estimate) -> Row:
    if some.kind != "mean" and some.smallest < FEWEST:
        return Row("equal runs", data, column, np.nan)
    limits = difference_limits(some, other)
    errors = float(1 - _holds(limits, 0).mean())
    slack = 2 * np.sqrt(0.05 * 0.95 / len(limits))
    # Few disagreements are few outcomes: such a test errs less often than it may.
    lowest = 0.0 if some.kind != "mean" else 0.03 - slack
    held = lowest <= errors <= 0.07 + slack
    width = float(np.diff(limits).mean())
    return Row("equal runs", data, column, errors, width, held=held)


def _holds(limits: np.ndarray, truth: float) -> np.ndarray:
    return np.asarray((limits[..., 0] <= truth) & (truth <= limits[..., 1]))


def _wald(estimate: Estimate) -> np.ndarray:
    half = 1.96 * np.sqrt(estimate.variance)
    return np.clip(np.stack([estimate.value - half, estimate.value + half], axis=-1), 0, 1)


def _logit_wald(estimate: Estimate) -> np.ndarray:
    inside = np.clip(estimate.value, 1e-9, 1 - 1e-9)
    half = 1.96 * np.sqrt(estimate.variance) / (inside * (1 - inside))
    ends = np.stack([special.logit(inside) - half, special.logit(inside) + half], axis=-1)
    return np.asarray(special.expit(ends))


def _hanley_mcneil(estimate: Estimate) -> np.ndarray:
    """Newcombe's (2006) method 5, whose number of cases is Kish's, by 200 steps of the limit."""
    grid = np.linspace(0.4, 1, 1201)[:, None]
    cases = 4 * estimate.fewest
    pairs, more = cases**2 / 4, cases / 2 - 1
    shape = 1 + more * ((1 - grid) / (2 - grid) + grid / (1 + grid))
    far = np.abs(estimate.value - grid) <= 1.96 * np.sqrt(grid * (1 - grid) / pairs * shape)
    inside = far | (np.abs(estimate.value - grid) < 2.6e-4)
    low, high = grid[inside.argmax(axis=0), 0], grid[len(grid) - 1 - inside[::-1].argmax(axis=0), 0]
    return np.stack([low, high], axis=-1)


def tables(rows: list[Row]) -> Iterator[Table]:
    """The rows of every part as tables, those with the same columns in one."""
    groups: dict[tuple[str, ...], dict[str, dict[str, Row]]] = {}
    by_data: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_data.setdefault((row.part, row.data), {})[row.column] = row
    for (part, data), cells in by_data.items():
        groups.setdefault((part, *cells), {})[data] = cells
    for (part, *columns), lines in groups.items():
        yield Table(
            part,
            ("data", *columns),
            tuple((data, *map(_cell, cells.values())) for data, cells in lines.items()),
        )


def _cell(row: Row) -> str:
    """Coverage, mean width, and that over the narrowest reference's; * with degenerate ones."""
    if np.isnan(row.coverage):
        return "refused"
    parts = [f"{row.coverage:.3f}" + "*" * (row.degenerate >= 0.01) + "(!)" * (not row.held)]
    parts += ["" if np.isnan(row.width) else f"{row.width:.3f}"]
    parts += ["" if np.isnan(row.ratio) else f"{row.ratio:.2f}"]
    parts += [f"refused {row.refused:.2f}" if row.refused else ""]
    return " ".join(filter(None, parts))


def all_rows(sets: int, real: dict[str, np.ndarray]) -> list[Row]:
    """Every row of the table."""
    return [
        *of_aurocs(sets),
        *of_heavy_tails(sets),
        *of_means(sets, real),
        *of_shares(sets),
        *of_differences(sets, real),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="tests.tools.coverage", description=__doc__)
    parser.add_argument("--sets", type=int, default=2000, help="data sets a row (2000)")
    parser.add_argument(
        "--scores", nargs="*", default=[], metavar="NAME=FILE:COLUMN",
        help="scores of cases, as Dice=RUN/evaluation/validation/predictions.csv:dice",
    )  # fmt: skip
    arguments = parser.parse_args()
    real = {}
    for entry in arguments.scores:
        name, _, file = entry.partition("=")
        path, _, column = file.rpartition(":")
        real[name] = np.sort(pd.read_csv(Path(path))[column].to_numpy(float))
    rows = all_rows(arguments.sets, real)
    for table in tables(rows):
        print_table(table)
    print(f"\n{arguments.sets} data sets a row; outside the bars: {sum(not r.held for r in rows)}")


if __name__ == "__main__":
    main()
