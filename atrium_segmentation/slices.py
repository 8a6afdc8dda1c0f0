"""The slices of working volumes (z, y, x) that the networks see, in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from atrium_segmentation.config import PLANES, STRIDE, TrainSettings
from atrium_segmentation.dataset import MIXED_VOLUMES, Volumes
from common.records.prepared import Prepared
from common.training import augment, on_device, pipeline

BATCH_SIZE = "batch_size"
"""The setting of how many are in a batch."""

Slices = dict[str, np.ndarray]
"""``image`` (slices, rows, columns, channels) and ``mask`` (slices, rows, columns, 1), uint8."""


def smallest_square(shapes: Sequence[tuple[int, ...]], planes: Sequence[str]) -> int:
    """Side of the smallest square, a multiple of 32, that holds all slices of volumes (z, y, x)."""
    longest = max(shape[axis] for shape in shapes for plane in planes for axis in PLANES[plane][1:])
    return -(-longest // STRIDE) * STRIDE


def count(volumes: Volumes, settings: TrainSettings) -> int:
    """How many slices some volumes have, in all planes that are trained on."""
    return sum(_counts(volumes, settings))


def _counts(volumes: Volumes, settings: TrainSettings) -> list[int]:
    return [sum(shape[PLANES[plane][0]] for plane in settings.planes) for shape in volumes.shapes]


def samples(
    volumes: Volumes, image_size: int, settings: TrainSettings, random_places: bool
) -> pipeline.Samples:
    """Every slice of some volumes, volume by volume and plane by plane, to be read in any order.

    A sample has ``image`` (image_size, image_size, channels) and ``mask`` (image_size, image_size,
    1), uint8, and ``case``: the slice padded with 0 or cropped, from its middle or anywhere.

    Args:
        volumes: The volumes.
        image_size: Side of the square in pixels.
        settings: With ``planes``, ``neighbours`` and, of random places, ``empty_share``.
        random_places: Whether a larger slice is cropped at a random place.
    """
    # By sample: the volume, the plane and the slice.
    places = [
        (number, plane, place)
        for number, shape in enumerate(volumes.shapes)
        for plane in settings.planes
        for place in range(shape[PLANES[plane][0]])
    ]
    channels = 2 * settings.neighbours + 1

    def cut(numbers: np.ndarray, seed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cases, seeds = [], np.broadcast_to(seed, (len(numbers), 2))
        images = np.zeros((len(numbers), image_size, image_size, channels), np.uint8)
        masks = np.zeros((len(numbers), image_size, image_size, 1), np.uint8)
        for row, number in enumerate(numbers):
            volume, plane, place = places[number]
            # Of each slice by itself: a batch may be read in parts.
            random = np.random.default_rng((*seeds[row], number)) if random_places else None
            slices = slices_of(volumes[volume], settings.neighbours, plane, [place])
            stacked = np.concatenate([slices["image"], slices["mask"]], axis=-1)
            square = _square(stacked, image_size, random)[0]
            images[row], masks[row] = square[..., :-1], square[..., -1:]
            cases.append(volumes[volume]["case"].encode())
        return images, masks, np.array(cases, object)

    def read(numbers: tf.Tensor, seed: tf.Tensor) -> pipeline.Batch:
        images, masks, cases = tf.numpy_function(
            cut, [numbers, seed], (tf.uint8, tf.uint8, tf.string), stateful=False
        )
        images.set_shape((*numbers.shape, image_size, image_size, channels))
        masks.set_shape((*numbers.shape, image_size, image_size, 1))
        cases.set_shape(numbers.shape)
        return {"image": images, "mask": masks, "case": cases}

    times = None
    if random_places and settings.empty_share < 1:
        is_full = [
            slices_of(volume, 0, plane)["mask"].any((1, 2, 3))
            for volume in volumes
            for plane in settings.planes
        ]
        times = np.where(np.concatenate(is_full), 1.0, settings.empty_share)
    counts, in_blocks = _counts(volumes, settings), not volumes.are_in_memory
    return pipeline.Samples(len(places), read, counts, MIXED_VOLUMES, times, in_blocks)


def training_data(
    volumes: Volumes, image_size: int, batch_size: int, settings: TrainSettings, outputs: int
) -> pipeline.Training:
    """Shuffled, augmented batches of slices from all volumes.

    Images (batch, image_size, image_size, channels) in 0..255 and masks (batch, image_size,
    image_size, 1), transformed together; the masks once for each output of the network.
    """
    slices = samples(volumes, image_size, settings, random_places=True)
    return augmented_training(slices, batch_size, settings, outputs)


def augmented_training(
    cut: pipeline.Samples,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
    arranged: Callable[[Any, on_device.Kernels], Any] = lambda values, kernels: values,
) -> pipeline.Training:
    """Shuffled, augmented batches of what volumes were cut to.

    Args:
        cut: With ``image`` and ``mask`` (side, side, channels), which are transformed together.
        batch_size: How many are in a batch.
        settings: Of the augmentation.
        outputs: Of the network: how often the masks come.
        arranged: Brings images and masks to the form in which the network takes them.
    """
    ranges = augment.Ranges.of_settings(settings, bias=settings.bias_field)
    kernels = on_device.kernels(settings)

    def drawn(batch: pipeline.Batch, draws: augment.Draws) -> dict[str, Any]:
        return {"image": batch["image"], "mask": batch["mask"], "draws": draws}

    def augmented(inputs: dict[str, Any]) -> tuple[Any, Any]:
        draws = inputs["draws"]
        images = kernels.transform_images(inputs["image"], draws)
        masks = kernels.transform_images(inputs["mask"], draws, nearest=True)
        images = arranged(kernels.change_intensities(images, draws), kernels)
        return images, repeated(arranged(masks, kernels), outputs)

    return pipeline.augmented_training(cut, batch_size, settings, ranges, drawn, augmented)


def validation_data(
    volumes: Volumes, image_size: int, batch_size: int, settings: TrainSettings, outputs: int
) -> tf.data.Dataset:
    """Every slice of some volumes, cut from the middle, in order; otherwise as `training_data`."""

    def to_inputs(batch: pipeline.Batch) -> tuple[tf.Tensor, Any]:
        masks = tf.cast(batch["mask"], tf.float32)
        return tf.cast(batch["image"], tf.float32), repeated(masks, outputs)

    slices = samples(volumes, image_size, settings, random_places=False)
    return pipeline.validation(slices, batch_size, to_inputs)


def some_with_structure(
    prepared: Prepared, splits: list[str], image_size: int, settings: TrainSettings, count: int
) -> dict[str, Any]:
    """The same slices each time, cropped as in `validation_data`, some from every volume.

    In a volume they are spread evenly over the slices with the structure.

    Returns:
        ``image`` (n, image_size, image_size, channels) and ``mask`` (n, image_size, image_size),
        uint8, and ``title``: case and number of the slice; n is ``count`` or, where volumes have
        few slices, less.
    """
    chosen: dict[str, list[Any]] = {"image": [], "mask": [], "title": []}
    volumes, plane = Volumes(prepared, splits), settings.planes[0]
    total = len(volumes)
    for number, volume in enumerate(volumes):
        full = np.flatnonzero(slices_of(volume, 0, plane)["mask"].any((1, 2, 3)))
        if not len(full):
            full = np.arange(volume["mask"].shape[PLANES[plane][0]])
        share = min(len(full), count * (number + 1) // total - count * number // total)
        places = full[[len(full) * (2 * n + 1) // (2 * share) for n in range(share)]]
        if share:
            slices = slices_of(volume, settings.neighbours, plane, places)
            chosen["image"] += [*_square(slices["image"], image_size)]
            chosen["mask"] += [*_square(slices["mask"], image_size)[..., 0]]
        chosen["title"] += [f"{volume['case'][:24]}, slice {place + 1}" for place in places]
    return {**chosen, "image": np.stack(chosen["image"]), "mask": np.stack(chosen["mask"])}


def slices_of(
    volume: Mapping[str, Any],
    neighbours: int,
    plane: str = "axial",
    places: Sequence[int] | np.ndarray | None = None,
) -> Slices:
    """A volume's slices with their neighbours as channels; at an end the end slice repeats.

    Args:
        volume: ``image`` and ``mask``, (z, y, x).
        neighbours: Slices below and above.
        plane: Of `config.PLANES`.
        places: Which slices; None for all.

    Returns:
        ``image`` (slices, rows, columns, 2 * neighbours + 1) and ``mask`` (slices, rows, columns,
        1); of an axial slice rows are y and columns x, of a coronal z and x, of a sagittal z and y.
    """
    image, mask = (volume[name].transpose(PLANES[plane]) for name in ("image", "mask"))
    places = np.arange(len(image)) if places is None else np.asarray(places, np.int64)
    return {"image": with_neighbours(image, neighbours, places), "mask": mask[places][..., None]}


def with_neighbours(slices: np.ndarray, neighbours: int, places: np.ndarray) -> np.ndarray:
    """Some of a stack's slices (n, rows, columns) with their neighbours as channels, last."""
    near = places[:, None] + np.arange(-neighbours, neighbours + 1)
    return np.moveaxis(slices[np.clip(near, 0, len(slices) - 1)], 1, -1)


def _square(slices: np.ndarray, side: int, random: np.random.Generator | None = None) -> np.ndarray:
    """Slices (n, rows, columns, channels) cropped or padded with 0 to squares, in their middle.

    With ``random`` they are cropped at a random place.
    """
    result = np.zeros((len(slices), side, side, slices.shape[-1]), slices.dtype)
    cropped, filled = [slice(None)], [slice(None)]
    for size in slices.shape[1:3]:
        spare, added = max(size - side, 0), max(side - size, 0)
        start = spare // 2 if random is None else int(random.integers(spare + 1))
        cropped.append(slice(start, start + min(side, size)))
        filled.append(slice(added // 2, added // 2 + min(side, size)))
    result[tuple(filled)] = slices[tuple(cropped)]
    return result


def repeated(masks: Any, outputs: int) -> Any:
    """The masks, once for each output of a network; a single one as it is."""
    return masks if outputs == 1 else (masks,) * outputs
