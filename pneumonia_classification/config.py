"""Every setting of the pneumonia project, and its presets."""

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
    require,
)

_LAYOUTS = ("auto", "rsna", "nih", "folders", "csv")


@dataclass(frozen=True)
class PrepareSettings(SharedPrepare):
    """The settings of prepare_data.py."""

    image_size: int = 224
    """Side of the stored square in pixels; the film keeps its proportions, the rest is black."""
    proportions: Literal["pad", "stretch"] = "pad"
    """How a film becomes a square: pad keeps its proportions and fills the rest with black,
    stretch changes them."""
    layout: str = choice("auto", _LAYOUTS)
    """How the dataset lies on the disk: rsna, the challenge's table and images (DICOM, PNG or
    JPEG); nih, NIH ChestX-ray14; folders, a folder for each class, perhaps in train, val and test;
    csv, a table of image_path and label. auto: by what is there."""
    patient_pattern: str = ""
    """A regular expression that finds the patient in a film's name, as its first group or whole:
    'person(\\d+)'. Default: the PatientID, else the names of the public sets that are known."""
    positive_class: str = ""
    """The class that is called positive: of two classes, or of NIH's findings the one that is asked
    alone. Default: the one that is not normal."""
    own_split: bool = False
    """Deal a split of our own where the dataset comes with an official one."""
    copies: int = -1
    """Number of Augmentor's copies per positive of the training split, or per case of every class
    but the commonest. -1: the number that best balances the classes, at most 3."""


@dataclass(frozen=True)
class TrainSettings(SharedFilmTrain):
    """The settings of train.py."""

    monitor: str = choice("val_loss", ("val_loss", "val_auroc"))
    loss: Literal["crossentropy", "focal"] = "crossentropy"
    """The loss: the cross-entropy, or the focal loss (Lin et al. 2017, gamma 2), in which easy
    cases count little."""
    balance: Literal["none", "weights", "oversampling"] = "none"
    """How a rare label is balanced, besides Augmentor's copies: none; weights, its cases count
    more in the loss; oversampling, its cases are drawn more often. Both of these move all
    probabilities towards one half."""
    box_weight: float = 0.0
    """Weight of a second loss for positives with radiologists' boxes, which asks that the evidence
    for pneumonia lies inside them. 0: the labels alone."""
    label_smoothing: float = 0.0
    """Move the labels from 0 and 1 towards 0.5 by half of this share; those of several classes
    towards an equal share of each, by this share."""
    mixup: float = 0.0
    """Alpha of mixup (Zhang et al. 2018): images are mixed in pairs, and their labels, by shares
    of a Beta distribution; 0.2 is usual. Training's own accuracy and AUROC then say little. 0:
    none."""
    rotation_degrees: float = 5.0
    """Online augmentation: rotation to either side, in degrees."""
    scale: float = 0.1
    """Online augmentation: zoom, as a share."""
    stretch: float = 0.0
    """Online augmentation: ratio of width to height, as a share: 0.35 is from 0.65 to 1.35. Where
    films were squashed to a square, it hides from what proportions."""
    shift: float = 0.05
    """Online augmentation: shift along each axis, as a share of the side."""
    contrast: float = 0.2
    """Online augmentation: contrast and brightness, as a share."""

    def __post_init__(self) -> None:
        """Refuse values that no training can use."""
        super().__post_init__()
        require(self.box_weight >= 0, "box_weight", "0 or more", self)
        require(self.mixup == 0 or self.mixup >= 0.01, "mixup", "0, or 0.01 and more", self)
        can = self.augment == "host" or not self.mixup
        need = "host: --mixup mixes a batch, of which each of several devices has a part"
        require(can, "augment", need, self)


@dataclass(frozen=True)
class DecisionSettings(Shared):
    """How a film's probability and decision are computed, in evaluate.py and predict.py alike."""

    sensitivity: float = 0.0
    """Use the highest threshold that finds at least this share of the validation split's
    positives. 0: the threshold with the greatest sensitivity + specificity there (Youden). Not for
    several classes, of which the likeliest is the answer."""
    threshold: float = 0.0
    """A threshold of your own, 0 to 1, for all labels. 0: from the validation split."""
    reject: float = 0.0
    """Give no answer on unsure films, so that of the patients of each label at most this share get
    a wrong one: split conformal sets, from the validation split's patients. For two classes. 0:
    every film gets an answer."""
    flip: bool = False
    """Average the probabilities of the film and its mirror image, for the threshold too."""
    gradcam_layer: str = ""
    """The convolutional layer that Grad-CAM uses; of resnet50 conv4_block6_out has twice the
    resolution of the last. Default: the last of the network."""

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1."""
        super().__post_init__()  # type: ignore[misc]  # of the other base of its subclasses
        for name in ("sensitivity", "threshold"):
            require(0 <= getattr(self, name) <= 1, name, "0 to 1", self)
        require(0 <= self.reject < 1, "reject", "0 or more and below 1", self)


@dataclass(frozen=True)
class EvaluateSettings(DecisionSettings, SharedEvaluate):
    """The settings of evaluate.py."""

    layout: str = choice("auto", _LAYOUTS)
    """How --source lies on the disk, as of prepare_data.py."""
    patient_pattern: str = ""
    """What finds the patient in the name of a film of --source, as of prepare_data.py."""
    positive_class: str = ""
    """The class of --source that is called positive, where its two have other names than the run's.
    Default: as of the run."""
    prevalence: float = 0.0
    """The share of your patients who are ill, above 0 and below 1: also print the predictive values
    (PPV, NPV) for it. For two classes. 0: those of the scored cases alone."""

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1."""
        super().__post_init__()
        require(0 <= self.prevalence < 1, "prevalence", "0 or more and below 1", self)


@dataclass(frozen=True)
class PredictSettings(DecisionSettings, SharedPredict):
    """The settings of predict.py."""


DEMO = Preset(
    about="the SYNTHETIC sample, about two minutes. python train.py --preset demo",
    prepare=PrepareSettings(image_size=192, copies=1),
    # Few films, so small batches: the weights need steps more than the steps need films.
    train=TrainSettings(epochs=10, batch_size=8, image_size=64, learning_rate=5e-4, patience=6),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

CPU = Preset(
    about="real data on two cores, from scratch; where they are not given, --box-weight, "
    "--learning-rate, --stretch, --image-size and --epochs are fitted to the data and the weights. "
    "python train.py --preset cpu",
    prepare=PrepareSettings(image_size=224),
    train=TrainSettings(
        epochs=20,
        batch_size=16,
        image_size=96,
        learning_rate=1e-3,
        label_smoothing=0.1,
        rotation_degrees=8.0,
        scale=0.2,
        stretch=0.35,
        shift=0.1,
        contrast=0.3,
        box_weight=0.3,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

GPU = Preset(
    about="real data on a GPU, from ImageNet weights, or from scratch where they cannot be had. "
    "python train.py --preset gpu",
    prepare=PrepareSettings(image_size=224),
    train=TrainSettings(
        epochs=30,
        batch_size=64,
        learning_rate=1e-4,
        weights="auto",
        head_epochs=3,
        standardise=False,
        box_weight=0.3,
    ),
    evaluate=EvaluateSettings(),
    predict=PredictSettings(),
)

PROJECT = Project(
    name="pneumonia_classification",
    dataset="rsna-pneumonia",
    sample="SYNTHETIC-rsna",
    presets={"demo": DEMO, "cpu": CPU, "gpu": GPU},
    prepare_function="pneumonia_classification.dataset:prepare",
    inputs_function="pneumonia_classification.inference:model_inputs",
)
