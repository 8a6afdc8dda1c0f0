"""A run's networks, and the mask of a whole volume that they predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from atrium_segmentation.config import PLANES, STRIDE, EvaluateSettings, PredictSettings
from atrium_segmentation.dataset import Volumes
from atrium_segmentation.slices import with_neighbours
from common.base.errors import UserError
from common.imaging.grids import to_grid
from common.models.stored import load_model
from common.records.prepared import Prepared
from common.scores.volumes import largest_component
from common.training import augment
from common.training.runs import Run

Member = tuple[keras.Model, Mapping[str, Any]]
"""A network, and what it was fitted to: ``neighbours`` and ``planes`` of its run's fitted.json."""

# Of the slices, for test-time augmentation.
_TRANSFORMS = {"scale": 0.1, "rotation_degrees": 10.0}


def open_networks(members: Sequence[Run], names: Sequence[str]) -> dict[str, list[Member]]:
    """Some networks of some runs, by name, each with one member per run."""
    return {
        name: [(load_model(run.folder / name / "model.keras"), run.fitted) for run in members]
        for name in names
    }


def model_inputs(run: Run, prepared: Prepared, count: int) -> np.ndarray:
    """Some slices from the middle of a prepared volume as the run's networks see them.

    Returns:
        (n, rows, columns, 2 * neighbours + 1) float32 of 0 to 255, at most ``count`` of them.
    """
    volume = Volumes(prepared, prepared.splits[:1])[0]
    slices = padded_slices(volume["image"], run.fitted["planes"][0], run.fitted["neighbours"])
    return slices[len(slices) // 2 :][:count]


def segment(
    members: Sequence[Member],
    volume: Mapping[str, Any],
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """The mask of a whole volume, on the volume's own grid.

    The probabilities of all members in all their planes are averaged, and they, not masks, are
    brought to the volume's own grid.

    Args:
        members: The networks.
        volume: Of `dataset.whole_volumes`; its mask is not read.
        settings: ``flip``, ``test_time_augmentation``, ``largest_component``, ``batch_size``.

    Returns:
        (x, y, z) uint8: the label of every voxel, counted from 0.
    """
    probabilities = np.mean(
        [
            predict_plane(model, volume["working"], plane, fitted["neighbours"], settings)
            for model, fitted in members
            for plane in fitted["planes"]
        ],
        axis=0,
    )
    if not np.isfinite(probabilities).all():
        raise UserError(
            f"{volume.get('case', 'this volume')}: the network predicts NaN; its weights are "
            "broken: train again"
        )
    shape, affine = volume["image"].shape, volume["affine"]
    on_grid = [
        to_grid(probabilities[..., channel].T, volume["working_affine"], shape, affine)
        for channel in range(probabilities.shape[-1])
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


def predict_plane(
    model: keras.Model,
    working: np.ndarray,
    plane: str,
    neighbours: int,
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """A network's probabilities for every voxel of a working volume, cut in one plane.

    Args:
        model: Slices to probabilities.
        working: (z, y, x) uint8.
        plane: Of `config.PLANES`.
        neighbours: Slices below and above each, as channels.
        settings: ``flip``, ``test_time_augmentation``, ``batch_size``.

    Returns:
        (z, y, x, channels) float32 of 0 to 1.
    """
    order = PLANES[plane]
    rows, columns = np.transpose(working, order).shape[1:]
    room = 1 + _TRANSFORMS["scale"] if settings.test_time_augmentation else 1.0
    slices = padded_slices(working, plane, neighbours, room)
    top, start = (slices.shape[1] - rows) // 2, (slices.shape[2] - columns) // 2

    def predict(images: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(images, settings.batch_size, verbose=0))

    probabilities = predict(slices)
    transforms = (
        augment.test_time_transforms(**_TRANSFORMS) if settings.test_time_augmentation else []
    )
    for transform, inverse in transforms:
        transformed = predict(augment.transform_images(slices, transform).numpy())
        probabilities += augment.transform_images(transformed, inverse).numpy()
    probabilities /= 1 + len(transforms)
    if settings.flip:
        probabilities = (probabilities + predict(slices[:, :, ::-1])[:, :, ::-1]) / 2
    probabilities = probabilities[:, top : top + rows, start : start + columns]
    return np.transpose(probabilities, (*np.argsort(order), 3))


def padded_slices(
    working: np.ndarray, plane: str, neighbours: int, room: float = 1.0
) -> np.ndarray:
    """The slices of a volume as a network sees them, with 0 around them to a multiple of 32.

    Args:
        working: (z, y, x) uint8.
        plane: Of `config.PLANES`.
        neighbours: Slices below and above each, as channels; at an end the end slice repeats.
        room: More than 1 makes them square, with so much more around for what a zoom pushes out.

    Returns:
        (slices, rows, columns, 2 * neighbours + 1) float32, the slice in the middle of its square.
    """
    slices = np.transpose(working, PLANES[plane])
    count, *sizes = slices.shape
    if room > 1:
        sizes = [round(max(sizes) * room)] * 2
    padding = [(0, 0)]
    for size, least in zip(slices.shape[1:], sizes, strict=True):
        added = -(-least // STRIDE) * STRIDE - size
        padding.append((added // 2, added - added // 2))
    padded = np.pad(slices, padding)
    return with_neighbours(padded, neighbours, np.arange(count)).astype(np.float32)
