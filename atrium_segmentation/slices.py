"""The slices of working volumes (z, y, x) that the networks see, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from atrium_segmentation.config import PLANES, STRIDE, TrainSettings
from atrium_segmentation.dataset import volumes

if TYPE_CHECKING:
    import tensorflow as tf


def side_of(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """The smallest square that holds the slices of volumes (z, y, x), a multiple of 32."""
    longest = max(shape[axis] for shape in shapes for plane in planes for axis in PLANES[plane][1:])
    return -(-longest // STRIDE) * STRIDE


def count_of(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """How many slices volumes (z, y, x) have in some planes together."""
    return sum(shape[PLANES[plane][0]] for shape in shapes for plane in planes)


def training_data(
    prepared: Any,
    splits: list[str],
    side: int,
    steps: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
) -> Any:
    """Shuffled, augmented batches of slices from all volumes.

    Images (batch, side, side, channels) in 0..255 and masks (batch, side, side, 1), moved
    together; the masks once for each output of the network.
    """
    import tensorflow as tf

    from common.training import augment, pipeline

    ranges = augment.Ranges(
        rotation_degrees=settings.rotation_degrees,
        scale=settings.scale,
        shift=settings.shift,
        contrast=settings.contrast,
        brightness=settings.contrast / 2,
        gamma=settings.gamma,
        noise=settings.noise,
        flip=settings.flip,
        elastic=settings.elastic,
        bias=settings.bias_field,
    )

    def to_samples(volumes: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        def slices(number: tf.Tensor, volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
            of_planes = []
            for place, plane in enumerate(settings.planes):
                own = tf.stack([seed + (place << 32), number])
                samples = slices_of(volume, settings.neighbours, plane)
                if settings.empty_share < 1:
                    samples = _without_some_empty(samples, settings.empty_share, own)
                of_planes.append(_cut(samples, side, own))
            samples = _together(of_planes)
            samples["case"] = tf.repeat(volume["case"], tf.shape(samples["mask"])[0])
            return tf.data.Dataset.from_tensor_slices(samples)

        return volumes.enumerate().interleave(
            slices, cycle_length=8, block_length=4, num_parallel_calls=2, deterministic=True
        )

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draws = augment.draw(ranges, batch_size, seed)
        images = augment.transform_images(tf.cast(batch["image"], tf.float32), draws)
        masks = augment.transform_images(tf.cast(batch["mask"], tf.float32), draws, nearest=True)
        return augment.change_intensities(images, draws), _for_each(masks, outputs)

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
    prepared: Any,
    splits: list[str],
    side: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
) -> Any:
    """Every slice of some volumes, cut from the middle, in order; otherwise as `training_data`."""
    import tensorflow as tf

    def slices(volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
        of_planes = [
            _cut(slices_of(volume, settings.neighbours, plane), side, None)
            for plane in settings.planes
        ]
        return tf.data.Dataset.from_tensor_slices(_together(of_planes))

    def to_inputs(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        masks = tf.cast(batch["mask"], tf.float32)
        return tf.cast(batch["image"], tf.float32), _for_each(masks, outputs)

    records = volumes(prepared, splits)
    shapes = [volume["mask"].shape for volume in records.as_numpy_iterator()]
    count = count_of(shapes, settings.planes)
    return (
        records.flat_map(slices)
        .apply(tf.data.experimental.assert_cardinality(count))
        .batch(batch_size)
        .cache()
        .map(to_inputs)
        .prefetch(2)
    )


def some_with_structure(
    prepared: Any, splits: list[str], side: int, settings: TrainSettings, count: int
) -> dict[str, Any]:
    """The same slices each time, cut as in `validation_data`, dealt out to the volumes.

    Of a volume they lie evenly over the slices that the structure is on.

    Returns:
        ``image`` (n, side, side, channels) and ``mask`` (n, side, side), uint8, and ``title``: case
        and number of the slice; ``count`` of them or, of volumes with few slices, fewer.
    """
    import numpy as np

    found: dict[str, list[Any]] = {"image": [], "mask": [], "title": []}
    of, plane = prepared.count(splits), settings.planes[0]
    for number, volume in enumerate(volumes(prepared, splits).as_numpy_iterator()):
        samples = _cut(slices_of(volume, settings.neighbours, plane), side, None)
        masks = samples["mask"].numpy()[..., 0]
        full = np.flatnonzero(masks.any((1, 2)))
        if not len(full):
            full = np.arange(len(masks))
        wanted = min(len(full), count * (number + 1) // of - count * number // of)
        for place in full[[len(full) * (2 * one + 1) // (2 * wanted) for one in range(wanted)]]:
            found["image"].append(samples["image"].numpy()[place])
            found["mask"].append(masks[place])
            found["title"].append(f"{volume['case'].decode()[:24]}, slice {place + 1}")
    return {name: values if name == "title" else np.stack(values) for name, values in found.items()}


def slices_of(volume: dict[str, Any], neighbours: int, plane: str = "axial") -> dict[str, Any]:
    """A volume's slices with their neighbours as channels; at an end the end slice repeats.

    Args:
        volume: ``image`` and ``mask``, (z, y, x).
        neighbours: Slices below and above.
        plane: Of `config.PLANES`.

    Returns:
        ``image`` (slices, rows, columns, 2 * neighbours + 1) and ``mask`` (slices, rows, columns,
        1); of an axial slice rows are y and columns x, of a coronal z and x, of a sagittal z and y.
    """
    import tensorflow as tf

    image, mask = (tf.transpose(volume[name], PLANES[plane]) for name in ("image", "mask"))
    count = tf.shape(image)[0]
    offsets = tf.range(-neighbours, neighbours + 1)
    which = tf.clip_by_value(tf.range(count)[:, None] + offsets, 0, count - 1)
    return {"image": tf.transpose(tf.gather(image, which), (0, 2, 3, 1)), "mask": mask[..., None]}


def _cut(samples: dict[str, Any], side: int, seed: Any) -> dict[str, Any]:
    """Slices cut or padded with 0 to a square: at a place drawn for the volume, else the middle."""
    import tensorflow as tf

    both = tf.concat([samples["image"], samples["mask"]], -1)
    height, width = tf.shape(both)[1], tf.shape(both)[2]
    both = tf.image.resize_with_crop_or_pad(both, tf.maximum(height, side), tf.maximum(width, side))
    if seed is None:
        both = tf.image.resize_with_crop_or_pad(both, side, side)
    else:
        size = (tf.shape(both)[0], side, side, tf.shape(both)[3])
        both = tf.image.stateless_random_crop(both, size, seed)
    channels = samples["image"].shape[-1]
    both = tf.ensure_shape(both, (None, side, side, channels + 1))
    return {"image": both[..., :channels], "mask": both[..., channels:]}


def _together(of_planes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.concat([one[name] for one in of_planes], 0) for name in of_planes[0]}


def _without_some_empty(samples: dict[str, Any], share: float, seed: Any) -> dict[str, Any]:
    import tensorflow as tf

    full = tf.reduce_any(samples["mask"] > 0, (1, 2, 3))
    drawn = tf.random.stateless_uniform(tf.shape(full), seed) < share
    return {name: tf.boolean_mask(values, full | drawn) for name, values in samples.items()}


def _for_each(masks: Any, outputs: int) -> Any:
    """The masks, once for each output of a network; a single one as it is."""
    return masks if outputs == 1 else (masks,) * outputs
