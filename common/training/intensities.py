"""Augmentation while training: grey values, as `augment.draw` has drawn them."""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf

from common.training.augment import NOISE_STARTS, Draws


def change_intensities(images: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Apply the bias field, blur, contrast, brightness, gamma, noise and JPEG, in this order.

    Args:
        images: (batch, image_size, image_size, channels) float32, 0 to 255.
        draws: From `draw`.

    Returns:
        The same shape, 0 to 255.
    """

    def per_image(name: str) -> tf.Tensor:
        return draws[name][:, None, None, None]

    images = images / 255.0
    if "bias" in draws:
        size = tf.shape(images)[1:3]
        images *= tf.exp(tf.image.resize(draws["bias"], size, "bicubic"))
    if "blur" in draws:
        images = _blurred(images, draws["blur"])
    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    images = (images - mean) * per_image("contrast") + mean + per_image("brightness")
    # x ** gamma; TensorFlow's own power takes four times as long.
    images = tf.exp(per_image("gamma") * tf.math.log(tf.clip_by_value(images, 0.0, 1.0)))
    if "noise" in draws:
        noise = _noise(images, draws["noise_start"])
        images = tf.clip_by_value(images + noise * per_image("noise"), 0.0, 1.0)
    images *= 255.0
    return _as_jpeg(images, draws["jpeg_quality"]) if "jpeg_quality" in draws else images


def _blurred(images: tf.Tensor, blur: tf.Tensor) -> tf.Tensor:
    """Images (batch, h, w, channels) under Gaussians of standard deviation (batch,), of the side.

    What lies outside is the image, mirrored.
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    deviation = tf.maximum(tf.repeat(blur, channels) * tf.cast(height, tf.float32), 1e-3)
    radius = tf.cast(tf.math.ceil(3 * tf.reduce_max(deviation)), tf.int32)
    steps = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    kernel = tf.exp(-0.5 * (steps[:, None] / deviation) ** 2)
    kernel /= tf.reduce_sum(kernel, 0)
    # Every image is a channel, so that each has a kernel of its own.
    planes = tf.reshape(tf.transpose(images, (1, 2, 0, 3)), (1, height, width, batch * channels))
    border = [radius, radius]
    planes = tf.pad(planes, [[0, 0], border, border, [0, 0]], "SYMMETRIC")
    for weights in (kernel[:, None, :, None], kernel[None, :, :, None]):
        planes = tf.nn.depthwise_conv2d(planes, weights, (1, 1, 1, 1), "VALID")
    planes = tf.reshape(planes, (height, width, batch, channels))
    return tf.ensure_shape(tf.transpose(planes, (2, 0, 1, 3)), images.shape)


def _as_jpeg(images: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Each channel of images (batch, h, w, channels), 0 to 255, stored as a JPEG and read again."""

    def stored(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return tf.image.adjust_jpeg_quality(*pair, dct_method="INTEGER_ACCURATE")

    channels = images.shape[-1]
    planes = tf.cast(tf.round(images), tf.uint8)
    stored_planes = [
        tf.map_fn(
            stored,
            (planes[..., i : i + 1], quality),
            fn_output_signature=tf.TensorSpec((None, None, 1), tf.uint8),
        )
        for i in range(channels)
    ]
    return tf.ensure_shape(tf.cast(tf.concat(stored_planes, -1), tf.float32), images.shape)


def _noise(images: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
    """Gaussian noise in the shape of some images: each takes a window of a row, from its start on.

    The row is drawn once, and the window's start for each image, (batch,). To draw every number
    anew takes longer than all geometry.
    """
    values = math.prod(images.shape[1:])
    row = tf.constant(noise_row(values))
    window = tf.TensorSpec((values,), tf.float32)
    windows = tf.map_fn(
        lambda start: row[start : start + values], starts, fn_output_signature=window
    )
    return tf.reshape(windows, tf.shape(images))


@functools.cache
def noise_row(values: int) -> np.ndarray:
    """Standard normal numbers, always the same, with a window of ``values`` from every start on."""
    return np.random.default_rng(0).standard_normal(NOISE_STARTS + values, np.float32)
