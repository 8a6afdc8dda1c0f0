"""Scores of a whole segmented volume, distances in millimetres.

The surface of a mask is its voxels with a face on the outside (the mask without its erosion by a
6-connected cross), each of which counts once; beyond the array is outside. Distances are between
voxel centres. A grid is given by the spacing of its voxels, or by their affine, which counts where
its axes are not at right angles (a tilted gantry).

That is MONAI's definition of a surface, so that HD95 and the mean surface distance can be compared
with MONAI's. DeepMind's surface-distance has another: a surface runs between voxels and each
element counts by its area, so that its HD95 is another number. The surface Dice is defined on that
one (`common.scores.surface_dice`).

Empty masks: truth and prediction both empty agree (Dice and Jaccard 1, distances 0). One of them
empty is a miss: Dice and Jaccard 0, and both distances are the diagonal of the volume, the worst
possible, so that missing a volume never improves a mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.spatial import cKDTree


def volume_scores(truth: np.ndarray, predicted: np.ndarray, grid_mm: ArrayLike) -> dict[str, float]:
    """All scores of one volume.

    Args:
        truth: (i, j, k) mask; every value but 0 is inside.
        predicted: The same.
        grid_mm: (3,) distance of neighbouring voxels along i, j and k, or (4, 4) their affine.

    Returns:
        dice and jaccard (the shared volume over that of either), hd95_mm, assd_mm, truth_ml,
        predicted_ml.

    Raises:
        ValueError: The masks differ in shape.
    """
    truth, predicted = same_shape(truth, predicted)
    hd95_mm, assd_mm = surface_scores(truth, predicted, grid_mm)
    overlap = dice(truth, predicted)
    return {
        "dice": overlap,
        "jaccard": overlap / (2 - overlap),
        "hd95_mm": hd95_mm,
        "assd_mm": assd_mm,
        "truth_ml": volume_ml(truth, grid_mm),
        "predicted_ml": volume_ml(predicted, grid_mm),
    }


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Twice the shared volume over the sum of both, in 0..1; 1 if both are empty."""
    truth, predicted = same_shape(truth, predicted)
    sizes = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return 2 * np.count_nonzero(truth & predicted) / sizes if sizes else 1.0


def surface_scores(
    truth: np.ndarray, predicted: np.ndarray, grid_mm: ArrayLike
) -> tuple[float, float]:
    """HD95 and average symmetric surface distance, both in mm.

    From the distances of each surface voxel to the other surface, HD95 is the larger of the two
    directions' 95th percentiles (interpolated), and the average is over the voxels of both
    directions together. MONAI's ``compute_hausdorff_distance(percentile=95)`` and
    ``compute_average_surface_distance(symmetric=True)`` are the same.

    Args:
        truth: (i, j, k) mask; every value but 0 is inside.
        predicted: The same.
        grid_mm: (3,) distance of neighbouring voxels along i, j and k, or (4, 4) their affine.

    Returns:
        (hd95_mm, assd_mm); see the module's docstring for empty masks.
    """
    truth, predicted = same_shape(truth, predicted)
    axes = axes_mm(grid_mm)
    places = [surface_voxels(mask) for mask in (truth, predicted)]
    is_empty = [not len(voxels) for voxels in places]
    if any(is_empty):
        spacing = np.linalg.norm(axes, axis=0)
        worst = 0.0 if all(is_empty) else np.linalg.norm(truth.shape * spacing)
        return float(worst), float(worst)
    forward, backward = surface_distances(places[0], places[1], axes)
    larger = max(np.percentile(forward, 95), np.percentile(backward, 95))
    return float(larger), float(np.concatenate([forward, backward]).mean())


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The distance in mm of each surface voxel to the nearest of the other surface.

    Args:
        truth: (n, 3) voxels of a surface, of `surface_voxels`; at least one.
        predicted: (m, 3) likewise.
        axes: (3, 3) of `axes_mm`.

    Returns:
        (n,) of the truth's voxels and (m,) of the prediction's.
    """
    surfaces = [voxels @ axes.T for voxels in (truth, predicted)]
    # A surface is one or two voxels in a hundred: a tree of its points beats a distance map
    # of the volume, and gives the same to the last digits.
    trees = (cKDTree(points, 24, compact_nodes=False, balanced_tree=False) for points in surfaces)
    backward, forward = (
        tree.query(points, workers=-1)[0]
        for tree, points in zip(trees, reversed(surfaces), strict=True)
    )
    return forward, backward


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """The indices of the mask's voxels with a face on the outside, (voxels, 3)."""
    mask = np.asarray(mask).astype(bool, copy=False)
    box = bounding_box(mask)
    inside = np.pad(mask[box], 1)
    core = inside[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for step in (slice(2, None), slice(None, -2)):
            neighbour = [slice(1, -1)] * 3
            neighbour[axis] = step
            core &= inside[tuple(neighbour)]
    return np.asarray(np.argwhere(mask[box] ^ core) + [edge.start for edge in box])


def volume_ml(mask: np.ndarray, grid_mm: ArrayLike) -> float:
    """The volume of a mask in millilitres (1 ml is 1000 cubic millimetres).

    Args:
        mask: (i, j, k); every value but 0 is inside.
        grid_mm: (3,) distance of neighbouring voxels along i, j and k, or (4, 4) their affine.
    """
    return float(np.count_nonzero(mask) * abs(np.linalg.det(axes_mm(grid_mm))) / 1000)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest part whose voxels touch by a face, edge or corner, as a bool mask.

    The first of equally large parts in the array's order; an empty mask stays empty.
    """
    parts, count = ndimage.label(mask, structure=np.ones((3,) * np.ndim(mask)))
    if not count:
        return np.zeros(np.shape(mask), dtype=bool)
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def axes_mm(grid_mm: ArrayLike) -> np.ndarray:
    """(3, 3) a step along i, j and k in mm, in its columns, of a spacing or an affine."""
    grid = np.asarray(grid_mm, dtype=float)
    return np.diag(grid) if grid.ndim == 1 else grid[:3, :3]


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The slices of the mask's box, empty for an empty mask; only one axis is searched in full."""
    box = [slice(None)] * 3
    for axis in range(3):
        occupied = np.flatnonzero(mask[tuple(box)].any(axis=tuple({0, 1, 2} - {axis})))
        if not occupied.size:
            return (slice(0, 0),) * 3
        box[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1)
    return tuple(box)


def same_shape(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two masks as bool.

    Raises:
        ValueError: They differ in shape.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise ValueError(
            f"the masks must have one shape. Received: {truth.shape} and {predicted.shape}"
        )
    return truth.astype(bool, copy=False), predicted.astype(bool, copy=False)
