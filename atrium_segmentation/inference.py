"""The networks of a run: opened, and asked for the mask of a whole volume."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from atrium_segmentation.config import (
    PLANES,
    PROJECT,
    STRIDE,
    EvaluateSettings,
    MaskSettings,
    PredictSettings,
)
from atrium_segmentation.networks import in_order
from common.base.errors import UserError

MOVES = {"scale": 0.1, "rotation_degrees": 10.0}
"""Of the slices, for test-time averaging."""


def further_runs(run: Any, settings: EvaluateSettings | PredictSettings) -> list[Any]:
    """The runs of ``--ensemble``.

    Raises:
        UserError: One was trained on another prepared set than ``run``.
    """
    from common.training import runs

    members = []
    for folder in settings.ensemble:
        member = runs.open_run(PROJECT, dataclasses.replace(settings, run=folder))
        if member.config["data"]["key"] != run.config["data"]["key"]:
            raise UserError(
                f"{folder}: was trained on other data than {run.folder}, perhaps on what is to be "
                "scored; give runs of one prepared set"
            )
        members.append(member)
    return members


def names_of(members: Sequence[Any]) -> list[str]:
    """The networks that all of some runs have, as they are shown from left to right.

    Raises:
        UserError: There is none, or `NETWORKS` does not name one.
    """
    names = in_order(set.intersection(*(set(member.fitted["models"]) for member in members)))
    if not names:
        raise UserError("the runs of --ensemble have no network in common; train the same --models")
    return names


def open_networks(
    members: Sequence[Any], names: Sequence[str]
) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Some networks of some runs.

    Args:
        members: Runs.
        names: Of `names_of`.

    Returns:
        By name, each run's model and what it was fitted to: ``neighbours``, ``planes``.
    """
    from common.models.stored import load_model

    return {
        name: [(load_model(one.folder / name / "model.keras"), one.fitted) for one in members]
        for name in names
    }


def segment(
    members: Sequence[tuple[Any, dict[str, Any]]],
    volume: dict[str, Any],
    settings: MaskSettings,
) -> Any:
    """The mask of a whole volume, on the volume's own grid.

    The probabilities of all members in all their planes are averaged, and they, not masks, are
    brought to the volume's own grid.

    Args:
        members: Networks, with the neighbours and planes that each was fitted to.
        volume: Of `dataset.whole_volumes`, its mask aside.
        settings: Flip and largest component.

    Returns:
        (x, y, z) uint8: the label of every voxel, counted from 0.
    """
    import numpy as np

    from common.imaging.grids import to_grid
    from common.scores.volumes import largest_component

    said = np.mean(
        [
            _said(model, volume["working"], plane, fitted["neighbours"], settings)
            for model, fitted in members
            for plane in fitted["planes"]
        ],
        axis=0,
    )
    shape, affine = volume["image"].shape, volume["affine"]
    on_grid = [
        to_grid(said[..., channel].T, volume["working_affine"], shape, affine)
        for channel in range(said.shape[-1])
    ]
    if len(on_grid) == 1:
        labels = (on_grid[0] >= 0.5).astype(np.uint8)
    else:
        labels = np.argmax(on_grid, 0).astype(np.uint8)
    if settings.largest_component:
        for label in range(1, labels.max() + 1):
            part = labels == label
            labels[part & ~largest_component(part)] = 0
    return labels


def shown_slices(working: Any, plane: str, neighbours: int, room: float = 1.0) -> Any:
    """The slices of a volume as a network sees them, with 0 around them to a multiple of 32.

    Args:
        working: (z, y, x) uint8.
        plane: Of `config.PLANES`.
        neighbours: Slices below and above each, as channels; at an end the end slice repeats.
        room: More than 1 makes them square, with so much more around for what a zoom pushes out.

    Returns:
        (slices, rows, columns, 2 * neighbours + 1) float32, the slice in the middle of its square.
    """
    import numpy as np

    slices = np.transpose(working, PLANES[plane])
    count, *sides = slices.shape
    if room > 1:
        sides = [round(max(sides) * room)] * 2
    around = [(0, 0)]
    for side, wanted in zip(slices.shape[1:], sides, strict=True):
        added = -(-wanted // STRIDE) * STRIDE - side
        around.append((added // 2, added - added // 2))
    offsets = np.arange(-neighbours, neighbours + 1)
    which = np.clip(np.arange(count)[:, None] + offsets, 0, count - 1)
    return np.moveaxis(np.pad(slices, around)[which], 1, -1).astype(np.float32)


def _said(model: Any, working: Any, plane: str, neighbours: int, settings: MaskSettings) -> Any:
    """A network's probabilities (z, y, x, channels) of a working volume (z, y, x) in a plane."""
    import numpy as np

    from common.training import augment

    order = PLANES[plane]
    height, width = np.transpose(working, order).shape[1:]
    room = 1 + MOVES["scale"] if settings.test_time_augmentation else 1.0
    shown = shown_slices(working, plane, neighbours, room)
    top, left = (shown.shape[1] - height) // 2, (shown.shape[2] - width) // 2

    def ask(images: Any) -> Any:
        return model.predict(images, settings.batch_size, verbose=0)

    said = ask(shown)
    moves = augment.test_time_transforms(**MOVES) if settings.test_time_augmentation else []
    for there, back in moves:
        of_moved = ask(augment.transform_images(shown, there).numpy())
        said += augment.transform_images(of_moved, back).numpy()
    said /= 1 + len(moves)
    if settings.flip:
        said = (said + ask(shown[:, :, ::-1])[:, :, ::-1]) / 2
    said = said[:, top : top + height, left : left + width]
    return np.transpose(said, (*np.argsort(order), 3))


def model_inputs(run: Any, prepared: Any, count: int) -> Any:
    """Some slices from the middle of a prepared volume as the run's networks see them.

    Returns:
        (n, rows, columns, 2 * neighbours + 1) float32 of 0 to 255.
    """
    from atrium_segmentation.dataset import volumes

    volume = next(volumes(prepared, prepared.splits[:1]).take(1).as_numpy_iterator())
    slices = shown_slices(volume["image"], run.fitted["planes"][0], run.fitted["neighbours"])
    return slices[len(slices) // 2 :][:count]
