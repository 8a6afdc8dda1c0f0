"""A run's networks, and the mask of a whole volume that they predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from atrium_segmentation import patches
from atrium_segmentation.config import PLANES, STRIDE, EvaluateSettings, PredictSettings
from atrium_segmentation.dataset import Volumes
from atrium_segmentation.networks import NETWORKS
from atrium_segmentation.slices import with_neighbours
from common.base.errors import UserError
from common.imaging.grids import to_grid
from common.models.stored import load_model
from common.records.prepared import Prepared
from common.scores.volumes import largest_component
from common.training import augment
from common.training.runs import Run

Member = tuple[keras.Model, Mapping[str, Any]]
"""A network, and what it was fitted to: ``neighbours`` and ``planes``, or ``patch``, the size of
its patches, of its run's fitted.json."""

# Slices at a time, which bounds the memory: with their neighbours they are 4 bytes a pixel each.
_SLICES = 64

# Of the slices, for test-time augmentation.
_TRANSFORMS = {"scale": 0.1, "rotation_degrees": 10.0}


def open_networks(members: Sequence[Run], names: Sequence[str]) -> dict[str, list[Member]]:
    """Some networks of some runs, by name, each with one member per run."""
    return {
        name: [(load_model(run.folder / name / "model.keras"), run.fitted) for run in members]
        for name in names
    }


