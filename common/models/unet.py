"""U-Net: Ronneberger et al. 2015 (arXiv:1505.04597)."""

from __future__ import annotations

import keras
from keras import layers

from common.models.segmentation import check_arguments, convolutions, probabilities


def build_unet(
    channels: int = 1,
    classes: int = 1,
    width: int = 32,
    depth: int = 4,
    dropout: float = 0.0,
    batch_normalization: bool = True,
    deep_supervision: int = 0,
    residual: bool = False,
) -> keras.Model:
    """A U-Net of any width and depth. With ``width=64, depth=4`` it is the paper's.

    It differs from the paper in three ways: convolutions keep the size ("same" padding), so
    that nothing is cropped and the output is as large as the input; there is batch
    normalisation; and several classes end in a softmax, one in a sigmoid.

    Args:
        channels: Channels of the image; neighbouring slices count as channels.
        classes: 1 for a mask, else the number of classes with the background.
        width: Channels of the first level; each level down has twice as many.
        depth: How many times the image is halved.
        dropout: Share of the deepest features dropped in training, in [0, 1).
        batch_normalization: Whether every convolution is followed by it.
        deep_supervision: How many of the coarser levels give probabilities too, which brings
            the loss nearer to them (Lee et al. 2015, arXiv:1409.5185); below ``depth``.
        residual: Whether the convolutions of a level add to what comes in, as in the residual
            U-Net (Zhang et al. 2018, arXiv:1711.10684).

    Returns:
        A model from "image", (batch, height, width, channels), float, height and width any
        multiples of ``2**depth``, to (batch, height, width, classes), float32 in 0..1. With deep
        supervision to a list of such, the finest first, the others enlarged bilinearly.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> build_unet(channels=3, width=4, depth=2).output_shape
        (None, None, None, 1)
    """
    check_arguments(channels, classes, width, dropout, depth=depth)
    if not 0 <= deep_supervision < depth:
        raise ValueError(
            f"deep_supervision must be 0 to depth - 1, {depth - 1}. Received: {deep_supervision}"
        )

    def level_of(x: keras.KerasTensor, level: int, name: str) -> keras.KerasTensor:
        return convolutions(x, width * 2**level, 2, batch_normalization, name, residual)

    image = keras.Input((None, None, channels), name="image")
    x = image
    skips = []
    for level in range(depth):
        x = level_of(x, level, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
    x = level_of(x, depth, "bottom")
    if dropout:
        x = layers.Dropout(dropout, name="bottom_dropout")(x)
    coarser: list[keras.KerasTensor] = []
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(
            width * 2**level, 2, strides=2, kernel_initializer="he_normal", name=f"up{level}_double"
        )(x)
        x = layers.Concatenate(name=f"up{level}_skip")([skips[level], x])
        x = level_of(x, level, f"up{level}")
        if 0 < level <= deep_supervision:
            score = layers.Conv2D(classes, 1, name=f"up{level}_score")(x)
            # In float32: in half XLA has no gradient of it.
            enlarged = layers.UpSampling2D(
                2**level, interpolation="bilinear", dtype="float32", name=f"up{level}_enlarge"
            )(score)
            coarser.insert(0, probabilities(enlarged, classes, f"up{level}_probabilities"))
    logits = layers.Conv2D(classes, 1, name="score")(x)
    finest = probabilities(logits, classes)
    name = "residual_unet" if residual else "unet"
    return keras.Model(image, [finest, *coarser] if coarser else finest, name=name)
