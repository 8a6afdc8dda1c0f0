"""What evaluate.py prints and draws of a pneumonia run's scores.

``cases`` is the table of what was scored: ``case``, ``label``, ``probability``, ``calibrated``,
``predicted``, and ``boxes``, (n, 4) in fractions of the square's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from common.base.tables import MISSING, Table, print_table
from common.reporting import charts, figures
from common.reporting.examples import Example
from common.scores.formatting import below_chance, main_score, score, strongest, with_interval

# Titles in the table of all scores.
_SHARES = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
}

BASELINES = {
    "majority": "always the majority",
    "metadata": "view, sex and age",
    "thumbnail": "16 x 16 thumbnail",
}
"""The baselines of metrics.json in words, the simplest first."""

NO_METADATA = "no metadata"
"""The cell of view, sex and age where none of them varied in training."""

GROUPS = {"per_view": "view", "per_sex": "sex", "per_age": "age"}
_GROUP_TITLES = {**GROUPS, "per_finding": "positives against"}
SHEET = "surest.png"
SHEET_COLUMNS = 5
TRUTHS = ("none", "pneumonia")
"""A label, or a decision, in words."""


def to_draw(cases: pd.DataFrame, count: int) -> dict[int, str]:
    """Rows to draw, each with its kind: the surest right and wrong ones, and typical ones.

    The kinds come in turn, those of both labels alike.
    """
    groups = _surest(cases)
    positives = groups["found"] + groups["missed"][::-1]
    negatives = groups["cleared"] + groups["false alarm"][::-1]
    groups["typical"] = [rows[len(rows) // 2] for rows in (positives, negatives) if rows]
    chosen: dict[int, str] = {}
    for place in range(len(cases)):
        for kind, rows in groups.items():
            if place < len(rows) and len(chosen) < count:
                chosen.setdefault(rows[place], kind)
    return chosen


def draw_scores(
    folder: Path, cases: pd.DataFrame, metrics: Mapping[str, Any], synthetic: bool | str
) -> None:
    """Draw the confusion matrix and, where there are both labels, the curves."""
    names = ("no pneumonia", "pneumonia")
    charts.confusion_picture(
        folder / "confusion_matrix.png", metrics["confusion_matrix"], names, synthetic
    )
    if cases["label"].nunique() == 2:
        charts.curves_picture(
            folder / "curves.png",
            cases["label"].to_numpy(),
            cases["probability"].to_numpy(),
            cases["calibrated"].to_numpy(),
            metrics["threshold"],
            synthetic,
        )


def draw_cases(
    folder: Path,
    cases: pd.DataFrame,
    drawn: Mapping[int, str],
    heats: Mapping[int, np.ndarray],
    read_films: Callable[[list[str]], Mapping[str, np.ndarray]],
    synthetic: bool | str,
) -> list[Example]:
    """Draw the sheet of the surest cases of each kind, and Grad-CAM of some rows.

    Args:
        folder: Where the PNGs go.
        cases: See the module.
        drawn: The rows to draw with their map, and their kinds.
        heats: A row's Grad-CAM map, (image_size, image_size) 0..1.
        read_films: Names of cases to their films, (image_size, image_size) 0..255.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    rows = cases.to_dict("records")
    sheet = {kind: order[:SHEET_COLUMNS] for kind, order in _surest(cases).items()}
    films = read_films([rows[i]["case"] for i in (*drawn, *chain(*sheet.values()))])
    images: list[np.ndarray | None] = []
    boxes, titles = [], []
    for kind, order in sheet.items():
        blanks = SHEET_COLUMNS - len(order)
        images += [*(films[rows[i]["case"]] for i in order), *[None] * blanks]
        boxes += [*(rows[i]["boxes"] * len(films[rows[i]["case"]]) for i in order)]
        boxes += [np.zeros((0, 4))] * blanks
        titles += [f"{kind}, {rows[i]['probability']:.2f}\n{rows[i]['case'][:24]}" for i in order]
        titles += [""] * blanks
    figures.film_sheet(folder / SHEET, images, boxes, titles, synthetic, SHEET_COLUMNS)
    examples = []
    for rank, (i, kind) in enumerate(drawn.items(), start=1):
        case = rows[i]
        file = f"gradcam/{rank:02d}-{case['case']}.png"
        result = "right" if case["predicted"] == case["label"] else "WRONG"
        title = (
            f"{case['case'][:36]}\ntruth: {TRUTHS[case['label']]}, score "
            f"{case['probability']:.2f}, {result}"
        )
        figures.gradcam_picture(
            folder / file, films[case["case"]], heats[i], case["boxes"], title, synthetic
        )
        examples.append(Example(case["case"], kind, (file,)))
    return examples


def _surest(cases: pd.DataFrame) -> dict[str, list[int]]:
    """Rows by kind, the surest of their decision first."""
    order = np.argsort(cases["probability"].to_numpy(), kind="stable")
    labels, predicted = (cases[name].to_numpy()[order] for name in ("label", "predicted"))

    def rows(label: int, decision: int) -> list[int]:
        return order[(labels == label) & (predicted == decision)].tolist()

    return {
        "found": rows(1, 1)[::-1],
        "missed": rows(1, 0),
        "false alarm": rows(0, 1)[::-1],
        "cleared": rows(0, 0),
    }


