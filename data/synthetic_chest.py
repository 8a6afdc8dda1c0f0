"""A chest radiograph by attenuation: path lengths of air, tissue and bone, then Beer-Lambert.

A patient is a set of numbers; a film is the same patient in a pose, with findings. All maps
are drawn on the frontal plane in centimetres (`data.shapes`), summed to one line integral
a pixel, turned into what reaches the detector (scatter and quantum noise included), and shown
with the logarithmic response of a digital system. Nothing is taken from a real image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data import chest_bones, shapes
from data.chest_film import Pose, develop, into_film
from data.chest_findings import Findings, finding_maps
from data.shapes import Layer, Map

FILM_SIZE = 512
SOFT_TISSUE_PER_CM = 0.19
"""Attenuation of soft tissue for the broad beam of about 110 kV, per centimetre."""
_BONE_PER_CM = 0.52
_LUNG_AIR = 0.76
"""The share of an inflated lung's path that is air."""


@dataclass(frozen=True)
class Patient:
    """What the films of one patient share; lengths in cm, factors around 1."""

    seed: int
    female: bool
    age: int
    width: float
    height: float
    fat: float
    heart_width: float
    heart_height: float
    heart_tilt_deg: float
    heart_shift: float
    knob: float
    scoliosis: float
    rib_slope: float
    breast: float


@dataclass(frozen=True)
class Film:
    """One film and what is true about it.

    Attributes:
        image: ``(512, 512)`` in 0..1, bright is dense.
        heart: The heart's silhouette, ``(512, 512)`` bool, also where the diaphragm hides it.
        lungs: Where air-filled lung lies above the diaphragm, ``(512, 512)`` bool.
        opacities: A mask for each opacity, ``(512, 512)`` bool.
        pixel_mm: Size of a pixel at the patient.
    """

    image: Map
    heart: NDArray[np.bool_]
    lungs: NDArray[np.bool_]
    opacities: list[NDArray[np.bool_]]
    pixel_mm: float


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw the numbers of one patient."""
    female = bool(rng.random() < 0.45)
    age = int(np.clip(rng.normal(52, 17), 18, 92))
    return Patient(
        seed=int(rng.integers(2**31)),
        female=female,
        age=age,
        width=float(rng.normal(0.95 if female else 1.0, 0.035)),
        height=float(rng.normal(0.96 if female else 1.0, 0.05)),
        fat=float(np.clip(rng.gamma(2.2, 0.45), 0.1, 3.2)),
        heart_width=float(np.clip(rng.normal(1.0, 0.10), 0.78, 1.3)),
        heart_height=float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.2)),
        heart_tilt_deg=float(rng.normal(0, 7)),
        heart_shift=float(rng.normal(0, 0.35)),
        knob=float(np.clip(rng.normal(1.75 + 0.01 * (age - 50), 0.25), 1.2, 2.6)),
        scoliosis=float(rng.normal(0, 0.35)),
        rib_slope=float(rng.normal(1.0, 0.15)),
        breast=float(rng.uniform(0.4, 1.25)) if female else 0.0,
    )


def draw_pose(rng: np.random.Generator, view: str) -> Pose:
    """Draw how one film is taken: ``PA`` standing and breathed in, ``AP`` mostly in bed."""
    bed = view == "AP"
    return Pose(
        view=view,
        field_cm=float(rng.uniform(32.5, 37.5)),
        shift_cm=(float(rng.normal(0, 0.7)), float(rng.normal(0.2, 0.9))),
        angle_deg=float(rng.normal(0, 2.6 if bed else 1.3)),
        turn_deg=float(rng.normal(0, 4.5 if bed else 2.5)),
        breath=float(rng.normal(-1.5 if bed else 0.0, 0.8)),
        magnification=1.13 if bed else 1.0,
        scatter=float(rng.uniform(0.5, 1.0) if bed else rng.uniform(0.25, 0.6)),
        arms_down=bool(rng.random() < (0.8 if bed else 0.35)),
    )


def render(patient: Patient, pose: Pose, findings: Findings, rng: np.random.Generator) -> Film:
    """Take one film.

    Args:
        patient: Whose chest.
        pose: How it is taken.
        findings: What is wrong with it.
        rng: Source of what differs from film to film: noise, exposure, wires.
    """
    own = np.random.default_rng(patient.seed)
    x, y = _bent_axes(own)
    turn = np.sin(np.radians(pose.turn_deg))
    cavity, wall = _cavity(patient, x, y)
    domes = _domes(patient, pose, findings)
    heart_mask = _heart(patient, pose, findings, turn, domes)
    below = np.clip((y - domes) / 3.0, 0, 1)
    lung = cavity * (1 - np.sqrt(1 - (1 - below) ** 2))
    middle = _mediastinum(patient, pose, turn)
    heart_depth = 12.5 * shapes.rounded(heart_mask, 3.8)
    free = np.maximum(lung - np.hypot(middle, heart_depth), 0)
    lung_mask = free > 0.6

    body = _body(patient, pose, own)
    soft = body - _LUNG_AIR * free
    soft += _breasts(patient, own, x, y)
    soft -= _airways(own, turn) + _stomach_gas(patient, own, rng, domes)
    tree = chest_bones.vessel_tree(own, patient)
    inside = np.clip(free / 7, 0, 1) ** 1.5
    soft += 2.3 * _LUNG_AIR * inside * findings.vessel_gain * tree
    soft += inside * 0.27 * shapes.noise(own, (shapes.SIZE,) * 2, (24, 64, 150), 0.5)
    extra, opacity_maps = finding_maps(findings, rng, free, lung_mask, domes, wall)
    soft += extra
    bone = chest_bones.skeleton(own, patient, pose, turn, wall)
    line_integral = SOFT_TISSUE_PER_CM * np.maximum(soft, 0) + _BONE_PER_CM * bone

    heart, lungs, *opacities = (
        into_film((255 * m).astype(np.uint8), pose, FILM_SIZE)
        for m in (heart_mask, lung_mask, *opacity_maps))
    image = develop(into_film(line_integral, pose, FILM_SIZE), lungs > 127, pose, rng)
    return Film(image, heart > 127, lungs > 127, [opacity > 90 for opacity in opacities],
                10 * pose.field_cm / FILM_SIZE)


def _bent_axes(own: np.random.Generator) -> tuple[Map, Map]:
    """Coordinates with a slow bend of a few millimetres, so that no outline is a formula's."""
    x, y = shapes.axes()
    size = (shapes.SIZE, shapes.SIZE)
    return (x + 0.3 * shapes.noise(own, size, (3, 6)), y + 0.3 * shapes.noise(own, size, (3, 6)))


