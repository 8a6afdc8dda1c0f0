"""From a film's pixels to a probability and a decision: one way for every script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.records.prepared import Prepared
from common.scores import classification
from common.scores.thumbnails import predict_labels, thumbnail
from common.training.runs import Run
from pneumonia_classification.config import DecisionSettings
from pneumonia_classification.dataset import images_and_labels

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Decision:
    """What turns a probability into a decision, from the run's validation split alone.

    Attributes:
        threshold: Probabilities from here on are called pneumonia.
        source: Where it is from, in words.
        temperature: Of the calibrated probabilities (Guo et al. 2017, arXiv:1706.04599).
    """

    threshold: float
    source: str
    temperature: float


def open_model(run: Run, settings: DecisionSettings) -> keras.Model:
    """The run's network.

    Raises:
        UserError: It cannot be loaded, or has no layer of the name that Grad-CAM is to look at.
    """
    # A decision, which predict.py needs first, is made without Keras.
    from common.models.stored import load_model

    model = load_model(run.folder / "model.keras")
    if settings.gradcam_layer not in [layer.name for layer in model.layers]:
        raise UserError(
            f"--gradcam-layer {settings.gradcam_layer}: the model has no such layer; try "
            "conv5_block3_out or conv4_block6_out"
        )
    return model


def probabilities(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Predict a batch of films (n, image_size, image_size, 1) of 0..255.

    Returns:
        ``probability`` (n,), and ``mirrored`` (n,): that of the film's mirror image.
    """
    return {
        "probability": model.predict_on_batch(images)[:, 0].astype(float),
        "mirrored": model.predict_on_batch(images[:, :, ::-1])[:, 0].astype(float),
    }


def predict_cases(
    model: keras.Model,
    prepared: Prepared,
    splits: list[str],
    image_size: int,
    batch_size: int,
    thumbnail_model: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Predict every case of some splits, in their order.

    Returns:
        A table of ``case``, ``label``, and `probabilities`; of a baseline's thumbnail model its
        probability, ``thumbnail``.
    """
    parts = []
    batches = images_and_labels(prepared, splits, image_size).batch(batch_size)
    for batch in batches.as_numpy_iterator():
        baseline = {}
        if thumbnail_model:
            pixels = np.stack([thumbnail(image[..., 0]) for image in batch["image"]])
            baseline["thumbnail"] = predict_labels(thumbnail_model, pixels)
        parts.append(
            {
                "case": [case.decode() for case in batch["case"]],
                "label": batch["label"][:, 0].astype(int),
                **probabilities(model, batch["image"]),
                **baseline,
            }
        )
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def averaged(predictions: Mapping[str, np.ndarray] | pd.DataFrame, flip: bool) -> np.ndarray:
    """The probabilities (n,), with ``flip`` the mean of the film's and its mirror image's."""
    names = ["probability", "mirrored"] if flip else ["probability"]
    return np.mean([predictions[name] for name in names], axis=0)


def decision(run: Run, settings: DecisionSettings) -> Decision:
    """The run's threshold and temperature.

    Raises:
        UserError: The run has no readable ``validation.csv``.
    """
    try:
        held_out = pd.read_csv(run.folder / "validation.csv")
        labels = held_out["label"].to_numpy()
        scores = averaged(held_out, settings.flip)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{run.folder / 'validation.csv'}: is not there or damaged; train again into another "
            "folder"
        ) from error
    if settings.threshold:
        threshold, source = settings.threshold, "given"
    elif len(set(labels)) < 2:
        threshold, source = 0.5, "0.5, one class"
    elif settings.sensitivity:
        threshold = classification.threshold_for_sensitivity(labels, scores, settings.sensitivity)
        source = f"validation, sensitivity {settings.sensitivity:g}"
    else:
        threshold, source = classification.youden_threshold(labels, scores), "validation, Youden"
    return Decision(float(threshold), source, classification.fit_temperature(labels, scores))


def model_inputs(run: Run, prepared: Prepared, count: int) -> np.ndarray:
    """Films as the run's network sees them, (count, image_size, image_size, 1) 0..255."""
    films = images_and_labels(prepared, prepared.splits[:1], run.fitted["image_size"])
    return next(films.batch(count).as_numpy_iterator())["image"]
