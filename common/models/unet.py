"""U-Net: Ronneberger et al. 2015 (arXiv:1505.04597), in 3-D Çiçek et al. 2016 (1606.06650)."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import layers

from common.models.segmentation import check_arguments, convolutions, probabilities


class _Kinds(NamedTuple):
    """The layers of a number of dimensions."""

    convolution: type[layers.Layer]
    pool: type[layers.Layer]
    transpose: type[layers.Layer]
    enlarge: type[layers.Layer]


_KINDS = {
    2: _Kinds(layers.Conv2D, layers.MaxPooling2D, layers.Conv2DTranspose, layers.UpSampling2D),
    3: _Kinds(layers.Conv3D, layers.MaxPooling3D, layers.Conv3DTranspose, layers.UpSampling3D),
}


def build_unet(
    channels: int = 1,
    classes: int = 1,
    width: int = 32,
    depth: int = 4,
    dropout: float = 0.0,
    batch_normalization: bool = True,
    deep_supervision: int = 0,
    residual: bool = False,
    dimensions: int = 2,
    flat_levels: int = 0,
) -> keras.Model:
    """A U-Net of any width and depth. With ``width=64, depth=4`` it is the first paper's.

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
        dimensions: 2 for slices, 3 for volumes.
        flat_levels: Of volumes, the levels from the finest on that neither look nor halve across
            slices, where these are much further apart than pixels (as nnU-Net, Isensee et al. 2021,
            arXiv:1904.08128); at most ``depth``.

    Returns:
        A model from "image", (batch, height, width, channels), float, height and width any
        multiples of ``2**depth``, to (batch, height, width, classes), float32 in 0..1; in 3-D a
        depth comes before the height, a multiple of ``2**(depth - flat_levels)``. With deep
        supervision to a list of such, the finest first, the others enlarged: slices bilinearly,
        volumes by repetition.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> build_unet(channels=3, width=4, depth=2).output_shape
        (None, None, None, 1)
    """
    check_arguments(channels, classes, width, dropout, depth=depth)
    if dimensions not in _KINDS:
        raise ValueError(f"dimensions must be 2 or 3. Received: {dimensions}")
    if not 0 <= flat_levels <= (depth if dimensions == 3 else 0):
        raise ValueError(
            f"flat_levels must be 0 or, in 3-D, up to depth, {depth}. Received: {flat_levels}"
        )
    if not 0 <= deep_supervision < depth:
        raise ValueError(
            f"deep_supervision must be 0 to depth - 1, {depth - 1}. Received: {deep_supervision}"
        )

    kinds = _KINDS[dimensions]

    def along_axes(level: int, number: int) -> tuple[int, ...]:
        """A number along all axes, but 1 across slices on a flat level."""
        return (1 if level < flat_levels else number,) * (dimensions == 3) + (number,) * 2

    def level_of(x: keras.KerasTensor, level: int, name: str) -> keras.KerasTensor:
        kernel = along_axes(level, 3)
        return convolutions(x, width * 2**level, 2, batch_normalization, name, residual, kernel)

    def enlarged(score: keras.KerasTensor, level: int) -> keras.KerasTensor:
        size = (2 ** max(level - flat_levels, 0),) * (dimensions == 3) + (2**level,) * 2
        # In float32: in half XLA has no gradient of it.
        options = {"dtype": "float32", "name": f"up{level}_enlarge"}
        if dimensions == 2:
            options["interpolation"] = "bilinear"
        return kinds.enlarge(size, **options)(score)

    image = keras.Input((*[None] * dimensions, channels), name="image")
    x = image
    skips = []
    for level in range(depth):
        x = level_of(x, level, f"down{level}")
        skips.append(x)
        # TensorFlow's CPU has no pooling of volumes in float16.
        options = {"dtype": "float32"} if dimensions == 3 else {}
        x = kinds.pool(along_axes(level, 2), name=f"down{level}_pool", **options)(x)
    x = level_of(x, depth, "bottom")
    if dropout:
        x = layers.Dropout(dropout, name="bottom_dropout")(x)
    coarser: list[keras.KerasTensor] = []
    for level in reversed(range(depth)):
        double = along_axes(level, 2)
        x = kinds.transpose(
            width * 2**level,
            double,
            strides=double,
            kernel_initializer="he_normal",
            name=f"up{level}_double",
        )(x)
        x = layers.Concatenate(name=f"up{level}_skip")([skips[level], x])
        x = level_of(x, level, f"up{level}")
        if 0 < level <= deep_supervision:
            score = kinds.convolution(classes, 1, name=f"up{level}_score")(x)
            named = f"up{level}_probabilities"
            coarser.insert(0, probabilities(enlarged(score, level), classes, named))
    logits = kinds.convolution(classes, 1, name="score")(x)
    finest = probabilities(logits, classes)
    name = f"{'residual_' * residual}unet{'3d' * (dimensions == 3)}"
    return keras.Model(image, [finest, *coarser] if coarser else finest, name=name)
