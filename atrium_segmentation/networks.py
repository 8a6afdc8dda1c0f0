"""Every network that can be trained: how it is built and shown, and what training minimises.

To add one, write the function that builds it and give it an entry in `NETWORKS`: it is then
trained, scored, drawn, compared and used to predict like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.base.errors import UserError
from common.reporting.palette import FOURTH, PREDICTION, SECOND, THIRD
from common.training.loss_names import segmentation_loss

if TYPE_CHECKING:
    import keras

    from atrium_segmentation.config import TrainSettings


@dataclass(frozen=True)
class Network:
    """A network of `NETWORKS`.

    Attributes:
        title: Its name in tables, pictures and pages.
        build: Builds it from the channels of its input, the classes of its output (1 for a mask)
            and the settings: slices (batch, height, width, channels) of 0..255, height and width a
            multiple of 32, to probabilities (batch, height, width, classes), float32; or patches of
            volumes (batch, depth, height, width, 1), the depth a multiple of 2**(unet_depth -
            flat_levels), to (batch, depth, height, width, classes). It imports Keras itself, since
            ``--help`` names the networks and should not wait for it.
        colour: Its colour in charts, as #rrggbb.
        marker: Its marker in charts, as matplotlib calls it.
        sees: ``slices`` or ``patches`` of volumes: the module that cuts volumes for it.
    """

    title: str
    build: Callable[[int, int, TrainSettings], keras.Model]
    colour: str
    marker: str
    sees: Literal["slices", "patches"] = "slices"


def _build_fcn8(channels: int, classes: int, settings: TrainSettings) -> keras.Model:
    from common.models.fcn8 import build_fcn8

    return build_fcn8(channels, classes, settings.fcn8_width)


def _build_unet(
    channels: int, classes: int, settings: TrainSettings, residual: bool = False
) -> keras.Model:
    from common.models.unet import build_unet

    return build_unet(
        channels,
        classes,
        settings.unet_width,
        settings.unet_depth,
        deep_supervision=settings.deep_supervision,
        residual=residual,
    )


def _build_unet3d(channels: int, classes: int, settings: TrainSettings) -> keras.Model:
    from common.models.unet import build_unet

    return build_unet(
        channels,
        classes,
        settings.unet3d_width,
        settings.unet_depth,
        deep_supervision=settings.deep_supervision,
        residual=True,
        dimensions=3,
        flat_levels=min(settings.flat_levels, settings.unet_depth),
    )


NETWORKS = {
    "fcn8": Network("FCN-8", _build_fcn8, SECOND, "s"),
    "residual_unet": Network("Residual U-Net", partial(_build_unet, residual=True), THIRD, "^"),
    "unet": Network("U-Net", _build_unet, PREDICTION, "o"),
    "unet3d": Network("3-D U-Net", _build_unet3d, FOURTH, "D", sees="patches"),
}
"""The networks by the names that ``--models`` takes, in the order in which they are shown. The last
that a run has is its main one: its scores choose the cases that are drawn, predict.py uses it."""


MEAN = "mean"
"""What the networks of a run say on average: of two and more it is scored as one of them is."""


def title_of(name: str) -> str:
    """What tables and pages call a network, or the mean of all."""
    return "the network mean" if name == MEAN else NETWORKS[name].title


def with_mean(names: Sequence[str]) -> list[str]:
    """The networks of a run, and what is scored with them."""
    return [*names, MEAN] if len(names) > 1 else [*names]


def in_order(names: Iterable[str]) -> list[str]:
    """Some networks in the order in which they are shown; the mean of all is left out.

    Raises:
        UserError: `NETWORKS` does not name one of them.
    """
    unknown = set(names) - {*NETWORKS, MEAN}
    if unknown:
        raise UserError(
            f"{', '.join(sorted(unknown))}: a network that was trained with another version of "
            "atrium_segmentation/networks.py; give it its entry in NETWORKS again"
        )
    return [name for name in NETWORKS if name in names]


def build(name: str, classes: int, settings: TrainSettings) -> keras.Model:
    """A network with its starting weights; see `Network`.

    Raises:
        UserError: ``--weights`` names what is not there or does not fit.
    """
    from common.models.starting_weights import take_weights

    network = NETWORKS[name]
    channels = 1 if network.sees == "patches" else 2 * settings.neighbours + 1
    model = network.build(channels, classes, settings)
    if settings.weights == "imagenet":
        raise UserError(
            "--weights imagenet: these networks have no ImageNet file here; give none, a "
            "file or a run's folder"
        )
    if settings.weights != "none":
        start = Path(settings.weights)
        weights = start / name if (start / name).is_dir() else start
        take_weights(model, str(weights), head=())
    return model


def losses(settings: TrainSettings, classes: int, outputs: int) -> dict[str, Any]:
    """``loss``, ``metrics`` and ``loss_weights``, as `keras.Model.compile` takes them.

    Args:
        settings: With ``loss``.
        classes: 1 for a mask, else the number of labels with the background.
        outputs: Of the network; a further one's loss counts half of the finer one's.
    """
    from common.training.losses import Dice, pixel_crossentropy

    loss = segmentation_loss(settings.loss)
    metrics = [Dice(classes), pixel_crossentropy()]
    if outputs == 1:
        return {"loss": loss, "metrics": metrics}
    return {
        "loss": [loss] * outputs,
        "metrics": [metrics, *[[]] * (outputs - 1)],
        "loss_weights": [0.5**level for level in range(outputs)],
    }
