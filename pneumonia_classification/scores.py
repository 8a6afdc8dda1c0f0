"""What a pneumonia evaluation scores beyond `common.scores.classification`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from common.explaining.gradcam import gradcam, with_shuffled_weights
from common.scores.classification import classification_scores
from common.scores.intervals import ci95_of_share
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
    """The scores of always the majority, and of view, sex and age; both fitted in training."""
    probabilities = predict_metadata(
        run.fitted["metadata"], cases["view"], cases["sex"], cases["age_years"]
    )
    metadata = classification_scores(cases["label"], probabilities, cases["patient"], 0.5, seed)
    majority = run.fitted["majority"]
    hits = cases["label"] == majority
    return {
        "majority": {
            "says": majority,
            "accuracy": float(hits.mean()),
            "auroc": 0.5,
            "ci95": {"accuracy": ci95_of_share(hits, cases["patient"], seed)},
        },
        "metadata": {name: metadata[name] for name in ("auroc", "accuracy", "ci95")},
    }


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
