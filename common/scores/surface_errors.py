"""Where a mask errs: how far its surface is from the true one, at each place and in each slice.

A surface and its distances are those of `common.scores.volumes`. A distance has a sign: above 0 the
mask reaches beyond the truth, below 0 it falls short of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.scores.volumes import axes_mm, same_shape, surface_distances, surface_voxels


@dataclass(frozen=True)
class SurfaceErrors:
    """The signed distances between two surfaces.

    Attributes:
        truth: (n, 3) voxels of the true surface.
        truth_mm: (n,) of each to the mask's surface: above 0 inside the mask.
        predicted: (m, 3) voxels of the mask's surface.
        predicted_mm: (m,) of each to the true surface: above 0 outside the truth.
    """

    truth: np.ndarray
    truth_mm: np.ndarray
    predicted: np.ndarray
    predicted_mm: np.ndarray

    def worst_slices(self, count: int) -> list[dict[str, Any]]:
        """The slices along the last axis whose surfaces are furthest apart, the worst first.

        Returns:
            Of each its number from 1, ``slice``; the mean distance of the voxels of both surfaces
            in it, ``mean_mm``; and that with its sign, ``signed_mm``.
        """
        slices = np.concatenate([self.truth, self.predicted])[:, 2]
        signed = np.concatenate([self.truth_mm, self.predicted_mm])
        voxels = np.maximum(np.bincount(slices), 1)
        means = np.bincount(slices, np.abs(signed)) / voxels
        signed_means = np.bincount(slices, signed) / voxels
        order = np.argsort(-means, kind="stable")[:count]
        return [
            {
                "slice": int(number) + 1,
                "mean_mm": float(means[number]),
                "signed_mm": float(signed_means[number]),
            }
            for number in order
            if means[number] > 0
        ]


def surface_errors(
    truth: np.ndarray, predicted: np.ndarray, grid_mm: ArrayLike
) -> SurfaceErrors | None:
    """The errors of a mask; None where it or the truth is empty, and no surface is there.

    Args:
        truth: (i, j, k) mask; every value but 0 is inside.
        predicted: The same.
        grid_mm: (3,) distance of neighbouring voxels along i, j and k, or (4, 4) their affine.

    Raises:
        ValueError: The masks differ in shape.
    """
    truth, predicted = same_shape(truth, predicted)
    places = [surface_voxels(mask) for mask in (truth, predicted)]
    if not all(map(len, places)):
        return None
    forward, backward = surface_distances(places[0], places[1], axes_mm(grid_mm))
    in_mask, in_truth = predicted[tuple(places[0].T)], truth[tuple(places[1].T)]
    return SurfaceErrors(
        places[0], np.where(in_mask, forward, -forward),
        places[1], np.where(in_truth, -backward, backward),
    )  # fmt: skip
