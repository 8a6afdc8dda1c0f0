"""Batch normalisation by a single kernel of TensorFlow's, where a training spends its time on it.

Keras 3 writes it out as some twenty element-wise operations, forward and back, each of which reads
and writes all activations: 30 to 40 % of a training step on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from common.models.backends import BACKEND


def fuse_batch_normalization(model: keras.Model) -> keras.Model:
    """Let the batch normalisation of a model's images train by TensorFlow's fused kernel.

    The layers stay Keras's own: they are saved, loaded and predict as such. What comes out is the
    same to rounding, the moving variance included, which is that of the batch without Bessel's
    correction (Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1).

    Args:
        model: Changed in place. On another backend than TensorFlow it stays as it is.

    Returns:
        The same model.
    """
    if BACKEND == "tensorflow":
        for layer in model.layers:
            is_changed = "call" in vars(layer)
            if type(layer) is layers.BatchNormalization and not is_changed and _is_plain(layer):
                layer.call = partial(_call, layer, layer.call)
    return model


def _is_plain(layer: layers.BatchNormalization) -> bool:
    """Whether it is what the kernel computes: channels last, scaled and shifted, of one batch."""
    config = layer.get_config()
    rank = len(layer.input.shape)
    is_channels_last = rank in (4, 5) and config["axis"] in (-1, rank - 1)
    has_further_statistics = config.get("renorm") or config.get("synchronized")
    return bool(is_channels_last and layer.scale and layer.center and not has_further_statistics)


def _call(
    layer: layers.BatchNormalization,
    keras_call: Callable[..., Any],
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    if not (training and layer.trainable) or mask is not None:
        return keras_call(inputs, training=training, mask=mask)
    # Here alone: the networks work on JAX and PyTorch without TensorFlow.
    import tensorflow as tf

    shape, given, volumes = tf.shape(inputs), inputs.shape, len(inputs.shape) == 5
    if volumes:
        # The kernel knows images: the slices of a volume, one below the other.
        inputs = tf.reshape(inputs, (shape[0], -1, shape[3], inputs.shape[-1]))
    empty = tf.constant([], tf.float32)
    scale, offset = map(tf.convert_to_tensor, (layer.gamma, layer.beta))
    outputs, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=empty, variance=empty,
        epsilon=layer.epsilon, is_training=True,
    )  # fmt: skip
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
    values = (layer.moving_mean, mean), (layer.moving_variance, unbiased * (count - 1) / count)
    for moving, batch_value in values:
        moving.assign(moving * layer.momentum + batch_value * (1 - layer.momentum))
    return tf.ensure_shape(tf.reshape(outputs, shape), given) if volumes else outputs
