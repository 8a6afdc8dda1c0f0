"""Arrays from one grid of voxels (or pixels) to another.

A grid covers its voxels to their outer edges: ``n`` voxels run from index -0.5 to ``n - 0.5``,
whole numbers at their centres. Resampling keeps these edges, so that a prediction made on a
coarser grid comes back to its place without a shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import affine_transform
from scipy.sparse import csr_array


def resample(values: np.ndarray, shape: tuple[int, ...], order: int = 1) -> np.ndarray:
    """Bring an array to another number of voxels over the same extent, edge to edge.

    An axis that shrinks takes the mean of what each new voxel covers: it keeps the mean, can't
    alias, and is what a coarser scan measures (partial volume). One that grows is interpolated
    linearly, the outer half voxel held.

    Args:
        values: An array of any number of axes.
        shape: The new length of each axis.
        order: 1 as above, 0 for the nearest voxel.

    Returns:
        ``shape``: float32 for order 1, the dtype of ``values`` for order 0.
    """
    if order == 0:
        for axis, length in enumerate(shape):
            centres = (np.arange(length) + 0.5) * values.shape[axis] / length
            values = np.take(values, np.floor(centres).astype(int), axis=axis)
        return values
    weights = [
        None if old == new else _weights(old, new)
        for old, new in zip(values.shape, shape, strict=True)
    ]
    return _weighted_sums(values.astype(np.float32, copy=False), weights)


def resample_labels(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bring a mask to another number of voxels over the same extent, each label's share by itself.

    A new voxel gets the label with the largest share of it; of equal shares the lowest label's.

    Args:
        mask: uint8, of any number of axes.
        shape: The new length of each axis.

    Returns:
        ``shape`` uint8.
    """
    lowest, *labels = (n for n in range(int(mask.max()) + 1) if (mask == n).any())
    result = np.full(shape, lowest, np.uint8, order="F" if mask.flags.f_contiguous else "C")
    if not labels:
        return result
    # The lowest label is usually the background: only the part that holds other labels is read.
    old, new, weights = _part(mask != lowest, shape)
    mask, part = mask[old], result[new]
    shares = [_weighted_sums((mask == label).astype(np.float32), weights) for label in labels]
    best: np.ndarray = np.subtract(1, sum(shares))
    for label, share in zip(labels, shares, strict=True):
        # Sums of weights in float32 that should be equal differ in their last bits.
        wins = share > best + 1e-5
        np.copyto(best, share, where=wins)
        np.copyto(part, label, where=wins)
    return result


def to_grid(
    values: np.ndarray,
    affine: np.ndarray,
    grid_shape: tuple[int, int, int],
    grid_affine: np.ndarray,
    order: int = 1,
    fill: float = 0.0,
) -> np.ndarray:
    """Bring values to another grid by the two affines, for instance a prediction to its image's.

    Bring probabilities, and set the threshold after: a mask's own 0 and 1 would be staircases.

    Args:
        values: ``(x, y, z)``.
        affine: ``(4, 4)``, indices of ``values`` to mm.
        grid_shape: The other grid's three lengths.
        grid_affine: ``(4, 4)``, its indices to mm.
        order: 1 linear, 0 nearest.
        fill: What stands outside the extent of ``values``; inside it, beyond the outer voxels'
            centres, their value is held.

    Returns:
        ``grid_shape``: float32 for order 1, the dtype of ``values`` for order 0.
    """
    to_index = np.linalg.inv(affine) @ grid_affine
    matrix, offset = to_index[:3, :3], to_index[:3, 3]
    axis_aligned = np.allclose(matrix, np.diag(np.diag(matrix)), rtol=0, atol=1e-9)
    dtype = values.dtype if order == 0 else np.float32
    result: np.ndarray = affine_transform(
        values.astype(dtype, copy=False),
        np.diag(matrix) if axis_aligned else matrix,
        offset,
        output_shape=tuple(grid_shape),
        order=order,
        mode="nearest",
    )
    steps = np.ogrid[tuple(slice(0, length) for length in grid_shape)]
    outside = np.zeros((1, 1, 1), bool)
    for axis in range(3):
        used = [i for i in range(3) if not axis_aligned or i == axis]
        index = offset[axis] + sum(matrix[axis, i] * steps[i] for i in used)
        beyond = (index < -0.5 - 1e-6) | (index > values.shape[axis] - 0.5 + 1e-6)
        outside = outside | beyond
    result[np.broadcast_to(outside, result.shape)] = fill
    return result


def _part(
    inside: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...], list[np.ndarray | None]]:
    """The slices that hold the True voxels, those of the new grid, and the weights between them."""
    old, new, weights = [], [], []
    for axis, length in enumerate(shape):
        across = tuple(k for k in range(inside.ndim) if k != axis)
        all_weights = _weights(inside.shape[axis], length)
        old.append(_extent(np.any(inside, axis=across)))
        new.append(_extent(np.any(all_weights[:, old[-1]], axis=1)))
        same = inside.shape[axis] == length
        weights.append(None if same else all_weights[new[-1], old[-1]])
    return tuple(old), tuple(new), weights


def _weighted_sums(values: np.ndarray, weights: Sequence[np.ndarray | None]) -> np.ndarray:
    """Weighted sums of float32 values along every axis; ``weights`` are (new, old), mostly 0.

    An axis without weights stays as it is. The result keeps the memory order of the values.
    """
    order = np.argsort(np.abs(values.strides), kind="stable")[::-1]
    values = np.ascontiguousarray(values.transpose(order))
    for axis, matrix in enumerate(weights[place] for place in order):
        if matrix is None:
            continue
        new, old = matrix.shape
        before, after = values.shape[:axis], values.shape[axis + 1 :]
        if after:
            sparse = csr_array(matrix)
            parts = [sparse @ part for part in values.reshape(-1, old, math.prod(after))]
            lines = parts[0] if len(parts) == 1 else np.asarray(parts)
        else:
            lines = values.reshape(-1, old) @ matrix.T
        values = lines.reshape(*before, new, *after)
    return values.transpose(np.argsort(order))


def _extent(occupied: np.ndarray) -> slice:
    """From the first True to the last."""
    places = np.flatnonzero(occupied)
    return slice(places[0], places[-1] + 1)


def _weights(old: int, new: int) -> np.ndarray:
    """``(new, old)`` float32 weights of `resample` for one axis; each row sums to 1."""
    if new < old:
        edges = np.arange(new + 1)[:, None] * (old / new)
        # How much of every old voxel lies below every new edge.
        below = np.clip(edges - np.arange(old), 0, 1)
        weights = np.diff(below, axis=0) * (new / old)
    else:
        centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)[:, None]
        weights = np.clip(1 - np.abs(centres - np.arange(old)), 0, 1)
    return np.asarray(weights, np.float32)
