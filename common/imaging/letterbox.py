"""An image of any proportions in a square, and boxes between the two.

Boxes are ``(x0, y0, x1, y1)``, half-open: x0 and y0 are the outer edges of the first column
and row inside, x1 and y1 those of the last, so that a box over a whole image of 1024 columns
goes from 0 to 1024 and its width is ``x1 - x0``. The docstrings give the unit: pixels
of the image as its file holds it, or fractions of the square's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


def mirror_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) in fractions of the side, in the square mirrored left to right."""
    boxes = np.asarray(boxes, float)
    return np.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], axis=-1)


@dataclass(frozen=True)
class Letterbox:
    """How an image lies in a square: scaled to fit, its proportions kept, centred on black.

    With ``stretch``, scaled along each axis to fill the square.

    Attributes:
        rows: Height of the image in its own pixels.
        columns: Width of the image in its own pixels.
        image_size: Side of the square in pixels.
        stretch: Whether the image fills the square, its proportions lost.
    """

    rows: int
    columns: int
    image_size: int
    stretch: bool = False

    @property
    def height(self) -> int:
        """Rows of the image in the square."""
        return self._scaled(self.rows)

    @property
    def width(self) -> int:
        """Columns of the image in the square."""
        return self._scaled(self.columns)

    @property
    def pad_top(self) -> int:
        """Black rows above the image."""
        return (self.image_size - self.height) // 2

    @property
    def pad_left(self) -> int:
        """Black columns left of the image."""
        return (self.image_size - self.width) // 2

    def into_square(self, pixels: np.ndarray) -> np.ndarray:
        """Scale an image into the square.

        Args:
            pixels: (rows, columns) uint8.

        Returns:
            (image_size, image_size) uint8; the same values if the image has that size already.
        """
        if pixels.shape != (self.height, self.width):
            # Pillow widens the bilinear kernel when it shrinks, so nothing aliases.
            scaled = Image.fromarray(pixels).resize(
                (self.width, self.height), Image.Resampling.BILINEAR
            )
            pixels = np.asarray(scaled)
        square = np.zeros((self.image_size, self.image_size), np.uint8)
        self.cut_out(square)[:] = pixels
        return square

    def cut_out(self, square: np.ndarray) -> np.ndarray:
        """The part (height, width) of a square (image_size, image_size) that the image fills."""
        return square[self.pad_top :, self.pad_left :][: self.height, : self.width]

    def to_cut_out(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) from the image's own pixels to those of `cut_out`."""
        return np.asarray(np.asarray(boxes, float) * self._scale())

    def to_fractions(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) from the image's own pixels to fractions of the square's side."""
        return np.asarray((self.to_cut_out(boxes) + self._offset()) / self.image_size)

    def to_pixels(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) from fractions of the square's side to the image's own pixels."""
        in_square = np.asarray(boxes, float) * self.image_size
        return np.asarray((in_square - self._offset()) / self._scale())

    def _scaled(self, length: int) -> int:
        if self.stretch:
            return self.image_size
        return max(1, round(length * self.image_size / max(self.rows, self.columns)))

    def _scale(self) -> np.ndarray:
        across, down = self.width / self.columns, self.height / self.rows
        return np.array([across, down, across, down])

    def _offset(self) -> np.ndarray:
        return np.array([self.pad_left, self.pad_top, self.pad_left, self.pad_top], float)
