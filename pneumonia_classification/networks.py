"""The network of the pneumonia project, and what its training minimises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from scipy.special import expit

from common.base.files import read_json
from common.datasets.classes import Classes
from common.models.film_networks import build_classifier, with_places
from common.models.stochastic_depth import drop_blocks
from common.training.losses import AUROC, InsideRegion
from common.training.runs import run_of_weights
from common.training.tensorboard import CURVE
from pneumonia_classification.config import TrainSettings

# Even in the logit, from 1e-7 on: of a finding on one film in 2,000 nearly all probabilities lie
# between two neighbours of any even in the probability. And those of TensorBoard's curves.
_AUROC_THRESHOLDS = np.union1d(expit(np.linspace(-16, 16, 1001)), CURVE[1:-1]).tolist()


def build(
    image_size: int, weights: str, settings: TrainSettings, classes: Classes | None = None
) -> keras.Model:
    """A network: films (batch, image_size, image_size, 1) of 0..255 to (batch, outputs) of 0..1.

    Where the weights are a run's that tells other classes apart, the head starts anew. With
    ``box_weight`` it has a second output, the logits of `with_places`.

    Args:
        image_size: Side of the input in pixels.
        weights: "imagenet", "none", or a weights file or run folder.
        settings: With ``backbone``, ``standardise``, ``box_weight`` and ``stochastic_depth``.
        classes: What it tells apart; two where there is none.
    """
    classes = classes or Classes()
    model = build_classifier(
        image_size,
        classes.outputs,
        classes.activation,
        weights,
        standardise=settings.standardise,
        new_head=_is_of_others(weights, classes),
        backbone=settings.backbone,
    )
    model = with_places(model) if settings.box_weight else model
    return drop_blocks(model, settings.stochastic_depth)


def _is_of_others(weights: str, classes: Classes) -> bool:
    """Whether weights are those of a run that tells other classes apart, which is printed."""
    run = run_of_weights(weights, "config.json")
    if run is None:
        return False
    trained = Classes.described(read_json(run / "config.json").get("data", {}))
    places = classes.places_in(trained)
    if places is not None and places == sorted(places):
        return False
    print(f"{weights}: was trained on the {trained}; its head starts anew for the {classes}")
    return True


def losses(
    settings: TrainSettings,
    classes: Classes | None = None,
    measured: Sequence[bool] | np.ndarray | None = None,
) -> dict[str, Any]:
    """``loss``, ``metrics`` and, of two outputs, ``loss_weights``: arguments of `Model.compile`.

    Args:
        settings: With ``loss``, ``label_smoothing`` and ``box_weight``.
        classes: What the network tells apart; two where there is none.
        measured: (outputs,) whether the validation split has images with and without a class: of
            several classes ``auroc`` is the mean over these. All where there is none.
    """
    classes = classes or Classes()
    smoothing = {"label_smoothing": settings.label_smoothing}
    if classes.activation == "sigmoid":
        kinds = {
            "crossentropy": keras.losses.BinaryCrossentropy,
            "focal": keras.losses.BinaryFocalCrossentropy,
        }
        loss = kinds[settings.loss](**smoothing)
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy")
    else:
        loss = keras.losses.CategoricalCrossentropy(**smoothing)
        if settings.loss == "focal":
            # Alpha 1 as of the binary one, which has none.
            loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, **smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    # Of several the mean over classes, each against the others.
    several: dict[str, Any] = {}
    if not classes.are_two:
        weights = None if measured is None else np.asarray(measured, float)
        several = {"multi_label": True, "num_labels": classes.outputs, "label_weights": weights}
    metrics = [AUROC(_AUROC_THRESHOLDS, **several), accuracy]
    if not settings.box_weight:
        return {"loss": loss, "metrics": metrics}
    return {
        "loss": [loss, InsideRegion()],
        "metrics": [metrics, []],
        "loss_weights": [1.0, settings.box_weight],
    }
