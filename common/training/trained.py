"""How a run was trained: what metrics.json says of it, and what marks its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.base.files import content_key
from common.base.settings import WITHOUT_CONSEQUENCE, SharedTrain, current_names


def picture_mark(config: Mapping[str, Any], made_up: bool = False) -> bool | str:
    """What marks the pictures of cases that a run's models saw.

    Args:
        config: The content of the run's ``config.json``.
        made_up: Whether the cases are made up.

    Returns:
        True for the mark SYNTHETIC, of the cases; words where what trained is made up alone.
    """
    return made_up or (config["synthetic"] and "MODEL OF SYNTHETIC DATA")


def trained_as(config: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json says of a run's training, as ``trained``.

    Runs of a project with equal ``data_sha256`` and ``settings_key`` differ in the fold and in the
    seed alone.

    Args:
        config: The content of the run's ``config.json``.

    Raises:
        KeyError, TypeError, AttributeError: It is damaged.
    """
    settings = current_names(SharedTrain, config["settings"])
    decisive = settings.keys() - {*WITHOUT_CONSEQUENCE, "seed", "fold"}
    return {
        "synthetic": config["synthetic"],
        "seed": settings["seed"],
        "data_sha256": config["data"].get("sha256"),
        "settings_key": content_key({name: settings[name] for name in decisive}),
    }
