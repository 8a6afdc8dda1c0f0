"""Stochastic depth: residual blocks that are left out at random while a network trains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from common.models.backbones import block_ends
from common.models.fused import fuse_batch_normalization


def drop_blocks(model: keras.Model, rate: float) -> keras.Model:
    """Let residual blocks be skipped in training, image by image (Huang et al. 2016, 1603.09382).

    What a block adds is left out with a chance that grows evenly over the blocks up to ``rate``,
    and else divided by the chance to stay, so that nothing changes where the network predicts.
    The layers stay Keras's own, under their names: they are saved and loaded as such.

    Args:
        model: A network of `common.models.film_networks`; changed in place.
        rate: The last block's chance, 0 to below 1; 0 changes nothing.

    Returns:
        The same model.
    """
    if not rate:
        return model
    # Among the model's variables, so that a training that goes on draws as an unbroken one.
    model.block_seeds = keras.random.SeedGenerator()
    ends = block_ends(fuse_batch_normalization(model))
    for number, layer in enumerate(ends, 1):
        stays = 1 - rate * number / len(ends)
        layer.call = partial(_call, layer, layer.call, model.block_seeds, stays)
    return model


def _call(
    layer: keras.layers.Layer,
    call: Callable[..., Any],
    seeds: keras.random.SeedGenerator,
    stays: float,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    outputs = call(inputs, training=training, mask=mask)
    if not (training and layer.trainable):
        return outputs
    drawn = keras.random.uniform((ops.shape(outputs)[0], 1, 1, 1), seed=seeds)
    return outputs * ops.cast(drawn < stays, outputs.dtype) / stays
