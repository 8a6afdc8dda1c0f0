"""Augmentation while training: what is drawn, apart from how it is applied.

A draw belongs to (seed, epoch, step) alone and is applied to an image, its box and its mask
alike, so they stay together, and a run that is resumed sees what an unbroken one would have.
All geometry is one affine map, so a pixel is interpolated once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

Draws = Mapping[str, "tf.Tensor"]


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


def draw(ranges: Ranges, batch: tf.Tensor | int, seed: tf.Tensor) -> Draws:
    """Draw for every image of a batch.

    Args:
        ranges: How far.
        batch: Number of images.
        seed: (2,) int64; the same seed gives the same draws.

    Returns:
        ``linear`` (batch, 2, 2) and ``shift`` (batch, 2): a point p, in fractions of the side
        from the centre, (x, y), goes to ``linear @ p + shift``; and ``brightness``,
        ``contrast`` and ``gamma`` (batch,), ``noise`` (batch,) and the noise's ``seed``.
    """
    import tensorflow as tf

    uniform = tf.random.stateless_uniform((batch, 8), seed, -1.0, 1.0)
    angle = uniform[:, 0] * (ranges.rotation_degrees * 3.14159265 / 180)
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
    return {
        "linear": linear,
        "shift": shift,
        "brightness": uniform[:, 5] * ranges.brightness,
        "contrast": 1 + uniform[:, 6] * ranges.contrast,
        "gamma": (1 + ranges.gamma) ** uniform[:, 7],
        "noise": tf.fill((batch,), float(ranges.noise)),
        "seed": seed + [0, 1 << 40],
    }


def fixed_moves(shift: float, scale: float) -> list[tuple[Draws, Draws]]:
    """Small moves that are always the same, each with its inverse, to average predictions over.

    Args:
        shift: Along each axis to either side, as a share of the side.
        scale: Zoom out and in, as a share.

    Returns:
        Six pairs of ``linear`` and ``shift`` as `draw` has them, for a batch of any size.
    """
    import tensorflow as tf

    def move(zoom: float, x: float, y: float) -> Draws:
        linear = tf.constant([[[zoom, 0.0], [0.0, zoom]]], tf.float32)
        return {"linear": linear, "shift": tf.constant([[x, y]], tf.float32)}

    moves = [(1.0, shift, 0.0), (1.0, -shift, 0.0), (1.0, 0.0, shift), (1.0, 0.0, -shift)]
    moves += [(1 + scale, 0.0, 0.0), (1 / (1 + scale), 0.0, 0.0)]
    return [(move(z, x, y), move(1 / z, -x / z, -y / z)) for z, x, y in moves]


def keep_inside(draws: Draws, boxes: tf.Tensor) -> Draws:
    """Change the shifts just so much that every moved box stays in its image.

    Args:
        draws: From `draw`.
        boxes: (batch, 4), (x0, y0, x1, y1) in fractions of the side.
    """
    import tensorflow as tf

    moved = move_boxes(boxes, draws)
    out = tf.maximum(-moved[:, :2], 0.0) - tf.maximum(moved[:, 2:] - 1.0, 0.0)
    return {**draws, "shift": draws["shift"] + out}


def move_images(images: tf.Tensor, draws: Draws, nearest: bool = False) -> tf.Tensor:
    """Apply the geometry to images, or to masks with ``nearest``.

    Args:
        images: (batch, side, side, channels) float32. What comes from outside is 0.
        draws: From `draw`.
        nearest: Take the nearest pixel instead of the bilinear mean, for label values.

    Returns:
        (batch, side, side, channels) float32.
    """
    import tensorflow as tf

    side = tf.cast(tf.shape(images)[1], tf.float32)
    # The kernel asks where an output pixel comes from, in pixel centres.
    back = tf.linalg.inv(draws["linear"])
    middle = (side - 1) / 2
    origin = middle - tf.reduce_sum(back * (middle + draws["shift"] * side)[:, None, :], -1)
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


def move_boxes(boxes: tf.Tensor, draws: Draws) -> tf.Tensor:
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
    """Apply contrast, brightness, gamma and noise.

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
    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    images = (images - mean) * each("contrast") + mean + each("brightness")
    images = tf.clip_by_value(images, 0.0, 1.0) ** each("gamma")
    noise = tf.random.stateless_normal(tf.shape(images), draws["seed"])
    return tf.clip_by_value(images + noise * each("noise"), 0.0, 1.0) * 255.0
