"""What evaluate.py draws of a pneumonia run's scores, and which cases.

``cases`` is the table of what was scored: ``case``, ``label``, ``probability``, ``predicted``, and
``boxes``, (n, 4) in fractions of the square's side; of several classes these are words, the
probability is of the ``likeliest``, and there are columns of every class
(`pneumonia_classification.inference.answers_table`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.datasets.classes import BETWEEN, TWO, Classes
from common.reporting import charts, figures
from common.reporting.examples import Example
from common.scores.calibration import Rescaling

SHEET = "surest.png"
SHEET_COLUMNS = 5

# Kinds of cases that together are all with one label, or all: the surest first, then the other way.
_IN_ORDER = (("found", "missed"), ("cleared", "false alarm"), ("right", "wrong"))
# Of a title over a film.
_MOST_LETTERS = 36


def names_of(classes: Classes) -> tuple[str, ...]:
    """The classes as answers: two without names of their own say whether there is pneumonia."""
    return ("no pneumonia", "pneumonia") if classes.names == TWO else classes.names


def in_words(label: int | str, names: Sequence[str] = TWO) -> str:
    """A label, or a decision, of predictions.csv in words."""
    if isinstance(label, str):
        return label.replace(BETWEEN, ", ") or "none"
    return ("none", "pneumonia")[label] if tuple(names) == TWO else names[label]


def to_draw(cases: pd.DataFrame, count: int) -> dict[int, str]:
    """Rows to draw, each with its kind: the surest right and wrong ones, and typical ones.

    The kinds come in turn, those of both labels alike.
    """
    groups = surest(cases)
    in_order = (groups.get(sure, []) + groups.get(other, [])[::-1] for sure, other in _IN_ORDER)
    groups["typical"] = [rows[len(rows) // 2] for rows in in_order if rows]
    chosen: dict[int, str] = {}
    for place in range(len(cases)):
        for kind, rows in groups.items():
            if place < len(rows) and len(chosen) < count:
                chosen.setdefault(rows[place], kind)
    return chosen


def draw_scores(
    folder: Path, cases: pd.DataFrame, metrics: Mapping[str, Any], synthetic: bool | str
) -> None:
    """Draw the confusion matrix, where there is one, and the curves of what is scored."""
    classes = Classes.described(metrics)
    names = names_of(classes)
    if metrics["confusion_matrix"]:
        charts.confusion_picture(
            folder / "confusion_matrix.png", metrics["confusion_matrix"], names, synthetic
        )
    if not classes.are_two:
        truth, shares = (
            cases[classes.columns(name)].to_numpy() for name in ("label", "probability")
        )
        charts.roc_picture(folder / "curves.png", truth, shares, names, synthetic)
    elif cases["label"].nunique() == 2:
        calibration, scores = metrics["calibration"], cases["probability"].to_numpy()
        curves = {"model": (scores, calibration["bins_before"])}
        rescaling = Rescaling(*(calibration[key] for key in ("method", "temperature", "shift")))
        if rescaling.column:
            rescaled = (rescaling.apply(scores), calibration["bins_after"])
            curves[rescaling.column.replace("_", " ")] = rescaled
        labels = cases["label"].to_numpy()
        charts.curves_picture(
            folder / "curves.png", labels, curves, metrics["threshold"], synthetic
        )


def draw_cases(
    folder: Path,
    cases: pd.DataFrame,
    drawn: Mapping[int, str],
    maps: Mapping[str, Mapping[str, np.ndarray]],
    read_films: Callable[[Iterable[str]], Iterable[tuple[str, np.ndarray]]],
    synthetic: bool | str,
    classes: Classes,
) -> list[Example]:
    """Draw the sheet of the surest cases of each kind, and maps of some rows.

    Args:
        folder: Where the PNGs go.
        cases: See the module.
        drawn: The rows to draw with their map, and their kinds.
        maps: Of each case that is drawn its maps by name, each (image_size, image_size) 0..1.
        read_films: Names of cases to each and its film, (image_size, image_size) 0..255.
        synthetic: The mark, as of `common.reporting.figures.save`.
        classes: What the run tells apart.
    """
    rows = cases.to_dict("records")
    sheet = {kind: order[:SHEET_COLUMNS] for kind, order in surest(cases).items()}
    films = dict(read_films(rows[i]["case"] for i in (*drawn, *chain(*sheet.values()))))
    images: list[np.ndarray | None] = []
    boxes, titles = [], []
    for kind, order in sheet.items():
        blanks = SHEET_COLUMNS - len(order)
        images += [*(films[rows[i]["case"]] for i in order), *[None] * blanks]
        boxes += [*(rows[i]["boxes"] * len(films[rows[i]["case"]]) for i in order)]
        boxes += [np.zeros((0, 4))] * blanks
        answers = ["," if classes.are_two else f": {rows[i]['predicted'][:16]}" for i in order]
        titles += [
            f"{kind}{answer} {rows[i]['probability']:.2f}\n{rows[i]['case'][:24]}"
            for i, answer in zip(order, answers, strict=True)
        ]
        titles += [""] * blanks
    figures.film_sheet(folder / SHEET, images, boxes, titles, synthetic, SHEET_COLUMNS)
    examples = []
    for rank, (i, kind) in enumerate(drawn.items(), start=1):
        case = rows[i]
        file = f"gradcam/{rank:02d}-{case['case']}.png"
        result = "right" if case["predicted"] == case["label"] else "WRONG"
        truth = in_words(case["label"], classes.names)
        answer, output = (
            f"score {case['probability']:.2f}, {result}",
            f"the {in_words(1, classes.names)} output",
        )
        if not classes.are_two:
            output = classes.names[case["likeliest"]]
            answer = f"{result}: {shortened(in_words(case['predicted']))} {case['probability']:.2f}"
        title = f"{case['case'][:36]}\ntruth: {shortened(truth)}, {answer}"
        figures.gradcam_picture(
            folder / file,
            films[case["case"]],
            maps[case["case"]],
            case["boxes"],
            title,
            synthetic,
            output,
        )
        examples.append(Example(case["case"], kind, (file,)))
    return examples


def shortened(text: str) -> str:
    """A text that fits over a film."""
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."


def surest(cases: pd.DataFrame) -> dict[str, list[int]]:
    """Rows by kind, the surest of their decision first."""
    if "likeliest" in cases:
        falling = np.argsort(-cases["probability"].to_numpy(), kind="stable")
        right = (cases["label"] == cases["predicted"]).to_numpy()[falling]
        return {"right": falling[right].tolist(), "wrong": falling[~right].tolist()}
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
