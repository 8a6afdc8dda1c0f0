"""What evaluate.py prints and draws of a pneumonia run's scores.

``cases`` is the table of what was scored: ``case``, ``label``, ``probability``, ``calibrated``,
``predicted``, and ``boxes``, (n, 4) in fractions of the square's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.base.tables import MISSING, Table, print_table
from common.reporting.examples import Example
from common.scores.formatting import main_score, score, with_interval

GROUPS = {"per_view": "view", "per_sex": "sex", "per_age": "age"}
SHEET = "surest.png"
IN_A_ROW = 5
TRUTHS = ("none", "pneumonia")


def boxes_in_square(case: Mapping[str, Any], prepared: Any, side: int) -> Any:
    """A case's opacity boxes (n, 4) in fractions of the square that the model sees."""
    import numpy as np

    from common.imaging.letterbox import Letterbox

    text = case["boxes"] if isinstance(case["boxes"], str) else ""
    boxes = [[float(edge) for edge in box.split()] for box in text.split(";") if box]
    stretch = prepared.manifest["settings"]["proportions"] == "stretch"
    square = Letterbox(int(case["rows"]), int(case["columns"]), side, stretch)
    return square.to_fractions(np.array(boxes).reshape(-1, 4))


def to_draw(cases: Any, count: int) -> dict[int, str]:
    """Rows to draw, each with its kind: the surest right and wrong ones, and typical ones.

    The kinds come in turn, those of both labels alike.
    """
    wrong = (cases["predicted"] != cases["label"]).to_numpy()
    surest = _surest(cases)
    groups = {
        kind: [row for row in rows if wrong[row] == (kind in ("missed", "false alarm"))]
        for kind, rows in surest.items()
    }
    groups["typical"] = [
        rows[len(rows) // 2] for rows in (surest["found"], surest["cleared"]) if rows
    ]
    chosen: dict[int, str] = {}
    for place in range(len(cases)):
        for kind, rows in groups.items():
            if place < len(rows) and len(chosen) < count:
                chosen.setdefault(rows[place], kind)
    return chosen


def draw_scores(
    folder: Path, cases: Any, metrics: Mapping[str, Any], synthetic: bool
) -> list[Path]:
    """Draw the confusion matrix and, where there are both labels, the curves."""
    from common.reporting import charts

    names = ("no pneumonia", "pneumonia")
    matrix = charts.confusion_picture(
        folder / "confusion_matrix.png", metrics["confusion_matrix"], names, synthetic
    )
    labels, scores = cases["label"].to_numpy(), cases["probability"].to_numpy()
    if len(set(labels)) < 2:
        return [matrix]
    calibrated = cases["calibrated"].to_numpy()
    curves = charts.curves_picture(
        folder / "curves.png", labels, scores, calibrated, metrics["threshold"], synthetic
    )
    return [matrix, curves]


def draw_cases(
    folder: Path,
    cases: Any,
    drawn: Mapping[int, str],
    heats: Mapping[int, Any],
    films_of: Callable[[list[str]], Mapping[str, Any]],
    synthetic: bool,
) -> list[Example]:
    """Draw the sheet of the surest cases of each kind, and Grad-CAM of some rows.

    Args:
        folder: Where the PNGs go.
        cases: See the module.
        drawn: The rows to draw with their map, and their kinds.
        heats: A row's Grad-CAM map, (side, side) 0..1.
        films_of: Names of cases to their films, (side, side) 0..255.
        synthetic: Whether the data was made up.
    """
    from common.reporting import figures

    wrong = cases["predicted"] != cases["label"]
    sheet = {
        kind: [i for i in order if wrong[i] == (kind in ("missed", "false alarm"))][:IN_A_ROW]
        for kind, order in _surest(cases).items()
    }
    films = films_of(list(cases["case"][[*drawn, *(i for row in sheet.values() for i in row)]]))
    cells = [(kind, i) for kind, row in sheet.items() for i in row + [None] * (IN_A_ROW - len(row))]
    of, images, boxes, titles = cases.to_dict("records"), [], [], []
    for kind, i in cells:
        film = None if i is None else films[of[i]["case"]]
        images.append(film)
        boxes.append([] if i is None else of[i]["boxes"] * len(film))
        titles.append(
            "" if i is None else f"{kind}, {of[i]['probability']:.2f}\n{of[i]['case'][:24]}"
        )
    figures.film_sheet(folder / SHEET, images, boxes, titles, synthetic, IN_A_ROW)
    examples = []
    for rank, (i, kind) in enumerate(drawn.items(), start=1):
        case = of[i]
        file = f"gradcam/{rank:02d}-{case['case']}.png"
        figures.gradcam_picture(
            folder / file,
            films[case["case"]],
            heats[i],
            case["boxes"],
            f"{case['case'][:36]}\ntruth: {TRUTHS[case['label']]}, score "
            f"{case['probability']:.2f}, {'WRONG' if wrong[i] else 'right'}",
            synthetic,
        )
        examples.append(Example(case["case"], kind, (file,)))
    return examples


def _surest(cases: Any) -> dict[str, list[int]]:
    """Rows by kind, the surest of their label or against it first."""
    import numpy as np

    labels, order = cases["label"].to_numpy(), np.argsort(cases["probability"], kind="stable")
    order = [int(i) for i in order]
    return {
        "found": [i for i in order[::-1] if labels[i] == 1],
        "missed": [i for i in order if labels[i] == 1],
        "false alarm": [i for i in order[::-1] if labels[i] == 0],
        "cleared": [i for i in order if labels[i] == 0],
    }


def main_scores(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What tables of several evaluations show of an evaluation's metrics."""
    baselines, gradcam = metrics["baselines"], metrics["gradcam"]
    metadata, majority = baselines["metadata"]["auroc"], score(baselines["majority"], "accuracy")
    accuracy = score(metrics, "accuracy")
    scores = [
        main_score(
            *("AUROC", metrics["auroc"], metadata, "view, sex and age"),
            statistic="auroc",
            truth="label",
            score="probability",
        ),
        main_score(
            *("accuracy", accuracy, majority, "always the majority"),
            statistic="agreement",
            truth="label",
            prediction="predicted",
        ),
    ]
    folds = {
        "AUROC": metrics["auroc"]["value"],
        "AUROC of view, sex and age": metadata["value"],
        "average precision": metrics["average_precision"]["value"],
        **{name: metrics[name] for name in ("accuracy", "recall", "specificity", "brier")},
        "pointing game": gradcam["pointing_game"],
        "its chance": gradcam["chance"],
    }
    groups = [
        {
            "group": f"{key.removeprefix('per_')} {group}",
            "n": scores_of_group["n"],
            "name": "AUROC",
            **{name: scores_of_group["auroc"][name] for name in ("value", "ci95")},
        }
        for key in GROUPS
        for group, scores_of_group in metrics.get(key, {}).items()
    ]
    return {
        "main_scores": scores,
        "fold_scores": [{"name": name, "value": value} for name, value in folds.items()],
        "main_scores_of_groups": groups,
        "truth_columns": ["label"],
    }


def print_scores(cases: Any, metrics: Mapping[str, Any]) -> None:
    """Print the confusion matrix, scikit-learn's report and every score next to its baselines."""
    from sklearn.metrics import classification_report

    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    print("\nconfusion matrix        predicted")
    print(f"  {'':<20}{'none':>8}{'pneumonia':>12}")
    print(f"  {'true none':<20}{tn:>8}{fp:>12}")
    print(f"  {'true pneumonia':<20}{fn:>8}{tp:>12}\n")
    names = ["no pneumonia", "pneumonia"]
    report = classification_report(
        cases["label"],
        cases["predicted"],
        labels=[0, 1],
        target_names=names,
        digits=3,
        zero_division=0,
    )
    print(report.rstrip())
    for table in tables(metrics):
        print_table(table)
    surest = _surest(cases)
    worst = [
        f"{kind} {cases['case'][i]} {cases['probability'][i]:.3f}"
        for kind in ("missed", "false alarm")
        for i in surest[kind][:1]
        if cases["predicted"][i] != cases["label"][i]
    ]
    print(f"\n  worst cases: {', '.join(worst) or 'none'}")


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores: next to the baselines, by calibration, per group, and of Grad-CAM."""
    metadata, calibration = metrics["baselines"]["metadata"], metrics["calibration"]
    majority = metrics["baselines"]["majority"]

    def plain(title: str, name: str) -> tuple[str, ...]:
        return title, with_interval(score(metrics, name)), "", ""

    scores = Table(
        "",
        ("score", "model", "view, sex and age", "always the majority"),
        (
            (
                "AUROC",
                with_interval(metrics["auroc"]),
                with_interval(metadata["auroc"]),
                _number(majority["auroc"]),
            ),
            (
                "accuracy",
                *(with_interval(score(of, "accuracy")) for of in (metrics, metadata, majority)),
            ),
            ("average precision", with_interval(metrics["average_precision"]), "", ""),
            plain("sensitivity", "recall"),
            plain("specificity", "specificity"),
            plain("precision", "precision"),
            plain("F1", "f1"),
            plain("sensitivity at 90 % specificity", "sensitivity_at_90_specificity"),
            (f"threshold, from {metrics['threshold_from']}", _number(metrics["threshold"]), "", ""),
        ),
    )
    calibrated = Table(
        "probabilities against shares",
        (
            "error, 0 at best",
            "as it is",
            f"at temperature {calibration['temperature']:.2f} (from validation)",
        ),
        tuple(
            (
                name,
                *(
                    with_interval(score(calibration, f"{key}_{when}"))
                    for when in ("before", "after")
                ),
            )
            for name, key in (
                ("Brier score", "brier"),
                ("calibration error", "expected_calibration_error"),
            )
        ),
    )
    groups = (
        Table(
            "",
            (name, "cases", "positives", "AUROC", "sensitivity", "specificity"),
            tuple(
                (
                    group,
                    str(of["n"]),
                    str(of["positives"]),
                    with_interval(of["auroc"]),
                    *(with_interval(score(of, key)) for key in ("recall", "specificity")),
                )
                for group, of in metrics[key].items()
            ),
        )
        for key, name in GROUPS.items()
        if metrics[key]
    )
    return scores, calibrated, *groups, *_gradcam(metrics["gradcam"])


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