def _cavity(patient: Patient, x: Map, y: Map) -> tuple[Map, tuple[NDArray, NDArray]]:
    """Depth of the thoracic cavity in cm, and its half-width ``wall = (y, half_width)``."""
    middle, lateral = 4.4 * patient.width, 8.7 * patient.width
    top = 18.3 * patient.height
    side = np.abs(x)
    u = np.where(side > middle, (side - middle) / lateral, (middle - side) / (4.9 * patient.width))
    v = np.clip((5.2 - y) / top, 0, None)
    depth = 17.0 * np.sqrt(np.clip(1 - u * u - v * v * np.sqrt(v), 0, None))
    rows = np.linspace(5.2 - top, 24, 200)
    part = np.clip(1 - np.clip((5.2 - rows) / top, 0, 1) ** 2.5, 0, 1)
    return depth.astype(np.float32), (rows, middle + lateral * np.sqrt(part))


def _domes(patient: Patient, pose: Pose, findings: Findings) -> Map:
    """Height of the diaphragm's edge over x, in cm; shape ``(1, SIZE)``; the right is higher."""
    x = shapes.axes()[0]
    own = np.random.default_rng(patient.seed + 1)
    lift = pose.breath + own.normal(0, 0.4)
    edge = 13.1 * patient.width
    heights = []
    for right in (True, False):
        peak = (7.9 if right else 9.2) * patient.height + lift + own.normal(0, 0.35)
        peak -= findings.raised_cm if right == findings.raised_right else 0.0
        at = own.uniform(5.3, 6.8) * patient.width
        side = np.abs(x)
        out = np.clip((side - at) / (edge - at), 0, 1.3)
        dome = peak + own.uniform(3.2, 4.4) * out**2.6 + 0.7 * np.clip(1 - side / at, 0, 1) ** 2
        heights.append(dome)
    return np.where(x < 0, heights[0], heights[1]).astype(np.float32)


