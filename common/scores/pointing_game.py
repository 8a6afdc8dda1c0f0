"""Scores of saliency maps: against boxes, and against another set of maps."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.stats import spearmanr

from common.explaining.heatmaps import at_image_size
from common.scores.intervals import interval_of_mean, interval_of_share

# Pixels a side, about, to measure shares of cells on.
_FINE = 512
_VALUES = ("hit", "weight", "chance", "ceiling", "blob_hit", "blob_weight")


def rank_correlations(maps: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each case, over its pixels.

    Args:
        maps: (cases, height, width), of any range.
        references: The same shape.

    Returns:
        (n,), -1 to 1, of the n cases none of whose maps is constant.
    """
    return np.array(
        [
            float(spearmanr(heat, reference, axis=None).statistic)
            for heat, reference in zip(maps, references, strict=True)
            if np.ptp(heat) > 0 and np.ptp(reference) > 0
        ]
    )


@functools.cache
def centred_blob(image_size: int) -> np.ndarray:
    """A baseline map (image_size, image_size), 0 to 1, the same for all films.

    A Gaussian at the centre; its standard deviation is a quarter of the side.
    """
    distance = ((np.arange(image_size) + 0.5) / image_size - 0.5) / 0.25
    bell = np.exp(-(distance**2) / 2)
    return np.outer(bell, bell)


class PointingGame:
    """Whether a map's peak lies in a radiologist's box (Zhang et al. 2016, arXiv:1608.00507).

    The peak is the centre of the largest area that has the greatest value; of several as large
    ones all must be inside. Maps are not kept.

    Args:
        cells: Rows and columns of the layer that the maps were enlarged from, for the ceiling.
    """

    def __init__(self, cells: tuple[int, int] | None = None) -> None:
        self._cells = cells
        self._patients: list[str] = []
        # Of each case with a box.
        self._values: dict[str, list[float]] = {name: [] for name in _VALUES}

    def add(
        self, maps: Iterable[np.ndarray], boxes: Iterable[np.ndarray], patients: Iterable[str]
    ) -> None:
        """Play with some cases.

        Args:
            maps: (image_size, image_size), 0 or more, from `common.explaining.gradcam`.
            boxes: Each case's boxes (n, 4), (x0, y0, x1, y1) in fractions of the side; a case
                without a box does not count.
            patients: The patient of each case, for the interval.
        """
        for heat, case_boxes, patient in zip(maps, boxes, patients, strict=True):
            if not len(case_boxes):
                continue
            side = len(heat)
            mask, blob = boxes_mask(case_boxes, side), centred_blob(side)
            values = {
                "hit": _is_hit(heat, case_boxes),
                "weight": _weight_inside(heat, mask),
                "chance": mask.mean(),
                "blob_hit": _is_hit(blob, case_boxes),
                "blob_weight": _weight_inside(blob, mask),
            }
            if self._cells:
                perfect = at_image_size(share_of_cells(case_boxes, self._cells), side)
                values["ceiling"] = _is_hit(perfect, case_boxes)
            for name, value in values.items():
                self._values[name].append(float(value))
            self._patients.append(patient)

    def scores(self) -> dict[str, Any]:
        """The scores of all cases.

        Returns:
            ``pointing_game``: the share of cases whose peak is inside a box, and its ``ci95``;
            ``ceiling``: that of maps that are right in every cell, the boxes themselves in so many
            cells; ``chance``: the mean share of the image that boxes cover, the score of a random
            peak and the weight that a constant map has inside; ``weight_inside``: the mean share
            of a map's weight inside, and its ``weight_inside_ci95``; ``centred_blob``: these two of
            `centred_blob`; ``n`` cases. All are None where n is 0.
        """
        if not self._patients:
            names = ("pointing_game", "ci95", "ceiling", "chance", "weight_inside")
            return {
                **dict.fromkeys((*names, "weight_inside_ci95")), "centred_blob": None, "n": 0
            }  # fmt: skip
        means = {name: float(np.mean(each)) for name, each in self._values.items() if each}
        weights = interval_of_mean(self._values["weight"], self._patients).entries
        return {
            "pointing_game": means["hit"],
            **interval_of_share(self._values["hit"], self._patients).entries,
            "ceiling": means.get("ceiling"),
            "chance": means["chance"],
            "weight_inside": means["weight"],
            **{f"weight_inside_{key}": value for key, value in weights.items()},
            "centred_blob": {
                "pointing_game": means["blob_hit"],
                "weight_inside": means["blob_weight"],
            },
            "n": len(self._patients),
        }


def boxes_mask(boxes: np.ndarray, image_size: int) -> np.ndarray:
    """The pixels (image_size, image_size) whose centres lie in any box (n, 4), in fractions."""
    centres = (np.arange(image_size) + 0.5) / image_size
    mask = np.zeros((image_size, image_size), bool)
    for x0, y0, x1, y1 in boxes:
        columns = (centres >= x0) & (centres < x1)
        rows = (centres >= y0) & (centres < y1)
        mask |= rows[:, None] & columns[None, :]
    return mask


def share_of_cells(boxes: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """The share of each cell of a grid (rows, columns) that boxes (n, 4), in fractions, cover."""
    rows, columns = cells
    # A side that both divide, fine enough for a pixel's edge to say little.
    step = math.lcm(rows, columns)
    side = step * -(-_FINE // step)
    fine = boxes_mask(boxes, side)
    return np.asarray(fine.reshape(rows, side // rows, columns, side // columns).mean((1, 3)))


def peaks(heat: np.ndarray) -> np.ndarray:
    """The centres (n, 2), (x, y) in fractions of the sides, of the largest areas at the peak.

    Neighbours count, diagonal ones too. (0, 2) of a map that is nowhere above 0.
    """
    if heat.max() <= 0:
        return np.zeros((0, 2))
    # Where enlarging makes a plateau, its pixels differ by rounding.
    areas, _ = ndimage.label(heat >= heat.max() * (1 - 1e-5), np.ones((3, 3)))
    sizes = np.bincount(areas.ravel())[1:]
    largest = 1 + np.flatnonzero(sizes == sizes.max())
    centres = np.array(ndimage.center_of_mass(areas > 0, areas, largest)).reshape(-1, 2)
    return (centres[:, ::-1] + 0.5) / heat.shape[::-1]


def _is_hit(heat: np.ndarray, boxes: np.ndarray) -> bool:
    """Whether a map's peak is in one of the boxes, their edges among them."""
    corners = np.asarray(boxes)[None]
    points = peaks(heat)[:, None]
    inside = np.all((points >= corners[..., :2]) & (points <= corners[..., 2:]), axis=-1)
    return len(points) > 0 and bool(inside.any(axis=-1).all())


def _weight_inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's weight inside a mask."""
    return float((heat * mask).sum() / heat.sum()) if heat.sum() > 0 else 0.0