def main_scores(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What tables of several evaluations show of an evaluation's metrics."""
    gradcam = metrics["gradcam"]
    aurocs, accuracies = (_of_baselines(metrics, name) for name in ("auroc", "accuracy"))
    scores = [
        main_score(
            *("AUROC", metrics["auroc"], *strongest(aurocs)),
            statistic="auroc",
            truth="label",
            score="probability",
        ),
        main_score(
            *("accuracy", score(metrics, "accuracy"), *strongest(accuracies)),
            statistic="agreement",
            truth="label",
            prediction="predicted",
        ),
    ]
    folds = {
        "AUROC": metrics["auroc"]["value"],
        **{
            f"AUROC of {name}": baseline["value"]
            for name, baseline in aurocs.items()
            if name != BASELINES["majority"]
        },
        "average precision": metrics["average_precision"]["value"],
        **{name: metrics[name] for name in ("accuracy", "recall", "specificity", "brier")},
        "pointing game": gradcam["pointing_game"],
        "its chance": gradcam["chance"],
    }
    groups = [
        {"group": f"{title} {group}", "n": part["n"], "name": "AUROC", **part["auroc"]}
        for key, title in _GROUP_TITLES.items()
        for group, part in metrics.get(key, {}).items()
    ]
    return {
        "main_scores": scores,
        "fold_scores": [{"name": name, "value": value} for name, value in folds.items()],
        "main_scores_of_groups": groups,
        "truth_columns": ["label"],
    }


def print_scores(cases: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """Print the confusion matrix, scikit-learn's report and every score next to its baselines."""
    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    print("\nconfusion matrix        predicted")
    print(f"  {'':<20}{'none':>8}{'pneumonia':>12}")
    print(f"  {'true none':<20}{tn:>8}{fp:>12}")
    print(f"  {'true pneumonia':<20}{fn:>8}{tp:>12}\n")
    labels = {"labels": [0, 1], "target_names": ["no pneumonia", "pneumonia"]}
    report = classification_report(
        cases["label"], cases["predicted"], digits=3, zero_division=0, **labels
    )
    print(report.rstrip())
    for table in tables(metrics):
        print_table(table)
    surest = _surest(cases)
    worst = [
        f"{kind} {cases['case'][i]} {cases['probability'][i]:.3f}"
        for kind in ("missed", "false alarm")
        for i in surest[kind][:1]
    ]
    print(f"\n  worst cases: {', '.join(worst) or 'none'}")


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores: next to the baselines, by calibration, per group, and of Grad-CAM."""
    calibration = metrics["calibration"]
    titles = [BASELINES[key] for key in reversed(BASELINES) if key in metrics["baselines"]]
    rows = []
    for title, name in (("AUROC", "auroc"), ("accuracy", "accuracy")):
        baselines = _of_baselines(metrics, name)
        cells, gaps = zip(*(_cells(baselines.get(key), name) for key in titles), strict=True)
        rows.append((title, with_interval(_score(metrics, name)), *cells))
        rows.append((f"{title}, model less baseline", "", *gaps))
    of_model = {
        "average precision": with_interval(metrics["average_precision"]),
        **{title: with_interval(score(metrics, name)) for name, title in _SHARES.items()},
        f"threshold, from {metrics['threshold_from']}": _number(metrics["threshold"]),
    }
    rows += [(title, cell, *[""] * len(titles)) for title, cell in of_model.items()]
    scores = Table("", ("score", "model", *titles), tuple(rows))
    after = f"at temperature {calibration['temperature']:.2f} (from validation)"
    errors = {"Brier score": "brier", "calibration error": "expected_calibration_error"}
    calibrated = Table(
        "probabilities against shares",
        ("error, 0 at best", "as it is", after),
        tuple(
            (
                name,
                *(
                    with_interval(score(calibration, f"{key}_{when}"))
                    for when in ("before", "after")
                ),
            )
            for name, key in errors.items()
        ),
    )
    groups = (
        Table(
            "",
            (name, "cases", "positives", "AUROC", "sensitivity", "specificity"),
            tuple(
                (
                    group,
                    str(part["n"]),
                    str(part["positives"]),
                    with_interval(part["auroc"]),
                    *(with_interval(score(part, key)) for key in ("recall", "specificity")),
                )
                for group, part in metrics[key].items()
            ),
        )
        for key, name in _GROUP_TITLES.items()
        if metrics.get(key)
    )
    return scores, calibrated, *groups, *_gradcam(metrics["gradcam"])


def _of_baselines(metrics: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """A score of every baseline in words, with its interval and the model's ``difference``."""
    parts = {title: metrics["baselines"].get(key) for key, title in BASELINES.items()}
    return {
        title: {**_score(part, name), "difference": part.get("differences", {}).get(name)}
        for title, part in parts.items()
        if part
    }


def _cells(baseline: Mapping[str, Any] | None, name: str) -> tuple[str, str]:
    """A baseline's score and the model's difference to it."""
    if baseline is None:
        return NO_METADATA, NO_METADATA
    words = below_chance(baseline["value"]) if name == "auroc" else ""
    return with_interval(baseline) + words, with_interval(baseline["difference"], sign="+")


def _score(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    return part[name] if isinstance(part[name], dict) else score(part, name)


def _gradcam(game: Mapping[str, Any]) -> list[Table]:
    """Whether the map looks where radiologists do, and shows what was learned."""
    rows = []
    if game["n"]:
        blob = game["centred_blob"]
        inside = {"value": game["weight_inside"], "ci95": game.get("weight_inside_ci95")}
        chance = _number(game["chance"])
        peak, weight = (_number(blob[name]) for name in ("pointing_game", "weight_inside"))
        rows = [
            ("peak in a box", with_interval(game, "pointing_game"), chance, peak),
            ("share of weight in boxes", with_interval(inside), chance, weight),
        ]
    if game["likeness_to_random_weights"] is not None:
        likeness = _number(game["likeness_to_random_weights"])
        rows.append(("rank correlation with random weights", likeness, "0.000", ""))
    head = (f"Grad-CAM, {game['n']} with a box", "model", "chance", "a blob in the centre")
    return [Table("", head, tuple(rows))] if rows else []


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
