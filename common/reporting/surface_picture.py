"""The true surface of a volume from three sides, coloured by its distance to that of a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from common.reporting.figures import new_figure, save, title_row
from common.reporting.gifs import radiological
from common.reporting.palette import PREDICTION, TRUTH
from common.scores.surface_errors import SurfaceErrors

# Name, the axis along which one looks, and whether its high end is near. As slices lie in
# radiology: the patient's right at the left, or the front where one looks from the side.
_SIDES = (("from the front", 1, True), ("from the left", 0, False), ("from below", 2, False))
# Colours end at so many mm at least.
_LEAST_MM = 3.0
# Voxels around the surface.
_MARGIN = 3
_COLOURS = LinearSegmentedColormap.from_list("signed", [TRUTH, "#e8e8e8", PREDICTION])


def surface_picture(
    path: Path,
    errors: Mapping[str, SurfaceErrors],
    spacing_mm: Sequence[float],
    title: str,
    synthetic: bool | str,
) -> Path:
    """Draw the true surface from the front, the left and below, one row per mask.

    What is blue the mask misses, what is red lies within it: it reaches beyond the truth there.

    Args:
        path: Where the PNG goes.
        errors: Of masks of one volume, canonical (right, front, head), by the title of their row.
        spacing_mm: (3,) along x, y and z.
        title: The title of the figure.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    figure, axes = new_figure(3, len(errors), 3.2, 3.3)
    every = np.abs(np.concatenate([mask.truth_mm for mask in errors.values()]))
    limit = max(_LEAST_MM, float(np.percentile(every, 95)))
    for row, (name, mask) in zip(axes, errors.items(), strict=True):
        for panel, (side, axis, is_high_near) in zip(row, _SIDES, strict=True):
            seen = _seen(mask.truth, mask.truth_mm, axis, is_high_near)
            across, up = (spacing_mm[i] for i in range(3) if i != axis)
            extent = (0, seen.shape[1] * across, seen.shape[0] * up, 0)
            drawn = panel.imshow(seen, cmap=_COLOURS, vmin=-limit, vmax=limit, extent=extent)
            panel.set_title(side, fontsize=9)
            panel.set_axis_off()
        title_row(row[0], name)
    figure.colorbar(
        drawn, ax=axes, orientation="horizontal", shrink=0.6, pad=0.02, extend="both",
        label="mm to the mask's surface: blue, it falls short; red, it reaches beyond",
    )  # fmt: skip
    figure.suptitle(title, fontsize=10)
    return save(figure, path, synthetic)


def _seen(places: np.ndarray, values: np.ndarray, axis: int, is_high_near: bool) -> np.ndarray:
    """The values of the nearest voxels along an axis, as rows and columns; NaN for none."""
    depth = places[:, axis]
    order = np.argsort(depth if is_high_near else -depth, kind="stable")
    in_plane = np.delete(places - places.min(axis=0), axis, axis=1)[order] + _MARGIN
    plane = np.full(in_plane.max(axis=0) + _MARGIN + 1, np.nan)
    plane[tuple(in_plane.T)] = values[order]
    return radiological(plane)
