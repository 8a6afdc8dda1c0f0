"""The losses by the names that ``--loss`` takes.

An entry makes a loss of what stands in `common.training.losses`, which it is given when a training
begins: ``--help`` names the losses too, and should not have to wait for Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

SEGMENTATION_LOSSES: dict[str, Callable[[Any, int], keras.losses.Loss]] = {
    "crossentropy": lambda losses, classes: losses.PixelLoss("crossentropy"),
    "focal": lambda losses, classes: losses.PixelLoss("focal"),
    "dice": lambda losses, classes: losses.SoftDice(),
    "dice+crossentropy": lambda losses, classes: losses.SoftDice(crossentropy_weight=1.0),
}
"""For masks, from `common.training.losses` and the number of classes: 1 for a mask, else with the
background."""

BOX_LOSSES: dict[str, Callable[[Any], keras.losses.Loss]] = {
    "mse": lambda losses: losses.keras.losses.MeanSquaredError(),
    "l1": lambda losses: losses.keras.losses.MeanAbsoluteError(),
    "iou": lambda losses: losses.BoxOverlap("iou"),
    "giou": lambda losses: losses.BoxOverlap("giou"),
    "ciou": lambda losses: losses.BoxOverlap("ciou"),
    "iou+l1": lambda losses: losses.BoxOverlap("iou+l1"),
}
"""For boxes, from `common.training.losses`."""


def segmentation_loss(name: str, classes: int = 1) -> keras.losses.Loss:
    """The loss for masks of that name.

    Args:
        name: Of `SEGMENTATION_LOSSES`.
        classes: 1 for a mask, else the number of classes with the background.

    Raises:
        ValueError: There is no such loss for that many classes.
    """
    from common.training import losses

    if name not in SEGMENTATION_LOSSES:
        raise ValueError(
            f"the loss must be one of {', '.join(SEGMENTATION_LOSSES)}. "
            f"Received: {name!r} with {classes} classes"
        )
    return SEGMENTATION_LOSSES[name](losses, classes)


def box_loss(name: str) -> keras.losses.Loss:
    """The loss for boxes of that name, of `BOX_LOSSES`; else a `ValueError`."""
    from common.training import losses

    if name not in BOX_LOSSES:
        raise ValueError(f"the loss must be one of {', '.join(BOX_LOSSES)}. Received: {name!r}")
    return BOX_LOSSES[name](losses)
