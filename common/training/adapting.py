"""What a preset of train.py changes for the data and the starting weights, unless it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from common.base.backend import start_tensorflow
from common.base.errors import UserError
from common.base.files import read_json
from common.base.film_settings import SharedFilmTrain
from common.base.help_text import in_words
from common.base.settings import NO_RUN, SharedTrain
from common.base.tables import Table, print_table

Kind = TypeVar("Kind", bound=SharedTrain)


class Change(NamedTuple):
    """A setting that is changed: its name, its new value, and the reason in words."""

    name: str
    value: Any
    reason: str


def weights_changes(settings: SharedTrain) -> list[Change]:
    """What ``--weights auto`` becomes: imagenet, where Keras has its file or can get it, or none.

    A run that began keeps what it began with.

    Args:
        settings: Of a train.py.

    Returns:
        The changes: of the weights, and of what hangs on them.
    """
    if settings.weights != "auto":
        return []
    if not isinstance(settings, SharedFilmTrain):
        return [Change("weights", "none", "ImageNet has none for networks of volumes")]
    missing = _missing(settings)
    if missing:
        changes = [
            Change("weights", "none", missing),
            Change("head_epochs", 0, "nothing to keep in a backbone from scratch"),
            Change("learning_rate", SharedTrain.learning_rate, "from scratch"),
            Change("standardise", True, "from scratch, exposure need not matter"),
        ]
    else:
        changes = [
            Change("weights", "imagenet", "Keras has their file"),
            Change("standardise", False, "so were they trained"),
        ]
    return [change for change in changes if getattr(settings, change.name) != change.value]


def _missing(settings: SharedFilmTrain) -> str:
    """Why ImageNet's weights are not to be had; "" where they are."""
    if settings.run and (settings.run / "config.json").is_file():
        begun = read_json(settings.run / "config.json").get("settings", {}).get("weights")
        if begun in NO_RUN:
            return "" if begun == "imagenet" else "the run began with none"
    start_tensorflow(settings.device)
    from common.models.starting_weights import imagenet_file

    try:
        imagenet_file(settings.backbone)
    except UserError:
        return "ImageNet's are not in Keras's cache and can't be downloaded"
    return ""


def adapted(
    settings: Kind, changes: Sequence[Change], given: Collection[str]
) -> tuple[Kind, dict[str, str]]:
    """The settings with changes, which are printed.

    Args:
        settings: With the preset's values, and those that were given.
        changes: To make.
        given: The names of the settings that were given; they stay, but for ``weights``.

    Returns:
        The settings, and the reason for each that was changed, by name.
    """
    changed = [c for c in changes if c.name not in given or c.name == "weights"]
    if changed:
        rows = tuple(
            (c.name, _in_words(getattr(settings, c.name)), _in_words(c.value), c.reason)
            for c in changed
        )
        head = (f"--preset {settings.preset}", "is", "becomes", "since")
        print_table(Table("adapted to the data and the weights", head, rows))
    values = {change.name: change.value for change in changed}
    reasons = {change.name: change.reason for change in changed}
    return dataclasses.replace(settings, **values), reasons


def _in_words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else in_words(value)
