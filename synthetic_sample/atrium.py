"""Left-atrium-like MRI with late gadolinium enhancement, from distances to a few bodies.

Anatomy is written in millimetres around the left atrium: x to the patient's left, y to the
front, z to the head. A volume samples it through its affine, so that orientation and spacing
are real, then gets uneven light and Rician noise. Nothing is taken from a real volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from synthetic_sample.shapes import curve

Volume = NDArray[np.float32]
_ORIENTATIONS = ("LPS", "RAS", "LAS", "RPS", "LPS", "RAS")


@dataclass(frozen=True)
class AtriumVolume:
    """One volume and its truth.

    Attributes:
        image: ``(i, j, k)``, uint8 or int16.
        label: ``(i, j, k)`` uint8, 1 in the left atrium, its appendage and proximal veins.
        affine: ``(4, 4)``, voxel to RAS millimetres.
    """

    image: NDArray
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]


def draw_volume(seed: int, number: int) -> AtriumVolume:
    """Draw volume ``number`` of the set made from ``seed``."""
    rng = np.random.default_rng([seed, 10, number])
    shape, affine = _grid(rng, number)
    points = _sample_points(shape, affine)
    points += _bend(rng, shape)
    # How a heart lies and how large it is differs more than its shape.
    lie = Rotation.from_euler("xyz", rng.normal(0, 8, 3), degrees=True).as_matrix()
    size = np.clip(rng.normal(1.0, 0.07), 0.85, 1.2) * rng.normal(1.0, 0.07, 3)
    points = np.tensordot((lie / size[:, None]).astype(np.float32), points, 1)
    anatomy = _Anatomy(rng, points)
    signal, inside = anatomy.painted()
    image = _measured(rng, signal, shape)
    dtype = np.uint8 if rng.random() < 0.5 else np.int16
    gain = rng.uniform(90, 190) if dtype is np.uint8 else rng.uniform(200, 900)
    voxels = np.clip(np.round(gain * image), 0, np.iinfo(dtype).max).astype(dtype)
    return AtriumVolume(voxels, inside.astype(np.uint8), affine)


def _grid(rng: np.random.Generator, number: int) -> tuple[tuple[int, int, int], NDArray]:
    """A volume's shape and affine: mostly near isotropic, a few with thick slices."""
    thick = number % 4 == 3
    in_plane = float(np.round(rng.uniform(1.0, 1.2), 3))
    between = float(np.round(rng.uniform(2.0, 2.5) if thick else rng.uniform(1.2, 1.5), 3))
    rows, columns = int(rng.integers(104, 121)), int(rng.integers(88, 101))
    shape = rows, columns, int(np.clip(rng.uniform(68, 80) / between, 24, 56))
    signs = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "S": (2, 1), "I": (2, -1)}
    linear = np.zeros((3, 3))
    for axis, letter in enumerate(_ORIENTATIONS[number % len(_ORIENTATIONS)]):
        row, sign = signs[letter]
        linear[row, axis] = sign * (between if axis == 2 else in_plane)
    if number % 7 == 4:
        linear = Rotation.from_euler("xyz", rng.normal(0, 6, 3), degrees=True).as_matrix() @ linear
    affine = np.eye(4)
    affine[:3, :3] = linear
    middle = rng.normal(0, 2.5, 3) + [0, 4, -1]
    world = np.array([-middle[0], middle[1], middle[2]])
    affine[:3, 3] = world - linear @ ((np.array(shape) - 1) / 2)
    return shape, affine


def _sample_points(shape: tuple[int, int, int], affine: NDArray) -> Volume:
    """Anatomical coordinates of the voxels, ``(3, i, j, k)`` in mm."""
    index = np.indices(shape, dtype=np.float32)
    world = np.tensordot(affine[:3, :3].astype(np.float32), index, 1)
    world += affine[:3, 3].astype(np.float32)[:, None, None, None]
    world[0] *= -1
    return world


