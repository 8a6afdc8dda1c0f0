"""The patches of working volumes (z, y, x) that networks of volumes see, in batches.

The slices of a patch are augmented together, as the channels of one image, and then stacked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from atrium_segmentation.config import STRIDE, TrainSettings
from atrium_segmentation.dataset import MIXED_VOLUMES, Volumes
from atrium_segmentation.slices import augmented_training, repeated
from common.records.prepared import Prepared
from common.training import on_device, pipeline

BATCH_SIZE = "patch_batch_size"
"""The setting of how many are in a batch."""

Size = tuple[int, int, int]
"""Of a patch: slices, rows and columns."""


def patch_size(volumes: Volumes, image_size: int, settings: TrainSettings) -> Size:
    """The size of a training's patches.

    Args:
        volumes: Those that train.
        image_size: Side of a slice in pixels.
        settings: With ``patch_slices``, ``patch_pixels``, ``unet_depth`` and ``flat_levels``.
    """
    halved = 2 ** max(settings.unet_depth - settings.flat_levels, 0)
    deepest = max(depth for depth, _, _ in volumes.shapes)
    depth = min(settings.patch_slices or deepest, deepest)
    side = min(settings.patch_pixels or image_size, image_size)
    return math.ceil(depth / halved) * halved, side, side


def count(volumes: Volumes, settings: TrainSettings) -> int:
    """How many patches of some volumes an epoch has."""
    return len(volumes) * settings.patches


def samples(volumes: Volumes, size: Size, settings: TrainSettings) -> pipeline.Samples:
    """Some patches of every volume, to be read in any order.

    A sample has ``image`` and ``mask`` (rows, columns, slices), uint8, and ``case``. Each patch
    lies at a random place that holds a part of the structure; the same seed gives the same places.
    What lies outside of the volume is 0.

    Args:
        volumes: The volumes.
        size: Of the patches.
        settings: With ``patches``.
    """
    shape = (*size[1:], size[0])

    def cut(numbers: np.ndarray, seed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seeds = np.broadcast_to(seed, (len(numbers), 2))
        images, masks = np.zeros((2, len(numbers), *shape), np.uint8)
        cases = []
        for row, number in enumerate(numbers):
            volume = volumes[number // settings.patches]
            # Of each patch by itself: a batch may be read in parts.
            start = _start(volume["mask"], size, np.random.default_rng((*seeds[row], number)))
            for patches, name in ((images, "image"), (masks, "mask")):
                patches[row] = np.moveaxis(patch(volume[name], start, size), 0, -1)
            cases.append(volume["case"].encode())
        return images, masks, np.array(cases, object)

    def read(numbers: tf.Tensor, seed: tf.Tensor) -> pipeline.Batch:
        images, masks, cases = tf.numpy_function(
            cut, [numbers, seed], (tf.uint8, tf.uint8, tf.string), stateful=False
        )
        for tensor in (images, masks):
            tensor.set_shape((*numbers.shape, *shape))
        cases.set_shape(numbers.shape)
        return {"image": images, "mask": masks, "case": cases}

    return pipeline.Samples(
        count(volumes, settings),
        read,
        settings.patches,
        MIXED_VOLUMES,
        in_blocks=not volumes.are_in_memory,
    )


def training_data(
    volumes: Volumes, size: Size, batch_size: int, settings: TrainSettings, outputs: int
) -> pipeline.Training:
    """Shuffled, augmented batches of patches from all volumes.

    Images (batch, slices, rows, columns, 1) in 0..255 and masks of the same shape, transformed
    together, the same for all slices of a patch; the masks once for each output of the network.
    """
    cut = samples(volumes, size, settings)
    return augmented_training(cut, batch_size, settings, outputs, _stacked)


def validation_data(
    volumes: Volumes, size: Size, batch_size: int, settings: TrainSettings, outputs: int
) -> tf.data.Dataset:
    """Patches of every volume at the same places each time, in order, as they are."""

    def to_inputs(batch: pipeline.Batch) -> tuple[tf.Tensor, Any]:
        images, masks = (
            _stacked(tf.cast(batch[name], tf.float32), on_device.HOST) for name in ("image", "mask")
        )
        return images, repeated(masks, outputs)

    patches = samples(volumes, size, settings)
    return pipeline.validation(patches, batch_size, to_inputs)


def some_with_structure(
    prepared: Prepared, splits: Sequence[str], size: Size, settings: TrainSettings, count: int
) -> dict[str, Any]:
    """The middle patches of the first volumes, the same each time.

    Returns:
        ``image`` (n, slices, rows, columns, 1) and ``mask`` (n, slices, rows, columns), uint8, and
        ``title``, the case; n is ``count`` at most.
    """
    chosen: dict[str, list[Any]] = {"image": [], "mask": [], "title": []}
    volumes = Volumes(prepared, splits)
    for number in range(min(count, len(volumes))):
        volume = volumes[number]
        start = middle(volume["mask"].shape, size)
        chosen["image"].append(patch(volume["image"], start, size)[..., None])
        chosen["mask"].append(patch(volume["mask"], start, size))
        chosen["title"].append(f"{volume['case'][:24]}, its middle")
    return {**chosen, "image": np.stack(chosen["image"]), "mask": np.stack(chosen["mask"])}


def patch(volume: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """A part of a volume (z, y, x), with 0 outside of it.

    Args:
        volume: The volume.
        start: The patch's first voxel; below 0 where it begins outside.
        size: Of the patch.
    """
    result = np.zeros(size, volume.dtype)
    places, taken = [], []
    for first, length, there in zip(start, size, volume.shape, strict=True):
        begin, end = max(first, 0), max(min(first + length, there), 0)
        places.append(slice(begin - first, max(end, begin) - first))
        taken.append(slice(begin, max(end, begin)))
    result[tuple(places)] = volume[tuple(taken)]
    return result


def middle(shape: Sequence[int], size: Sequence[int]) -> list[int]:
    """Where a patch begins that lies in the middle of a volume; below 0 where it is larger."""
    return [(there - length) // 2 for there, length in zip(shape, size, strict=True)]


def _stacked(patches: Any, kernels: on_device.Kernels) -> Any:
    """Patches (batch, rows, columns, slices) as (batch, slices, rows, columns, 1)."""
    return kernels.transpose(patches, (0, 3, 1, 2))[..., None]


def _start(mask: np.ndarray, size: Size, random: np.random.Generator) -> list[int]:
    """Where a random patch begins that holds a voxel of the mask, where there is one."""
    full = np.flatnonzero(mask)
    voxel = random.choice(full) if len(full) else random.integers(mask.size)
    held = np.unravel_index(voxel, mask.shape)
    start = []
    for there, length, place in zip(mask.shape, size, held, strict=True):
        # All of the volume along an axis where it fits.
        low, high = min(there - length, 0), max(there - length, 0)
        if there > length:
            low, high = max(low, int(place) - length + 1), min(high, int(place))
        start.append(int(random.integers(low, high + 1)))
    return start


def windows(shape: Sequence[int], size: Sequence[int]) -> list[list[int]]:
    """Where windows begin that cover a volume, each overlapping the next by half or more.

    Args:
        shape: Of the volume, along each axis.
        size: Of a window; along an axis where the volume is smaller there is one, in its middle.
    """
    along = []
    for there, length in zip(shape, size, strict=True):
        spare = there - length
        count = 1 if spare <= 0 else 1 + math.ceil(2 * spare / length)
        places = np.linspace(0, spare, count) if spare > 0 else [spare // 2]
        along.append([round(float(place)) for place in places])
    return [[z, y, x] for z in along[0] for y in along[1] for x in along[2]]


def window_size(shape: Sequence[int], size: Sequence[int]) -> list[int]:
    """The window that a volume is predicted in: all of it, up to twice a training's patch.

    Args:
        shape: Of the volume (z, y, x).
        size: Of the patches.
    """
    depth, *sides = size
    # What the network halves: a patch's slices may be an odd multiple of it.
    multiples = (math.gcd(depth, STRIDE), STRIDE, STRIDE)
    return [
        min(max(math.ceil(there / multiple) * multiple, multiple), 2 * length)
        for there, length, multiple in zip(shape, (depth, *sides), multiples, strict=True)
    ]


def gaussian(size: Sequence[int]) -> np.ndarray:
    """How much each voxel of a window counts, (size), 0 to 1: least at its edges, never 0.

    A Gaussian whose standard deviation is an eighth of the side, as in nnU-Net.
    """
    weights = np.ones(size, np.float32)
    for axis, length in enumerate(size):
        places = (np.arange(length) - (length - 1) / 2) / (length / 8)
        along = np.exp(-0.5 * places**2).astype(np.float32)
        weights *= along.reshape([-1 if other == axis else 1 for other in range(len(size))])
    return np.maximum(weights, 1e-3)
