"""The surface Dice of two masks: how much of both surfaces lies within a tolerance of the other.

Nikolov et al. 2021, "Clinically Applicable Segmentation of Head and Neck Anatomy"
(10.2196/26151, arXiv:1809.04430), which the Medical Segmentation Decathlon calls normalised surface
distance. The result is that of the authors' package surface-distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from common.scores.volumes import axes_mm, bounding_box, same_shape

_CORNERS = tuple(product((0, 1), repeat=3))
# A distance that is the tolerance but for its rounding is within it.
_ROUNDING_MM = 1e-6

# By which of eight neighbouring voxels are inside, bit n for corner n: the patches of surface
# between them as area vectors, in eighths of a voxel's face. Every other pattern is one of these
# turned or mirrored, or its complement. Of marching cubes, as surface-distance has it.
_PATCHES = {
    0b1: [(1, 1, 1)],
    0b11: [(2, 2, 0)] * 2,
    0b110: [(1, -1, 1), (1, 1, -1)],
    0b111: [(1, 1, 1), (2, 2, 2), (4, 0, 0)],
    0b1111: [(4, 0, 0)] * 2,
    0b10110: [(1, -1, -1), (1, -1, 1), (1, 1, -1)],
    0b10111: [(1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)],
    0b11000: [(1, -1, -1)] * 2,
    0b11001: [(0, 2, 2), (0, 2, 2), (1, -1, -1)],
    0b11011: [(0, 2, -2), (1, 1, 1), (2, 0, -2), (3, 3, 3)],
    0b11110: [(1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0)],
    0b111100: [(2, -2, 0)] * 4,
    0b1101001: [(1, -1, -1), (1, -1, 1), (1, 1, -1), (1, 1, 1)],
}


def surface_dice(
    truth: np.ndarray, predicted: np.ndarray, grid_mm: ArrayLike, tolerances_mm: Sequence[float]
) -> list[float]:
    """The surface Dice at some tolerances, each in 0..1.

    A surface runs halfway between the voxels inside and outside; beyond the array is outside. It is
    cut into elements, one where eight voxels meet, that have an area (that of marching cubes) and a
    place (where they meet). The score is the area of the elements of either surface whose place is
    within the tolerance of an element's of the other, over the area of both.

    Args:
        truth: (i, j, k) mask; every value but 0 is inside.
        predicted: The same.
        grid_mm: (3,) distance of neighbouring voxels along i, j and k, or (4, 4) their affine; on
            a tilted grid the elements are as tilted.
        tolerances_mm: The tolerances, 0 or more.

    Returns:
        One per tolerance. 1 if both masks are empty (where surface-distance gives NaN), 0 if one
        is.

    Raises:
        ValueError: The masks differ in shape.
    """
    truth, predicted = same_shape(truth, predicted)
    if not truth.any() or not predicted.any():
        return [float(not truth.any() and not predicted.any())] * len(tolerances_mm)
    axes = axes_mm(grid_mm)
    areas_mm2 = _areas(axes)
    box = bounding_box(truth | predicted)
    codes = [_codes(mask[box]) for mask in (truth, predicted)]
    is_element = [(code > 0) & (code < 255) for code in codes]
    areas = [areas_mm2[code[at]] for code, at in zip(codes, is_element, strict=True)]
    places = [np.argwhere(at) @ axes.T for at in is_element]
    reach = max(tolerances_mm) + 2 * _ROUNDING_MM
    trees = (cKDTree(points, 24, compact_nodes=False, balanced_tree=False) for points in places)
    distances = [
        tree.query(points, distance_upper_bound=reach, workers=-1)[0]
        for tree, points in zip(trees, reversed(places), strict=True)
    ]
    # The first tree is the truth's, asked for the places of the prediction.
    within = np.concatenate(distances), np.concatenate(areas[::-1])
    return [
        float(within[1][within[0] <= tolerance + _ROUNDING_MM].sum() / within[1].sum())
        for tolerance in tolerances_mm
    ]


def _codes(mask: np.ndarray) -> np.ndarray:
    """Which of the eight voxels around each meeting point are inside, (i + 1, j + 1, k + 1)."""
    padded = np.pad(mask, 1).astype(np.uint8)
    shape = np.array(mask.shape) + 1
    codes = np.zeros(shape, np.uint8)
    for bit, corner in enumerate(_CORNERS):
        codes |= padded[tuple(map(slice, corner, corner + shape))] << bit
    return codes


def _areas(axes: np.ndarray) -> np.ndarray:
    """(256,) the area in mm² of the surface element of each pattern."""
    # An area vector is carried along by the cofactors: face areas, on a grid of right angles.
    cofactors = np.abs(np.linalg.det(axes)) * np.linalg.inv(axes).T
    return np.asarray(np.linalg.norm(_all_patches() @ cofactors.T, axis=-1).sum(axis=-1))


@cache
def _all_patches() -> np.ndarray:
    """(256, 4, 3) the area vectors of every pattern of eight voxels, on a grid of 1 mm."""
    corners, table = np.array(_CORNERS), np.zeros((256, 4, 3))
    for pattern, vectors in _PATCHES.items():
        inside = corners[[bool(pattern >> bit & 1) for bit in range(8)]]
        for order, mirrored in product(permutations(range(3)), product((0, 1), repeat=3)):
            bits = (inside[:, order] ^ np.array(mirrored)) @ (4, 2, 1)
            turned = np.array(vectors)[:, order] * (1 - 2 * np.array(mirrored))
            code = int((1 << bits).sum())
            for same in (code, 255 - code):
                table[same] = 0
                table[same, : len(vectors)] = turned / 8
    return table
