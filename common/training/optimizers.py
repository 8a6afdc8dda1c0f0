"""The optimizer of a training: Adam by the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from common.base.errors import UserError
from common.base.settings import SharedTrain


def optimizer(
    settings: SharedTrain, steps: int, weights: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Adam with warm-up and cosine decay.

    Weight decay is decoupled from the gradients, times the learning rate (Loshchilov and Hutter
    2019, arXiv:1711.05101), and spares vectors: biases, and batch normalisation's gamma and beta.

    Args:
        settings: Learning rate, average of the weights, decay, clipping, accumulation.
        steps: In an epoch, accumulated ones included.
        weights: Those that will be trained.

    Raises:
        UserError: Gradients are to be accumulated on several devices, which Keras cannot do.
    """
    every = settings.accumulate
    if every > 1 and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise UserError(
            "--accumulate: is for one device; give a larger --batch-size, or show the training one "
            "GPU with CUDA_VISIBLE_DEVICES=0"
        )
    # Keras averages after every step, also those that only accumulate.
    momentum = settings.ema_momentum ** (1 / every)
    adam = _Adam(
        schedule(settings, steps),
        name="adam",
        use_ema=momentum > 0,
        ema_momentum=momentum,
        weight_decay=settings.weight_decay or None,
        global_clipnorm=settings.clip_norm or None,
        gradient_accumulation_steps=every if every > 1 else None,
    )
    adam.exclude_from_weight_decay([weight for weight in weights if len(weight.shape) < 2])
    return (
        _LossScale(adam, name="loss_scale_optimizer")
        if keras.config.dtype_policy().name == "mixed_float16"
        else adam
    )


def schedule(settings: SharedTrain, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by the step, from 0: it warms up, then falls to a hundredth by a cosine."""
    total = steps * settings.epochs
    warm_up = max(1, round(total * settings.warmup_share))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate * 0.01,
        decay_steps=max(1, total - warm_up),
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=warm_up,
    )


class _Adam(keras.optimizers.Adam):
    """Adam that clips the gradient of the whole batch.

    Keras clips each device's part of it, before their sum.
    """

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        replica = tf.distribute.get_replica_context()
        devices = replica.num_replicas_in_sync if replica else 1
        if not self.global_clipnorm or devices == 1:
            return super()._clip_gradients(grads)
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        return [gradient / devices for gradient in super()._clip_gradients(total)]


class _LossScale(keras.optimizers.LossScaleOptimizer):
    """The scale of a loss in float16, on which all devices agree.

    A step whose gradients are too large for float16 is left out, and the scale halved. Keras asks
    the first device alone, though each still has the gradients of its own part of the batch.
    """

    def apply(self, grads: list[Any], trainable_variables: Any = None) -> None:
        replica = tf.distribute.get_replica_context()
        if replica and replica.num_replicas_in_sync > 1:
            is_broken = 1.0 - tf.cast(self.check_finite(grads), tf.float32)
            broken = replica.all_reduce(tf.distribute.ReduceOp.SUM, is_broken)
            # 0, or NaN for all devices where one has it.
            fault = tf.where(broken > 0, float("nan"), 0.0)
            grads = [
                gradient if gradient is None else gradient + tf.cast(fault, gradient.dtype)
                for gradient in grads
            ]
        super().apply(grads, trainable_variables)
