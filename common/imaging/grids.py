"""Arrays from one grid of voxels (or pixels) to another.

A grid covers its voxels to their outer edges: ``n`` voxels run from index -0.5 to ``n - 0.5``,
whole numbers at their centres. Resampling keeps these edges, so that a prediction made on a
coarser grid comes back to its place without a shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


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
    return _weighed(values.astype(np.float32, copy=False), weights)


def resample_labels(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bring a mask to another number of voxels over the same extent, each label's share by itself.

    A new voxel gets the label with the largest share of it; of equal shares the lowest label's.

    Args:
        mask: uint8, of any number of axes.
        shape: The new length of each axis.

    Returns:
        ``shape`` uint8.
    """
    last = int(mask.max())
    lowest, *others = (n for n in range(last + 1) if (mask == n).any())
    result = np.full(shape, lowest, np.uint8, order="F" if mask.flags.f_contiguous else "C")
    if not others:
        return result
    # The lowest label is as a rule the background: only the part that holds others is looked at.
    old, new, weights = _part(mask != lowest, shape)
    mask, labels = mask[old], result[new]
    shares = [_weighed((mask == label).astype(np.float32), weights) for label in others]
    best = 1 - sum(shares)
    for label, share in zip(others, shares, strict=True):
        # Sums of weights in float32 that should be equal differ in their last bits.
        wins = share > best + 1e-5
        np.copyto(best, share, where=wins)
        np.copyto(labels, label, where=wins)
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
    from scipy.ndimage import affine_transform

    to_index = np.linalg.inv(affine) @ grid_affine
    matrix, offset = to_index[:3, :3], to_index[:3, 3]
    axis_aligned = np.allclose(matrix, np.diag(np.diag(matrix)), rtol=0, atol=1e-9)
    dtype = values.dtype if order == 0 else np.float32
    result = affine_transform(
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
    """Where booleans are True, which new voxels that reaches, and the weights between the two."""
    old, new, weights = [], [], []
    for axis, length in enumerate(shape):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        all_weights = _weights(inside.shape[axis], length)
        old.append(_extent(inside.any(axis=others)))
        new.append(_extent(all_weights[:, old[-1]].any(axis=1)))
        same = inside.shape[axis] == length
        weights.append(None if same else all_weights[new[-1], old[-1]])
    return tuple(old), tuple(new), weights


def _weighed(values: np.ndarray, weights: Sequence[np.ndarray | None]) -> np.ndarray:
    """Sums of float32 values along every axis, by weights (new, old), most of which are 0.

    An axis without weights stays as it is. The result lies in memory as the values do.
    """
    from scipy.sparse import csr_array

    order = np.argsort(np.abs(values.strides), kind="stable")[::-1]
    values = np.ascontiguousarray(values.transpose(order))
    for axis, of_axis in enumerate(weights[place] for place in order):
        if of_axis is None:
            continue
        new, old = of_axis.shape
        before, after = values.shape[:axis], values.shape[axis + 1 :]
        if after:
            sparse = csr_array(of_axis)
            lines = [sparse @ part for part in values.reshape(-1, old, math.prod(after))]
        else:
            lines = values.reshape(-1, old) @ of_axis.T
        lines = lines[0] if len(lines) == 1 else np.asarray(lines)
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
        return (np.diff(below, axis=0) * (new / old)).astype(np.float32)
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)[:, None]
    return np.clip(1 - np.abs(at - np.arange(old)), 0, 1).astype(np.float32)
