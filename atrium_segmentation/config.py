"""Every setting of the atrium project, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atrium_segmentation.networks import MEAN, NETWORKS
from common.base.project import Preset, Project
from common.base.settings import (
    Shared,
    SharedEvaluate,
    SharedPredict,
    SharedPrepare,
    SharedTrain,
    choice,
    renamed,
    require,
)
from common.training.loss_names import SEGMENTATION_LOSSES

PLANES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""The order of a volume's axes (z, y, x) that puts the one across the plane's slices first."""

STRIDE = 32
"""FCN-8 halves a slice five times, so its height and width are multiples of 32."""


@dataclass(frozen=True)
class PrepareSettings(SharedPrepare):
    """The settings of prepare_data.py."""

    spacing_mm: tuple[float, float, float] = (1.25, 1.25, 1.25)
    """Working spacing of voxels in mm along x (right), y (front) and z (head). 0: the volume's
    own. Scores are always taken at the volume's own spacing."""

    def __post_init__(self) -> None:
        """Refuse a spacing below 0."""
        super().__post_init__()
        require(min(self.spacing_mm) >= 0, "spacing_mm", "0 or more", self)


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """The settings of train.py."""

    monitor: str = choice("val_loss", ("val_loss", "val_dice"))
    models: tuple[str, ...] = choice(("unet", "fcn8"), NETWORKS)
    """The networks to train, in turn; those of slices on the same batches."""
    unet_width: int = 16
    """Number of channels of U-Net's first level; each deeper level has twice as many."""
    unet_depth: int = 4
    """Number of times that U-Net halves a slice, and the 3-D U-Net a patch, 1 to 5."""
    fcn8_width: int = 16
    """Number of channels of FCN-8's first block; VGG16 has 64."""
    unet3d_width: int = 8
    """Number of channels of the 3-D U-Net's first level; each deeper level has twice as many."""
    flat_levels: int = 0
    """Levels of the 3-D U-Net, from the finest on, that neither look nor halve across slices;
    train.py sets it where slices are much further apart than pixels."""
    patch_slices: int = 48
    """Slices of the patches that the 3-D U-Net is trained on, at most those of the deepest volume;
    rounded up to what it can halve. 0: as many as that has."""
    patch_pixels: int = 64
    """Side of these patches in pixels, at most --image-size. 0: that."""
    patches: int = 6
    """Patches of every volume in an epoch of the 3-D U-Net."""
    patch_batch_size: int = 2
    """Patches in a batch of the 3-D U-Net."""
    deep_supervision: int = 0
    """How many of U-Net's coarser levels predict a mask too during training; the loss of each
    counts half of the finer one's."""
    planes: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial",)
    """The planes in which volumes are cut to slices; one network learns them all, and its
    predictions in each are averaged."""
    neighbours: int = 1
    """Slices below and above a slice that the network sees as further channels."""
    loss: str = choice("crossentropy", SEGMENTATION_LOSSES)
    """The loss. crossentropy is the binary one for one class, as in the article."""
    empty_share: float = 1.0
    """Share of the slices without the structure that are trained on."""
    rotation_degrees: float = 15.0
    """Online augmentation: rotation to either side, in degrees."""
    scale: float = 0.15
    """Online augmentation: zoom, as a share."""
    shift: float = 0.05
    """Online augmentation: shift along each axis, as a share of the image size."""
    contrast: float = 0.3
    """Online augmentation: contrast, as a share; brightness half of it."""
    gamma: float = 0.3
    """Online augmentation: exponent, as a share: 1 is from 1/2 to 2. It makes blood darker or
    brighter against fat and air, as another inversion time does."""
    noise: float = 0.02
    """Online augmentation: standard deviation of noise, as a share of the value range."""
    flip: bool = False
    """Online augmentation: mirror half of the slices left to right, sagittal ones front to back;
    evaluate.py --flip needs it."""
    elastic: float = 0.0
    """Online augmentation: standard deviation of the shifts of a smooth field, as a share of the
    image size; 0.02 is much."""
    bias_field: float = 0.0
    """Online augmentation: standard deviation of the logarithm of a smooth field that multiplies
    slices, like the sensitivity of MRI coils; 0.3 is strong."""

    def __post_init__(self) -> None:
        """Refuse values that are out of range."""
        super().__post_init__()
        multiple = f"a multiple of {STRIDE}"
        for name in ("image_size", "patch_pixels"):
            require(getattr(self, name) % STRIDE == 0, name, multiple, self)
        names = f"one or more of {', '.join(NETWORKS)}, each once at most"
        require(0 < len(self.models) == len(set(self.models)), "models", names, self)
        once = "axial, coronal or sagittal, each once at most"
        require(0 < len(self.planes) == len(set(self.planes)), "planes", once, self)
        require(0 <= self.empty_share <= 1, "empty_share", "0 to 1", self)
        require(1 <= self.unet_depth <= 5, "unet_depth", "1 to 5", self)
        below = f"0 or more and below --unet-depth, {self.unet_depth}"
        require(0 <= self.deep_supervision < self.unet_depth, "deep_supervision", below, self)
        for name in ("patches", "patch_batch_size"):
            require(getattr(self, name) >= 1, name, "1 or more", self)
        counts = ("patch_slices", "patch_pixels", "flat_levels")
        for name in ("neighbours", "elastic", "bias_field", *counts):
            require(getattr(self, name) >= 0, name, "0 or more", self)


