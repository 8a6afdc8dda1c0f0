"""A volume's three orthogonal views with contours, as radiologists look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from common.reporting.figures import new_figure, save, title_row
from common.reporting.gifs import radiological
from common.reporting.palette import PREDICTION, TRUTH

# Name, the axis that is cut, and the patient's side at the left, right, top and bottom.
_VIEWS = (("axial", 2, "RLAP"), ("coronal", 1, "RLSI"), ("sagittal", 0, "APSI"))


def views_picture(
    path: Path,
    image: np.ndarray,
    spacing_mm: Sequence[float],
    truth: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    title: str,
    synthetic: bool | str,
) -> Path:
    """Axial, coronal and sagittal slices through the middle of the truth, one row per prediction.

    Args:
        path: Where the PNG goes.
        image: (x, y, z) 0..255, canonical: right, front, head.
        spacing_mm: (3,) along x, y and z; the slices are drawn in true proportions.
        truth: (x, y, z) labels; where it is empty, or None for unknown, the slices are through
            the first prediction.
        predictions: (x, y, z) labels by the title of their row.
        title: The title of the figure.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    known = [] if truth is None else [(truth, TRUTH, "truth")]
    centre = _centre([*(mask for mask, *_ in known), *predictions.values()])
    figure, axes = new_figure(3, len(predictions), 3.2, 3.3)
    for row, (name, prediction) in zip(axes, predictions.items(), strict=True):
        for panel, (view, axis, sides) in zip(row, _VIEWS, strict=True):
            number = centre[axis]
            film = radiological(image.take(number, axis))
            across, up = (spacing_mm[i] for i in range(3) if i != axis)
            rows, columns = film.shape
            extent = (0, columns * across, rows * up, 0)
            panel.imshow(film, cmap="gray", vmin=0, vmax=255, extent=extent)
            for mask, colour, _ in (*known, (prediction, PREDICTION, "prediction")):
                draw_contours(panel, radiological(mask.take(number, axis)), (across, up), colour)
            _sides(panel, sides)
            panel.set_title(f"{view}, slice {number + 1} of {image.shape[axis]}", fontsize=9)
            panel.set_axis_off()
        title_row(row[0], name)
    for _, colour, label in (*known, (None, PREDICTION, "prediction")):
        axes[0, 0].plot([], [], color=colour, label=label)
    figure.legend(loc="outside lower center", ncols=2)
    figure.suptitle(title, fontsize=10)
    return save(figure, path, synthetic)


def _centre(masks: Sequence[np.ndarray]) -> list[int]:
    """The voxel in the middle of the first mask that is not empty, else of the volume."""
    for mask in masks:
        places = np.argwhere(mask)
        if len(places):
            return [round(place) for place in places.mean(axis=0).tolist()]
    return [length // 2 for length in masks[0].shape]


def draw_contours(
    axes: Axes, labels: np.ndarray, spacing_mm: tuple[float, float], colour: str
) -> None:
    """Draw the outline of every label of a plane with pixels of a size in mm (across, up)."""
    # A border of background, so that an outline closes where the volume ends.
    padded = np.pad(labels, 1)
    up, across = (np.arange(-1, length - 1) + 0.5 for length in padded.shape)
    places = across * spacing_mm[0], up * spacing_mm[1]
    for label in np.unique(labels[labels > 0]):
        axes.contour(*places, padded == label, levels=[0.5], colors=[colour], linewidths=1.2)


def _sides(axes: Axes, sides: str) -> None:
    """Write the patient's side at each edge: R, L, A(nterior), P, S(uperior), I."""
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
    edge = withStroke(linewidth=2, foreground="black")
    style: dict[str, Any] = {"color": "white", "fontsize": 9, "ha": "center", "va": "center"}
    for letter, place in zip(sides, places, strict=True):
        axes.text(*place, letter, transform=axes.transAxes, path_effects=[edge], **style)
