"""FCN-8s: Long, Shelhamer and Darrell 2015 (arXiv:1411.4038)."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from common.models.segmentation import check_arguments, convolution, convolutions, probabilities

# VGG16 (arXiv:1409.1556): channels as multiples of the first block's, and convolutions.
_VGG16_BLOCKS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))


def build_fcn8(
    channels: int = 1,
    classes: int = 1,
    width: int = 64,
    fully_connected_width: int | None = None,
    dropout: float = 0.0,
    batch_normalization: bool = True,
) -> keras.Model:
    """A VGG16 made convolutional, its scores at strides 32, 16 and 8 added and enlarged.

    The paper's network has ``width=64, fully_connected_width=4096, dropout=0.5,
    batch_normalization=False`` and starts from ImageNet. The differences here, since this one
    is trained from scratch: batch normalisation by default; "same" padding instead of a
    border of 100 pixels that is cropped away at the end; the transposed convolutions all
    start bilinear and learn, where the paper keeps the last one fixed; the scores start at
    random and not at zero; and several classes end in a softmax, one in a sigmoid.

    Args:
        channels: Channels of the image; neighbouring slices count as channels.
        classes: 1 for a mask, else the number of classes with the background.
        width: Channels of the first block; the five have 1, 2, 4, 8 and 8 times as many.
        fully_connected_width: Channels of conv6 and conv7; ``8 * width`` if not given.
        dropout: Share of the features dropped in training after conv6 and conv7, in [0, 1).
        batch_normalization: Whether every convolution is followed by it.

    Returns:
        A model from "image", (batch, height, width, channels), float, height and width any
        multiples of 32, to (batch, height, width, classes), float32 in 0..1.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> build_fcn8(width=4, classes=3).output_shape
        (None, None, None, 3)
    """
    check_arguments(channels, classes, width, dropout, fully_connected_width=fully_connected_width)
    image = keras.Input((None, None, channels), name="image")
    x = image
    pools = []
    for block, (times, count) in enumerate(_VGG16_BLOCKS, start=1):
        x = convolutions(x, times * width, count, batch_normalization, f"block{block}")
        x = layers.MaxPooling2D(name=f"pool{block}")(x)
        pools.append(x)
    for number, kernel_size in ((6, 7), (7, 1)):
        x = convolution(
            x, fully_connected_width or 8 * width, kernel_size, batch_normalization, f"fc{number}"
        )
        if dropout:
            x = layers.Dropout(dropout, name=f"fc{number}_dropout")(x)

    score = layers.Conv2D(classes, 1, name="score_fc7")(x)
    for block in (4, 3):
        score = _enlarge(classes, 2, f"double_to_pool{block}")(score)
        skip = layers.Conv2D(classes, 1, name=f"score_pool{block}")(pools[block - 1])
        score = layers.Add(name=f"add_pool{block}")([score, skip])
    logits = _enlarge(classes, 8, "enlarge_8_times")(score)

    model = keras.Model(image, probabilities(logits, classes), name="fcn8")
    # An initialiser defined here would have to be known wherever the model is loaded.
    for layer in model.layers:
        if isinstance(layer, layers.Conv2DTranspose):
            layer.set_weights([bilinear_kernel(layer.strides[0], classes)])
    return model


def bilinear_kernel(factor: int, classes: int) -> np.ndarray:
    """The transposed convolution that enlarges every class by itself, bilinearly.

    Args:
        factor: How many times larger, even.
        classes: How many channels.

    Returns:
        (2 * factor, 2 * factor, classes, classes), float32, for a stride of ``factor``.
    """
    line = 1 - np.abs((np.arange(2 * factor) - factor + 0.5) / factor)
    return np.asarray(np.einsum("i,j,kl->ijkl", line, line, np.eye(classes)), "float32")


def _enlarge(classes: int, factor: int, name: str) -> layers.Layer:
    return layers.Conv2DTranspose(
        classes, 2 * factor, strides=factor, padding="same", use_bias=False, name=name
    )
