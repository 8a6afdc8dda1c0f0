"""Pictures of radiographs as PNG, and the one style of all figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from PIL import Image

from common.base.files import atomic_write
from common.reporting.mark import with_mark
from common.reporting.palette import GREY, INK, PREDICTION, TRUTH

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    # A file may be called $$, and no figure holds a formula.
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}
"""matplotlib's settings under which every figure is made."""

# The shorter side of a film in a picture.
_SHORT_SIDE_INCHES = 3.4


def new_figure(columns: int, rows: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure of ``rows`` by ``columns`` axes of a size in inches each, in the one style."""
    mpl.rcdefaults()  # a matplotlibrc of the user's decides nothing
    mpl.rcParams.update(STYLE)
    figure = Figure((columns * width, rows * height), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def title_row(first: Axes, title: str) -> None:
    """Write the title of a row of axes to the left of its first."""
    first.annotate(
        title, (-0.06, 0.5), xycoords="axes fraction", rotation=90, ha="center", va="center"
    )


def save(figure: Figure, path: Path, synthetic: bool | str) -> Path:
    """Write a figure as a PNG; gives the path back.

    Args:
        figure: The figure.
        path: Where it goes.
        synthetic: Whether the data was made up, which marks it SYNTHETIC in a margin over the
            figure; or a mark in other words.
    """
    picture = Image.fromarray(with_mark(_drawn(figure, 120), synthetic))
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG")
    return path


def pixels(figure: Figure, synthetic: bool | str) -> np.ndarray:
    """A figure as (height, width, 3) uint8, 100 pixels per inch, marked as by `save`."""
    return with_mark(_drawn(figure, 100), synthetic)


def _drawn(figure: Figure, dpi: int) -> np.ndarray:
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_film(axes: Axes, image: np.ndarray, title: str) -> None:
    """Draw a radiograph (rows, columns) 0..255 in its own pixels, in true proportions."""
    rows, columns = image.shape
    # Box edges are half-open pixel edges, so the film lies from 0 to its width.
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, columns, rows, 0))
    axes.set_title(title, fontsize=9, loc="left", color=INK)
    axes.set_axis_off()


def draw_box(axes: Axes, box: ArrayLike, colour: str, style: str = "-") -> None:
    """Draw a box (x0, y0, x1, y1) in the pixels of the film on the axes."""
    x0, y0, x1, y1 = np.asarray(box, dtype=float)
    line: dict[str, Any] = {"edgecolor": colour, "linewidth": 1.8, "linestyle": style}
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **line))


def draw_heat(axes: Axes, heat: np.ndarray, image_size: int) -> AxesImage:
    """Draw a map (any, any) 0..1 over a square film of a side in pixels; gives it back."""
    # Where the map is low the film stays visible.
    style: dict[str, Any] = {"cmap": "inferno", "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    alpha = np.clip(heat * 0.75, 0, 0.75)
    return axes.imshow(heat, alpha=alpha, extent=(0, image_size, image_size, 0), **style)


def gradcam_picture(
    path: Path,
    image: np.ndarray,
    heats: Mapping[str, np.ndarray],
    boxes: np.ndarray,
    title: str,
    synthetic: bool | str,
    output: str = "the pneumonia output",
) -> Path:
    """The film, and the film under each of its maps, with the radiologist's boxes on all.

    Args:
        path: Where the PNG goes.
        image: (side, side) 0..255.
        heats: By what a map is called, (any, any) 0..1, over the same square.
        boxes: (n, 4) in fractions of the square's side.
        title: The case, label and score.
        synthetic: The mark, as of `save`.
        output: What the maps explain.
    """
    figure, axes = new_figure(1 + len(heats), 1, 3.9, 4.1)
    draw_film(axes[0, 0], image, title)
    side = image.shape[0]
    for panel, (name, heat) in zip(axes[0, 1:], heats.items(), strict=True):
        draw_film(panel, image, f"{name} of {output}")
        drawn = draw_heat(panel, heat, side)
    figure.colorbar(drawn, ax=axes[0, -1], shrink=0.7, label="share of the map's peak")
    for box in boxes:
        for panel in axes[0]:
            draw_box(panel, box * side, TRUTH)
    if len(boxes):
        axes[0, 0].plot([], [], color=TRUTH, label="radiologist's box")
        figure.legend(loc="outside lower left")
    return save(figure, path, synthetic)


def box_picture(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray | None,
    predicted: np.ndarray,
    title: str,
    synthetic: bool | str,
) -> Path:
    """A film in true proportions with the true box in blue and the predicted one in red.

    Args:
        path: Where the PNG goes.
        image: (rows, columns) 0..255.
        truth: (x0, y0, x1, y1) in pixels of the image; None if unknown.
        predicted: (x0, y0, x1, y1) likewise.
        title: The case and IoU.
        synthetic: The mark, as of `save`.
    """
    rows, columns = image.shape
    scale = _SHORT_SIDE_INCHES / min(rows, columns)
    figure, axes = new_figure(1, 1, columns * scale + 0.1, rows * scale + 0.9)
    draw_film(axes[0, 0], image, title)
    for box, colour, label in ((truth, TRUTH, "truth"), (predicted, PREDICTION, "prediction")):
        if box is not None:
            draw_box(axes[0, 0], box, colour)
            axes[0, 0].plot([], [], color=colour, label=label)
    figure.legend(loc="outside lower center", ncols=2)
    return save(figure, path, synthetic)


def film_sheet(
    path: Path,
    images: Sequence[np.ndarray | None],
    boxes: Sequence[np.ndarray],
    titles: Sequence[str],
    synthetic: bool | str,
    columns: int = 4,
) -> Path:
    """Write a `sheet` as a PNG; gives the path back."""
    return save(sheet(images, boxes, titles, columns), path, synthetic)


def sheet(
    images: Sequence[np.ndarray | None],
    boxes: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int,
    draw: Callable[[Axes, int], object] | None = None,
    legend: Mapping[str, str] | None = None,
) -> Figure:
    """Films on a sheet, each with its boxes (n, 4) in its own pixels, in blue; None is a gap.

    Args:
        images: (rows, columns) 0..255.
        boxes: The boxes of each film.
        titles: The title over each film.
        columns: Films per row.
        draw: Draws more on a film's axes, by the film's number.
        legend: The colours by their labels.
    """
    rows = -(-len(images) // columns)
    figure, axes = new_figure(columns, rows, 2.2, 2.4)
    for panel in axes.flat:
        panel.set_axis_off()
    for number, (panel, image) in enumerate(zip(axes.flat, images, strict=False)):
        if image is None:
            continue
        draw_film(panel, image, titles[number])
        for box in boxes[number]:
            draw_box(panel, box, TRUTH)
        if draw is not None:
            draw(panel, number)
    for label, colour in (legend or {}).items():
        axes[0, 0].plot([], [], color=colour, label=label)
    if legend:
        figure.legend(loc="outside lower center", ncols=len(legend))
    return figure
