"""The mark of what was made up, in a margin over a picture, never on what is judged."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.reporting.palette import INK, MARK

MARGIN = 24
"""Rows of the margin."""

_LEFT, _POINTS = 6, 14


def with_mark(picture: np.ndarray, mark: bool | str) -> np.ndarray:
    """A picture under a margin that says SYNTHETIC; without a mark the picture itself.

    Args:
        picture: (height, width, 3) uint8.
        mark: Whether the picture shows what was made up, or the mark in other words.

    Returns:
        (height + `MARGIN`, width or more, 3) uint8: a narrow picture gets paper at its right, so
        that the words have room.
    """
    if not mark:
        return picture
    words, font = mark if isinstance(mark, str) else "SYNTHETIC", ImageFont.load_default(_POINTS)
    height, width, _ = picture.shape
    width = max(width, math.ceil(font.getlength(words)) + 2 * _LEFT)
    paper = Image.new("RGB", (width, height + MARGIN), "white")
    draw = ImageDraw.Draw(paper)
    draw.rectangle((0, 0, width, MARGIN - 1), fill=MARK)
    draw.text((_LEFT, MARGIN // 2), words, fill=INK, font=font, anchor="lm")
    paper.paste(Image.fromarray(picture), (0, MARGIN))
    return np.asarray(paper)