def _smooth(rng: np.random.Generator, shape: tuple[int, int, int], cells: int) -> Volume:
    """Smooth random field of standard deviation about 1."""
    field = rng.standard_normal([cells + 3] * 3, dtype=np.float32)
    for axis, length in enumerate(shape):
        # One axis after the other: a spline on a grid is separable.
        place = np.linspace(1, cells + 1, length, dtype=np.float32)
        low = np.clip(np.floor(place).astype(int), 1, cells)
        t = place - low
        weights = (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3
        field = sum(
            np.moveaxis(np.take(field, low - 1 + i, axis), axis, -1) * (weight / 6)
            for i, weight in enumerate(weights)
        )
        field = np.moveaxis(field, -1, axis)
    return (field / 0.33).astype(np.float32)


def _bend(rng: np.random.Generator, shape: tuple[int, int, int]) -> Volume:
    """Displacements of a few millimetres, so that no body is a formula's."""
    return np.stack([2.0 * _smooth(rng, shape, 3) + 0.8 * _smooth(rng, shape, 7) for _ in range(3)])


def _measured(rng: np.random.Generator, signal: Volume, shape: tuple[int, int, int]) -> Volume:
    """Uneven light and Rician noise."""
    light = np.exp(rng.uniform(0.10, 0.22) * _smooth(rng, shape, 2))
    sigma = rng.uniform(0.05, 0.085)
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    # Interpolated k-space: neighbours in a slice share some of their noise.
    parts = ndimage.gaussian_filter(parts, (0, 0.55, 0.55, 0.0)) * 1.9
    return np.hypot(signal * light + sigma * parts[0], sigma * parts[1])


class _Anatomy:
    """Bodies as signed distances in mm, negative inside, painted one over the other."""

    def __init__(self, rng: np.random.Generator, points: Volume) -> None:
        self.rng, self.points = rng, points

    def ellipsoid(self, centre: ArrayLike, radii: ArrayLike) -> Volume:
        """Approximate distance to an ellipsoid."""
        q = self.points - np.asarray(centre, np.float32)[:, None, None, None]
        radii = np.asarray(radii, np.float32)[:, None, None, None]
        near = np.sqrt(((q / radii) ** 2).sum(0))
        slope = np.sqrt(((q / radii**2) ** 2).sum(0))
        return near * (near - 1) / np.maximum(slope, 1e-4)

    def tube(
        self,
        line: ArrayLike,
        radii: Sequence[float] | NDArray[Any],
        count: int = 14,
        into: Volume | None = None,
    ) -> Volume:
        """Distance to a tapering tube along a curve.

        Args:
            line: Points of the centre line, ``(n, 3)`` in mm.
            radii: Radii along it, in mm, evenly spaced.
            count: Number of points that the curve is drawn with.
            into: Distances to join with; a new volume if left out.
        """
        line = curve(np.array(line), count)
        radii = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(radii)), radii)
        if into is None:
            into = np.full(self.points.shape[1:], 60.0, np.float32)
        for a, b, ra, rb in zip(line[:-1], line[1:], radii[:-1], radii[1:], strict=True):
            part = self._around(np.minimum(a, b), np.maximum(a, b), max(ra, rb) + 6)
            if part is None:
                continue
            q = self.points[(slice(None), *part)] - a.astype(np.float32)[:, None, None, None]
            along = (b - a).astype(np.float32)
            x, y, z = along / (along @ along + 1e-6)
            t = np.clip(x * q[0] + y * q[1] + z * q[2], 0, 1)
            q -= along[:, None, None, None] * t
            d = np.sqrt(np.einsum("cijk,cijk->ijk", q, q)) - (ra + (rb - ra) * t)
            np.minimum(into[part], d, out=into[part])
        return into

    def _around(self, low: NDArray, high: NDArray, margin: float) -> tuple[slice, ...] | None:
        """The voxels of a box in mm, as slices; None if there are none."""
        step = 4
        few = self.points[:, ::step, ::step, ::step]
        near = np.ones(few.shape[1:], bool)
        for axis in range(3):
            near &= (few[axis] > low[axis] - margin - 3) & (few[axis] < high[axis] + margin + 3)
        if not near.any():
            return None
        return tuple(
            slice(max(0, (at.min() - 1) * step), (at.max() + 1) * step + 1)
            for at in np.nonzero(near)
        )

    def painted(self) -> tuple[Volume, NDArray[np.bool_]]:
        """The signal, blood near 1, and the mask of the left atrium."""
        rng = self.rng
        shape = self.points.shape[1:]
        x, y = self.points[:2]
        # In some patients the blood has lost its contrast and the scarred wall outshines it.
        pale = rng.random() < 0.2
        blood = rng.uniform(0.5, 0.62) if pale else rng.uniform(0.75, 1.0)
        streaks = np.abs(_smooth(rng, shape, 9))
        signal = 0.3 - 0.14 * np.clip(streaks, 0, 1.6) + 0.05 * _smooth(rng, shape, 22)
        signal = np.clip(signal, 0.05, None)

        def paint(distance: NDArray[Any], value: float | NDArray[Any], edge: float = 0.55) -> None:
            nonlocal signal
            share = 1 / (1 + np.exp(np.clip(distance / edge, -30, 30)))
            signal = signal + share * (value - signal)

        def jitter(*point: float, by: float = 1.5) -> NDArray:
            return np.array(point) + rng.normal(0, by, 3)

        def vessel(radii: Sequence[float], *line: tuple[float, float, float]) -> Volume:
            return self.tube([jitter(*point) for point in line], radii)

        def chamber(distance: Volume, wall_mm: float, wall: float, value: float) -> None:
            paint(distance - wall_mm, wall)
            paint(distance, value * (1 + 0.05 * texture))

        texture = _smooth(rng, shape, 10)
        # Lungs, chest wall, spine.
        for sign in (-1, 1):
            lung = self.ellipsoid(jitter(sign * 78, -12, 5, by=3), (42, 62, 95))
            paint(lung, 0.06, 1.0)
            vessels = np.full(shape, 60.0, np.float32)
            for _ in range(34):
                start = rng.uniform([40, -55, -45], [66, 30, 45]) * [sign, 1, 1]
                line = [start, start + rng.normal(0, 5, 3), start + rng.normal(0, 9, 3)]
                vessels = self.tube(line, [rng.uniform(0.9, 2.6), 0.7], 4, vessels)
            paint(np.maximum(vessels, lung + 1), blood * 0.85)
        for _ in range(10):
            start = rng.uniform([-40, -30, -35], [40, 45, 40])
            line = [start, start + rng.normal(0, 7, 3), start + rng.normal(0, 12, 3)]
            small = self.tube(line, [rng.uniform(0.8, 2.0), 0.7], 4)
            paint(small, blood * rng.uniform(0.6, 1.0))
        back = rng.uniform(-44, -38)
        paint(y - back + 6 + 0.004 * x**2, 0.3, 1.5)
        spine_x = rng.normal(-6, 2)
        bone = np.hypot(x - spine_x, 1.15 * (y - back + 6)) - 17
        paint(bone, 0.55, 0.6)
        paint(bone + 2.2, 0.09 + 0.03 * texture, 0.6)
        paint(np.hypot(x - spine_x, y - back + 29) - 7, 0.35)
        gullet = vessel([5, 5], (4, -27, -50), (1, -26, 0), (0, -30, 50))
        paint(gullet, 0.42)
        paint(gullet + 2.2, 0.2)
        # Vessels and chambers in front.
        descending_aorta = vessel([11, 11.5, 12], (17, -38, -55), (18, -37, 0), (16, -36, 55))
        chamber(descending_aorta, 1.3, 0.12, blood * rng.uniform(0.92, 1.05))
        muscle = rng.uniform(0.14, 0.3)
        left_ventricle = self.ellipsoid(jitter(37, 42, -30), (23, 27, 30))
        right_ventricle = self.ellipsoid(jitter(-8, 58, -24), (36, 25, 34))
        right_atrium = self.ellipsoid(jitter(-36, 26, -12), (25, 25, 33))
        aorta = vessel([12.5, 15, 14, 13.5], (10, 34, -8), (2, 30, 10), (-7, 28, 30), (-8, 22, 55))
        lung_trunk = vessel([13, 13, 12, 11], (6, 52, -4), (14, 46, 14), (20, 30, 30), (16, 12, 36))
        right_artery = vessel([10, 9, 8], (16, 14, 36), (-8, 6, 37), (-36, 2, 35))
        cava = vessel([10, 9, 8.5], (-29, 16, -2), (-28, 14, 25), (-27, 12, 55))
        chamber(right_ventricle, 2.5, muscle, blood * rng.uniform(0.88, 1.0))
        chamber(left_ventricle, 8.0, muscle, blood * rng.uniform(0.9, 1.03))
        for body in (right_atrium, cava, right_artery, lung_trunk, aorta):
            chamber(body, 1.5, 0.16, blood * rng.uniform(0.9, 1.03))
        paint(np.minimum(right_atrium, cava) + 1.0, blood * (1 + 0.05 * texture))

        inside, beyond = self._left_atrium(jitter)
        whole = np.minimum(inside, beyond)
        scar = np.clip(0.3 + 0.5 * _smooth(rng, shape, 6), 0, 1.2) * rng.uniform(0.6, 1.2)
        paint(whole - 2.4, 0.13)
        paint(whole - 1.3, 0.2 + scar, 0.5)
        paint(whole, blood * (1 + 0.05 * texture))
        # The mitral valve is open or thin: no wall between atrium and ventricle.
        valve = self.tube([(16, 12, -8), (31, 30, -22)], [12, 11])
        paint(np.maximum(valve, left_ventricle - 9), blood * 0.97)
        paint(inside, blood * (1 + 0.05 * texture))
        return np.clip(signal, 0, None), inside < 0

    def _left_atrium(self, jitter: Callable[..., NDArray[Any]]) -> tuple[Volume, Volume]:
        """Distances to what is labelled, and to the veins' further course."""
        rng = self.rng
        body = self.ellipsoid(jitter(0, -2, 0, by=1), rng.normal([29, 18, 25], [3.0, 2.5, 3.0]))
        floor = self.ellipsoid(jitter(10, 6, -9), rng.normal([20, 16, 17], 1.3))
        inside = _joined(body, floor, 6.0)
        veins = (
            [(-19, -4, 10), (-33, -9, 17), (-46, -14, 24), (-62, -18, 34)],
            [(-19, -8, -5), (-33, -15, -8), (-45, -22, -12), (-60, -34, -20)],
            [(19, -4, 12), (29, -8, 22), (38, -14, 31), (50, -22, 42)],
            [(19, -9, -3), (31, -17, -4), (41, -26, -7), (54, -40, -14)],
        )
        beyond = np.full_like(inside, 60.0)
        for vein in veins:
            line = curve(np.stack([jitter(*point, by=1.3) for point in vein]), 40)
            width = rng.uniform(0.85, 1.15)
            cut = int(rng.uniform(17, 25))
            radii = width * np.interp(np.arange(40), [0, 12, 25, 39], [9.5, 7.4, 6.0, 4.4])
            inside = _joined(inside, self.tube(line[:cut:3], radii[:cut:3], 9), 4.5)
            beyond = np.minimum(beyond, self.tube(line[cut - 3 :: 3], radii[cut - 3 :: 3], 9))
        appendage = [jitter(20, 8, 8), jitter(31, 13, 14), jitter(38, 22, 12), jitter(36, 30, 6)]
        inside = _joined(inside, self.tube(appendage, [8.5, 6, 8, 5.5]), 2.5)
        return inside, beyond


def _joined(a: Volume, b: Volume, round_mm: float) -> Volume:
    """The union of two bodies with a rounded seam."""
    mix = np.clip(0.5 + 0.5 * (b - a) / round_mm, 0, 1)
    return b + (a - b) * mix - round_mm * mix * (1 - mix)
