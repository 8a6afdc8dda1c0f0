"""Drawing on a patient's frontal plane in centimetres: curves, tubes, smooth noise.

The canvas is a square of `SIZE` pixels and `EXTENT_CM` centimetres around the middle of the
chest. x grows to the right of the image (the patient's left), y grows to the feet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

SIZE = 576
"""Side of the canvas in pixels."""
EXTENT_CM = 43.2
"""Side of the canvas at the patient."""
PIXEL_CM = EXTENT_CM / SIZE
"""Side of a pixel at the patient."""
_LINE = ((np.arange(SIZE) + 0.5) * PIXEL_CM - EXTENT_CM / 2).astype(np.float32)
X, Y = _LINE[None, :], _LINE[:, None]
"""The coordinates of the pixel centres in cm: X of shape ``(1, SIZE)``, Y ``(SIZE, 1)``."""
_OVERSAMPLING = 2
_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)

Map = NDArray[np.float32]
"""A map of shape ``(SIZE, SIZE)``, mostly a path length in centimetres."""
Mask = NDArray[np.bool_]
Wall = tuple[NDArray, NDArray]
"""The chest cavity's half-width over y: ``(y, half_width)``, each ``(n,)``, in centimetres."""


def curve(points: ArrayLike, count: int = 60, closed: bool = False) -> NDArray[np.float64]:
    """A smooth curve through a few points.

    Args:
        points: Shape ``(n, d)``, n at least 3.
        count: Number of points returned.
        closed: Whether the curve ends where it starts.

    Returns:
        Shape ``(count, d)``.
    """
    points = np.asarray(points, float)
    before, after = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    if closed:
        before, after = points[-1:], points[:2]
    # Catmull-Rom: through every point, and a hundred times faster to set up than a spline.
    p = np.concatenate([before, points, after])
    place = np.linspace(0, len(p) - 3, count)
    low = np.minimum(place.astype(int), len(p) - 4)
    t = (place - low)[:, None]
    a, b, c, d = p[low], p[low + 1], p[low + 2], p[low + 3]
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


class Layer:
    """One sheet to draw on, antialiased; where drawings overlap, the last one counts."""

    def __init__(self) -> None:
        self._image = Image.new("L", (SIZE * _OVERSAMPLING,) * 2)
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: ArrayLike, value: float = 1.0) -> Layer:
        """Fill a polygon, points ``(n, 2)`` in cm, value in 0..1; return the layer itself."""
        pixels = (np.asarray(points, float) + EXTENT_CM / 2) / PIXEL_CM * _OVERSAMPLING
        self._draw.polygon(pixels.ravel().tolist(), fill=round(255 * value))
        return self

    def tube(
        self, points: ArrayLike, radius_cm: ArrayLike, value: float = 1.0, shell: float = 0.0
    ) -> None:
        """Draw the path length through a tube.

        Args:
            points: The centre line, ``(n, 2)`` in cm.
            radius_cm: One radius or ``(n,)``.
            value: The path length through the middle, in 0..1.
            shell: 0 for a full tube; above it the inside is lighter than the rim.
        """
        points = np.asarray(points, float)
        along = points[np.minimum(np.arange(len(points)) + 1, len(points) - 1)]
        along = along - points[np.maximum(np.arange(len(points)) - 1, 0)]
        length = np.hypot(along[:, 0], along[:, 1]) + 1e-9
        across = along[:, ::-1] * [-1, 1] * (radius_cm / length)[:, None]
        steps = ((1.0, 0.62), (0.86, 1.0), (0.6, 1.0 - shell), (0.3, 1.0 - 1.15 * shell))
        for fraction, chord in steps if shell else ((1.0, 0.45), (0.8, 0.75), (0.45, 1.0)):
            edge = fraction * across
            self.polygon(np.concatenate([points + edge, (points - edge)[::-1]]), value * chord)

    def lines(self, paths: NDArray[np.float64], radius_cm: NDArray[np.float64]) -> None:
        """Draw many thin full tubes: centre lines ``(n, points, 2)`` and radii ``(n,)`` in cm.

        A tube's value is its radius in parts of 0.75 cm, so that the map is a path length.
        """
        scale = _OVERSAMPLING / PIXEL_CM
        pixels = ((paths + EXTENT_CM / 2) * scale).reshape(len(paths), -1).tolist()
        for points, radius in zip(pixels, radius_cm.tolist(), strict=True):
            value = 255 * min(1.0, radius / 0.75)
            width = 2 * radius * scale
            if width < 5:
                self._draw.line(points, fill=round(0.85 * value), width=max(1, round(width)))
                continue
            joint = "curve" if width > 14 else None
            self._draw.line(points, fill=round(0.6 * value), width=round(width), joint=joint)
            self._draw.line(points, fill=round(value), width=round(0.62 * width))

    def disc(self, centre: ArrayLike, radius_cm: ArrayLike, value: float = 1.0) -> None:
        """Fill a disc or an upright ellipse."""
        self.polygon(np.asarray(centre) + _CIRCLE * radius_cm, value)

    def map(self) -> Map:
        """What was drawn, ``(SIZE, SIZE)``, 0..1."""
        return np.asarray(self._image.reduce(_OVERSAMPLING), np.float32) / np.float32(255)


