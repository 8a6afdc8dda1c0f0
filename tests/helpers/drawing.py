"""Shapes drawn in a square, and the box that is seen around one."""

import numpy as np


def ellipse(side: int, box, finer: int = 8) -> np.ndarray:
    """The ellipse (side, side) 0..255 that fills a box given in fractions, edges anti-aliased."""
    x0, y0, x1, y1 = box
    centres = (np.arange(side * finer) + 0.5) / (side * finer)
    across = (centres - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (centres - (y0 + y1) / 2) / ((y1 - y0) / 2)
    inside = across[None, :] ** 2 + down[:, None] ** 2 <= 1
    return inside.reshape(side, finer, side, finer).mean((1, 3)).astype(np.float32) * 255


def rectangle(side: int, box) -> np.ndarray:
    """The rectangle (side, side) uint8, 0 and 255, of a box given in whole pixels."""
    x0, y0, x1, y1 = box
    image = np.zeros((side, side), np.uint8)
    image[y0:y1, x0:x1] = 255
    return image


def seen_box(image: np.ndarray) -> np.ndarray:
    """The half-open box, in pixels, around the brighter half of all values that are there."""
    bright = image >= (float(image.min()) + float(image.max())) / 2
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
