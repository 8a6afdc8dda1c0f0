"""The soft parts of a chest film: body, breasts, and the gas in airways and stomach."""

from __future__ import annotations

import numpy as np

from synthetic_sample import shapes
from synthetic_sample.patient import Patient, Pose
from synthetic_sample.shapes import Layer, Map, Y


def body(patient: Patient, pose: Pose, rng: np.random.Generator) -> Map:
    """Depth of soft tissue, lungs counted as solid, in cm."""
    fat, width = patient.fat, patient.width
    side = 15.0 * width + 1.0 * fat
    outline = np.array([
        (5.0 + 0.3 * fat, -24.5), (5.3 + 0.3 * fat, -18.5), (7.6, -15.9), (12.5, -14.4),
        (17.6, -13.6), (21.2, -11.4), (22.4, -7.5), (side + 3.0, -3.2), (side + 0.4, 2),
        (side + 0.2, 9), (side + 0.2 + 0.3 * fat, 17), (side + 0.4 + 0.4 * fat, 24.5),
    ])  # fmt: skip
    sides = [
        shapes.curve((outline + rng.normal(0, 0.25, outline.shape)) * [sign, 1], 120)
        for sign in (-1, 1)
    ]
    torso, arms = Layer().polygon(np.vstack([sides[0], sides[1][::-1]])), Layer()
    for sign in (-1, 1):
        if pose.arms_down:
            line = np.array([(19.6, -11), (21.8, -4), (22.8, 4), (23.4, 13), (23.8, 24)])
        else:
            line = np.array([(19.4, -11), (23.0, -6.5), (26, 0.5), (29, 8), (32, 15)])
        line = line * [width, 1] + np.array([0.5 * fat, 0])
        arms.tube(shapes.curve(line * [sign, 1]), np.linspace(4.2, 3.5, 60) + 0.35 * fat, 1.0)
    depth = (20.0 + 1.8 * fat) * (0.6 + 0.4 * shapes.smoothstep(Y, -15.5, -5.0))
    depth = depth * (1 + 0.12 * shapes.smoothstep(Y, 5, 16))
    trunk = depth * shapes.rounded(torso.map(), 6.5, 8)
    limb = (8.0 + 0.8 * fat) * shapes.rounded((arms.map() > 0.2).astype(np.float32), 3.6)
    return np.maximum(trunk, limb) + 0.25 * np.minimum(trunk, limb)


def breasts(patient: Patient, rng: np.random.Generator, x: Map, y: Map) -> Map | float:
    """Depth of both breasts, in cm; a sharp lower edge, fading upwards."""
    low = rng.uniform(5.5, 9.0)
    if not patient.female:
        return 0.0
    size = patient.breast * (0.75 + 0.3 * patient.fat)
    radius = 5.0 + 1.3 * size
    total = np.zeros((shapes.SIZE,) * 2, np.float32)
    for sign in (-1, 1):
        cx, cy = sign * (7.6 + 0.7 * size) + rng.normal(0, 0.3), low + rng.normal(0, 0.3)
        r = ((x - cx) / radius) ** 2 + ((y - cy) / (radius * 0.88)) ** 2
        total += 4.2 * size * np.clip(1 - r, 0, 1) ** 0.62 * shapes.smoothstep(y, cy - radius, cy)
    return total


def airways(rng: np.random.Generator, turn: float) -> Map:
    """Path through the air of windpipe and main bronchi, in cm."""
    bend = rng.normal(0, 0.15, 4)
    carina = np.array([0.35 + bend[0] + 1.5 * turn, -4.2 + bend[1]])
    layer = Layer()
    pipe = shapes.curve([(0.1, -24), (0.1 + bend[2], -17), (0.35 + bend[3], -10), tuple(carina)])
    layer.tube(pipe, 0.85, 1.0)
    for end, radius in (((-3.6, -1.2), 0.62), ((4.3, -0.9), 0.52)):
        middle = carina + (np.array(end) - carina) * [0.5, 0.62]
        layer.tube(shapes.curve([carina, middle, end]), np.linspace(radius, 0.4, 60), 0.3)
    return 3.4 * shapes.blurred(layer.map(), 2.0, 2)


def stomach_gas(
    patient: Patient, patient_rng: np.random.Generator, rng: np.random.Generator, domes: Map
) -> Map | float:
    """Path through gas under the left dome, in cm; not in everyone."""
    cx, width, height = patient_rng.uniform([4.5, 1.6, 0.9], [8.0, 3.2, 1.9])
    present, fill = patient_rng.random() < 0.62, rng.uniform(0.4, 1.1)
    cy = float(domes[0, int((cx + shapes.EXTENT_CM / 2) / shapes.PIXEL_CM)])
    if not present:
        return 0.0
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radius = 1 + np.random.default_rng(patient.seed + 4).normal(0, 0.07, 14)
    x = cx + width * radius * np.cos(angle)
    y = cy + height + 1.0 + height * radius * np.sin(angle)
    bubble = Layer().polygon(shapes.curve(np.stack([x, y], 1), 90, closed=True))
    return 6.5 * fill * shapes.rounded(bubble.map(), 1.6)
