"""Every setting of the heart project, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.base.film_settings import SharedFilmTrain
from common.base.project import Preset, Project
from common.base.settings import (
    Shared,
    SharedEvaluate,
    SharedPredict,
    SharedPrepare,
    choice,
    renamed,
)
from common.training.loss_names import BOX_LOSSES


@dataclass(frozen=True)
class PrepareSettings(SharedPrepare):
    """The settings of prepare_data.py."""

    label: str = "heart"
    """The label of the boxes to use, where the CSV has a label column."""
    image_size: int = 224
    """Side of the stored square in pixels; the film keeps its proportions, the rest is black."""
    copies: int = 2
    """Number of imgaug's copies per training image and box, scaled, shifted and with other
    contrast."""


@dataclass(frozen=True)
class TrainSettings(SharedFilmTrain):
    """The settings of train.py."""

    monitor: str = choice("val_loss", ("val_loss", "val_iou"))
    loss: str = choice("iou+l1", BOX_LOSSES)
    """The loss: mean squared or absolute error of the corners, 1 - IoU (plain, generalised or
    complete), or IoU and absolute error together."""
    pooling: Literal["average", "flatten", "extremes"] = "extremes"
    """The head: average discards the position of a feature, flatten keeps it, extremes draws a map
    for each edge of the box and takes its mean position."""
    rotation_degrees: float = 5.0
    """Online augmentation: rotation to either side, in degrees; the box becomes that of
    the rotated ellipse in it."""
    scale: float = 0.15
    """Online augmentation: zoom, as a share."""
    stretch: float = 0.1
    """Online augmentation: ratio of width to height, as a share."""
    shift: float = 0.1
    """Online augmentation: shift along each axis, as a share of the side; never so far that
    the box leaves the image."""
    contrast: float = 0.3
    """Online augmentation: contrast and gamma, as a share; brightness half of it."""
    flip: bool = False
    """Online augmentation: mirror half of the films and their boxes left to right. Off,
    since the heart lies on the left, which helps to find it."""


@dataclass(frozen=True)
class AveragingSettings(Shared):
    """How a film's box is computed, in evaluate.py and predict.py alike."""

    flip: bool = False
    """Test-time augmentation: average the film's box and the mirrored film's, mirrored back. For
    networks trained with --flip; others never saw a heart on the right, and may get worse."""
    test_time_augmentation: bool = renamed("moves", True)
    """Average the boxes of the film and of six copies, shifted by 3 % or scaled by 5 %, each
    transformed back."""
    second_look: bool = False
    """Look at the film again with the heart in its middle, enlarged by 1.2, from five places
    nearby: the mean with the boxes of the first look."""


@dataclass(frozen=True)
class EvaluateSettings(AveragingSettings, SharedEvaluate):
    """The settings of evaluate.py."""


@dataclass(frozen=True)
class PredictSettings(AveragingSettings, SharedPredict):
    """The settings of predict.py."""


DEMO = Preset(
    about="the SYNTHETIC sample, about two minutes. python train.py --preset demo",
    prepare=PrepareSettings(image_size=192, copies=1),
    train=TrainSettings(epochs=7, image_size=64, learning_rate=1e-3, patience=4),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

CPU = Preset(
    about="real data on two cores, from scratch. python train.py --preset cpu",
    prepare=PrepareSettings(image_size=224),
    train=TrainSettings(
        epochs=45,
        batch_size=16,
        image_size=128,
        learning_rate=1e-3,
        patience=30,
        ema_momentum=0.99,
    ),
    evaluate=EvaluateSettings(second_look=True),
    predict=PredictSettings(second_look=True),
)

GPU = Preset(
    about="real data on a GPU, from ImageNet weights, or from scratch where they cannot be had. "
    "python train.py --preset gpu",
    prepare=PrepareSettings(image_size=224, copies=4),
    train=TrainSettings(
        epochs=100,
        batch_size=32,
        learning_rate=2e-4,
        weights="auto",
        patience=30,
        head_epochs=5,
        standardise=False,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

PROJECT = Project(
    name="heart_detection",
    dataset="rsna-pneumonia",
    sample="SYNTHETIC-rsna",
    presets={"demo": DEMO, "cpu": CPU, "gpu": GPU},
    prepare_function="heart_detection.dataset:prepare",
    inputs_function="heart_detection.inference:model_inputs",
)
