"""Augmentation while training: what is drawn, and the geometry; `intensities` has the rest.

A draw belongs to (seed, epoch, step) alone and is applied to an image, its box and its mask
alike, so they stay together, and a run that is resumed sees what an unbroken one would have.
All geometry is one map, so a pixel is interpolated once: affine, and before it an elastic field
where a range is given for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.base.settings import SharedTrain

NOISE_STARTS = 1 << 20
"""An image takes its noise from a row of numbers, from one of so many places on."""

Draws = Mapping[str, tf.Tensor]
"""What `draw` gives, by name."""

# Images that are drawn for together, where each has a seed; a power of two, as the salts are.
_BLOCK = 64


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
        flip: Mirror left to right, with a chance of a half.
        elastic: Standard deviation of the shifts of a smooth field of 6 x 6 points, as a share of
            the side (Simard et al. 2003, coarse to fine as in U-Net's paper). For images and masks;
            a box cannot follow it.
        bias: Standard deviation of the logarithm of a smooth field of 3 x 3 points by which images
            are multiplied, as by the coil's sensitivity in MRI.
        blur: Standard deviation of the widest Gaussian blur, as a share of the side; drawn from 0.
        jpeg_quality: The lowest quality at which images are stored as JPEG and read again, 1 to
            100; drawn up to 100.
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
    blur: float = 0.0
    jpeg_quality: int = 0

    @classmethod
    def of_settings(cls, settings: SharedTrain, **others: float) -> Ranges:
        """Those of the same name among the settings; brightness is half of the contrast."""
        given = {"brightness": getattr(settings, "contrast", 0.0) / 2, **vars(settings), **others}
        return cls(**{name: given[name] for name in cls.__annotations__ if name in given})


def draw(
    ranges: Ranges, batch: tf.Tensor | int, seed: tf.Tensor, rows: slice = slice(None)
) -> Draws:
    """Draw for every image of a batch.

    Args:
        ranges: How far.
        batch: Number of images.
        seed: (2,) int64; the same seed gives the same draws. Or one for each image, (batch, 2): an
            epoch's, and places that follow one another; an image's draws are then the same in any
            batch.
        rows: Where all have one seed, of which images the draws are wanted; they do not depend on
            it.

    Returns:
        ``linear`` (batch, 2, 2) and ``shift`` (batch, 2): a point p, in fractions of the side
        from the centre, (x, y), goes to ``linear @ p + shift``; and ``brightness``,
        ``contrast`` and ``gamma`` (batch,); where their range is not 0, ``noise`` (batch,) and
        ``noise_start`` (batch,) int32, ``elastic`` (batch, 6, 6, 2), from where a point is taken,
        (x, y) in fractions of the side, ``bias`` (batch, 3, 3, 1), ``blur`` (batch,) and
        ``jpeg_quality`` (batch,) int32.
    """
    if seed.shape.rank == 2:
        batch, rows = seed.shape[0], slice(None)

    def uniform(salt: int, low: float, high: float, *shape: int, dtype: Any = tf.float32) -> Any:
        def of_seed(shape: Any, seed: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_uniform(shape, seed, low, high, dtype)

        return _for_each(batch, seed + [0, salt], shape, of_seed)

    def normal(salt: int, *shape: int) -> tf.Tensor:
        return _for_each(batch, seed + [0, salt], shape, tf.random.stateless_normal)

    drawn = uniform(0, -1.0, 1.0, 8)
    angle = drawn[:, 0] * (ranges.rotation_degrees * math.pi / 180)
    zoom = 1 + drawn[:, 1] * ranges.scale
    stretch = tf.sqrt(1 + drawn[:, 2] * ranges.stretch)
    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    matrix = [[cosine * stretch, -sine / stretch], [sine * stretch, cosine / stretch]]
    linear = tf.stack([tf.stack(row, -1) for row in matrix], 1)
    shift = drawn[:, 3:5] * ranges.shift
    if ranges.flip:
        # From another seed, so that all else is drawn as it is without flips.
        chance = uniform(1 << 41, 0.0, 1.0)
        sign = tf.stack([tf.where(chance < 0.5, -1.0, 1.0), tf.ones_like(chance)], -1)
        linear, shift = linear * sign[..., None], shift * sign
    # From further seeds, likewise.
    fields = {}
    if ranges.elastic:
        fields["elastic"] = normal(1 << 42, 6, 6, 2) * ranges.elastic
    if ranges.bias:
        fields["bias"] = normal(1 << 43, 3, 3, 1) * ranges.bias
    if ranges.noise:
        fields["noise"] = tf.fill((batch,), float(ranges.noise))
        fields["noise_start"] = uniform(1 << 40, 0, NOISE_STARTS, dtype=tf.int32)
    if ranges.blur:
        fields["blur"] = uniform(1 << 46, 0.0, 1.0) * ranges.blur
    if ranges.jpeg_quality:
        fields["jpeg_quality"] = uniform(1 << 47, ranges.jpeg_quality, 101, dtype=tf.int32)
    draws = {
        **fields,
        "linear": linear,
        "shift": shift,
        "brightness": drawn[:, 5] * ranges.brightness,
        "contrast": 1 + drawn[:, 6] * ranges.contrast,
        "gamma": (1 + ranges.gamma) ** drawn[:, 7],
    }
    return {name: values[rows] for name, values in draws.items()}


def _for_each(
    batch: tf.Tensor | int,
    seed: tf.Tensor,
    shape: tuple[int, ...],
    of_seed: Callable[[Any, tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Numbers (batch, *shape), from one seed or one for each as of `draw`."""
    if seed.shape.rank == 1:
        return of_seed((batch, *shape), seed)
    # A row of numbers for the whole epoch, of which blocks have a seed: a loop over images is slow.
    first, offset = seed[0] // [1, _BLOCK], seed[0, 1] % _BLOCK
    blocks = range(1 + (batch + _BLOCK - 2) // _BLOCK)
    numbers = tf.concat([of_seed((_BLOCK, *shape), first + [0, n]) for n in blocks], 0)
    return tf.gather(numbers, offset + tf.range(batch, dtype=tf.int64))


def test_time_transforms(
    shift: float = 0.0, scale: float = 0.0, rotation_degrees: float = 0.0
) -> list[tuple[Draws, Draws]]:
    """Small transforms that are always the same, each with its inverse, to average predictions.

    Args:
        shift: Along each axis to either side, as a share of the side.
        scale: Zoom out and in, as a share.
        rotation_degrees: To either side.

    Returns:
        Pairs of ``linear`` and ``shift`` as `draw` has them, for a batch of any size: four for the
        shift, two for the scale, two for the rotation; none for what is 0.
    """

    def transform(zoom: float, x: float, y: float, angle: float) -> Draws:
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        linear = tf.constant([[[cosine, -sine], [sine, cosine]]], tf.float32)
        return {"linear": linear, "shift": tf.constant([[x, y]], tf.float32)}

    angle = math.radians(rotation_degrees)
    parameters: list[tuple[float, float, float, float]] = []
    if shift:
        parameters += [(1, shift, 0, 0), (1, -shift, 0, 0), (1, 0, shift, 0), (1, 0, -shift, 0)]
    if scale:
        parameters += [(1 + scale, 0, 0, 0), (1 / (1 + scale), 0, 0, 0)]
    if angle:
        parameters += [(1, 0, 0, angle), (1, 0, 0, -angle)]
    # Each changes one parameter alone, so that this undoes it.
    return [(transform(z, x, y, a), transform(1 / z, -x, -y, -a)) for z, x, y, a in parameters]


def closer_looks(middles: np.ndarray, zoom: float, shift: float) -> list[tuple[Draws, Draws]]:
    """Enlarge images around points of theirs, from five places: on the point, and at its sides.

    Args:
        middles: (batch, 2), (x, y) in fractions of the side.
        zoom: Over 1.
        shift: Along each axis to either side, as a share of the side of the image.

    Returns:
        Pairs as `test_time_transforms` has them. What is shown lies within the image.
    """
    linear = tf.fill((len(middles), 1, 1), float(zoom)) * tf.eye(2)
    margin = 0.5 / zoom
    transforms: list[tuple[Draws, Draws]] = []
    for x, y in ((0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift)):
        offset = np.clip(np.asarray(middles) + (x, y), margin, 1 - margin) - 0.5
        there = {"linear": linear, "shift": tf.constant(-zoom * offset, tf.float32)}
        back = {"linear": linear / zoom**2, "shift": tf.constant(offset, tf.float32)}
        transforms.append((there, back))
    return transforms


def keep_inside(draws: Draws, boxes: tf.Tensor) -> Draws:
    """Change the shifts just so much that every transformed box stays in its image.

    Args:
        draws: From `draw`.
        boxes: (batch, 4), (x0, y0, x1, y1) in fractions of the side.
    """
    boxes = transform_boxes(boxes, draws)
    back = tf.maximum(-boxes[:, :2], 0.0) - tf.maximum(boxes[:, 2:] - 1.0, 0.0)
    return {**draws, "shift": draws["shift"] + back}


def transform_images(images: tf.Tensor, draws: Draws, nearest: bool = False) -> tf.Tensor:
    """Apply the geometry to images, or to masks with ``nearest``.

    Args:
        images: (batch, image_size, image_size, channels) uint8 or float32. What comes from outside
            is 0.
        draws: From `draw`.
        nearest: Take the nearest pixel instead of the bilinear mean, for label values.

    Returns:
        (batch, image_size, image_size, channels) float32.
    """
    images = tf.cast(images, tf.float32)
    pixels = tf.shape(images)[1]
    image_size = tf.cast(pixels, tf.float32)
    # The kernel wants to know where an output pixel comes from, in pixel centres.
    inverse = tf.linalg.inv(draws["linear"])
    middle = (image_size - 1) / 2
    shifted = (middle + draws["shift"] * image_size)[:, None, :]
    origin = middle - tf.reduce_sum(inverse * shifted, -1)
    if "elastic" in draws:
        steps = tf.range(image_size)
        points = tf.stack(tf.meshgrid(steps, steps), -1)
        points += image_size * tf.image.resize(draws["elastic"], (pixels, pixels), "bicubic")
        points = tf.einsum("bij,bhwj->bhwi", inverse, points) + origin[:, None, None, :]
        return _sample(images, points, nearest)
    zeros = tf.zeros_like(origin[:, :1])
    rows = [inverse[:, 0], origin[:, :1], inverse[:, 1], origin[:, 1:], zeros, zeros]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.concat(rows, -1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="NEAREST" if nearest else "BILINEAR",
        fill_mode="CONSTANT",
    )


def _sample(images: tf.Tensor, points: tf.Tensor, nearest: bool) -> tf.Tensor:
    """Images (batch, h, w, channels) at points (batch, h, w, 2), (x, y); outside is 0."""
    shape = tf.shape(images)
    width = shape[2] + 2
    # A border of one pixel, so that every pixel has its neighbours.
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    flat = tf.reshape(padded, (shape[0], -1, shape[3]))
    last = tf.cast(tf.stack([shape[2], shape[1]]), tf.float32)
    points = tf.clip_by_value(points, -1.0, last) + 1.0
    points = tf.round(points) if nearest else points
    low = tf.minimum(tf.floor(points), last)
    share = points - low
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
    organ fills the ellipse and not the corners; without one this is the transformed box exactly.

    Args:
        boxes: (batch, 4), (x0, y0, x1, y1) in fractions of the side, half-open.
        draws: From `draw`.

    Returns:
        (batch, 4); may reach outside 0 to 1.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    linear = draws["linear"]
    centre = tf.reduce_sum(linear * centre[:, None, :], -1) + draws["shift"] + 0.5
    half = tf.sqrt(tf.reduce_sum((linear * half[:, None, :]) ** 2, -1))
    return tf.concat([centre - half, centre + half], -1)


def mix(batch: Any, alpha: float, seed: tf.Tensor) -> Any:
    """Every sample mixed with another of its batch (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Args:
        batch: Tensors (batch, ...) float32, nested as they like: images, targets, weights.
        alpha: Of the Beta distribution of a sample's own share, 0.01 or more; the smaller, the
            more samples stay almost as they are, or become almost the other.
        seed: (2,) int64; the same seed mixes alike.

    Returns:
        The same, mixed.
    """
    count = tf.shape(tf.nest.flatten(batch)[0])[0]
    # A Beta from two gammas, which of a small alpha may both be too small for 32 bits.
    own, other = tf.unstack(
        tf.random.stateless_gamma((2, count), seed + [0, 1 << 44], alpha, dtype=tf.float64)
    )
    share = tf.cast(own / (own + other), tf.float32)
    order = tf.random.experimental.stateless_shuffle(tf.range(count), seed + [0, 1 << 45])

    def mixed(values: tf.Tensor) -> tf.Tensor:
        shares = tf.reshape(share, (-1, *[1] * (values.shape.rank - 1)))
        return shares * values + (1 - shares) * tf.gather(values, order)

    return tf.nest.map_structure(mixed, batch)