@dataclass(frozen=True)
class MaskSettings(Shared):
    """How a volume's mask is predicted, in evaluate.py and predict.py alike."""

    ensemble: tuple[Path, ...] = ()
    """Further runs, such as the other folds of a cross-validation, whose probabilities are averaged
    with those of --run, network by network."""
    largest_component: bool = True
    """Keep only the largest connected part of a prediction: there is one left atrium."""
    flip: bool = False
    """Test-time augmentation: the mean of the slices' probabilities and those of the mirrored
    slices, mirrored back. For networks that were trained with --flip."""
    test_time_augmentation: bool = renamed("moves", False)
    """Test-time augmentation: the mean with the probabilities of slices that are rotated a little
    to either side and zoomed out and in, transformed back. Five times the work; it helps U-Net."""


@dataclass(frozen=True)
class EvaluateSettings(MaskSettings, SharedEvaluate):
    """The settings of evaluate.py."""

    pictures: int = 4
    """Maximum number of cases that are drawn: the worst, the best, and some between."""


@dataclass(frozen=True)
class PredictSettings(MaskSettings, SharedPredict):
    """The settings of predict.py."""

    network: str = choice("auto", ("auto", *NETWORKS, MEAN))
    """The network that predicts. auto: the last of these that the run has; mean: the mean of all
    that it has."""


DEMO = Preset(
    about="the SYNTHETIC sample, about two minutes. python train.py --preset demo",
    prepare=PrepareSettings(spacing_mm=(2.0, 2.0, 2.5), validation_share=0.2, test_share=0.2),
    train=TrainSettings(
        epochs=10,
        batch_size=16,
        image_size=64,
        learning_rate=2e-3,
        patience=6,
        unet_width=8,
        unet_depth=3,
        fcn8_width=8,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

CPU = Preset(
    about="real data on two cores, from scratch. python train.py --preset cpu",
    prepare=PrepareSettings(spacing_mm=(1.25, 1.25, 1.25)),
    train=TrainSettings(
        epochs=24,
        batch_size=16,
        image_size=96,
        learning_rate=2e-3,
        patience=12,
        ema_momentum=0.99,
        neighbours=2,
        loss="dice+crossentropy",
        rotation_degrees=25.0,
        scale=0.25,
        gamma=1.0,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

GPU = Preset(
    about="real data on a GPU: full resolution, wider, five folds that evaluate.py "
    "averages with --ensemble. python train.py --preset gpu --fold 0",
    prepare=PrepareSettings(spacing_mm=(0.0, 0.0, 0.0), folds=5),
    train=TrainSettings(
        epochs=30,
        batch_size=32,
        image_size=192,
        learning_rate=1e-3,
        patience=15,
        ema_momentum=0.999,
        unet_width=48,
        unet_depth=5,
        fcn8_width=64,
        neighbours=2,
        loss="dice+crossentropy",
        rotation_degrees=25.0,
        scale=0.25,
        gamma=1.0,
        deep_supervision=2,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

PROJECT = Project(
    name="atrium_segmentation",
    dataset="Task02_Heart",
    sample="SYNTHETIC-Task02_Heart",
    presets={"demo": DEMO, "cpu": CPU, "gpu": GPU},
    prepare_function="atrium_segmentation.dataset:prepare",
    inputs_function="atrium_segmentation.inference:model_inputs",
)