def rounded(mask: Map, radius_cm: float, reduction: int = 4) -> Map:
    """A mask as a body with round edges: path length 0 outside, 1 from ``radius_cm`` inwards."""
    small = mask[reduction // 2 :: reduction, reduction // 2 :: reduction] > 0.5
    depth = ndimage.distance_transform_edt(small).astype(np.float32)
    depth *= PIXEL_CM * reduction / radius_cm
    depth = resized(ndimage.gaussian_filter(depth, 0.7), mask.shape)
    return np.sqrt(1 - (1 - np.clip(depth, 0, 1)) ** 2) * mask


def resized(field: Map, shape: tuple[int, int]) -> Map:
    """A map bicubically resized to ``shape``."""
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BICUBIC))


def blurred(field: Map, sigma_px: float, reduction: int = 8) -> Map:
    """A wide Gaussian blur, done on a reduced copy."""
    image = Image.fromarray(np.ascontiguousarray(field, np.float32)).reduce(reduction)
    small = ndimage.gaussian_filter(np.asarray(image), sigma_px / reduction, mode="nearest")
    return resized(small, field.shape)


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, ...], falloff: float = 1.0
) -> Map:
    """Smooth random noise of standard deviation about 1: one octave per number of cells across.

    Args:
        rng: Source of randomness.
        shape: Shape of the map returned.
        cells: Number of random values along an edge, an octave each.
        falloff: An octave's amplitude is ``cells ** -falloff``.
    """
    # Coarse octaves are summed small: enlarging is what costs.
    small = (shape[0] // 4, shape[1] // 4)
    coarse, fine = np.zeros(small, np.float32), np.zeros(shape, np.float32)
    power = 0.0
    for count in cells:
        amplitude = (count / cells[0]) ** -falloff
        grid = rng.standard_normal((count + 3, count + 3), dtype=np.float32)
        # A random part of the grid, so that its lines do not show.
        column, row = rng.uniform(0, 2, 2)
        box = (column, row, column + count + 1, row + count + 1)
        total = coarse if 6 * count < small[0] else fine
        total += amplitude * np.asarray(
            Image.fromarray(grid).resize(total.shape[::-1], Image.Resampling.BICUBIC, box=box)
        )
        power += 0.5 * amplitude**2
    if 6 * cells[0] < small[0]:
        fine += resized(coarse, shape)
    return fine / np.float32(np.sqrt(power))


def smoothstep(value: Map, low: float, high: float) -> Map:
    """0 below ``low``, 1 above ``high``, smooth in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
