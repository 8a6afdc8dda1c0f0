"""From a line integral to what a digital radiography system shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from synthetic_sample import shapes
from synthetic_sample.patient import Pose
from synthetic_sample.shapes import Map, Mask


def into_film(field: NDArray, pose: Pose, size: int) -> NDArray:
    """Resample a float32 or uint8 map of the patient's plane onto the film, ``(size, size)``."""
    scale = pose.field_cm / size / shapes.PIXEL_CM
    angle = np.radians(pose.angle_deg)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = shapes.SIZE / 2 + np.array(pose.shift_cm) / shapes.PIXEL_CM
    offset = middle - np.array([cos - sin, sin + cos]) * size / 2
    moved = Image.fromarray(np.ascontiguousarray(field)).transform(
        (size, size),
        Image.Transform.AFFINE,
        (cos, -sin, offset[0], sin, cos, offset[1]),
        Image.Resampling.NEAREST if field.dtype == np.uint8 else Image.Resampling.BICUBIC,
    )
    return np.asarray(moved)


def develop(line_integral: Map, lungs: Mask, pose: Pose, rng: np.random.Generator) -> Map:
    """Show a line integral as a digital system does.

    Args:
        line_integral: ``(size, size)``, dimensionless.
        lungs: Where lung lies; the exposure follows it, as an automatic control does.
        pose: Gives the scatter.
        rng: Source of exposure, noise, wires, markers and borders.

    Returns:
        ``(size, size)`` in 0..1, bright is dense.
    """
    size = line_integral.shape[0]
    line_integral = line_integral + _wires(rng, pose, size)
    primary = np.exp(-line_integral)
    typical = float(np.median(primary[lungs])) if lungs.any() else 0.1
    open_beam = np.minimum(primary, 2.2 * typical)
    intensity = primary + pose.scatter * shapes.blurred(open_beam, 0.11 * size)
    photons = rng.uniform(1200, 6000) / typical
    quantum = rng.standard_normal((size, size), dtype=np.float32)
    quantum = ndimage.gaussian_filter(quantum, rng.uniform(0.5, 0.8)) * 2.0
    density = -np.log(intensity) + quantum / np.sqrt(photons * intensity)
    dark = np.percentile(density[lungs] if lungs.any() else density, 8)
    middle = slice(size // 8, -size // 8)
    bright = np.percentile(density[middle, middle], 86)
    level = (density - dark) / (bright - dark)
    low, high = rng.uniform(0.2, 0.46), rng.uniform(0.86, 0.97)
    image = low + (high - low) * level
    # The toe and the shoulder of the display's curve.
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    image = np.where(image < low, low * np.exp(np.minimum((image - low) / low, 0)), image)
    image = np.clip(image, 0, 1) ** rng.uniform(0.85, 1.2)
    sharpness = np.float32(rng.uniform(0.2, 0.7))
    image = image + sharpness * (image - shapes.blurred(image, 8.0, 4))
    return np.clip(_marked(_bordered(image, rng), rng), 0, 1).astype(np.float32)


def _wires(rng: np.random.Generator, pose: Pose, size: int) -> Map | float:
    """Attenuation of electrodes and lines: more often in bed, whatever the lungs show."""
    image = Image.new("L", (2 * size, 2 * size))
    draw = ImageDraw.Draw(image)
    if rng.random() < (0.45 if pose.view == "AP" else 0.05):
        for _ in range(rng.integers(1, 4)):
            end = rng.uniform([0.2, 0.2], [0.8, 0.75])
            start = np.array([rng.uniform(-0.1, 1.1), rng.choice([-0.05, 1.05])])
            middle = rng.uniform(0.2, 0.8, 2)
            between = 0.5 * (start + middle) + rng.normal(0, 0.06, 2)
            path = shapes.curve([start, between, middle, end], 80) * 2 * size
            draw.line([tuple(p) for p in path], fill=105, width=5, joint="curve")
            cx, cy, r = *(end * 2 * size), 15
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=80)
            draw.ellipse((cx - 6, cy - 6, cx + 6, cy + 6), fill=235)
    if rng.random() < (0.22 if pose.view == "AP" else 0.04):
        side = rng.choice([-1, 1])
        entry = [(0.5 + 0.3 * side, 0.12), (0.5 + 0.17 * side, 0.2), (0.5 + 0.02 * side, 0.3)]
        path = shapes.curve([*entry, (0.46, 0.42), (0.455, 0.5)], 60)
        path = (path + rng.normal(0, 0.02, 2)) * 2 * size
        draw.line([tuple(p) for p in path], fill=75, width=6, joint="curve")
    if image.getbbox() is None:
        return 0.0
    drawn = np.asarray(image.reduce(2), np.float32) / 255
    return 0.9 * ndimage.gaussian_filter(drawn, 0.6)


def _bordered(image: Map, rng: np.random.Generator) -> Map:
    """The collimator's edges, mostly outside of the field."""
    size = image.shape[0]
    line = np.arange(size, dtype=np.float32)
    value, soft = rng.uniform(0.0, 0.04), rng.uniform(0.6, 2.0)
    for axis in (0, 1):
        for end in (0, 1):
            if rng.random() < 0.2:
                depth = rng.uniform(0.0, 0.045) * size
                slant = rng.normal(0, 0.012) * (line - size / 2)
                across = line if end == 0 else size - 1 - line
                distance = np.expand_dims(across - depth, 1 - axis) - np.expand_dims(slant, axis)
                image = value + (image - value) * np.clip(distance / soft, 0, 1)
    return image


def _marked(image: Map, rng: np.random.Generator) -> Map:
    """The side marker, L on the patient's left or R on the right."""
    size = image.shape[0]
    on_left = rng.random() < 0.7
    low, high = ([0.82, 0.03], [0.9, 0.12]) if on_left else ([0.02, 0.03], [0.09, 0.12])
    column, row = (rng.uniform(low, high) * size).astype(int)
    points, angle, present = rng.uniform(22, 34), rng.normal(0, 8), rng.random() < 0.93
    if not present:
        return image
    # Drawn with straight strokes: a font would differ between versions of Pillow.
    strokes: list[list[tuple[float, float]]] = [[(0, 0), (0, 1), (0.6, 1)]]
    if not on_left:
        bow = [(0, 1), (0, 0), (0.4, 0), (0.58, 0.13), (0.58, 0.36), (0.4, 0.5), (0, 0.5)]
        strokes = [bow, [(0.3, 0.5), (0.62, 1)]]
    tile = 48
    tile_image = Image.new("L", (4 * tile, 4 * tile))
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    for stroke in strokes:
        at = (np.array(stroke) - 0.5) * points * 0.8 @ [[cos, sin], [-sin, cos]] + tile / 2
        ImageDraw.Draw(tile_image).line(
            (4 * at).ravel().tolist(), fill=255, width=round(0.5 * points), joint="curve"
        )
    ink = np.asarray(tile_image.reduce(4), np.float32) / 255
    part = image[row : row + tile, column : column + tile]
    part += ink[: part.shape[0], : part.shape[1]] * (0.97 - part)
    return image
