"""Every setting of the pneumonia project, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.settings import Preset, Project, SharedEvaluate, SharedPrepare, SharedTrain


@dataclass(frozen=True)
class PrepareSettings(SharedPrepare):
    """What prepare_data.py takes."""

    patients: Path | None = None
    """A CSV of patientId and patient, since the challenge's PatientID names an image and one
    patient has several. Default: nih_patients.csv in the source folder, else the PatientID."""
    image_size: int = 224
    """Side of the stored square in pixels; proportions are kept, the rest is black."""
    copies: int = -1
    """Augmentor's copies of each positive of the training split. -1: as many as bring the
    positives nearest to the number of negatives, at most 3."""


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """What train.py takes."""

    label_smoothing: float = 0.0
    """Moves the labels from 0 and 1 towards 0.5 by half of this share."""
    rotation_degrees: float = 5.0
    """Online augmentation: rotation to either side, in degrees."""
    scale: float = 0.1
    """Online augmentation: zoom, as a share."""
    shift: float = 0.05
    """Online augmentation: shift along each axis, as a share of the side."""
    contrast: float = 0.2
    """Online augmentation: contrast and brightness, as a share."""


@dataclass(frozen=True)
class EvaluateSettings(SharedEvaluate):
    """What evaluate.py takes."""

    threshold: Literal["run", "0.5"] = "run"
    """Where the decision is made: run, the threshold that train.py found on the validation
    split (Youden), or 0.5."""


DEMO = Preset(
    about="the SYNTHETIC sample, two minutes. python train.py --preset demo",
    prepare=PrepareSettings(image_size=192, copies=1),
    # Few films, so small batches: the weights need steps more than the steps need films.
    train=TrainSettings(epochs=10, batch_size=8, image_size=64, learning_rate=5e-4, patience=10),
    evaluate=EvaluateSettings(),
)

CPU = Preset(
    about="real data on two cores, from scratch. python train.py --preset cpu",
    prepare=PrepareSettings(image_size=224),
    train=TrainSettings(epochs=12, batch_size=16, image_size=96, learning_rate=1e-3),
    evaluate=EvaluateSettings(),
)

GPU = Preset(
    about="what one would run on a card, from ImageNet. python train.py --preset gpu",
    prepare=PrepareSettings(image_size=224),
    train=TrainSettings(epochs=30, batch_size=64, learning_rate=1e-4, weights="imagenet"),
    evaluate=EvaluateSettings(),
)

PROJECT = Project(
    name="pneumonia_classification",
    dataset="rsna-pneumonia",
    sample="SYNTHETIC-rsna",
    presets={"demo": DEMO, "cpu": CPU, "gpu": GPU},
)
