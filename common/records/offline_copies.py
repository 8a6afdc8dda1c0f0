"""Augmented copies that are made once and stored: Augmentor for images, imgaug with boxes.

Each package is used here and nowhere else, and imported where copies are made: a second that
other decoding processes save. A copy depends on the image and its seed alone,
so copies can be made in any order and by any number of processes. Nothing here distorts
anatomy: no flip (the heart is on the left), no shear, no elastic warp.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

MAX_DEGREES = 2
"""Maximum rotation: above 2 degrees Augmentor leaves black corners, and imgaug's rotated box grows
by the corners of the old one: at 2 degrees the IoU with the tight box of an ellipse is 0.94."""


def augmentor_copy(image: np.ndarray, seed: int) -> np.ndarray:
    """A copy of a radiograph by Augmentor (Bloice et al. 2019, 10.1093/bioinformatics/btz259).

    Up to 2 degrees of rotation, 3 to 10 % of zoom, 15 % of brightness and contrast.

    Args:
        image: (rows, columns) uint8. Augmentor fails on 16 bits.
        seed: The same seed gives the same copy.

    Returns:
        (rows, columns) uint8.
    """
    import Augmentor

    pipeline = Augmentor.Pipeline()
    pipeline.rotate(probability=1, max_left_rotation=MAX_DEGREES, max_right_rotation=MAX_DEGREES)
    # Always some zoom: a rotation of small images leaves black pixels in the corners, which would
    # tell a copy, and so its label, from any other image.
    pipeline.zoom(probability=1, min_factor=1.03, max_factor=1.1)
    pipeline.random_brightness(probability=0.8, min_factor=0.85, max_factor=1.15)
    pipeline.random_contrast(probability=0.8, min_factor=0.85, max_factor=1.15)
    # Augmentor draws from the global streams of Python and numpy: they are lent, not kept.
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        pipeline.set_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        copy = pipeline.torch_transform()(Image.fromarray(image))
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
    return np.asarray(copy, np.uint8)


def imgaug_copy(
    image: np.ndarray, box: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """A copy of a radiograph and its box by imgaug (Jung et al. 2020), transformed together.

    Scale 0.9 to 1.1, shift up to 6 % of the side, brightness and contrast: under these the box
    of the copy is the transformed box exactly. Rotation is left to training, where a box is
    turned as the ellipse in it (`common.training.augment`); imgaug would box the turned corners,
    which at 10 degrees leaves an IoU of 0.75 with the organ's own box.

    Args:
        image: (side, side) uint8, with its side in pixels.
        box: (x0, y0, x1, y1) in fractions of the side, half-open.
        seed: The same seed gives the same copy.

    Returns:
        The copy (side, side) uint8 and its box, or None where the box left the image.
    """
    from imgaug import augmenters
    from imgaug.augmentables.bbs import BoundingBox, BoundingBoxesOnImage

    side = image.shape[0]
    pipeline = augmenters.Sequential(
        [
            augmenters.Affine(
                scale=(0.9, 1.1),
                translate_percent={"x": (-0.06, 0.06), "y": (-0.06, 0.06)},
                order=1,
            ),
            augmenters.Multiply((0.85, 1.15)),
            augmenters.LinearContrast((0.85, 1.15)),
        ]
    )
    # The argument `seed` would seed the sequence alone, and not the augmenters in it.
    pipeline.seed_(seed)
    on_image = BoundingBoxesOnImage([BoundingBox(*(np.asarray(box) * side))], shape=image.shape)
    copy, boxes = pipeline(image=image[..., None], bounding_boxes=on_image)
    corners = np.array(boxes.bounding_boxes[0].coords, float).ravel() / side
    if corners.min() < 0 or corners.max() > 1:
        return None
    return copy[..., 0], corners
