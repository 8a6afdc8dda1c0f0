"""The network of the heart project, and what its training minimises."""

from __future__ import annotations

from typing import Any

import keras

from common.models.film_networks import build_box_network
from common.models.stochastic_depth import drop_blocks
from common.training.loss_names import box_loss
from common.training.losses import iou
from heart_detection.config import TrainSettings


def build(image_size: int, weights: str, settings: TrainSettings) -> keras.Model:
    """A network: films (batch, image_size, image_size, 1) of 0..255 to boxes (batch, 4).

    Args:
        image_size: Side of the input in pixels.
        weights: "imagenet", "none", or a weights file or run folder.
        settings: With ``backbone``, ``pooling``, ``standardise`` and ``stochastic_depth``.
    """
    model = build_box_network(
        image_size,
        weights=weights,
        pooling=settings.pooling,
        standardise=settings.standardise,
        backbone=settings.backbone,
    )
    return drop_blocks(model, settings.stochastic_depth)


def losses(settings: TrainSettings) -> dict[str, Any]:
    """``loss`` and ``metrics``: arguments of `Model.compile`."""
    return {"loss": box_loss(settings.loss), "metrics": [iou]}
