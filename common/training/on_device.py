"""Augmentation on the device: what `augment` and `intensities` compute, in keras.ops.

The host draws, each sample from a seed of its own, and moves boxes, which are few numbers (a seed
of keras.random is a constant of a compiled step). Images and masks come as uint8 with their draws,
and the training step begins with this. All is float32 whatever the network's precision, and written
out by elements where a card would multiply matrices with fewer bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from common.base.settings import SharedTrain
from common.training import augment, intensities

Draws = Mapping[str, Any]
"""What `augment.draw` gives, on the device."""


@dataclass(frozen=True)
class Kernels:
    """What a batch is augmented by, on the host or on the device.

    Attributes:
        transform_images: `augment.transform_images`.
        change_intensities: `intensities.change_intensities`.
        transpose: The axes of a tensor in another order: `tf.transpose`, `keras.ops.transpose`.
        shares: Masks (batch, size, size, 1), 255 where something is, and a smaller side to its
            share (batch, side, side, 1) of each area, float32.
    """

    transform_images: Callable[..., Any]
    change_intensities: Callable[..., Any]
    transpose: Callable[..., Any]
    shares: Callable[[Any, int], Any]


def kernels(settings: SharedTrain) -> Kernels:
    """Those of the place that ``--augment`` names."""
    return DEVICE if settings.augment == "device" else HOST


def augment_in_step(model: keras.Model, augmented: Callable[[Any], Any]) -> None:
    """Let a model's training step begin with augmentation.

    Args:
        model: Changed in place.
        augmented: What the training data gives to ``(images, targets)``, perhaps with weights.
    """
    step = model.train_step

    def train_step(*arguments: Any) -> Any:
        # On JAX the state comes first.
        *state, batch = arguments
        return step(*state, augmented(batch))

    model.train_step = train_step


def transform_images(images: Any, draws: Draws, nearest: bool = False) -> Any:
    """Apply the geometry to images, or to masks with ``nearest``; as `augment.transform_images`.

    Args:
        images: (batch, image_size, image_size, channels) uint8 or float32.
        draws: From `augment.draw`.
        nearest: Take the nearest pixel, for label values.

    Returns:
        The same shape, float32.
    """
    images = ops.cast(images, "float32")
    size = images.shape[1]
    middle = (size - 1) / 2
    linear = draws["linear"][:, :, :, None, None]
    a, b, c, d = (linear[:, row, column] for row in (0, 1) for column in (0, 1))
    steps = ops.arange(size, dtype="float32")
    shifted = middle + draws["shift"] * size
    right = steps[None, None, :] - shifted[:, :1, None]
    down = steps[None, :, None] - shifted[:, 1:, None]
    if "elastic" in draws:
        field = size * _smooth(draws["elastic"], size)
        right, down = right + field[..., 0], down + field[..., 1]
    # From where each pixel is taken: back by the inverse.
    determinant = a * d - b * c
    columns = (d * right - b * down) / determinant + middle
    rows = (a * down - c * right) / determinant + middle
    return _sample(images, columns, rows, nearest)


def _sample(images: Any, columns: Any, rows: Any, nearest: bool) -> Any:
    """Images (batch, size, size, channels) at places (batch, size, size); outside is 0."""
    size, channels = images.shape[1], images.shape[3]
    # A border of one pixel, so that every pixel has its neighbours.
    width = size + 2
    flat = ops.reshape(ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), (-1, channels))
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * (width * width)
    columns, rows = (ops.clip(places, -1.0, size) + 1.0 for places in (columns, rows))
    if nearest:
        column, row = (ops.cast(ops.round(places), "int32") for places in (columns, rows))
        return ops.take(flat, first + row * width + column, axis=0)
    west, north = (ops.minimum(ops.floor(places), float(size)) for places in (columns, rows))
    across, down = (columns - west)[..., None], (rows - north)[..., None]
    index = first + ops.cast(north, "int32") * width + ops.cast(west, "int32")

    def neighbour(x: int, y: int) -> Any:
        return ops.take(flat, index + (y * width + x), axis=0)

    above = neighbour(0, 0) * (1 - across) + neighbour(1, 0) * across
    below = neighbour(0, 1) * (1 - across) + neighbour(1, 1) * across
    return above * (1 - down) + below * down


def change_intensities(images: Any, draws: Draws) -> Any:
    """Apply the bias field, blur, contrast, brightness, gamma and noise, in this order.

    As `intensities.change_intensities`; a blur's kernel is not cut at three deviations.

    Args:
        images: (batch, image_size, image_size, channels) float32, 0 to 255.
        draws: From `augment.draw`, without ``jpeg_quality``.

    Returns:
        The same shape, 0 to 255.
    """

    def per_image(name: str) -> Any:
        return draws[name][:, None, None, None]

    images = images / 255.0
    if "bias" in draws:
        images = images * ops.exp(_smooth(draws["bias"], images.shape[1]))
    if "blur" in draws:
        images = _blurred(images, draws["blur"])
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * per_image("contrast") + mean + per_image("brightness")
    images = ops.exp(per_image("gamma") * ops.log(ops.clip(images, 0.0, 1.0)))
    if "noise" in draws:
        values = images.shape[1] * images.shape[2] * images.shape[3]
        window = draws["noise_start"][:, None] + ops.arange(values, dtype="int32")
        noise = ops.take(ops.convert_to_tensor(intensities.noise_row(values)), window, axis=0)
        noise = ops.reshape(noise, (-1, *images.shape[1:]))
        images = ops.clip(images + noise * per_image("noise"), 0.0, 1.0)
    return images * 255.0


def _blurred(images: Any, blur: Any) -> Any:
    """Images (batch, size, size, channels) under Gaussians of deviation (batch,), of the side.

    What lies outside is the image, mirrored. A card multiplies the matrices by TensorFloat-32: a
    tenth of a grey value.
    """
    size = images.shape[1]
    deviation = ops.maximum(blur * size, 1e-3)[:, None, None]
    steps = ops.arange(size, dtype="float32")
    apart, across = steps[:, None] - steps, steps[:, None] + steps + 1
    near, before, after = (
        ops.exp(-0.5 * (steps / deviation) ** 2) for steps in (apart, across, across - 2 * size)
    )
    weights = near + before + after
    weights = weights / ops.sum(weights, axis=2, keepdims=True)
    images = ops.einsum("bij,bjwc->biwc", weights, images)
    return ops.einsum("bij,bhjc->bhic", weights, images)


def shares(masks: Any, side: int) -> Any:
    """Shares of areas, as of `Kernels`; on a card by TensorFloat-32, to 0.0005."""
    weights = ops.convert_to_tensor(_resizing(masks.shape[1], side, "area"))
    masks = ops.einsum("ij,bjwc->biwc", weights, ops.cast(masks, "float32") / 255.0)
    return ops.einsum("ij,bhjc->bhic", weights, masks)


def _smooth(field: Any, size: int) -> Any:
    """A field (batch, n, n, channels) between its points: (batch, size, size, channels)."""
    points = field.shape[1]
    weights = ops.convert_to_tensor(_resizing(points, size, "bicubic"))
    field = sum(weights[:, n, None, None] * field[:, n, None] for n in range(points))
    return sum(weights[:, n, None] * field[:, :, n, None] for n in range(points))


@functools.cache
def _resizing(size: int, side: int, method: str) -> np.ndarray:
    """The matrix (side, size) by which TensorFlow resizes a row, float32."""
    with tf.init_scope(), tf.device("/cpu:0"):
        # A column of each row's unit, so that only rows are resized.
        units = tf.eye(size)[None, :, :, None]
        rows = tf.image.resize(units, (side, size), method)
        return rows.numpy()[0, ..., 0]


def _shares_on_host(masks: tf.Tensor, side: int) -> tf.Tensor:
    return tf.image.resize(tf.cast(masks, tf.float32) / 255, (side, side), "area")


HOST = Kernels(
    augment.transform_images, intensities.change_intensities, tf.transpose, _shares_on_host
)
DEVICE = Kernels(transform_images, change_intensities, ops.transpose, shares)
