"""From a map of a layer's places to one of the image's pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

GRADCAM, FINER = "Grad-CAM", "Grad-CAM x LayerCAM"
"""What the maps of `common.explaining.gradcam.saliency_maps` are called."""


def at_image_size(heat: np.ndarray, image_size: int) -> np.ndarray:
    """A map (rows, columns) of any range to (image_size, image_size) float32, 0 to 1.

    Rectified, enlarged (bilinear) and divided by its greatest value.
    """
    rectified = Image.fromarray(np.maximum(heat, 0).astype(np.float32))
    enlarged = rectified.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return with_peak_1(np.asarray(enlarged))


def with_peak_1(heat: ArrayLike) -> np.ndarray:
    """A map, 0 or more, divided by its greatest value; one of zeros as it is."""
    values = np.asarray(heat, np.float32)
    greatest = values.max()
    return values / greatest if greatest > 0 else values
