"""The network of the pneumonia project, and what its training minimises."""

from __future__ import annotations

from typing import Any

import keras

from common.models.resnet50 import build_resnet50, with_places
from common.models.stochastic_depth import drop_blocks
from common.training.losses import InsideRegion
from pneumonia_classification.config import TrainSettings


def build(image_size: int, weights: str, settings: TrainSettings) -> keras.Model:
    """A ResNet50: films (batch, image_size, image_size, 1) of 0..255 to probabilities (batch, 1).

    With ``box_weight`` it has a second output, the logits of `with_places`.

    Args:
        image_size: Side of the input in pixels.
        weights: "imagenet", "none", or a weights file or run folder.
        settings: With ``standardise``, ``box_weight`` and ``stochastic_depth``.
    """
    model = build_resnet50(image_size, weights=weights, standardise=settings.standardise)
    model = with_places(model) if settings.box_weight else model
    return drop_blocks(model, settings.stochastic_depth)


def losses(settings: TrainSettings) -> dict[str, Any]:
    """``loss``, ``metrics`` and, of two outputs, ``loss_weights``: arguments of `Model.compile`."""
    kinds = {
        "crossentropy": keras.losses.BinaryCrossentropy,
        "focal": keras.losses.BinaryFocalCrossentropy,
    }
    loss = kinds[settings.loss](label_smoothing=settings.label_smoothing)
    metrics = [keras.metrics.AUC(name="auroc"), keras.metrics.BinaryAccuracy(name="accuracy")]
    if not settings.box_weight:
        return {"loss": loss, "metrics": metrics}
    return {
        "loss": [loss, InsideRegion()],
        "metrics": [metrics, []],
        "loss_weights": [1.0, settings.box_weight],
    }
