"""What evaluate.py prints of a pneumonia run's scores, and what all tables show of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import classification_report

from common.base.printing import as_printed
from common.base.tables import MISSING, Table, print_table
from common.datasets.classes import Classes
from common.explaining.heatmaps import FINER, GRADCAM
from common.scores.formatting import (
    below_chance,
    fold_score,
    main_score,
    score,
    strongest,
    with_interval,
)
from common.scores.shortcuts import print_shortcuts
from pneumonia_classification import decision_tables
from pneumonia_classification.score_pictures import in_words, names_of, surest

# Titles in the table of all scores.
_SHARES = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
}

BASELINES = {
    "majority": "always the majority of training",
    "metadata": "view, sex and age",
    "thumbnail": "16 x 16 thumbnail",
}
"""The baselines of metrics.json in words, the simplest first."""

NO_METADATA = "no metadata"
"""The cell of view, sex and age where none of them varied in training."""

GROUPS = {"per_part": "part", "per_view": "view", "per_sex": "sex", "per_age": "age"}
_GROUP_TITLES = {**GROUPS, "per_finding": "positives against", "per_class": "class"}


def main_scores(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What tables of several evaluations show of an evaluation's metrics."""
    gradcam = metrics["gradcam"]
    aurocs, accuracies = (_of_baselines(metrics, name) for name in ("auroc", "accuracy"))
    classes = Classes.described(metrics)
    of_model = _auroc_recipe(classes, "probability")
    scores = [
        main_score(_auroc(metrics), metrics["auroc"], *strongest(aurocs), **of_model),
        main_score(
            *("accuracy", score(metrics, "accuracy"), *strongest(accuracies)),
            statistic="agreement",
            truth="label",
            prediction="predicted",
        ),
    ]
    folds = [fold_score(_auroc(metrics), metrics["auroc"]["value"], **of_model)]
    for key, title in _titles(metrics).items():
        if key != "majority" and title in aurocs:
            baseline, recipe = aurocs[title], _auroc_recipe(classes, key)
            gap = (baseline["difference"] or {}).get("value")
            folds += [
                fold_score(f"AUROC of {title}", baseline["value"], **recipe),
                fold_score(f"AUROC less that of {title}", gap, score=of_model, less=recipe),
            ]
    others = {
        "average precision": metrics["average_precision"]["value"],
        **{name: metrics[name] for name in ("accuracy", "recall", "specificity", "brier")},
        **_pointing(gradcam),
    }
    groups = [
        {"group": f"{title} {group}", "n": part["n"], "name": "AUROC", **part["auroc"]}
        for key, title in _GROUP_TITLES.items()
        for group, part in metrics.get(key, {}).items()
    ]
    return {
        "main_scores": scores,
        "fold_scores": [*folds, *itertools.starmap(fold_score, others.items())],
        "main_scores_of_groups": groups,
        "truth_columns": ["label"],
    }


def _auroc_recipe(classes: Classes, name: str) -> dict[str, Any]:
    """How predictions.csv gives the AUROC of a model's scores, or its mean over the classes."""
    columns = classes.columns(name)
    if classes.are_two:
        return {"statistic": "auroc", "truth": "label", "score": columns[0]}
    scores = dict(zip(classes.names, columns, strict=True))
    return {"statistic": "macro_auroc", "truth": "label", "scores": scores}


