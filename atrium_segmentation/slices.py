"""The slices of working volumes (z, y, x) that the networks see, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from atrium_segmentation.config import PLANES, STRIDE, TrainSettings
from atrium_segmentation.dataset import volumes
from common.records.prepared import Prepared
from common.training import augment, pipeline

Slices = dict[str, tf.Tensor]
"""``image`` (slices, rows, columns, channels) and ``mask`` (slices, rows, columns, 1), uint8."""


def smallest_square(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """Side of the smallest square, a multiple of 32, that holds all slices of volumes (z, y, x)."""
    longest = max(shape[axis] for shape in shapes for plane in planes for axis in PLANES[plane][1:])
    return -(-longest // STRIDE) * STRIDE


def count_slices(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """How many slices volumes (z, y, x) have in some planes together."""
    return sum(shape[PLANES[plane][0]] for shape in shapes for plane in planes)


def training_data(
    prepared: Prepared,
    splits: list[str],
    image_size: int,
    steps: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
) -> pipeline.Training:
    """Shuffled, augmented batches of slices from all volumes.

    Images (batch, image_size, image_size, channels) in 0..255 and masks (batch, image_size,
    image_size, 1), transformed together; the masks once for each output of the network.
    """
    ranges = augment.Ranges.of_settings(settings, bias=settings.bias_field)

    def to_samples(volumes: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        def slices(number: tf.Tensor, volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
            planes = []
            for place, plane in enumerate(settings.planes):
                plane_seed = tf.stack([seed + (place << 32), number])
                samples = slices_of(volume, settings.neighbours, plane)
                if settings.empty_share < 1:
                    samples = _without_some_empty(samples, settings.empty_share, plane_seed)
                planes.append(_crop(samples, image_size, plane_seed))
            samples = _concatenate(planes)
            samples["case"] = tf.repeat(volume["case"], tf.shape(samples["mask"])[0])
            return tf.data.Dataset.from_tensor_slices(samples)

        return volumes.enumerate().interleave(
            slices, cycle_length=8, block_length=4, num_parallel_calls=2, deterministic=True
        )

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, Any]:
        draws = augment.draw(ranges, batch_size, seed)
        images = augment.transform_images(tf.cast(batch["image"], tf.float32), draws)
        masks = augment.transform_images(tf.cast(batch["mask"], tf.float32), draws, nearest=True)
        return augment.change_intensities(images, draws), _repeated(masks, outputs)

    return pipeline.Training(
        volumes(prepared, splits),
        steps,
        batch_size,
        settings.seed,
        settings.epochs,
        to_inputs,
        to_samples,
    )


def validation_data(
    prepared: Prepared,
    splits: list[str],
    image_size: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
) -> tf.data.Dataset:
    """Every slice of some volumes, cut from the middle, in order; otherwise as `training_data`."""

    def slices(volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
        planes = [
            _crop(slices_of(volume, settings.neighbours, plane), image_size)
            for plane in settings.planes
        ]
        return tf.data.Dataset.from_tensor_slices(_concatenate(planes))

    def to_inputs(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        masks = tf.cast(batch["mask"], tf.float32)
        return tf.cast(batch["image"], tf.float32), _repeated(masks, outputs)

    records = volumes(prepared, splits)
    shapes = [volume["mask"].shape for volume in records.as_numpy_iterator()]
    count = count_slices(shapes, settings.planes)
    return (
        records.flat_map(slices)
        .apply(tf.data.experimental.assert_cardinality(count))
        .batch(batch_size)
        .cache()
        .map(to_inputs)
        .prefetch(2)
    )


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
    total, plane = prepared.count(splits), settings.planes[0]
    for number, volume in enumerate(volumes(prepared, splits).as_numpy_iterator()):
        samples = _crop(slices_of(volume, settings.neighbours, plane), image_size)
        masks = samples["mask"].numpy()[..., 0]
        full = np.flatnonzero(masks.any((1, 2)))
        if not len(full):
            full = np.arange(len(masks))
        share = min(len(full), count * (number + 1) // total - count * number // total)
        for place in full[[len(full) * (2 * n + 1) // (2 * share) for n in range(share)]]:
            chosen["image"].append(samples["image"].numpy()[place])
            chosen["mask"].append(masks[place])
            chosen["title"].append(f"{volume['case'].decode()[:24]}, slice {place + 1}")
    return {**chosen, "image": np.stack(chosen["image"]), "mask": np.stack(chosen["mask"])}


def slices_of(volume: Mapping[str, Any], neighbours: int, plane: str = "axial") -> Slices:
    """A volume's slices with their neighbours as channels; at an end the end slice repeats.

    Args:
        volume: ``image`` and ``mask``, (z, y, x).
        neighbours: Slices below and above.
        plane: Of `config.PLANES`.

    Returns:
        ``image`` (slices, rows, columns, 2 * neighbours + 1) and ``mask`` (slices, rows, columns,
        1); of an axial slice rows are y and columns x, of a coronal z and x, of a sagittal z and y.
    """
    image, mask = (tf.transpose(volume[name], PLANES[plane]) for name in ("image", "mask"))
    count = tf.shape(image)[0]
    offsets = tf.range(-neighbours, neighbours + 1)
    numbers = tf.clip_by_value(tf.range(count)[:, None] + offsets, 0, count - 1)
    return {"image": tf.transpose(tf.gather(image, numbers), (0, 2, 3, 1)), "mask": mask[..., None]}


def _crop(samples: Slices, image_size: int, seed: tf.Tensor | None = None) -> Slices:
    """Slices cropped or padded with 0 to a square, at a random place or else in the middle."""
    stacked = tf.concat([samples["image"], samples["mask"]], -1)
    if seed is None:
        stacked = tf.image.resize_with_crop_or_pad(stacked, image_size, image_size)
    else:
        height, width = (tf.maximum(tf.shape(stacked)[axis], image_size) for axis in (1, 2))
        stacked = tf.image.resize_with_crop_or_pad(stacked, height, width)
        size = (tf.shape(stacked)[0], image_size, image_size, tf.shape(stacked)[3])
        stacked = tf.image.stateless_random_crop(stacked, size, seed)
    channels = samples["image"].shape[-1]
    stacked = tf.ensure_shape(stacked, (None, image_size, image_size, channels + 1))
    return {"image": stacked[..., :channels], "mask": stacked[..., channels:]}


def _concatenate(planes: Sequence[Slices]) -> Slices:
    return {name: tf.concat([samples[name] for samples in planes], 0) for name in planes[0]}


def _without_some_empty(samples: Slices, share: float, seed: tf.Tensor) -> Slices:
    full = tf.reduce_any(samples["mask"] > 0, (1, 2, 3))
    drawn = tf.random.stateless_uniform(tf.shape(full), seed) < share
    return {name: tf.boolean_mask(values, full | drawn) for name, values in samples.items()}


def _repeated(masks: tf.Tensor, outputs: int) -> tf.Tensor | tuple[tf.Tensor, ...]:
    """The masks, once for each output of a network; a single one as it is."""
    return masks if outputs == 1 else (masks,) * outputs
