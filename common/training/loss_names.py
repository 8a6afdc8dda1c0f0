"""The losses by the names that ``--loss`` takes.

An entry makes a loss of what stands in `common.training.losses`, which it is given when a training
begins: ``--help`` names the losses too, and should not have to wait for Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

SEGMENTATION_LOSSES: dict[str, Callable[[Any], keras.losses.Loss]] = {
    "crossentropy": lambda losses: losses.PixelLoss("crossentropy"),
    "focal": lambda losses: losses.PixelLoss("focal"),
    "dice": lambda losses: losses.SoftDice(),
    "dice+crossentropy": lambda losses: losses.SoftDice(crossentropy_weight=1.0),
}
"""For masks, of one class or of several with the background; from `common.training.losses`."""

BOX_LOSSES: dict[str, Callable[[Any], keras.losses.Loss]] = {
    "mse": lambda losses: losses.keras.losses.MeanSquaredError(),
    "l1": lambda losses: losses.keras.losses.MeanAbsoluteError(),
    "iou": lambda losses: losses.BoxOverlap("iou"),
    "giou": lambda losses: losses.BoxOverlap("giou"),
    "ciou": lambda losses: losses.BoxOverlap("ciou"),
    "iou+l1": lambda losses: losses.BoxOverlap("iou+l1"),
}
"""For boxes, from `common.training.losses`."""


def segmentation_loss(name: str) -> keras.losses.Loss:
    """The loss for masks of that name, of `SEGMENTATION_LOSSES`; else a `ValueError`."""
    return _loss(SEGMENTATION_LOSSES, name)


def box_loss(name: str) -> keras.losses.Loss:
    """The loss for boxes of that name, of `BOX_LOSSES`; else a `ValueError`."""
    return _loss(BOX_LOSSES, name)


def _loss(names: dict[str, Callable[[Any], keras.losses.Loss]], name: str) -> keras.losses.Loss:
    from common.training import losses

    if name not in names:
        raise ValueError(f"the loss must be one of {', '.join(names)}. Received: {name!r}")
    return names[name](losses)