def _heart(patient: Patient, pose: Pose, findings: Findings, turn: float, domes: Map) -> Map:
    own = np.random.default_rng(patient.seed + 2)
    outline = np.array([
        (-0.8, -2.6), (2.3, -2.5), (3.9, -0.6), (5.7, 1.7), (7.6, 4.3), (8.9, 6.7), (8.5, 8.8),
        (5.2, 9.8), (0.2, 9.6), (-3.2, 8.4), (-4.6, 5.7), (-4.3, 2.5), (-2.9, -0.7)])
    outline += own.normal(0, 0.2, outline.shape)
    centre = np.array([1.0, 3.6])
    tilt = np.radians(patient.heart_tilt_deg)
    rotate = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    scale = np.array([patient.width * patient.heart_width * findings.heart_gain,
                      patient.heart_height * (0.4 + 0.6 * findings.heart_gain)])
    # A diaphragm that stands higher lays the heart across.
    scale *= pose.magnification * np.array([1 - 0.03 * pose.breath, 1 + 0.02 * pose.breath])
    shape = shapes.curve((outline - centre) @ rotate * scale + centre, 160, closed=True)
    # It rests on the diaphragm, a little below the left dome's top.
    shape[:, 0] += patient.heart_shift + 4.0 * turn
    dome = domes[0, int((6.0 + shapes.EXTENT_CM / 2) / shapes.PIXEL_CM)]
    shape[:, 1] += dome + own.uniform(1.3, 2.8) - shape[:, 1].max()
    layer = Layer()
    layer.polygon(shape)
    return layer.map()


def _mediastinum(patient: Patient, pose: Pose, turn: float) -> Map:
    """Path through great vessels, aorta and what surrounds the spine, in cm."""
    own = np.random.default_rng(patient.seed + 3)
    wide = pose.magnification * own.uniform(0.9, 1.1)
    right = np.array([(-1.9, -24), (-1.9, -15), (-2.3, -11), (-2.6, -8), (-2.7, -4.5), (-2.5, -1.5),
                      (-1.6, 2), (-1.3, 7), (-1.3, 24)])
    left = np.array([(1.9, -24), (1.9, -15), (2.5, -11), (2.6, -8.5), (2.6, -6), (2.8, -4.2),
                     (3.3, -2.4), (2.4, 0.6), (1.3, 3.0), (1.2, 7), (1.2, 24)])
    shadow, column = Layer(), Layer()
    for edge in (right, left):
        edge[1:-1, 0] += own.normal(0, 0.15, len(edge) - 2)
        edge[:, 0] = edge[:, 0] * wide + 3.0 * turn
        edge[:, 1] *= patient.height
    shadow.polygon(np.vstack([shapes.curve(right, 80), shapes.curve(left, 80)[::-1]]))
    knob = np.array([3.9 - patient.knob, -6.4 * patient.height])
    shadow.disc(knob * [wide, 1] + [3.0 * turn, 0], (patient.knob, patient.knob * 1.12))
    height = patient.height
    aorta = np.array([(knob[0] + 0.4, -6 * height), (2.6, -2), (1.9, 4), (1.2, 11), (0.8, 16)])
    aorta[:, 0] += own.normal(0, 0.2, 5) + 0.5 * (patient.knob - 1.7) + patient.scoliosis
    column.tube(shapes.curve(aorta), 1.25, 1.0)
    sides = np.array([(-2.0, -16), (-2.0, 0), (-2.3, 10), (-2.5, 18)]) * [patient.width, 1]
    spine = Layer()
    spine.polygon(np.vstack([sides, (sides * [-1, 1])[::-1]]))
    return (11 * shapes.rounded(shadow.map(), 1.7)
            + shapes.blurred(2.6 * column.map() + 3.0 * spine.map(), 3.5, 4))


