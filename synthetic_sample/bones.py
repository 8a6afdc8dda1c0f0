"""The skeleton of the chest and the vessels of the lungs, projected from a few 3-D curves."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from synthetic_sample import shapes
from synthetic_sample.patient import Patient, Pose
from synthetic_sample.shapes import Layer, Map, Wall

_RIBS = 11
_CAGE_DEPTH_CM = 8.0


def skeleton(
    rng: np.random.Generator, patient: Patient, pose: Pose, turn: float, wall: Wall
) -> Map:
    """Path length through bone, in cm of solid bone.

    Args:
        rng: The patient's source of randomness.
        patient: Whose skeleton.
        pose: How the film is taken.
        turn: Sine of the turn about the body's axis: a point in front moves by depth times this.
        wall: Where the cavity ends.
    """
    soft_edged = _spine(rng, patient) + _shoulders(rng, patient, pose, turn)
    bone = _ribs(rng, patient, turn, wall) + shapes.blurred(soft_edged, 1.5, 2)
    # Bone thins with age.
    return bone * np.float32(1.05 - 0.25 * np.clip((patient.age - 40) / 50, 0, 1))


def _ribs(rng: np.random.Generator, patient: Patient, turn: float, wall: Wall) -> Map:
    back, front = Layer(), Layer()
    height, slope = patient.height, patient.rib_slope
    gap = 2.32 * height
    first = -12.4 * height
    for sign in (-1, 1):
        shift = rng.normal(0, 0.12)
        for k in range(_RIBS):
            start = first + gap * k * (1 + 0.012 * k) + shift
            drop = slope * np.interp(k, [0, 3, 7, 11], [4.6, 9.2, 11.6, 12.0]) * height
            end = np.interp(k, [0, 2, 6, 8, 11], [0.86, 0.84, 0.80, 0.72, 0.58])
            t = np.linspace(0.02, end + rng.normal(0, 0.012), 70)
            angle = np.pi * t
            # Behind, a rib rises a little front it falls; in front it falls steeply.
            fall = t**1.6 - 0.03 * np.sin(np.pi * np.clip(t / 0.3, 0, 1))
            y = start + drop * fall
            lateral = np.interp(y, *wall, left=0.0) + 0.2
            if k < 3:
                lateral = np.maximum(lateral, (5.6 + 1.1 * k) * patient.width)
            x = lateral * np.sin(angle) ** np.where(angle < np.pi / 2, 0.82, 0.9)
            z = -_CAGE_DEPTH_CM * np.cos(angle) * np.interp(k, [0, 4], [0.5, 1.0])
            line = np.stack([sign * x + turn * z, y], 1)
            # Higher than it is thick: at the side, where it is seen edge on, it is narrower.
            radius = 0.36 + 0.3 * np.abs(np.cos(angle)) ** 0.7 - 0.01 * k
            radius = radius * rng.uniform(0.93, 1.07)
            half = int(np.searchsorted(t, 0.5))
            back.tube(line[: half + 3], radius[: half + 3], 0.68, shell=0.42)
            front.tube(line[half - 3 :], radius[half - 3 :] * 0.95, 0.42, shell=0.42)
    return 0.8 * (back.map() + front.map())


def _spine(rng: np.random.Generator, patient: Patient) -> Map:
    body, detail = Layer(), Layer()
    y = -21.0
    while y < 22:
        size = np.interp(y, [-20, -8, 12, 20], [1.55, 1.75, 2.35, 2.5]) * patient.height
        half = np.interp(y, [-20, 0, 20], [1.25, 1.55, 2.1]) * patient.width
        cx = patient.scoliosis * np.sin((y + 6) / 7)
        waist = 0.86 * half
        top, bottom = y - size / 2, y + size / 2
        low_x, high_x = cx - half, cx + half
        upper, lower = [(low_x, top), (high_x, top)], [(high_x, bottom), (low_x, bottom)]
        body.polygon([*upper, (cx + waist, y), *lower, (cx - waist, y)], 0.72)
        for edge in (top, bottom):
            low_y, high_y = edge - 0.09, edge + 0.09
            plate = [(low_x, low_y), (high_x, low_y), (high_x, high_y), (low_x, high_y)]
            body.polygon(plate)
        for side in (-1, 1):
            pedicle = cx + side * 0.66 * half, y - 0.25 * size
            detail.disc(pedicle, (0.34, 0.46), 0.9)
            detail.disc(pedicle, (0.2, 0.3), 0.35)
            reach = half + np.interp(y, [-20, -8, 22], [0.8, 1.3, 0.9])
            detail.tube([(cx + side * half, y - 0.2), (cx + side * reach, y - 0.45)], 0.3, 0.5)
        process = [(cx + rng.normal(0, 0.06), y + 0.2), (cx, y + 0.5 * size + 0.35)]
        detail.tube(process, [0.3, 0.2])
        y += size + np.interp(y, [-20, 0, 20], [0.4, 0.45, 0.7])
    return 0.9 * body.map() + 0.6 * detail.map()


def _shoulders(rng: np.random.Generator, patient: Patient, pose: Pose, turn: float) -> Map:
    rims, collar, arm = Layer(), Layer(), Layer()
    out = 0.0 if pose.view == "AP" else 1.5
    along = np.linspace(0, 1, 60)
    for sign in (-1, 1):
        wide = patient.width * (1 + rng.normal(0, 0.015))
        tilt = rng.normal(0, 0.4)
        front = np.array([6.0 * turn, 0.0])
        s_curve = np.array([(1.7, -9.9), (4.6, -10.4), (8.6, -11.9), (12.8, -12.6), (17.2, -13.2)])
        s_curve[:, 0] *= sign * wide
        s_curve[:, 1] += tilt * np.linspace(0, 1.6, 5)
        radii = np.interp(along, [0, 0.2, 0.6, 1], [0.92, 0.62, 0.52, 0.62])
        collar.tube(shapes.curve(s_curve + front), radii, 0.95, shell=0.4)
        blade = np.array([
            (9.3 + out, -11.2), (9.2 + out, -6), (11.2 + out, -0.2), (12.3 + out, 1.2),
            (13.4 + out, -2), (16.4, -8.6), (16.4, -11.0), (12.6, -11.5),
        ])  # fmt: skip
        blade = (blade + rng.normal(0, 0.12, blade.shape)) * [sign * wide, 1]
        ring = shapes.curve(blade, 100, closed=True)
        rims.polygon(ring, 0.2)
        rims.tube(ring, 0.17, 0.62)
        spine = np.array([(9.8 + out, -9.6), (13.0, -11.0), (17.6, -13.4), (19.6, -13.2)])
        rims.tube(shapes.curve(spine * [sign * wide, 1]), 0.42, 0.5, shell=0.35)
        socket = np.array([(16.9, -11.6), (16.4, -10.4), (16.8, -9.0)])
        rims.tube(shapes.curve(socket * [sign * wide, 1]), 0.3, 0.7)
        head = np.array([sign * wide * 18.9, -10.6])
        if pose.arms_down:
            shaft = np.array([(19.3, -9.6), (21.2, -3), (22.4, 5), (23.0, 14), (23.4, 24)])
        else:
            shaft = np.array([(19.4, -9.6), (22.2, -5.6), (25.6, 1), (29, 8), (32, 15)])
        radii = np.interp(along, [0, 0.12, 1], [1.9, 1.15, 1.1])
        arm.tube(shapes.curve(shaft * [sign * wide, 1]), radii, 0.8, shell=0.45)
        arm.disc(head, (2.25, 2.35), 0.85)
        arm.disc(head, (2.0, 2.1), 0.66)
    return 0.8 * rims.map() + 1.1 * collar.map() + 1.3 * arm.map()


def vessel_tree(rng: np.random.Generator, patient: Patient) -> Map:
    """Path length through the branching vessels of both lungs, in cm.

    Grown a generation at a time: every vessel ends in two thinner ones.
    """
    layers = [Layer(), Layer()]
    roots = []
    for sign in (-1.0, 1.0):
        hilum = np.array([3.7 * patient.width, (-1.7 if sign > 0 else -0.6) * patient.height])
        angles = np.radians(np.append(np.linspace(-84, 82, 10) + rng.normal(0, 7, 10), 72.0))
        start = np.stack([hilum[0] + 0 * angles, hilum[1] + 1.9 * np.sin(angles)], 1)
        radius = rng.uniform(0.28, 0.46, 10) * np.where(angles[:10] > 0.3, 1.2, 0.9)
        roots.append((start, 0 * angles + sign, angles, np.append(radius, 0.66)))
    start, outward, heading, radius = map(np.concatenate, zip(*roots, strict=True))
    for sign in (-1, 1):
        # Lymph nodes, fat and the vessels that run towards the viewer.
        for _ in range(9):
            spot = rng.normal([sign * 4.1 * patient.width, -0.7 * patient.height], [0.55, 1.1])
            layers[0].disc(spot, rng.uniform(0.22, 0.55, 2), rng.uniform(0.25, 0.6))
    while len(radius):
        length = rng.uniform(0.75, 1.3, len(radius)) * (0.95 + 4.0 * radius)
        bend = heading[:, None] + rng.normal(0, 0.2, len(radius))[:, None] * np.linspace(0, 1, 5)
        steps = np.stack([np.cos(bend), np.sin(bend)], 2) * (length / 5)[:, None, None]
        path = np.concatenate([np.zeros((len(radius), 1, 2)), np.cumsum(steps, 1)], 1)
        path += start[:, None]
        drawn = path * np.stack([outward, np.ones_like(outward)], 1)[:, None]
        for parity in (0, 1):
            layers[parity].lines(drawn[parity::2], radius[parity::2] * 0.92)
        across, down = path[:, -1].T
        growing = (radius > 0.08) & (across < 13.2 * patient.width) & (np.abs(down) < 15)
        split = rng.uniform(0.2, 0.52, growing.sum())
        start = np.repeat(path[growing, -1], 2, 0)
        outward = np.repeat(outward[growing], 2)
        side = np.tile([-1.0, 1.0], growing.sum())
        fork = side * np.repeat(split, 2) * rng.uniform(0.5, 1.3, len(side))
        heading = np.repeat(bend[growing, -1], 2) + fork
        radius = np.repeat(radius[growing], 2) * rng.uniform(0.58, 0.88, len(side))
    return 1.5 * ndimage.gaussian_filter(layers[0].map() + layers[1].map(), 0.7, truncate=3.0)
