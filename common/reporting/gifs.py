"""Volumes as GIFs that a radiologist can step through, and as sheets of their slices.

Slices run from the feet to the head and lie as in radiology: the patient's right at the left,
the front on top, in true proportions; R and L over every slice say so. Truth is blue and
prediction vermilion, as in every other picture; an area is tinted and its contour drawn, so that
the image below stays visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageColor, ImageDraw
from scipy.ndimage import binary_erosion

from common.base.files import atomic_write, write_bytes
from common.reporting.mark import with_mark
from common.reporting.palette import INK, MARK, PREDICTION, TRUTH
from common.scores.volumes import dice

MAX_BYTES = 3_000_000
"""Maximum size of a GIF."""
PANEL_SIDE = 260
"""Pixels of the longer side of a slice in a picture."""
SHEET_SLICES = 20
"""Maximum number of slices on a sheet."""

_TEXT_HEIGHT = 18
# A GIF counts in hundredths of a second: 7.7 frames a second.
_FRAME_MILLISECONDS = 130
_GREYS = 24
_SHEET_COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """One picture of a frame: a title over the slices, and masks drawn on them.

    Attributes:
        title: The title over every slice; with both masks, the slice's Dice follows it.
        truth: (x, y, z) labels drawn in blue, 0 is background; or None.
        prediction: (x, y, z) labels drawn in vermilion, or None.
    """

    title: str
    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None


@dataclass(frozen=True)
class Slices:
    """A volume to draw slice by slice, its panels side by side.

    Attributes:
        image: (x, y, z) 0..255, canonical: right, front, head.
        spacing_mm: (3,) along x, y and z.
        panels: From left to right.
        caption: The text under every slice.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """

    image: np.ndarray
    spacing_mm: Sequence[float]
    panels: Sequence[Panel]
    caption: str
    synthetic: bool | str


def write_gif(path: Path, slices: Slices, max_bytes: int = MAX_BYTES) -> Path:
    """Write a volume as a GIF, one frame per slice; gives the path back.

    A GIF that would be too large shows every second slice, or every third, and so on, each with
    its own number.

    Args:
        path: Where the GIF goes.
        slices: What it shows.
        max_bytes: Maximum size of the file.
    """
    count = slices.image.shape[2]
    frames = _one_palette([slice_picture(slices, number) for number in range(count)])
    gif: dict[str, Any] = {"extension": ".gif", "plugin": "pillow", "loop": 0, "optimize": False}
    for step in range(1, len(frames) + 1):
        duration = _FRAME_MILLISECONDS * step
        content = iio.imwrite("<bytes>", frames[::step], duration=duration, **gif)
        if len(content) <= max_bytes:
            break
    write_bytes(path, content)
    return path


def write_sheet(path: Path, slices: Slices) -> Path:
    """Write frames of `write_gif` side by side as a PNG: no more than `SHEET_SLICES`.

    They are evenly spread from the first to the last slice in which any panel has a mask; where
    none has, over the whole volume. Gives the path back.
    """
    masks = [mask for panel in slices.panels for mask in (panel.truth, panel.prediction)]
    drawn = [np.flatnonzero((mask > 0).any((0, 1))) for mask in masks if mask is not None]
    numbers = np.concatenate([np.zeros(0, int), *drawn])
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0, slices.image.shape[2] - 1)
    count = min(SHEET_SLICES, high - low + 1)
    unmarked = replace(slices, synthetic=False)
    frames = [
        slice_picture(unmarked, number)
        for number in np.linspace(low, high, count).round().astype(int)
    ]
    rows = -(-count // _SHEET_COLUMNS)
    paper = np.full_like(frames[0], 255)
    cells = [*frames, *[paper] * (rows * _SHEET_COLUMNS - count)]
    lines = [cells[row * _SHEET_COLUMNS :][:_SHEET_COLUMNS] for row in range(rows)]
    whole = np.concatenate([np.concatenate(line, 1) for line in lines])
    return _write_png(path, with_mark(whole, slices.synthetic))


def write_slice(path: Path, slices: Slices, number: int, side: int = PANEL_SIDE) -> Path:
    """Write a slice, as `slice_picture` draws it, as a PNG; gives the path back."""
    return _write_png(path, slice_picture(slices, number, side))


def _write_png(path: Path, picture: np.ndarray) -> Path:
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
    return path


def slice_picture(slices: Slices, number: int, side: int = PANEL_SIDE) -> np.ndarray:
    """One slice of a volume, a frame of `write_gif`: (height, width, 3) uint8, R and L over it.

    Args:
        slices: The volume.
        number: Of the slice along z, from 0.
        side: Pixels of the slice's longer side.
    """
    film = radiological(slices.image[:, :, number])
    spacing_mm, panels = slices.spacing_mm, slices.panels
    millimetres = film.shape[0] * spacing_mm[1], film.shape[1] * spacing_mm[0]
    scale = side / max(millimetres)
    height, width = (round(length * scale) for length in millimetres)
    frame = Image.new("RGB", (len(panels) * (width + 4), height + 2 * _TEXT_HEIGHT), "white")
    draw = ImageDraw.Draw(frame)
    for place, panel in enumerate(panels):
        x = place * (width + 4)
        tinted = _tinted(film, panel, number, (width, height))
        frame.paste(Image.fromarray(tinted), (x, _TEXT_HEIGHT))
        title = panel.title
        if panel.truth is not None and panel.prediction is not None:
            truth, prediction = panel.truth[:, :, number] > 0, panel.prediction[:, :, number] > 0
            is_empty = not truth.any() and not prediction.any()
            title += f", here {'-' if is_empty else format(dice(truth, prediction), '.2f')}"
        draw.text((x + 2, 3), f"R  {title}", fill=INK)
        # The letters stand over the edges of the slice and not on it.
        draw.rectangle((x + width - 10, 0, x + width + 3, _TEXT_HEIGHT - 1), fill="white")
        draw.text((x + width - 8, 3), "L", fill=INK)
    words = f"slice {number + 1} of {slices.image.shape[2]}  {slices.caption}"
    draw.text((2, height + _TEXT_HEIGHT + 3), words, fill=INK)
    return with_mark(np.asarray(frame), slices.synthetic)


def _tinted(film: np.ndarray, panel: Panel, number: int, size: tuple[int, int]) -> np.ndarray:
    """A slice at its picture's size (height, width, 3) with tints and contours."""
    grey = np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BILINEAR), float)
    colours = np.repeat(grey[..., None], 3, -1)
    for mask, colour in ((panel.truth, TRUTH), (panel.prediction, PREDICTION)):
        if mask is None:
            continue
        labels = radiological(mask[:, :, number])
        paint = np.array(ImageColor.getrgb(colour), float)
        for label in np.unique(labels[labels > 0]):
            area = Image.fromarray((labels == label).astype(np.uint8) * 255)
            inside = np.asarray(area.resize(size, Image.Resampling.BILINEAR)) >= 128
            colours[inside] = 0.75 * colours[inside] + 0.25 * paint
            colours[inside & ~binary_erosion(inside, iterations=2)] = paint
    return np.asarray(np.clip(colours, 0, 255), np.uint8)


