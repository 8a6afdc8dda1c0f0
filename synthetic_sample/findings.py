"""What may be wrong with a chest: the opacities of pneumonia, and findings that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthetic_sample import shapes
from synthetic_sample.shapes import Layer, Map, Mask, Wall, X, Y


@dataclass(frozen=True)
class Findings:
    """What is wrong with a chest on one film.

    Attributes:
        opacities: Number of pneumonic opacities.
        nodules: Number of small round nodules.
        bands: Number of thin bands of atelectasis.
        effusion: Whether pleural fluid blunts an angle.
        raised_cm: How far one dome is raised.
        raised_right: Which one.
        heart_gain: Factor of the heart's width.
        vessel_gain: Factor of the vessels' density.
        hilum: Whether a hilum is enlarged.
    """

    opacities: int = 0
    nodules: int = 0
    bands: int = 0
    effusion: bool = False
    raised_cm: float = 0.0
    raised_right: bool = True
    heart_gain: float = 1.0
    vessel_gain: float = 1.0
    hilum: bool = False


def draw_findings(rng: np.random.Generator, pneumonia: bool, other_findings: bool) -> Findings:
    """Draw the findings of one film.

    Args:
        rng: Source of randomness.
        pneumonia: Whether there are opacities (``Target`` 1).
        other_findings: Whether there are findings that are no opacity. They come with and without
            pneumonia, so that none of them tells the label.
    """
    drawn: dict[str, Any] = {
        "nodules": int(rng.integers(1, 5)),
        "bands": int(rng.integers(1, 4)),
        "effusion": True,
        "raised_cm": float(rng.uniform(1.2, 3.0)),
        "heart_gain": float(rng.uniform(1.1, 1.28)),
        "vessel_gain": float(rng.uniform(1.2, 1.5)),
        "hilum": True,
    }
    chosen = rng.permutation(list(drawn))[: rng.integers(1, 4)]
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.42, 0.18]))
    right = bool(rng.random() < 0.5)
    return Findings(
        opacities=count if pneumonia else 0,
        raised_right=right,
        **{str(name): drawn[str(name)] for name in chosen if other_findings},
    )


def finding_maps(
    findings: Findings, rng: np.random.Generator, free: Map, lung_mask: Mask, wall: Wall
) -> tuple[Map, list[Map]]:
    """Draw findings as additional path length of soft tissue.

    Args:
        findings: What to draw.
        rng: Source of place, shape and strength.
        free: Path through aerated lung, in cm.
        lung_mask: Where lung lies in front of or behind anything.
        wall: Where the cavity ends.

    Returns:
        The path length in cm, and a map in 0..1 for each opacity.
    """
    inside: Map = np.clip(free / 5, 0, 1)
    total = np.zeros_like(free)
    opacities = []
    vacant = inside > 0.7
    for _ in range(findings.opacities):
        density, extent = _opacity(rng, inside, vacant)
        vacant &= extent < 0.1
        total += density
        opacities.append(extent * lung_mask)
    for _ in range(findings.nodules):
        cx, cy = _place(rng, inside > 0.6)
        radius = rng.uniform(0.35, 0.95)
        r = ((X - cx) ** 2 + (Y - cy) ** 2) / radius**2
        total += inside * radius * rng.uniform(0.8, 1.6) * np.sqrt(np.clip(1 - r, 0, 1))
    for _ in range(findings.bands):
        total += inside * _band(rng, inside)
    if findings.effusion:
        total += _effusion(rng, lung_mask, free, wall)
    if findings.hilum:
        sign = rng.choice([-1, 1])
        cx, cy = sign * rng.uniform(3.6, 4.6), rng.uniform(-2.0, 0.8)
        r = ((X - cx) / rng.uniform(1.1, 1.9)) ** 2 + ((Y - cy) / rng.uniform(1.3, 2.2)) ** 2
        total += inside * rng.uniform(1.5, 3.0) * np.clip(1.2 - r, 0, 1) ** 0.8
    return total, opacities


def _opacity(rng: np.random.Generator, inside: Map, area: Mask) -> tuple[Map, Map]:
    """One pneumonic opacity: added path in cm, and its extent in 0..1."""
    low_down = shapes.smoothstep(Y, -9, 3) * 0.75 + 0.25
    cx, cy = _place(rng, area, low_down)
    wide, tall = rng.uniform(3.0, 5.2), rng.uniform(3.4, 6.8)
    shape = inside.shape
    angle = rng.uniform(-0.6, 0.6)
    u = ((X - cx) * np.cos(angle) + (Y - cy) * np.sin(angle)) / wide
    v = ((Y - cy) * np.cos(angle) - (X - cx) * np.sin(angle)) / tall
    ragged = 0.42 * shapes.noise(rng, shape, (8, 16, 32), 1.0)
    body = 1 - np.sqrt(u * u + v * v) + ragged * shapes.smoothstep(u * u + v * v, 4.0, 1.0)
    edge = rng.uniform(0.35, 0.7)
    extent = shapes.smoothstep(body, -0.1, edge)
    if rng.random() < 0.25:
        # A lobe ends at its fissure.
        slope, keep = rng.normal(0, 0.25), rng.choice([-1, 1])
        fissure = keep * ((Y - cy) + slope * (X - cx)) + 0.45 * tall
        extent = extent * shapes.smoothstep(fissure, -0.1, 0.25)
    patchy = rng.uniform(0.1, 0.4)
    texture = 1 + patchy * shapes.noise(rng, shape, (20, 45, 90), 0.7)
    # Most are obvious, some are at the limit of what can be seen.
    strength = rng.uniform(1.3, 2.6) if rng.random() < 0.13 else rng.uniform(3.4, 7.2)
    same_lung = np.sign(X) == np.sign(cx)
    density = inside * strength * extent * np.clip(texture, 0.3, 1.8) * same_lung
    return density, extent * same_lung


def _place(rng: np.random.Generator, area: Mask, weight: Map | None = None) -> tuple[float, float]:
    """A random point (x, y) in cm of a mask."""
    step = 8
    chance = area[::step, ::step].astype(float)
    if weight is not None:
        chance *= np.broadcast_to(weight, area.shape)[::step, ::step]
    if not chance.any():
        chance[:] = 1
    chosen = rng.choice(chance.size, p=(chance / chance.sum()).ravel())
    row, column = divmod(int(chosen), chance.shape[1])
    return float(X[0, column * step]), float(Y[row * step, 0])


def _band(rng: np.random.Generator, inside: Map) -> Map:
    cx, cy = _place(rng, (inside > 0.5) & (Y > 0))
    angle, length = rng.normal(0, 0.35), rng.uniform(1.6, 4.5)
    t = np.linspace(-1, 1, 20)
    bend = rng.normal(0, 0.25) * (t**2 - 0.5)
    across, down = length * t * np.cos(angle), length * t * np.sin(angle)
    line = np.stack([cx + across, cy + down + bend], 1)
    layer = Layer()
    layer.tube(line, rng.uniform(0.1, 0.3) * np.sqrt(1.02 - t**2), 1.0)
    return rng.uniform(0.8, 2.2) * shapes.blurred(layer.map(), 2.0, 2)


def _effusion(rng: np.random.Generator, lung_mask: Mask, free: Map, wall: Wall) -> Map:
    """Fluid that climbs along one chest wall from the costophrenic angle."""
    sign = rng.choice([-1, 1])
    half = np.sign(X) == sign
    rows = np.flatnonzero((lung_mask & half).any(1))
    if not len(rows):
        return np.zeros_like(free)
    lowest = float(Y[rows[-1], 0])
    height = rng.uniform(1.0, 4.0)
    to_wall = np.interp(Y, *wall).astype(np.float32) - np.abs(X)
    level = lowest - height - 2.2 * np.exp(-np.clip(to_wall, 0, None) / 1.6)
    fluid = shapes.smoothstep(Y - level, 0.0, 2.2)
    return 0.7 * fluid * free * half
