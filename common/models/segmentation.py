"""What FCN-8 and U-Nets share: blocks of convolutions, the output, the checks."""

from __future__ import annotations

import keras
from keras import layers

BATCH_NORM_MOMENTUM = 0.9
"""Keras's default of 0.99 lags hundreds of steps behind the weights."""

KernelSize = int | tuple[int, ...]
"""The same along all axes, or one number for each."""


def convolutions(
    x: keras.KerasTensor,
    width: int,
    count: int,
    batch_normalization: bool,
    name: str,
    residual: bool = False,
    kernel_size: KernelSize = 3,
) -> keras.KerasTensor:
    """``count`` times a convolution, batch normalisation and ReLU, size kept.

    Args:
        x: (batch, height, width, channels) or (batch, depth, height, width, channels).
        width: Channels that come out.
        count: How many convolutions.
        batch_normalization: Whether to normalise; without it the convolution has a bias.
        name: The layers are called ``name_conv1``, ``name_bn1``, ``name_relu1`` and so on.
        residual: Whether what comes in is added before the last ReLU (He et al. 2016,
            arXiv:1512.03385), after a 1 x 1 convolution where it has another number of channels.
        kernel_size: Of the convolutions.

    Returns:
        What came in, with ``width`` channels.
    """
    start = x
    for number in range(1, count):
        x = convolution(x, width, kernel_size, batch_normalization, name, str(number))
    if not residual:
        return convolution(x, width, kernel_size, batch_normalization, name, str(count))
    x = _linear(x, width, kernel_size, batch_normalization, name, str(count))
    if start.shape[-1] != width:
        start = _linear(start, width, 1, batch_normalization, name, "0")
    x = layers.Add(name=f"{name}_add")([start, x])
    return layers.Activation("relu", name=f"{name}_relu{count}")(x)


def convolution(
    x: keras.KerasTensor,
    width: int,
    kernel_size: KernelSize,
    batch_normalization: bool,
    name: str,
    number: str = "",
) -> keras.KerasTensor:
    """One convolution, batch normalisation and ReLU, size kept; see `convolutions`."""
    x = _linear(x, width, kernel_size, batch_normalization, name, number)
    return layers.Activation("relu", name=f"{name}_relu{number}")(x)


def _linear(
    x: keras.KerasTensor,
    width: int,
    kernel_size: KernelSize,
    batch_normalization: bool,
    name: str,
    number: str,
) -> keras.KerasTensor:
    kind = layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
    x = kind(
        width,
        kernel_size,
        padding="same",
        use_bias=not batch_normalization,
        kernel_initializer="he_normal",
        name=f"{name}_conv{number}",
    )(x)
    if batch_normalization:
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_bn{number}")(x)
    return x


def probabilities(
    logits: keras.KerasTensor, classes: int, name: str = "probabilities"
) -> keras.KerasTensor:
    """A sigmoid for one class, else a softmax; in float32 under mixed precision too."""
    activation = "sigmoid" if classes == 1 else "softmax"
    return layers.Activation(activation, dtype="float32", name=name)(logits)


def check_arguments(
    channels: int, classes: int, width: int, dropout: float, **more: int | None
) -> None:
    """`ValueError` for a count below 1 or a dropout outside [0, 1)."""
    counts = {"channels": channels, "classes": classes, "width": width, **more}
    for argument, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{argument} must be 1 or more. Received: {value}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: {dropout}")
