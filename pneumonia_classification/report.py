"""What evaluate.py prints and draws of a pneumonia run's scores.

``cases`` is the table of what was scored: ``case``, ``label``, ``probability``, ``calibrated``,
``predicted``, and ``boxes``, (n, 4) in fractions of the square's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GROUPS = {"per_view": "view", "per_sex": "sex", "per_age": "age"}
IN_A_ROW = 5


def to_draw(cases: Any, count: int) -> list[int]:
    """The rows of the surest right and the surest wrong cases, of both labels in turn."""
    groups = _surest(cases).values()
    chosen: list[int] = []
    for place in range(len(cases)):
        for group in groups:
            if place < len(group) and len(chosen) < count and group[place] not in chosen:
                chosen.append(int(group[place]))
    return chosen


def draw_scores(
    folder: Path, cases: Any, metrics: Mapping[str, Any], synthetic: bool
) -> list[Path]:
    """Draw the confusion matrix and, where there are both labels, the curves."""
    from common import figures

    names = ("no pneumonia", "pneumonia")
    matrix = figures.confusion_picture(
        folder / "confusion_matrix.png", metrics["confusion_matrix"], names, synthetic
    )
    labels, scores = cases["label"].to_numpy(), cases["probability"].to_numpy()
    if len(set(labels)) < 2:
        return [matrix]
    calibrated = cases["calibrated"].to_numpy()
    curves = figures.curves_picture(
        folder / "curves.png", labels, scores, calibrated, metrics["threshold"], synthetic
    )
    return [matrix, curves]


def draw_cases(
    folder: Path,
    cases: Any,
    drawn: list[int],
    heats: Mapping[int, Any],
    films_of: Callable[[list[str]], Mapping[str, Any]],
    synthetic: bool,
) -> list[Path]:
    """Draw the sheet of the surest cases of each kind, and Grad-CAM of some rows.

    Args:
        folder: Where the PNGs go.
        cases: See the module.
        drawn: The rows to draw with their map.
        heats: A row's Grad-CAM map, (side, side) 0..1.
        films_of: Names of cases to their films, (side, side) 0..255.
        synthetic: Whether the data was made up.
    """
    from common import figures

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
    pictures = [
        figures.film_sheet(folder / "surest.png", images, boxes, titles, synthetic, IN_A_ROW)
    ]
    for rank, i in enumerate(drawn, start=1):
        case = of[i]
        truth = "pneumonia" if case["label"] else "none"
        pictures.append(
            figures.gradcam_picture(
                folder / "gradcam" / f"{rank:02d}-{case['case']}.png",
                films[case["case"]],
                heats[i],
                case["boxes"],
                f"{case['case'][:36]}\ntruth: {truth}, score {case['probability']:.2f}, "
                f"{'WRONG' if wrong[i] else 'right'}",
                synthetic,
            )
        )
    return pictures


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


def print_scores(cases: Any, metrics: Mapping[str, Any]) -> None:
    """Print the confusion matrix, scikit-learn's report and every score beside its baselines."""
    from sklearn.metrics import classification_report

    from common.results import with_interval

    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    print("\nconfusion matrix        predicted")
    print(f"  {'':<20}{'none':>8}{'pneumonia':>12}")
    print(f"  {'true none':<20}{tn:>8}{fp:>12}")
    print(f"  {'true pneumonia':<20}{fn:>8}{tp:>12}\n")
    names = ["no pneumonia", "pneumonia"]
    print(
        classification_report(
            cases["label"],
            cases["predicted"],
            labels=[0, 1],
            target_names=names,
            digits=3,
            zero_division=0,
        )
    )
    baselines, calibration = metrics["baselines"], metrics["calibration"]
    print(f"  {'':<30}{'model':<24}{'view, sex and age':<24}majority")
    print(
        f"  {'AUROC':<30}{with_interval(metrics['auroc']):<24}"
        f"{with_interval(baselines['metadata']['auroc']):<24}0.500"
    )
    print(
        f"  {'accuracy':<30}{metrics['accuracy']:<24.3f}"
        f"{baselines['metadata']['accuracy']:<24.3f}{baselines['majority']['accuracy']:.3f}"
    )
    print(f"  {'average precision':<30}{with_interval(metrics['average_precision'])}")
    for name, key in (
        ("sensitivity", "recall"),
        ("specificity", "specificity"),
        ("sensitivity at 90 % specificity", "sensitivity_at_90_specificity"),
    ):
        print(f"  {name:<30}{_number(metrics[key])}")
    print(f"  decided at {metrics['threshold']:.3f}, from {metrics['threshold_from']}")
    print(
        f"\n  {'':<30}{'as it is':<12}at temperature {calibration['temperature']:.2f} "
        "(from validation)"
    )
    for name, key in (
        ("Brier score", "brier"),
        ("calibration error", "expected_calibration_error"),
    ):
        before, after = calibration[f"{key}_before"], calibration[f"{key}_after"]
        print(f"  {name:<30}{before:<12.3f}{after:.3f}")
    print(f"\n  {'group':<14}{'cases':>7}{'positives':>11}   {'AUROC':<24}{'sens.':<8}spec.")
    for key in GROUPS:
        for group, of in metrics[key].items():
            print(
                f"  {GROUPS[key] + ' ' + group:<14}{of['n']:>7}{of['positives']:>11}   "
                f"{with_interval(of['auroc']):<24}{_number(of['recall']):<8}"
                f"{_number(of['specificity'])}"
            )
    game = metrics["gradcam"]
    if game["n"]:
        blob = game["centred_blob"]
        low, high = game["ci95"] or (float("nan"), float("nan"))
        print(f"\n  {'Grad-CAM, ' + str(game['n']) + ' with a box':<30}{'model':<24}chance  centre")
        print(
            f"  {'peak in a box':<30}{game['pointing_game']:.3f} [{low:.3f}, {high:.3f}]    "
            f"{game['chance']:<8.3f}{blob['pointing_game']:.3f}"
        )
        print(
            f"  {'share of weight in boxes':<30}{game['weight_inside']:<24.3f}"
            f"{game['chance']:<8.3f}{blob['weight_inside']:.3f}"
        )
    if game["likeness_to_random_weights"] is not None:
        print(
            f"  {'likeness to random weights':<30}{game['likeness_to_random_weights']:.3f}"
            "  (rank correlation of the maps; near 0 is good)"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
