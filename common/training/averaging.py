"""The running average of a training's weights, with the batch statistics that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.models.backends import assign, training_pass
from common.training.pipeline import Training

STATISTICS_BATCHES = 32
"""Batches from which the batch statistics of averaged weights are computed, at most."""


class ValidateAverage(keras.callbacks.Callback):
    """Validates the running average of the weights, where there is one, not the last step's.

    The moving statistics of batch normalisation are those of other weights, so they are computed
    anew from the epoch's first batches, as stochastic weight averaging does (Izmailov et al. 2018,
    arXiv:1803.05407; `torch.optim.swa_utils.update_bn`).

    Args:
        training: What is trained on.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.training = training
        self.averaged: list[np.ndarray] = []

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Find what has batch statistics."""
        self.statistics = BatchStatistics(self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the average in place."""
        share_batch_statistics(self.model)
        if (optimizer := averaging_optimizer(self.model)) is None:
            return
        self.last_step = _values(self.model)
        optimizer.finalize_variable_values(self.model.trainable_variables)
        batches = map(self.training.inputs, self.training.batches(self.epoch))
        inputs = (inputs for inputs, *_ in batches)
        steps = min(STATISTICS_BATCHES, self.training.steps)
        self.statistics.set(islice(inputs, steps))
        self.averaged = _values(self.model)
        # On JAX the weights are now the average's own arrays, which the next step would use up.
        _assign(self.model, self.averaged)

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the last step's weights back."""
        if self.averaged:
            _assign(self.model, self.last_step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """What was validated last, in place of the last step's weights."""
        if not self.averaged:
            yield
            return
        _assign(self.model, self.averaged)
        try:
            yield
        finally:
            _assign(self.model, self.last_step)


def averaging_optimizer(model: keras.Model) -> keras.optimizers.Optimizer | None:
    """The optimizer that keeps an average of the weights, if one does."""
    # In mixed_float16 Keras wraps the one that was asked for.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return optimizer if optimizer.use_ema else None


class BatchStatistics:
    """The moving means and variances of a model, to be set to the means over some batches.

    Args:
        model: Built. Its layers that do not learn keep theirs.
    """

    def __init__(self, model: keras.Model) -> None:
        self.layers = [layer for layer in _normalizations(model) if layer.trainable]
        self.moving = [
            variable
            for layer in self.layers
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        self.forward = training_pass(model)

    def set(self, inputs: Iterable[Any]) -> None:
        """Set them to the means over batches of what the model takes, one or more."""
        if not self.layers:
            return
        momenta = [layer.momentum for layer in self.layers]
        sums, count = [0.0] * len(self.moving), 0
        try:
            # Each batch then leaves its own statistics.
            for layer in self.layers:
                layer.momentum = 0.0
            for batch in inputs:
                self.forward(batch)
                sums = [
                    total + keras.ops.convert_to_numpy(variable)
                    for total, variable in zip(sums, self.moving, strict=True)
                ]
                count += 1
        finally:
            for layer, momentum in zip(self.layers, momenta, strict=True):
                layer.momentum = momentum
        assign(self.moving, [total / count for total in sums])


def share_batch_statistics(model: keras.Model) -> None:
    """Give all devices the mean of their moving means and variances.

    Keras lets each of several devices keep those of its own part of the batches, and saves the
    first's.
    """
    for layer in _normalizations(model):
        for variable in (layer.moving_mean, layer.moving_variance):
            if isinstance(variable.value, tf.distribute.DistributedValues):
                copies = [copy.numpy() for copy in variable.value.values]
                variable.assign(np.mean(copies, axis=0))


def _normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def _values(model: keras.Model) -> list[np.ndarray]:
    """Weights, statistics and random streams."""
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    assign(model.variables, values)
