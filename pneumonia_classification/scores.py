"""What a pneumonia evaluation scores beyond `common.scores.classification`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from common.explaining.gradcam import gradcam, with_shuffled_weights
from common.scores.classification import classification_scores, differences, scores_by_group
from common.scores.metadata import predict_metadata
from common.scores.pointing_game import pointing_game, rank_correlation
from common.training.runs import Run
from pneumonia_classification.config import EvaluateSettings


def age_groups(years: pd.Series) -> pd.Series:
    """Ages (n,) in years to "0-17", "18-39", "40-64" and "65+"; "" where there is none."""
    names = ["0-17", "18-39", "40-64", "65+"]
    groups = pd.cut(years, [0, 18, 40, 65, 200], right=False, labels=names)
    return groups.astype(object).where(groups.notna(), "")


def baselines(run: Run, cases: pd.DataFrame, seed: int) -> dict[str, Any]:
    """The scores of the baselines fitted in training, and how much better the model is.

    ``majority`` gives its answer always; ``metadata`` sees view, sex and age, and is None where
    none of them varied in training; ``thumbnail`` sees 16 x 16 pixels, and is not there in a run
    of an earlier version. ``differences`` holds the model's AUROC and accuracy less each one's.
    """
    labels, patients = cases["label"], cases["patient"]
    majority, metadata = run.fitted["majority"], run.fitted["metadata"]
    answers = {"majority": np.full(len(cases), float(majority))}
    if metadata:
        header = (cases["view"], cases["sex"], cases["age_years"])
        answers["metadata"] = predict_metadata(metadata, *header)
    if "thumbnail" in run.fitted:
        answers["thumbnail"] = cases["thumbnail"].to_numpy()
    model = (cases["probability"], cases["predicted"])
    decided = {name: (ranks, ranks >= 0.5) for name, ranks in answers.items()}
    gaps = differences(labels, model, decided, patients, seed)
    scored: dict[str, Any] = {"majority": {}, "metadata": None}
    for name, probabilities in answers.items():
        scores = classification_scores(labels, probabilities, patients, 0.5, seed)
        scored[name] = {score: scores[score] for score in ("auroc", "accuracy", "ci95")}
        scored[name]["differences"] = gaps[name]
    scored["majority"] |= {"says": majority, "auroc": 0.5}
    return scored


def scores_by_finding(
    cases: pd.DataFrame, threshold: float, seed: int
) -> dict[str, dict[str, Any]]:
    """The scores of all positives against the negatives of each finding, by the finding's name.

    Sick films without pneumonia are harder to tell from it than films of the healthy.

    Args:
        cases: With ``finding``, the class in the dataset's own table, if any.
        threshold: At or above it the answer is yes.
        seed: Of the bootstrap.
    """
    negative = cases["label"] == 0
    by_finding: dict[str, dict[str, Any]] = {}
    for finding in sorted(set(cases.loc[negative, "finding"].dropna()) - {""}):
        rows = cases[~negative | (cases["finding"] == finding)]
        scored = (rows["label"], rows["probability"], rows["patient"])
        by_finding |= scores_by_group([finding] * len(rows), *scored, threshold, seed)
    return by_finding


def explain(
    model: keras.Model,
    cases: pd.DataFrame,
    films: Mapping[str, np.ndarray],
    settings: EvaluateSettings,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Grad-CAM of some cases, and its scores against their boxes.

    Args:
        model: Of films to probabilities.
        cases: (n rows) with ``case``, ``patient``, and ``boxes`` in fractions of the side.
        films: (image_size, image_size) 0..255, by case.
        settings: With ``gradcam_layer`` and ``seed``.

    Returns:
        The maps (n, image_size, image_size) 0..1, and the scores.
    """
    maps = shuffled = np.zeros((0, *model.input_shape[1:3]), np.float32)
    if len(cases):
        images = np.stack([films[case] for case in cases["case"]])[..., None]
        maps = gradcam(model, images, settings.gradcam_layer)
        shuffled = gradcam(with_shuffled_weights(model), images, settings.gradcam_layer)
    game = pointing_game(maps, list(cases["boxes"]), list(cases["patient"]), settings.seed)
    return maps, {**game, "likeness_to_random_weights": rank_correlation(maps, shuffled)}
