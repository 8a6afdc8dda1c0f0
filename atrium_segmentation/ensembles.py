"""The runs whose networks are averaged: --run and those of --ensemble."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from atrium_segmentation.config import PROJECT, EvaluateSettings, PredictSettings
from atrium_segmentation.networks import in_order, with_mean
from common.base.errors import UserError
from common.datasets.splits import TEST
from common.training.runs import Run, open_run


def open_members(settings: EvaluateSettings | PredictSettings) -> list[Run]:
    """The run of ``--run``, and after it those of ``--ensemble``.

    Raises:
        UserError: One cannot be opened, or was trained on another prepared set than the first.
    """
    run = open_run(PROJECT, settings)
    members = [run]
    for folder in settings.ensemble:
        member = open_run(PROJECT, dataclasses.replace(settings, run=folder))
        if member.config["data"]["key"] != run.config["data"]["key"]:
            raise UserError(
                f"{folder}: was trained on other data than {run.folder}, perhaps on what is to be "
                "scored; give runs of one prepared set"
            )
        members.append(member)
    return members


def shared_networks(members: Sequence[Run]) -> list[str]:
    """The networks that all of some runs have, in the order in which they are shown.

    Raises:
        UserError: There is none, or `NETWORKS` does not name one.
    """
    names = in_order(set.intersection(*(set(member.fitted["models"]) for member in members)))
    if not names:
        raise UserError("the runs of --ensemble have no network in common; train the same --models")
    return names


def chosen_network(members: Sequence[Run], settings: PredictSettings) -> str:
    """The name of the network that predicts, or `MEAN`.

    Raises:
        UserError: Not all of the runs have it.
    """
    names = shared_networks(members)
    if settings.network == "auto":
        return names[-1]
    if settings.network not in with_mean(names):
        raise UserError(f"--network {settings.network}: the run has {', '.join(names)} alone")
    return settings.network


def refuse_seen_by_others(members: Sequence[Run], settings: EvaluateSettings) -> None:
    """Refuse members of an ensemble that learned from the split that is scored."""
    run, *further = members
    for member in further if settings.split != TEST else ():
        if _left_out(member) != _left_out(run):
            raise UserError(
                f"{member.folder}: was trained or validated on the {settings.split} split of "
                f"{run.folder}; score the test split"
            )


def _left_out(member: Run) -> tuple[int, bool]:
    """The fold of a run, and whether it is left out or validates."""
    trained = member.config["settings"]
    return trained["fold"], trained.get("nested", False)
