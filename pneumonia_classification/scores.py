"""What a pneumonia evaluation scores beyond `common.scores.classification`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import keras
import numpy as np
import pandas as pd

from common.datasets.classes import Classes
from common.explaining.gradcam import (
    cells,
    finer_layer,
    layer_to_explain,
    saliency_maps,
    with_shuffled_weights,
)
from common.explaining.heatmaps import FINER, GRADCAM
from common.records.prepared import Prepared
from common.scores import decisions, several_classes
from common.scores.calibration import rescaled_scores
from common.scores.classification import classification_scores, differences
from common.scores.formatting import score as score_of
from common.scores.groups import ScoreCases, gaps_of_groups, scores_by_group
from common.scores.metadata import fit_metadata, predict_metadata
from common.scores.pointing_game import PointingGame, rank_correlations
from common.scores.several_classes import answers_of, macro_scores, several_scores
from common.scores.thumbnails import fit_labels, thumbnail
from common.training.runs import Run
from pneumonia_classification.config import EvaluateSettings
from pneumonia_classification.dataset import classes_of, images_and_labels
from pneumonia_classification.inference import Decision

# The scores of a group of films, such as a view, that are told.
_OF_A_GROUP = ("n", "positives", "auroc", "accuracy", "recall", "specificity")
# What the baseline that sees no pixel sees.
_HEADER = ("view", "sex", "age_years")
# How often weights are shuffled to check maps, and on how many films at most.
_DRAWS = 3
_MOST_CHECKED = 64
# Films whose maps are held at once.
_FILMS_AT_ONCE = 256


def age_groups(years: pd.Series) -> pd.Series:
    """Ages (n,) in years to "0-17", "18-39", "40-64" and "65+"; "" where there is none."""
    names = ["0-17", "18-39", "40-64", "65+"]
    groups = pd.cut(years, [0, 18, 40, 65, 200], right=False, labels=names)
    return groups.astype(object).where(groups.notna(), "")


def score(
    cases: pd.DataFrame,
    rule: Decision,
    classes: Classes,
    groups: Mapping[str, str],
    prevalence: float = 0.0,
) -> dict[str, Any]:
    """The scores of some cases, their calibration, the scores of groups and the gaps between them.

    Args:
        cases: The table of what was scored (`pneumonia_classification.score_tables`).
        rule: How the run decides.
        classes: What the run tells apart.
        groups: Columns of the cases by the key that their groups have in the result.
        prevalence: Of the predictive values; 0: none are asked for.
    """
    patients, labels = cases["patient"], cases["label"]
    columns = {column: cases[column].to_numpy() for column in groups.values()}
    if classes.are_two:
        probabilities = cases["probability"]
        scored = (labels, probabilities, patients)
        threshold = cast("float", rule.threshold)
        whole = classification_scores(*scored, threshold)

        def score_rows(rows: np.ndarray) -> dict[str, Any]:
            return classification_scores(
                labels[rows], probabilities[rows], patients[rows], threshold
            )

        known: dict[str, Any] = {}
        if prevalence:
            known["at_prevalence"] = decisions.predictive_values(
                score_of(whole, "recall"), score_of(whole, "specificity"), prevalence
            )
        if rule.band is not None:
            known["reject"] = decisions.band_scores(*scored, rule.band)
        return {
            **whole,
            **known,
            "calibration": rescaled_scores(*scored, rule.rescaling),
            "net_benefit": decisions.net_benefit(
                labels, rule.rescaling.apply(cases["probability"]), patients
            ),
            **{
                key: scores_by_group(columns[column], score_rows, _OF_A_GROUP)
                for key, column in groups.items()
            },
            "gaps": gaps_of_groups(columns, score_rows, ("auroc", "recall", "specificity")),
            "per_finding": _scores_by_finding(cases, score_rows),
        }
    truth, shares, answers = (
        cases[classes.columns(name)].to_numpy() for name in ("label", "probability", "predicted")
    )
    thresholds = cast("list[float] | None", rule.threshold)
    scaling = (rule.rescaling, thresholds is None)

    def score_some(rows: np.ndarray) -> dict[str, Any]:
        return macro_scores(truth[rows], shares[rows], answers[rows], patients[rows])

    return {
        **several_scores(classes.names, truth, shares, patients, thresholds),
        "calibration": several_classes.rescaled_scores(truth, shares, patients, *scaling),
        **{key: scores_by_group(columns[column], score_some) for key, column in groups.items()},
        "gaps": gaps_of_groups(columns, score_some, ("auroc", "accuracy")),
    }


def fit_baselines(prepared: Prepared, splits: list[str], image_size: int) -> dict[str, Any]:
    """Fit the baselines to the training split.

    Args:
        prepared: The data.
        splits: That train, without copies.
        image_size: Side of the network's input in pixels.

    Returns:
        For fitted.json: ``majority``, 0 or 1, or the commonest class or labels in words;
        ``metadata`` and ``thumbnail``, a model, or one per class, of it against all others;
        ``metadata`` is None where nothing varies.
    """
    classes = classes_of(prepared)
    cases = prepared.cases().query("split in @splits")
    films = images_and_labels(prepared, splits, image_size).as_numpy_iterator()
    pairs = [(thumbnail(film["image"][..., 0]), film["label"]) for film in films]
    pixels, labels = map(np.stack, zip(*pairs, strict=True))
    truth, (view, sex, age) = classes.truth(cases["label"]), (cases[name] for name in _HEADER)
    by_header = [fit_metadata(view, sex, age, column) for column in truth.T]
    by_pixels = [fit_labels(pixels, column) for column in labels.T]
    if classes.are_two:
        majority = int(cases["label"].mean() >= 0.5)
        return {"majority": majority, "metadata": by_header[0], "thumbnail": by_pixels[0]}
    ((commonest, _),) = Counter(classes.in_words(truth)).most_common(1)
    metadata = None if None in by_header else by_header
    return {"majority": commonest, "metadata": metadata, "thumbnail": by_pixels}


def metadata_answers(run: Run, cases: pd.DataFrame, classes: Classes) -> dict[str, np.ndarray]:
    """Probabilities (cases,) 0 to 1 by view, sex and age, by column; {} where none of them varied.

    The columns are ``metadata``, or one per class.
    """
    fitted = run.fitted["metadata"]
    models = [fitted] if classes.are_two else fitted or []
    view, sex, age = (cases[name] for name in _HEADER)
    return {
        column: predict_metadata(model, view, sex, age)
        for column, model in zip(classes.columns("metadata"), models, strict=False)
        if model
    }


def baselines(run: Run, cases: pd.DataFrame, classes: Classes | None = None) -> dict[str, Any]:
    """The scores of the baselines fitted in training, and how much better the model is.

    ``majority`` gives its answer always; ``metadata`` sees view, sex and age, and is None where
    none of them varied in training; ``thumbnail`` sees 16 x 16 pixels, and is not there in a run
    of an earlier version. ``differences`` holds the model's AUROC and accuracy less each one's.

    Args:
        run: Whose training fitted them.
        cases: With the columns of `metadata_answers` and ``thumbnail``, where they are.
        classes: Of the run; the two without names where None.
    """
    classes = classes or Classes()
    truth, probabilities, predicted = (
        cases[classes.columns(name)].to_numpy() for name in ("label", "probability", "predicted")
    )
    majority = run.fitted["majority"]
    constant = [majority] if classes.are_two else classes.of_words([majority])[0]
    answers = {"majority": np.tile(np.asarray(constant, float), (len(cases), 1))}
    for name in ("metadata", "thumbnail"):
        if run.fitted.get(name) is not None:
            answers[name] = cases[classes.columns(name)].to_numpy()
    thresholds = [0.5] if classes.activation == "sigmoid" else None
    decided = {name: (ranks, answers_of(ranks, thresholds)) for name, ranks in answers.items()}
    gaps = differences(truth, (probabilities, predicted), decided, cases["patient"])
    scored: dict[str, Any] = {"majority": {}, "metadata": None}
    for name, (ranks, of_ranks) in decided.items():
        if classes.are_two:
            scores = classification_scores(truth[:, 0], ranks[:, 0], cases["patient"], 0.5)
        else:
            scores = macro_scores(truth, ranks, of_ranks, cases["patient"])
        kept = ("auroc", "accuracy", "ci95", "ci95_method", "ci95_reason")
        scored[name] = {score: scores[score] for score in kept if score in scores}
        scored[name]["differences"] = gaps[name]
    scored["majority"] |= {"says": majority, "auroc": 0.5}
    return scored


def _scores_by_finding(cases: pd.DataFrame, score_rows: ScoreCases) -> dict[str, dict[str, Any]]:
    """The scores of all positives against the negatives of each finding, by the finding's name.

    Sick films without pneumonia are harder to tell from it than films of the healthy.

    Args:
        cases: With ``label``, and ``finding``, the class in the dataset's own table, if any.
        score_rows: Scores some of them.
    """
    is_positive, findings = cases["label"] != 0, cases["finding"].fillna("")
    by_finding: dict[str, dict[str, Any]] = {}
    for finding in sorted(set(findings[~is_positive]) - {""}):
        group = np.where(is_positive | (findings == finding), finding, "")
        by_finding |= scores_by_group(group, score_rows, _OF_A_GROUP)
    return by_finding


def explain(
    model: keras.Model,
    cases: pd.DataFrame,
    films: Iterable[tuple[str, np.ndarray]],
    settings: EvaluateSettings,
    kept: Container[str],
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Maps of where the network looked at some cases, and their scores against boxes.

    Args:
        model: Of films to probabilities.
        cases: (n rows) with ``case``, ``patient``, and ``boxes`` in fractions of the side; of
            several classes with ``likeliest``, the number of the one to explain.
        films: The case and the film (image_size, image_size) 0..255 of each; held a few at a time.
        settings: With ``gradcam_layer``.
        kept: The cases whose maps are wanted.

    Returns:
        By case its maps by name, each (image_size, image_size) as of
        `common.explaining.gradcam.saliency_maps`; and the scores of Grad-CAM, with those of the
        finer map, or None, as ``finer``.
    """
    layer = layer_to_explain(model, settings.gradcam_layer)
    finer = finer_layer(model, layer)
    layers = {**({FINER: finer} if finer else {}), GRADCAM: layer}
    games = {name: PointingGame(cells(model, layers[name])) for name in layers}
    # The films of a check by drawn weights: maps of all would take as long again, thrice.
    places = np.linspace(0, len(cases) - 1, min(len(cases), _MOST_CHECKED)).astype(int)
    to_check, rows = set(cases["case"].iloc[places]), cases.set_index("case")
    maps: dict[str, dict[str, np.ndarray]] = {}
    checked: dict[str, np.ndarray] = {}

    def maps_of(network: keras.Model, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = np.array([*batch.values()]).reshape(-1, *model.input_shape[1:])
        classes = rows["likeliest"].loc[[*batch]].to_numpy() if "likeliest" in rows else None
        return saliency_maps(network, images, layer, classes)

    films = iter(films)
    while batch := dict(islice(films, _FILMS_AT_ONCE)):
        part, heats = rows.loc[[*batch]], maps_of(model, batch)
        for name, game in games.items():
            game.add(heats[name], part["boxes"], part["patient"])
        for place, case in enumerate(batch):
            if case in kept or case in to_check:
                maps[case] = {name: heats[name][place].copy() for name in layers}
        checked |= {case: film for case, film in batch.items() if case in to_check}
    networks = with_shuffled_weights(model, range(_DRAWS))
    drawn = [maps_of(network, checked) for network in networks]
    scored = {}
    for name, game in games.items():
        of_checked = np.array([maps[case][name] for case in checked])
        of_shuffled = [shuffled[name] for shuffled in drawn]
        scored[name] = {
            "layer": layers[name],
            **game.scores(),
            **likeness(of_checked, of_shuffled),
        }
    return maps, {**scored[GRADCAM], "finer": scored.get(FINER)}


def likeness(maps: np.ndarray, shuffled: Sequence[np.ndarray]) -> dict[str, Any]:
    """How like maps (cases, height, width) are to those of networks with shuffled weights.

    A map that stays when what was learned is gone shows the image alone (Adebayo et al. 2018,
    arXiv:1810.03292).

    Args:
        maps: Of a network.
        shuffled: As ``maps``, of the same images, a set for each time its weights were shuffled.

    Returns:
        ``likeness_to_random_weights``: the mean rank correlation, and ``likeness_by_draw`` that of
        each set; ``likeness_n``, how many maps counted at least once; ``likeness_to_another_film``:
        that with the same network's map of the next film, what maps have in common anyway. None
        where no map counts.
    """
    by_draw = [rank_correlations(maps, others) for others in shuffled]
    means = [float(np.mean(each)) for each in by_draw if len(each)]
    others = np.roll(maps, 1, axis=0) if len(maps) > 1 else maps[:0]
    next_film = rank_correlations(maps[: len(others)], others)
    return {
        "likeness_to_random_weights": float(np.mean(means)) if means else None,
        "likeness_by_draw": means,
        "likeness_n": max(map(len, by_draw), default=0),
        "likeness_to_another_film": float(np.mean(next_film)) if len(next_film) else None,
    }