def model_inputs(run: Run, prepared: Prepared, count: int) -> dict[str, np.ndarray]:
    """Some of a prepared volume as each of the run's networks sees it, by the network's name.

    Returns:
        (n, rows, columns, 2 * neighbours + 1) float32 of 0 to 255, at most ``count`` slices from
        the volume's middle on; or a patch (1, slices, rows, columns, 1) from its middle.
    """
    volume = Volumes(prepared, prepared.splits[:1])[0]["image"]
    inputs = {}
    for name in run.fitted["models"]:
        if name in NETWORKS and NETWORKS[name].sees == "patches":
            size = run.fitted["patch"]
            patch = patches.patch(volume, patches.middle(volume.shape, size), size)
            inputs[name] = patch[None, ..., None].astype(np.float32)
        else:
            padded = padded_slices(volume, run.fitted["planes"][0])
            places = np.arange(len(padded))[len(padded) // 2 :][:count]
            slices = with_neighbours(padded, run.fitted["neighbours"], places)
            inputs[name] = slices.astype(np.float32)
    return inputs


def predict_volume(
    members: Sequence[Member],
    volume: Mapping[str, Any],
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """What a network says of every voxel: the mean of all members in all their planes.

    Args:
        members: The network, of each run.
        volume: Of `dataset.whole_volumes`; its mask is not read.
        settings: ``flip``, ``test_time_augmentation``, ``batch_size``.

    Returns:
        (z, y, x, channels) float32 of 0 to 1, on the working grid.

    Raises:
        UserError: A network predicts NaN.
    """
    probabilities = mean_of(
        predicted
        for model, fitted in members
        for predicted in predict_working(model, volume["working"], fitted, settings)
    )
    if not np.isfinite(probabilities).all():
        raise UserError(
            f"{volume.get('case', 'this volume')}: the network predicts NaN; its weights are "
            "broken: train again"
        )
    return probabilities


def mean_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of arrays of one shape, one or more, of which it holds no more than two at once."""
    remaining = iter(parts)
    total, count = next(remaining), 1
    for part in remaining:
        total, count = total + part, count + 1
    return np.asarray(total / np.float32(count))


def mask_of(
    probabilities: np.ndarray,
    volume: Mapping[str, Any],
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """The mask of a whole volume on its own grid, to which probabilities, not masks, are brought.

    Args:
        probabilities: Of `predict_volume`, or the mean of those of several networks.
        volume: Of `dataset.whole_volumes`; its mask is not read.
        settings: ``largest_component``.

    Returns:
        (x, y, z) uint8: the label of every voxel, counted from 0.
    """
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


def sees_volumes(model: keras.Model) -> bool:
    """Whether a network takes patches of volumes, and not slices."""
    return len(model.input_shape) == 5


def predict_working(
    model: keras.Model,
    working: np.ndarray,
    fitted: Mapping[str, Any],
    settings: EvaluateSettings | PredictSettings,
) -> Iterator[np.ndarray]:
    """What a network says of every voxel of a working volume, once for each plane it is cut in.

    Args:
        model: Slices or patches to probabilities.
        working: (z, y, x) uint8.
        fitted: ``neighbours`` and ``planes``, or ``patch``, of the run's fitted.json.
        settings: ``flip``, ``test_time_augmentation``, ``batch_size``.

    Yields:
        (z, y, x, channels) float32 of 0 to 1, one or more.
    """
    if sees_volumes(model):
        yield predict_windows(model, working, fitted["patch"], settings)
        return
    for plane in fitted["planes"]:
        yield predict_plane(model, working, plane, fitted["neighbours"], settings)


def predict_plane(
    model: keras.Model,
    working: np.ndarray,
    plane: str,
    neighbours: int,
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """`predict_working` of a network of slices, in one of `config.PLANES`."""
    order = PLANES[plane]
    rows, columns = np.transpose(working, order).shape[1:]
    padded = padded_slices(working, plane, _room(settings))
    top, start = (padded.shape[1] - rows) // 2, (padded.shape[2] - columns) // 2

    def predict(images: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(images, settings.batch_size, verbose=0))

    parts = []
    for places in np.split(np.arange(len(padded)), range(_SLICES, len(padded), _SLICES)):
        images = with_neighbours(padded, neighbours, places).astype(np.float32)
        part = _averaged(predict, images, settings)
        parts.append(part[:, top : top + rows, start : start + columns])
    return np.transpose(np.concatenate(parts), (*np.argsort(order), 3))


def predict_windows(
    model: keras.Model,
    working: np.ndarray,
    size: Sequence[int],
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """`predict_working` of a network of volumes, in windows that overlap by half.

    A voxel's probabilities are the mean over its windows, each weighted by `patches.gaussian`.

    Args:
        model: Patches to probabilities.
        working: (z, y, x) uint8.
        size: Of the patches that it was trained on.
        settings: As of `predict_working`.
    """
    depth, *sides = working.shape
    sides = [round(side * _room(settings)) for side in sides]
    if settings.test_time_augmentation:
        sides = [max(sides)] * 2
    window = patches.window_size((depth, *sides), size)
    outer = [max(pair) for pair in zip((depth, *sides), window, strict=True)]
    weights = patches.gaussian(window)[..., None]

    def predict(images: np.ndarray) -> np.ndarray:
        """Of a volume (1, rows, columns, slices), to (1, rows, columns, slices * channels)."""
        volume = np.moveaxis(images[0], -1, 0)
        channels = model.output_shape[-1]
        sums, total = (np.zeros((*outer, count), np.float32) for count in (channels, 1))
        for start in patches.windows(outer, window):
            part = patches.patch(volume, start, window)[None, ..., None]
            there = tuple(map(slice, start, np.add(start, window)))
            sums[there] += np.asarray(model.predict(part, verbose=0))[0] * weights
            total[there] += weights
        return np.moveaxis(sums / total, 0, 2).reshape(*images.shape[:3], -1)

    begin = patches.middle(working.shape, outer)
    padded = patches.patch(working, begin, outer).astype(np.float32)
    predicted = _averaged(predict, np.moveaxis(padded, 0, -1)[None], settings)[0]
    predicted = np.moveaxis(predicted.reshape(*outer[1:], outer[0], -1), 2, 0)
    return predicted[tuple(map(slice, np.negative(begin), np.subtract(working.shape, begin)))]


def _room(settings: EvaluateSettings | PredictSettings) -> float:
    """How much larger slices have to be for what a zoom pushes out."""
    return 1 + _TRANSFORMS["scale"] if settings.test_time_augmentation else 1.0


def _averaged(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    settings: EvaluateSettings | PredictSettings,
) -> np.ndarray:
    """The mean of what is predicted for images, and for the same transformed, transformed back.

    Args:
        predict: Images to probabilities, both (n, rows, columns, channels) float32.
        images: The images.
        settings: ``flip``, ``test_time_augmentation``.
    """
    probabilities = predict(images)
    transforms = (
        augment.test_time_transforms(**_TRANSFORMS) if settings.test_time_augmentation else []
    )
    for transform, inverse in transforms:
        transformed = predict(augment.transform_images(images, transform).numpy())
        probabilities = probabilities + augment.transform_images(transformed, inverse).numpy()
    probabilities = probabilities / (1 + len(transforms))
    if settings.flip:
        probabilities = (probabilities + predict(images[:, :, ::-1])[:, :, ::-1]) / 2
    return probabilities


def padded_slices(working: np.ndarray, plane: str, room: float = 1.0) -> np.ndarray:
    """The slices of a volume, with 0 around them to a multiple of 32.

    Args:
        working: (z, y, x) uint8.
        plane: Of `config.PLANES`.
        room: More than 1 makes them square, with so much more around for what a zoom pushes out.

    Returns:
        (slices, rows, columns) uint8, the slice in the middle of its square.
    """
    slices = np.transpose(working, PLANES[plane])
    sizes = list(slices.shape[1:])
    if room > 1:
        sizes = [round(max(sizes) * room)] * 2
    padding = [(0, 0)]
    for size, least in zip(slices.shape[1:], sizes, strict=True):
        added = -(-least // STRIDE) * STRIDE - size
        padding.append((added // 2, added - added // 2))
    return np.pad(slices, padding)
