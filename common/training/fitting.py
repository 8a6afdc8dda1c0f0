"""Compile, fit, stop, keep the best, and go on after a kill: what the three projects share.

Order and augmentation depend on (seed, epoch) alone (`common.training.pipeline`), the rest lies in
the checkpoint (`common.training.checkpoints`), so a training that goes on ends as an unbroken one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.base import hosts
from common.base.errors import UserError
from common.base.settings import SharedTrain
from common.base.signals import held_signals
from common.models.backends import BACKEND
from common.models.fused import fuse_batch_normalization
from common.training import checkpoints, memory, tensorboard
from common.training.averaging import ValidateAverage
from common.training.callbacks import (
    ResumedEarlyStopping,
    SaveProgress,
    leave_losses_on_device,
)
from common.training.checkpoints import State
from common.training.on_device import augment_in_step
from common.training.optimizers import optimizer
from common.training.pipeline import Training
from common.training.precision import ValidateInFloat32, device_count
from common.training.tensorboard import TensorBoard, TrainingPictures
from common.training.time_spent import TimeSpent


@dataclass(frozen=True)
class Task:
    """What a model learns, and from what.

    Attributes:
        training: Batches of inputs, targets and, if samples differ in weight, their weights.
        validation: From `pipeline.validation`.
        loss: Keras loss, or one for each output.
        metrics: Keras metrics, or some for each output.
        loss_weights: How much each output's loss counts; 1 if not given.
        pictures: What TensorBoard shows next to the curves, if anything.
    """

    training: Training
    validation: tf.data.Dataset
    loss: str | keras.Loss | Sequence[keras.Loss]
    metrics: Sequence[str | keras.Metric | Sequence[keras.Metric]] = ()
    loss_weights: Sequence[float] | None = None
    pictures: TrainingPictures | None = None


def even_batch_size(
    samples: int, settings: SharedTrain, devices: int | None = None, setting: str = "batch_size"
) -> int:
    """The batch size, smaller where there are few samples: as many for each device.

    The loss of a batch is the mean of the devices' losses, whatever their parts of it. On several
    hosts it is that of the whole batch, which is as large as on one.

    Args:
        samples: That there are.
        settings: With the batch size.
        devices: How many; default: `device_count`.
        setting: The name of the batch size.

    Raises:
        UserError: The devices of several hosts cannot divide it evenly.
    """
    size = min(getattr(settings, setting), samples)
    if size % hosts.device_count():
        raise UserError(
            f"a batch of {size} does not divide by the {hosts.device_count()} devices of all "
            f"hosts; give a --{setting.replace('_', '-')} that does, or fewer hosts"
        )
    devices = devices or device_count()
    if size % devices:
        size = max(1, size // devices) * devices
        print(f"  {devices} devices: {size} images a step, not {getattr(settings, setting)}")
    return size


def fit_in_stages(
    run: Path,
    build: Callable[[str], keras.Model],
    head: Collection[str],
    task: Task,
    settings: SharedTrain,
) -> State:
    """Train the head first, where ``--head-epochs`` asks for it, then everything.

    The head learns on a frozen backbone, whose batch statistics stay those of its starting
    weights: the large steps of a new head would otherwise destroy what the backbone knows. Its
    best epoch, kept in ``run/head``, is where the second stage starts.

    Args:
        run: The folder to write to.
        build: Makes the model with the starting weights of a name (`SharedTrain.weights`).
        head: The names of the layers that learn in the first stage.
        task: As for `fit`.
        settings: As for `fit`.
    """
    if not settings.head_epochs:
        return fit(run, lambda: build(settings.weights), task, settings)

    def build_frozen() -> keras.Model:
        model = build(settings.weights)
        for layer in model.layers:
            layer.trainable = layer.name in head
        return model

    print("  the head alone:", flush=True)
    (run / "head").mkdir(exist_ok=True)
    head_settings = dataclasses.replace(
        settings, epochs=settings.head_epochs, learning_rate=settings.head_learning_rate
    )
    fit(run / "head", build_frozen, task, head_settings)
    print("  everything:", flush=True)
    return fit(run, lambda: build(str(run / "head")), task, settings)


def fit(run: Path, build: Callable[[], keras.Model], task: Task, settings: SharedTrain) -> State:
    """Train a model, or go on with a training that did not end.

    Adam with warm-up and cosine decay; EarlyStopping on the monitored score; all visible GPUs of
    the machine, or the devices of all ranks (`common.base.hosts`), of which the first writes. Into
    ``run`` go ``model.keras`` (the best epoch), ``history.csv``, ``tensorboard/`` and
    ``checkpoint.npz``. Ctrl-C and SIGTERM save after the present step, in a validation after the
    epoch.

    A training that ended after fewer epochs goes on from there: its next step is that of a training
    of all epochs, with that one's learning rate, which may be higher than the last.

    Args:
        run: The folder to write to.
        build: Makes the model with its starting weights. Of several outputs the first is what
            the model is for and what is kept; others help it to learn.
        task: What it learns.
        settings: Epochs, patience, and those of `optimizers.optimizer`.

    Returns:
        The state at the end.

    Raises:
        UserError: A loss became NaN or infinite; the message names the cases of the batch. Or
            ``xla`` is on for several devices.
        Stopped: Ctrl-C or SIGTERM; all is saved.
    """
    keras.utils.set_random_seed(settings.seed)
    hosts.meet()  # the first may have written the weights to start with
    memory.begin_peak()
    model = _compiled(build, task, settings)
    checkpoint = run / "checkpoint.npz"
    state, metric_sums = checkpoints.restore(checkpoint, model)
    if state.is_over(settings):
        if state.epoch < settings.epochs:
            print(f"  ended by early stopping after epoch {state.epoch}", flush=True)
        state.ended = True
        return state
    if state.in_blocks is None:
        state.in_blocks = bool(hosts.of_first(task.training.samples.in_blocks))
    task = dataclasses.replace(task, training=task.training.ordered(state.in_blocks))
    if state.epoch or state.step:
        print(f"  goes on after {state.place}", flush=True)
    if hosts.is_first():
        tensorboard.remove_events_from(run, state.epoch)

    with held_signals() as signals:

        def fit_on(metric_sums: Sequence[np.ndarray] = ()) -> None:
            """Fit the rest of the epoch that the state stands in, or all epochs from its next."""
            average = ValidateAverage(task.training)
            board = TensorBoard(run, task.training, task.metrics, settings, state, task.pictures)
            progress = SaveProgress(
                run, task.training, settings, state, signals, average, metric_sums
            )
            batches = task.training.batches(state.epoch, state.step)
            spent = TimeSpent(progress)
            if settings.profile and device_count() == hosts.device_count() == 1:
                batches = spent.timed(batches)
            model.fit(
                batches,
                validation_data=task.validation,
                steps_per_epoch=task.training.steps - state.step,
                initial_epoch=state.epoch,
                epochs=state.epoch + 1 if state.step else settings.epochs,
                callbacks=[
                    *([spent] if settings.profile and hosts.is_first() else []),
                    # The first to hear that a validation ended, with its weights in place.
                    *([board] if hosts.is_first() else []),
                    average,
                    ResumedEarlyStopping(settings, state),
                    progress,
                    ValidateInFloat32(),
                ],
                shuffle=False,
                verbose=0,
            )

        # Keras builds its metrics with the first batch that it sees. In a training step it would
        # trace that step twice, which for ResNet50 takes 10 seconds.
        model.evaluate(task.validation.take(1), verbose=0, callbacks=[ValidateInFloat32()])
        # Keras knows epochs of one length: the rest of one that was broken off is fitted by
        # itself, and read again, since Keras overwrites weights with their average at its end.
        if state.step:
            fit_on(metric_sums)
            state, _ = checkpoints.restore(checkpoint, model)
        if not state.is_over(settings):
            fit_on()
        signals.received = hosts.any_of(signals.received)
    return state


def _compiled(build: Callable[[], keras.Model], task: Task, settings: SharedTrain) -> keras.Model:
    with on_all_devices():
        model = fuse_batch_normalization(build())
        model.compile(
            optimizer(settings, task.training.steps, model.trainable_variables),
            loss=task.loss,
            # Keras leaves weights out of account in those that are called metrics.
            weighted_metrics=task.metrics,
            loss_weights=task.loss_weights,
            jit_compile=_jit_compile(settings.xla),
        )
        model.optimizer.build(model.trainable_variables)
    if task.training.on_device is not None:
        augment_in_step(model, task.training.on_device)
    leave_losses_on_device(model)
    return model


def _jit_compile(xla: str) -> bool | str:
    """``jit_compile`` as Keras knows it, within the scope of the devices."""
    if (BACKEND, xla) in (("jax", "off"), ("torch", "on")):
        always = "always compiles by XLA" if xla == "off" else "has no XLA"
        raise UserError(f"--xla {xla}: KERAS_BACKEND={BACKEND} {always}; give --xla auto")
    if xla == "on" and tf.distribute.has_strategy():
        raise UserError(
            "--xla on: XLA does not train on several devices; give --xla auto, or show it one card "
            "with CUDA_VISIBLE_DEVICES"
        )
    return xla if xla == "auto" else xla == "on"


def on_all_devices() -> contextlib.AbstractContextManager[Any]:
    """A scope that mirrors a model over the visible GPUs; does nothing with one or none."""
    if device_count() > 1:
        return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()
