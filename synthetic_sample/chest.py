"""A chest radiograph by attenuation: path lengths of air, tissue and bone, then Beer-Lambert.

A patient is a set of numbers; a film is the same patient in a pose, with findings. All maps
are drawn on the frontal plane in centimetres (`synthetic_sample.shapes`), summed to one line
integral per pixel, turned into what reaches the detector (scatter and quantum noise included), and
shown with the logarithmic response of a digital system. Nothing is taken from a real image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic_sample import bones, shapes, tissue
from synthetic_sample.film import develop, into_film
from synthetic_sample.findings import Findings, finding_maps
from synthetic_sample.patient import Patient, Pose
from synthetic_sample.shapes import Layer, Map, Mask, Wall, X, Y

FILM_SIZE = 512
SOFT_TISSUE_PER_CM = 0.19
"""Attenuation of soft tissue for the broad beam of about 110 kV, per centimetre."""
_BONE_PER_CM = 0.52
_LUNG_AIR = 0.76
"""The share of an inflated lung's path that is air."""


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
    heart: Mask
    lungs: Mask
    opacities: list[Mask]
    pixel_mm: float


def render(patient: Patient, pose: Pose, findings: Findings, rng: np.random.Generator) -> Film:
    """Take one film.

    Args:
        patient: Whose chest.
        pose: How it is taken.
        findings: What is wrong with it.
        rng: Source of what differs from film to film: noise, exposure, wires.
    """
    patient_rng = np.random.default_rng(patient.seed)
    size = (shapes.SIZE, shapes.SIZE)
    # A slow bend of a few millimetres, so that no outline is a formula's.
    x, y = (axis + 0.3 * shapes.noise(patient_rng, size, (3, 6)) for axis in (X, Y))
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

    body = tissue.body(patient, pose, patient_rng)
    soft = body - _LUNG_AIR * free
    soft += tissue.breasts(patient, patient_rng, x, y)
    soft -= tissue.airways(patient_rng, turn) + tissue.stomach_gas(patient, patient_rng, rng, domes)
    tree = bones.vessel_tree(patient_rng, patient)
    inside = np.clip(free / 7, 0, 1) ** 1.5
    soft += 2.3 * _LUNG_AIR * inside * findings.vessel_gain * tree
    soft += inside * 0.27 * shapes.noise(patient_rng, size, (24, 64, 150), 0.5)
    extra, opacity_maps = finding_maps(findings, rng, free, lung_mask, wall)
    soft += extra
    bone = bones.skeleton(patient_rng, patient, pose, turn, wall)
    line_integral = SOFT_TISSUE_PER_CM * np.maximum(soft, 0) + _BONE_PER_CM * bone

    heart, lungs, *opacities = (
        into_film((255 * m).astype(np.uint8), pose, FILM_SIZE)
        for m in (heart_mask, lung_mask, *opacity_maps)
    )
    image = develop(into_film(line_integral, pose, FILM_SIZE), lungs > 127, pose, rng)
    masks = [opacity > 90 for opacity in opacities]
    return Film(image, heart > 127, lungs > 127, masks, 10 * pose.field_cm / FILM_SIZE)


def _cavity(patient: Patient, x: Map, y: Map) -> tuple[Map, Wall]:
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
    rng = np.random.default_rng(patient.seed + 1)
    lift = pose.breath + rng.normal(0, 0.4)
    edge = 13.1 * patient.width
    heights = []
    for right in (True, False):
        peak = (7.9 if right else 9.2) * patient.height + lift + rng.normal(0, 0.35)
        peak -= findings.raised_cm if right == findings.raised_right else 0.0
        at = rng.uniform(5.3, 6.8) * patient.width
        side = np.abs(X)
        out = np.clip((side - at) / (edge - at), 0, 1.3)
        rim = rng.uniform(3.2, 4.4) * out**2.6
        heights.append(peak + rim + 0.7 * np.clip(1 - side / at, 0, 1) ** 2)
    return np.where(X < 0, heights[0], heights[1]).astype(np.float32)