def _body(patient: Patient, pose: Pose, own: np.random.Generator) -> Map:
    """Depth of soft tissue, lungs counted as solid, in cm."""
    fat, width = patient.fat, patient.width
    side = 15.0 * width + 1.0 * fat
    outline = np.array([
        (5.0 + 0.3 * fat, -24.5), (5.3 + 0.3 * fat, -18.5), (7.6, -15.9), (12.5, -14.4),
        (17.6, -13.6), (21.2, -11.4), (22.4, -7.5), (side + 3.0, -3.2), (side + 0.4, 2),
        (side + 0.2, 9), (side + 0.2 + 0.3 * fat, 17), (side + 0.4 + 0.4 * fat, 24.5)])
    torso = Layer()
    sides = []
    for sign in (-1, 1):
        bent = outline + own.normal(0, 0.25, outline.shape)
        sides.append(shapes.curve(bent * [sign, 1], 120))
    torso.polygon(np.vstack([sides[0], sides[1][::-1]]))
    arms = Layer()
    for sign in (-1, 1):
        if pose.arms_down:
            line = [(19.6, -11), (21.8, -4), (22.8, 4), (23.4, 13), (23.8, 24)]
        else:
            line = [(19.4, -11), (23.0, -6.5), (26, 0.5), (29, 8), (32, 15)]
        line = np.array(line) * [width, 1] + np.array([0.5 * fat, 0])
        arms.tube(shapes.curve(line * [sign, 1]), np.linspace(4.2, 3.5, 60) + 0.35 * fat, 1.0)
    y = shapes.axes()[1]
    depth = (20.0 + 1.8 * fat) * (0.6 + 0.4 * shapes.smoothstep(y, -15.5, -5.0))
    depth = depth * (1 + 0.12 * shapes.smoothstep(y, 5, 16))
    trunk = depth * shapes.rounded(torso.map(), 6.5, 8)
    limb = (8.0 + 0.8 * fat) * shapes.rounded((arms.map() > 0.2).astype(np.float32), 3.6)
    return np.maximum(trunk, limb) + 0.25 * np.minimum(trunk, limb)


def _breasts(patient: Patient, own: np.random.Generator, x: Map, y: Map) -> Map | float:
    low = own.uniform(5.5, 9.0)
    if not patient.female:
        return 0.0
    size = patient.breast * (0.75 + 0.3 * patient.fat)
    radius = 5.0 + 1.3 * size
    total = np.zeros((shapes.SIZE,) * 2, np.float32)
    for sign in (-1, 1):
        cx, cy = sign * (7.6 + 0.7 * size) + own.normal(0, 0.3), low + own.normal(0, 0.3)
        r = ((x - cx) / radius) ** 2 + ((y - cy) / (radius * 0.88)) ** 2
        total += 4.2 * size * np.clip(1 - r, 0, 1) ** 0.62 * shapes.smoothstep(y, cy - radius, cy)
    return total


def _airways(own: np.random.Generator, turn: float) -> Map:
    """Path through the air of windpipe and main bronchi, in cm."""
    bend = own.normal(0, 0.15, 4)
    carina = np.array([0.35 + bend[0] + 1.5 * turn, -4.2 + bend[1]])
    layer = Layer()
    pipe = shapes.curve([(0.1, -24), (0.1 + bend[2], -17), (0.35 + bend[3], -10), tuple(carina)])
    layer.tube(pipe, 0.85, 1.0)
    for end, radius in (((-3.6, -1.2), 0.62), ((4.3, -0.9), 0.52)):
        middle = carina + (np.array(end) - carina) * [0.5, 0.62]
        layer.tube(shapes.curve([carina, middle, end]), np.linspace(radius, 0.4, 60), 0.3)
    return 3.4 * shapes.blurred(layer.map(), 2.0, 2)


def _stomach_gas(patient: Patient, own: np.random.Generator, rng: np.random.Generator,
                 domes: Map) -> Map | float:
    """Path through gas under the left dome, in cm; not in everyone."""
    cx, wide, tall = own.uniform(4.5, 8.0), own.uniform(1.6, 3.2), own.uniform(0.9, 1.9)
    present, fill = own.random() < 0.62, rng.uniform(0.4, 1.1)
    cy = float(domes[0, int((cx + shapes.EXTENT_CM / 2) / shapes.PIXEL_CM)])
    if not present:
        return 0.0
    layer = Layer()
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radius = 1 + np.random.default_rng(patient.seed + 4).normal(0, 0.07, 14)
    blob = np.stack([cx + wide * radius * np.cos(angle),
                     cy + tall + 1.0 + tall * radius * np.sin(angle)], 1)
    layer.polygon(shapes.curve(blob, 90, closed=True))
    return 6.5 * fill * shapes.rounded(layer.map(), 1.6)