def radiological(plane: np.ndarray) -> np.ndarray:
    """A canonical plane, (x, y), (x, z) or (y, z), as rows and columns of a picture.

    The patient's right (or front, if x was cut) is at the left, the front (or head) on top.
    """
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def _one_palette(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The frames in one palette without dithering, which would flicker and compress badly.

    The palette holds the colours that are drawn: one that is fitted to a film gives nearly all
    of its colours to the greys, and contours turn grey.
    """
    truth, prediction, ink, mark = (
        np.array(ImageColor.getrgb(colour), float) for colour in (TRUTH, PREDICTION, INK, MARK)
    )
    grey = np.linspace(0, 255, _GREYS)[:, None].repeat(3, 1)
    on_truth, on_prediction = (0.75 * grey[::2] + 0.25 * paint for paint in (truth, prediction))
    on_both = 0.75 * on_truth + 0.25 * prediction
    solid = np.stack([truth, prediction, ink, mark])
    colours = np.concatenate([grey, on_truth, on_prediction, on_both, solid])
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.round().astype(np.uint8).tobytes())
    films = map(Image.fromarray, frames)
    drawn = (film.quantize(palette=palette, dither=Image.Dither.NONE) for film in films)
    return [np.asarray(film.convert("RGB")) for film in drawn]