def _heart(patient: Patient, pose: Pose, findings: Findings, turn: float, domes: Map) -> Map:
    rng = np.random.default_rng(patient.seed + 2)
    outline = np.array([
        (-0.8, -2.6), (2.3, -2.5), (3.9, -0.6), (5.7, 1.7), (7.6, 4.3), (8.9, 6.7),
        (8.5, 8.8), (5.2, 9.8), (0.2, 9.6), (-3.2, 8.4), (-4.6, 5.7), (-4.3, 2.5),
        (-2.9, -0.7),
    ])  # fmt: skip
    outline += rng.normal(0, 0.2, outline.shape)
    centre = np.array([1.0, 3.6])
    tilt = np.radians(patient.heart_tilt_deg)
    rotate = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    across = patient.width * patient.heart_width * findings.heart_gain
    scale = np.array([across, patient.heart_height * (0.4 + 0.6 * findings.heart_gain)])
    # A diaphragm that stands higher lays the heart across.
    scale *= pose.magnification * np.array([1 - 0.03 * pose.breath, 1 + 0.02 * pose.breath])
    scale = np.minimum(scale, np.array([1.36 * patient.width, 1.28]))
    shape = shapes.curve((outline - centre) @ rotate * scale + centre, 160, closed=True)
    # It rests on the diaphragm, a little below the left dome's top.
    shape[:, 0] += patient.heart_shift + 4.0 * turn
    dome = domes[0, int((6.0 + shapes.EXTENT_CM / 2) / shapes.PIXEL_CM)]
    shape[:, 1] += dome + rng.uniform(1.3, 2.8) - shape[:, 1].max()
    return Layer().polygon(shape).map()


def _mediastinum(patient: Patient, pose: Pose, turn: float) -> Map:
    """Path through great vessels, aorta and what surrounds the spine, in cm."""
    rng = np.random.default_rng(patient.seed + 3)
    wide = pose.magnification * rng.uniform(0.9, 1.1)
    right_edge = np.array([
        (-1.9, -24), (-1.9, -15), (-2.3, -11), (-2.6, -8), (-2.7, -4.5), (-2.5, -1.5),
        (-1.6, 2), (-1.3, 7), (-1.3, 24),
    ])  # fmt: skip
    left_edge = np.array([
        (1.9, -24), (1.9, -15), (2.5, -11), (2.6, -8.5), (2.6, -6), (2.8, -4.2),
        (3.3, -2.4), (2.4, 0.6), (1.3, 3.0), (1.2, 7), (1.2, 24),
    ])  # fmt: skip
    shadow, column = Layer(), Layer()
    for edge in (right_edge, left_edge):
        edge[1:-1, 0] += rng.normal(0, 0.15, len(edge) - 2)
        edge[:, 0] = edge[:, 0] * wide + 3.0 * turn
        edge[:, 1] *= patient.height
    shadow.polygon(np.vstack([shapes.curve(right_edge, 80), shapes.curve(left_edge, 80)[::-1]]))
    knob = np.array([3.9 - patient.knob, -6.4 * patient.height])
    shadow.disc(knob * [wide, 1] + [3.0 * turn, 0], (patient.knob, patient.knob * 1.12))
    height = patient.height
    aorta = np.array([(knob[0] + 0.4, -6 * height), (2.6, -2), (1.9, 4), (1.2, 11), (0.8, 16)])
    aorta[:, 0] += rng.normal(0, 0.2, 5) + 0.5 * (patient.knob - 1.7) + patient.scoliosis
    column.tube(shapes.curve(aorta), 1.25, 1.0)
    sides = np.array([(-2.0, -16), (-2.0, 0), (-2.3, 10), (-2.5, 18)]) * [patient.width, 1]
    spine = Layer().polygon(np.vstack([sides, (sides * [-1, 1])[::-1]]))
    behind = shapes.blurred(2.6 * column.map() + 3.0 * spine.map(), 3.5, 4)
    return 11 * shapes.rounded(shadow.map(), 1.7) + behind
