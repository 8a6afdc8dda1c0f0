"""Augmentation while training: what is drawn, apart from how it is applied.

A draw belongs to (seed, epoch, step) alone and is applied to an image, its box and its mask
alike, so they stay together, and a run that is resumed sees what an unbroken one would have.
All geometry is one map, so a pixel is interpolated once: affine, and before it an elastic field
where one is asked for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

Draws = Mapping[str, "tf.Tensor"]

_STARTS = 1 << 20
"""From so many places of a row of noise an image takes its own."""


@dataclass(frozen=True)
class Ranges:
    """How far a draw may go; every draw is uniform, and 0 turns one off.

    Attributes:
        rotation_degrees: Rotation to either side.
        scale: Zoom, as a share: 0.1 is 0.9 to 1.1.
        stretch: Width against height, as a share.
        shift: Shift along each axis, as a share of the side.
        brightness: Added, as a share of the value range.
        contrast: About the image's mean, as a share.
        gamma: Exponent, as a share: 0.2 is 1 / 1.2 to 1.2.
        noise: Standard deviation of added Gaussian noise, as a share of the value range.
        flip: Mirror left to right, every other time by chance.
        elastic: Standard deviation of the shifts of a smooth field of 6 x 6 points, as a share of
            the side (Simard et al. 2003, coarse to fine as in U-Net's paper). For images and masks;
            a box can't follow it.
        bias: Standard deviation of the logarithm of a smooth field of 3 x 3 points that images are
            multiplied by, as the coil's sensitivity in MRI.
    """

    rotation_degrees: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    flip: bool = False
    elastic: float = 0.0
    bias: float = 0.0


def draw(ranges: Ranges, batch: tf.Tensor | int, seed: tf.Tensor) -> Draws:
    """Draw for every image of a batch.

    Args:
        ranges: How far.
        batch: Number of images.
        seed: (2,) int64; the same seed gives the same draws.

    Returns:
        ``linear`` (batch, 2, 2) and ``shift`` (batch, 2): a point p, in fractions of the side
        from the centre, (x, y), goes to ``linear @ p + shift``; and ``brightness``,
        ``contrast`` and ``gamma`` (batch,), and the noise's ``seed``; where they are asked for,
        ``noise`` (batch,), ``elastic`` (batch, 6, 6, 2), from where a point is taken, (x, y) in
        fractions of the side, and ``bias`` (batch, 3, 3, 1).
    """
    import tensorflow as tf

    uniform = tf.random.stateless_uniform((batch, 8), seed, -1.0, 1.0)
    angle = uniform[:, 0] * (ranges.rotation_degrees * math.pi / 180)
    zoom = 1 + uniform[:, 1] * ranges.scale
    stretch = tf.sqrt(1 + uniform[:, 2] * ranges.stretch)
    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    linear = tf.stack(
        [
            tf.stack([cosine * stretch, -sine / stretch], -1),
            tf.stack([sine * stretch, cosine / stretch], -1),
        ],
        1,
    )
    shift = uniform[:, 3:5] * ranges.shift
    if ranges.flip:
        # A number of its own, so that all else is drawn as it is without flips.
        chance = tf.random.stateless_uniform((batch,), seed + [0, 1 << 41])
        sign = tf.stack([tf.where(chance < 0.5, -1.0, 1.0), tf.ones_like(chance)], -1)
        linear, shift = linear * sign[..., None], shift * sign
    # Further numbers of their own, likewise.
    fields = {}
    if ranges.elastic:
        normal = tf.random.stateless_normal((batch, 6, 6, 2), seed + [0, 1 << 42])
        fields["elastic"] = normal * ranges.elastic
    if ranges.bias:
        normal = tf.random.stateless_normal((batch, 3, 3, 1), seed + [0, 1 << 43])
        fields["bias"] = normal * ranges.bias
    if ranges.noise:
        fields["noise"] = tf.fill((batch,), float(ranges.noise))
    return {
        **fields,
        "linear": linear,
        "shift": shift,
        "brightness": uniform[:, 5] * ranges.brightness,
        "contrast": 1 + uniform[:, 6] * ranges.contrast,
        "gamma": (1 + ranges.gamma) ** uniform[:, 7],
        "seed": seed + [0, 1 << 40],
    }


def test_time_transforms(
    shift: float = 0.0, scale: float = 0.0, rotation_degrees: float = 0.0
) -> list[tuple[Draws, Draws]]:
    """Small moves that are always the same, each with its inverse, to average predictions over.

    Args:
        shift: Along each axis to either side, as a share of the side.
        scale: Zoom out and in, as a share.
        rotation_degrees: To either side.

    Returns:
        Pairs of ``linear`` and ``shift`` as `draw` has them, for a batch of any size: four for the
        shift, two for the scale, two for the rotation; none for what is 0.
    """
    import tensorflow as tf

    def move(zoom: float, x: float, y: float, angle: float) -> Draws:
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        linear = tf.constant([[[cosine, -sine], [sine, cosine]]], tf.float32)
        return {"linear": linear, "shift": tf.constant([[x, y]], tf.float32)}

    angle, moves = math.radians(rotation_degrees), []
    if shift:
        moves += [(1.0, *by, 0.0) for by in ((shift, 0), (-shift, 0), (0, shift), (0, -shift))]
    if scale:
        moves += [(1 + scale, 0.0, 0.0, 0.0), (1 / (1 + scale), 0.0, 0.0, 0.0)]
    if angle:
        moves += [(1.0, 0.0, 0.0, angle), (1.0, 0.0, 0.0, -angle)]
    # None moves in two ways at once, so that this undoes it.
    return [(move(z, x, y, a), move(1 / z, -x, -y, -a)) for z, x, y, a in moves]


def keep_inside(draws: Draws, boxes: tf.Tensor) -> Draws:
    """Change the shifts just so much that every moved box stays in its image.

    Args:
        draws: From `draw`.
        boxes: (batch, 4), (x0, y0, x1, y1) in fractions of the side.
    """
    import tensorflow as tf

    moved = transform_boxes(boxes, draws)
    out = tf.maximum(-moved[:, :2], 0.0) - tf.maximum(moved[:, 2:] - 1.0, 0.0)
    return {**draws, "shift": draws["shift"] + out}


def transform_images(images: tf.Tensor, draws: Draws, nearest: bool = False) -> tf.Tensor:
    """Apply the geometry to images, or to masks with ``nearest``.

    Args:
        images: (batch, side, side, channels) float32. What comes from outside is 0.
        draws: From `draw`.
        nearest: Take the nearest pixel instead of the bilinear mean, for label values.

    Returns:
        (batch, side, side, channels) float32.
    """
    import tensorflow as tf

    pixels = tf.shape(images)[1]
    side = tf.cast(pixels, tf.float32)
    # The kernel asks where an output pixel comes from, in pixel centres.
    back = tf.linalg.inv(draws["linear"])
    middle = (side - 1) / 2
    origin = middle - tf.reduce_sum(back * (middle + draws["shift"] * side)[:, None, :], -1)
    if "elastic" in draws:
        steps = tf.range(side)
        at = tf.stack(tf.meshgrid(steps, steps), -1)
        at += side * tf.image.resize(draws["elastic"], (pixels, pixels), "bicubic")
        at = tf.einsum("bij,bhwj->bhwi", back, at) + origin[:, None, None, :]
        return _taken(images, at, nearest)
    zeros = tf.zeros_like(origin[:, :1])
    rows = [back[:, 0], origin[:, :1], back[:, 1], origin[:, 1:], zeros, zeros]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.concat(rows, -1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="NEAREST" if nearest else "BILINEAR",
        fill_mode="CONSTANT",
    )


def _taken(images: tf.Tensor, at: tf.Tensor, nearest: bool) -> tf.Tensor:
    """Images (batch, h, w, channels) at places (batch, h, w, 2), (x, y); outside is 0."""
    import tensorflow as tf

    shape = tf.shape(images)
    width = shape[2] + 2
    # One pixel of the outside all around, so that there is always a neighbour.
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    flat = tf.reshape(padded, (shape[0], -1, shape[3]))
    last = tf.cast(tf.stack([shape[2], shape[1]]), tf.float32)
    at = tf.clip_by_value(at, -1.0, last) + 1.0
    at = tf.round(at) if nearest else at
    low = tf.minimum(tf.floor(at), last)
    share = at - low
    column, row = tf.unstack(tf.cast(low, tf.int32), axis=-1)
    right, down = share[..., :1], share[..., 1:]

    def neighbour(x: int, y: int) -> tf.Tensor:
        return tf.gather(flat, (row + y) * width + column + x, batch_dims=1)

    above = neighbour(0, 0) * (1 - right) + neighbour(1, 0) * right
    below = neighbour(0, 1) * (1 - right) + neighbour(1, 1) * right
    return above * (1 - down) + below * down


def transform_boxes(boxes: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Apply the geometry to boxes.

    Under a rotation a box becomes the tight box of the rotated ellipse that it holds, since an
    organ fills the ellipse and not the corners; without one this is the moved box exactly.

    Args:
        boxes: (batch, 4), (x0, y0, x1, y1) in fractions of the side, half-open.
        draws: From `draw`.

    Returns:
        (batch, 4); may reach outside 0 to 1.
    """
    import tensorflow as tf

    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    linear = draws["linear"]
    centre = tf.reduce_sum(linear * centre[:, None, :], -1) + draws["shift"] + 0.5
    half = tf.sqrt(tf.reduce_sum((linear * half[:, None, :]) ** 2, -1))
    return tf.concat([centre - half, centre + half], -1)


def change_intensities(images: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Apply the bias field, contrast, brightness, gamma and noise.

    Args:
        images: (batch, side, side, channels) float32, 0 to 255.
        draws: From `draw`.

    Returns:
        The same shape, 0 to 255.
    """
    import tensorflow as tf

    def each(name: str) -> tf.Tensor:
        return draws[name][:, None, None, None]

    images = images / 255.0
    if "bias" in draws:
        size = tf.shape(images)[1:3]
        images *= tf.exp(tf.image.resize(draws["bias"], size, "bicubic"))
    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    images = (images - mean) * each("contrast") + mean + each("brightness")
    # x ** gamma, which TensorFlow's own power takes four times as long for.
    images = tf.exp(each("gamma") * tf.math.log(tf.clip_by_value(images, 0.0, 1.0)))
    if "noise" in draws:
        noise = _noise(images, draws["seed"])
        images = tf.clip_by_value(images + noise * each("noise"), 0.0, 1.0)
    return images * 255.0


def _noise(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Gaussian noise for images (batch, side, side, channels): each takes a window of one row.

    The row is drawn once and the window's start for each image. To draw every number anew takes
    longer than all geometry.
    """
    import tensorflow as tf

    values = math.prod(images.shape[1:])
    row = tf.constant(_normal_row(_STARTS + values))
    starts = tf.random.stateless_uniform(tf.shape(images)[:1], seed, 0, _STARTS, tf.int32)
    window = tf.TensorSpec((values,), tf.float32)
    windows = tf.map_fn(
        lambda start: row[start : start + values], starts, fn_output_signature=window
    )
    return tf.reshape(windows, tf.shape(images))


@functools.cache
def _normal_row(length: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(length, np.float32)