def _games(gradcam: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The scores of each kind of map by its name, the finer one first."""
    kinds = {FINER: gradcam.get("finer"), GRADCAM: gradcam}
    return {name: game for name, game in kinds.items() if game}


def _pointing(gradcam: Mapping[str, Any]) -> dict[str, float | None]:
    """The pointing game of each kind of map, next to that of a map that is right in every cell."""
    scores: dict[str, float | None] = {}
    for name, game in _games(gradcam).items():
        scores[f"{name}: peak in a box"] = game["pointing_game"]
        scores[f"{name}: right in every cell"] = game.get("ceiling")
    return {**scores, "peak in a box by chance": gradcam["chance"]}


def print_scores(cases: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """Print the confusion matrix, scikit-learn's report and every score next to its baselines."""
    classes = Classes.described(metrics)
    labels: dict[str, Any] = {"target_names": names_of(classes)}
    truth: Any = cases["label"]
    predicted: Any = cases["predicted"]
    if classes.are_two:
        labels["labels"] = [0, 1]
        words = [in_words(label, classes.names) for label in (0, 1)]
        _print_matrix(metrics["confusion_matrix"], words)
    elif classes.exclusive:
        labels["labels"] = classes.names
        _print_matrix(metrics["confusion_matrix"], classes.names)
    else:
        truth, predicted = (cases[classes.columns(name)] for name in ("label", "predicted"))
        print()
    report = classification_report(truth, predicted, digits=3, zero_division=0, **labels)
    print(report.rstrip())
    for table in tables(metrics):
        print_table(table)
    _print_absent(cases, classes)
    print_shortcuts(metrics["shortcuts"])
    kinds = surest(cases)
    worst = [
        f"{kind} {cases['case'][i]} {cases['probability'][i]:.3f}"
        for kind in ("missed", "false alarm", "wrong")
        for i in kinds.get(kind, [])[:1]
    ]
    print(f"\n  worst cases: {', '.join(worst) or 'none'}")


def _print_absent(cases: pd.DataFrame, classes: Classes) -> None:
    """Print which classes no scored case has, and so have no AUROC."""
    there = {*cases["label"]}
    if classes.are_two:
        there = {classes.names[int(label)] for label in there}
    absent = " or ".join(as_printed(name) for name in classes.names if name not in there)
    if classes.exclusive and absent:
        of_which = "" if classes.are_two else f" of {absent}"
        print(
            f"\n  no AUROC{of_which}: none of the {len(cases)} cases is {absent}, and it takes "
            "cases with and without; is a folder or a part of the table missing?"
        )


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores: next to the baselines, of probabilities and decisions, per group, of Grad-CAM."""
    names = _titles(metrics)
    titles = [names[key] for key in reversed(names) if key in metrics["baselines"]]
    rows = []
    for title, name in ((_auroc(metrics), "auroc"), ("accuracy", "accuracy")):
        baselines = _of_baselines(metrics, name)
        cells, gaps = zip(*(_cells(baselines.get(key), name) for key in titles), strict=True)
        rows.append((title, with_interval(_score(metrics, name)), *cells))
        rows.append((f"{title}, model less baseline", "", *gaps))
    rows += _own_majority(metrics, len(titles))
    of_model = {
        "average precision": with_interval(metrics["average_precision"]),
        **{title: with_interval(score(metrics, name)) for name, title in _SHARES.items()},
    }
    if "threshold" in metrics:
        from_where = f"threshold, from {metrics['threshold_from']}"
        of_model[from_where] = _number(metrics["threshold"])
    rows += [(title, cell, *[""] * len(titles)) for title, cell in of_model.items()]
    scores = Table("", ("score", "model", *titles), tuple(rows))
    groups = (group_table(metrics, key) for key in _GROUP_TITLES if metrics.get(key))
    decided = decision_tables.tables(metrics)
    return scores, *decided, *groups, *_maps(metrics["gradcam"])


def group_table(metrics: Mapping[str, Any], key: str) -> Table:
    """The scores of each group of a kind, such as ``per_view``, that ``metrics`` has.

    Those of a group of several classes are means over classes, and ``per_class`` has more of each.
    """
    shares = ["recall", "specificity"]
    if key == "per_class":
        shares += ["precision", "f1"]
    elif "per_class" in metrics:
        shares = ["accuracy"]
    counts = ["n"] if shares == ["accuracy"] else ["n", "positives"]
    has_threshold = key == "per_class" and not metrics["exclusive"]
    titles = {**_SHARES, "n": "cases", "positives": "positives", "accuracy": "accuracy"}
    return Table(
        "",
        (
            _GROUP_TITLES[key],
            *(titles[name] for name in counts),
            "AUROC" if key == "per_class" else _auroc(metrics),
            *(titles[name] for name in shares),
            *(("threshold",) if has_threshold else ()),
        ),
        tuple(
            (
                group,
                *(str(part[name]) for name in counts),
                with_interval(part["auroc"]),
                *(with_interval(score(part, name)) for name in shares),
                *((_number(part["threshold"]),) if has_threshold else ()),
            )
            for group, part in metrics[key].items()
        ),
    )


def _auroc(metrics: Mapping[str, Any]) -> str:
    return "AUROC, mean over classes" if "per_class" in metrics else "AUROC"


def _print_matrix(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    first, *widths = 20, *(max(len(name) + 3, 8) for name in names)
    first = max(first, *(len(f"true {name}") + 2 for name in names))
    print(f"\n{'confusion matrix':<{first + 4}}predicted")
    print(f"  {'':<{first}}" + "".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True)))
    for name, counts in zip(names, matrix, strict=True):
        cells = "".join(f"{count:>{w}}" for count, w in zip(counts, widths, strict=True))
        print(f"  {f'true {name}':<{first}}{cells}")
    print()


def _titles(metrics: Mapping[str, Any]) -> dict[str, str]:
    """`BASELINES` with the answer of the majority, where it is known."""
    answer = metrics["baselines"]["majority"].get("says")
    if answer is None:
        return BASELINES
    names = Classes.described(metrics).names
    words = in_words(answer) if isinstance(answer, str) else names[int(answer)]
    return {**BASELINES, "majority": f"always {words}, training's majority"}


def _own_majority(metrics: Mapping[str, Any], columns: int) -> list[tuple[str, ...]]:
    """A row on the majority of the scored cases, where that of training is another."""
    if "per_class" in metrics:
        return []
    negatives, positives = (sum(row) for row in metrics["confusion_matrix"])
    answer = int(positives > negatives)
    if positives == negatives or metrics["baselines"]["majority"].get("says") in (None, answer):
        return []
    share = max(negatives, positives) / (negatives + positives)
    title = f"accuracy of always {Classes.described(metrics).names[answer]}, the majority here"
    return [(title, *[""] * columns, _number(share))]


def _of_baselines(metrics: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """A score of every baseline in words, with its interval and the model's ``difference``."""
    parts = {title: metrics["baselines"].get(key) for key, title in _titles(metrics).items()}
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


def _maps(gradcam: Mapping[str, Any]) -> list[Table]:
    """Whether maps look where radiologists do, and show what was learned: the finer one first."""
    in_boxes, rows = [], []
    for name, game in _games(gradcam).items():
        if game["n"]:
            blob = game["centred_blob"]
            inside = {"value": game["weight_inside"], "ci95": game.get("weight_inside_ci95")}
            inside["ci95_reason"] = game.get("weight_inside_ci95_reason", "")
            chance = _number(game["chance"])
            peak, weight = (_number(blob[score]) for score in ("pointing_game", "weight_inside"))
            ceiling = _number(game.get("ceiling"))
            pointing = with_interval(game, "pointing_game")
            in_boxes += [
                (f"{name}: peak in a box", pointing, ceiling, chance, peak),
                (f"{name}: share of weight in boxes", with_interval(inside), "", chance, weight),
            ]
        if game["likeness_to_random_weights"] is not None:
            draws = game.get("likeness_by_draw") or [game["likeness_to_random_weights"]]
            likeness = _number(game["likeness_to_random_weights"])
            spread = f"{likeness} ({min(draws):.3f} to {max(draws):.3f}, {len(draws)} draws)"
            other = _number(game.get("likeness_to_another_film"))
            rows.append((name, spread, other, str(game.get("likeness_n", MISSING))))
    head = (f"maps, {gradcam['n']} with a box", "model", "right in every cell", "chance",
            "a blob in the centre")  # fmt: skip
    like = ("rank correlation of maps", "with random weights", "with another film's", "maps")
    tables = (Table("", head, tuple(in_boxes)), Table("", like, tuple(rows)))
    return [table for table in tables if table.rows]


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
