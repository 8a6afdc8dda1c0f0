"""What a preset of train.py changes for the data and the starting weights, unless it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.base.errors import UserError
from common.base.settings import NO_RUN
from common.datasets.classes import Classes
from common.records.prepared import Prepared
from common.training.adapting import Change
from pneumonia_classification.config import TrainSettings

# Of training on two cores (Intel Xeon with AVX512-BF16, 28 November 2026): Kermany's 2,060 films at
# 96 x 96 pixels took 98 s an epoch. The time goes with the number of pixels.
_FILM_S = 98 / 2060
_FILM_SIDE = 96
# What `cpu` trains for at most, so that 40 minutes hold from the raw folder to the end.
_BUDGET_S = 36 * 60
# Side in pixels at which boxes teach where to look; README.md has the measurement.
_LARGE = 128
# Share of the learning rate that is taken from a run's weights on.
_FROM_A_RUN = 0.3
_MIN_EPOCHS = 2


class Data(NamedTuple):
    """What a preset needs to know of the data and the weights.

    Attributes:
        films: Number of films that train, Augmentor's copies among them.
        have_boxes: Whether a radiologist's box is on any of them.
        side: Of the films as prepared, in pixels.
        from_run: Whether the weights are those of a run, or of a file.
    """

    films: int
    have_boxes: bool
    side: int
    from_run: bool


def data_of(
    prepared: Prepared, splits: Sequence[str], with_copies: Sequence[str], weights: str
) -> Data:
    """What `changes` needs to know.

    Args:
        prepared: The data.
        splits: That train.
        with_copies: The same, and those of their copies.
        weights: The setting.
    """
    cases = prepared.cases().query("split in @splits")
    # One box of several classes does not say of which.
    with_boxes = Classes.described(prepared.manifest).are_two and "boxes" in cases
    have_boxes = with_boxes and bool((cases["boxes"].fillna("") != "").any())
    side = int(prepared.manifest["settings"]["image_size"])
    from_run = weights not in NO_RUN
    return Data(prepared.count(with_copies), have_boxes, side, from_run)


def changes(settings: TrainSettings, data: Data) -> list[Change]:
    """What differs from the preset for some data.

    Args:
        settings: With the preset's values.
        data: What trains.
    """
    changed = []
    if settings.box_weight and not data.have_boxes:
        changed.append(Change("box_weight", 0.0, "no film that trains has a box"))
    if settings.preset != "cpu":
        return changed
    if data.from_run:
        rate = settings.learning_rate * _FROM_A_RUN
        changed.append(Change("learning_rate", rate, "starts from weights that are trained"))
        if settings.stretch:
            changed.append(Change("stretch", 0.0, "measured so, from weights that are trained"))
    side = settings.image_size
    if _epochs(data.films, _LARGE) >= settings.epochs and data.side >= _LARGE:
        side = _LARGE
        changed.append(Change("image_size", side, f"{data.films} films leave the time for it"))
    epochs = max(_MIN_EPOCHS, _epochs(data.films, side))
    if epochs < settings.epochs:
        changed.append(
            Change("epochs", epochs, f"{data.films} films, {_BUDGET_S // 60} minutes on two cores")
        )
    return changed


def refuse_senseless(settings: TrainSettings, classes: Classes) -> None:
    """Refuse settings that mean nothing for some classes, before anything is trained.

    Raises:
        UserError: One was given.
    """
    if settings.box_weight and not classes.are_two:
        raise UserError(
            f"--box-weight {settings.box_weight:g}: teaches where one class is, and this data has "
            f"the {classes}; give --box-weight 0"
        )
    if settings.balance == "weights" and not classes.exclusive:
        raise UserError(
            "--balance weights: an image with several labels has no one weight; give --balance "
            "oversampling, or --loss focal"
        )


def measured_classes(
    settings: TrainSettings, prepared: Prepared, validation: Sequence[str]
) -> np.ndarray:
    """Whether the AUROC of each class can be measured in validation; prints which cannot.

    Args:
        settings: With ``monitor``.
        prepared: The data.
        validation: The splits that validate.

    Returns:
        (outputs,) whether validation has images with the class and without it.

    Raises:
        UserError: None can be, and ``monitor`` is ``val_auroc``.
    """
    classes, cases = Classes.described(prepared.manifest), prepared.cases()
    truth = classes.truth(cases.loc[cases["split"].isin(validation), "label"]) > 0
    measured = truth.any(axis=0) & ~truth.all(axis=0)
    if not measured.any() and settings.monitor == "val_auroc":
        raise UserError(
            f"--monitor val_auroc: no class of {prepared.folder} is on some images of validation "
            "and not on others, so there is no AUROC; prepare with a larger --validation-share, or "
            "give --monitor val_loss"
        )
    names = np.asarray(classes.names[-truth.shape[1] :])
    if lacking := [*names[~measured]]:
        means = "that of the other classes" if measured.any() else "none, and printed as 0"
        print(
            f"\nvalidation has no images with and without {', '.join(lacking)}: "
            f"val_auroc is {means}"
        )
    return np.asarray(measured)


def _epochs(films: int, side: int) -> int:
    """The number of epochs within the budget."""
    return int(_BUDGET_S / (films * _FILM_S * (side / _FILM_SIDE) ** 2))
