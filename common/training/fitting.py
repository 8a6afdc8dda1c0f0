"""Compile, fit, stop, keep the best, and go on after a kill: what the three projects share.

Order and augmentation depend on (seed, epoch) alone (`common.training.pipeline`), the rest lies in
the checkpoint (`common.training.checkpoints`), so a training that goes on ends as an unbroken one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.backend import start_tensorflow
from common.base.errors import UserError
from common.base.files import atomic_write, write_csv
from common.base.settings import SharedTrain
from common.base.signals import HeldSignals, Stopped, held_signals
from common.training import checkpoints, memory, tensorboard
from common.training.checkpoints import State
from common.training.pipeline import Training

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_SHARE_OF_SAVING = 1 / 20
"""The most of a training's time that goes into its checkpoints."""


def steps_in_epoch(samples: int, settings: SharedTrain) -> tuple[int, int]:
    """Steps in an epoch and the batch size, which is smaller where there are few samples."""
    batch_size = min(settings.batch_size, samples)
    return samples // batch_size, batch_size


def fit_in_stages(
    run: Path, build: Callable[[str], keras.Model], head: Collection[str], **options: Any
) -> State:
    """Train the head first, where ``--head-epochs`` asks for it, then everything.

    The head learns on a frozen backbone, whose batch statistics stay those of its starting
    weights: the large steps of a new head would otherwise destroy what the backbone knows. Its
    best epoch, kept in ``run/head``, is where the second stage starts.

    Args:
        run: The folder to write to.
        build: Makes the model with the starting weights of a name (`SharedTrain.weights`).
        head: The names of the layers that learn in the first stage.
        options: The further arguments of `fit`.
    """
    settings: SharedTrain = options["settings"]
    if not settings.head_epochs:
        return fit(run, lambda: build(settings.weights), **options)

    def build_frozen() -> keras.Model:
        model = build(settings.weights)
        for layer in model.layers:
            layer.trainable = layer.name in head
        return model

    print("  the head alone:", flush=True)
    (run / "head").mkdir(exist_ok=True)
    alone = dataclasses.replace(
        settings, epochs=settings.head_epochs, learning_rate=settings.head_learning_rate
    )
    fit(run / "head", build_frozen, **{**options, "settings": alone})
    print("  everything:", flush=True)
    return fit(run, lambda: build(str(run / "head")), **options)


def fit(
    run: Path,
    build: Callable[[], keras.Model],
    loss: Any,
    metrics: list[Any],
    training: Training,
    validation: tf.data.Dataset,
    settings: SharedTrain,
    loss_weights: Sequence[float] | None = None,
    seen: tensorboard.Seen | None = None,
) -> State:
    """Train a model, or go on with a training that did not end.

    Adam with warm-up and cosine decay; EarlyStopping on ``val_loss``; all visible GPUs of the
    machine. Writes into ``run``: ``model.keras`` (the best epoch), ``history.csv``,
    ``tensorboard/`` and ``checkpoint.npz``. Ctrl-C and SIGTERM save after the present step, in a
    validation after the epoch.

    Args:
        run: The folder to write to.
        build: Makes the model with its starting weights. Of several outputs the first is what
            the model is for and what is kept; others help it to learn.
        loss: Keras loss, or one for each output.
        metrics: Keras metrics, or some for each output.
        training: Of inputs, targets and, if samples differ in weight, their weights.
        validation: Batches of the same.
        settings: Epochs, learning rate, patience, momentum of the weights' average.
        loss_weights: How much each output's loss counts; 1 if not given.
        seen: What TensorBoard shows beside the curves, if anything.

    Returns:
        The state at the end.

    Raises:
        UserError: A loss became NaN or infinite; the message names the cases of the batch.
        Stopped: Ctrl-C or SIGTERM; all is saved.
    """
    import keras

    start_tensorflow()
    from common.models.fused import fuse_batch_normalization

    keras.utils.set_random_seed(settings.seed)
    memory.begin_peak()
    with _on_all_gpus():
        model = fuse_batch_normalization(build())
        optimizer = keras.optimizers.Adam(
            _schedule(settings, training.steps),
            use_ema=settings.ema_momentum > 0,
            ema_momentum=settings.ema_momentum,
        )
        model.compile(optimizer, loss=loss, metrics=metrics, loss_weights=loss_weights)
        model.optimizer.build(model.trainable_variables)
    checkpoint = run / "checkpoint.npz"
    state, sums = checkpoints.restore(checkpoint, model)
    # The second is a training that was killed after its last epoch, before it could say so.
    if state.ended or _is_patience_over(state, settings):
        state.ended = True
        return state
    if state.epoch or state.step:
        print(f"  goes on after {state.place}", flush=True)
    tensorboard.go_on(run, state.epoch)

    def show() -> keras.callbacks.Callback:
        return tensorboard.callback(run, training, metrics, settings, state, seen)

    with held_signals() as held:
        # Keras builds its metrics with the first batch that it sees. In a training step it would
        # trace that step twice, which for ResNet50 takes 10 seconds.
        model.evaluate(validation.take(1), verbose=0)
        # Keras knows epochs of one length: what is left of one that was broken off is fitted by
        # itself, and read again, since Keras overwrites weights with their average at its end.
        if state.step:
            _fit_on(run, model, training, validation, settings, state, held, show(), sums)
            state, _ = checkpoints.restore(checkpoint, model)
        if not _is_patience_over(state, settings):
            _fit_on(run, model, training, validation, settings, state, held, show())
        state.ended = True
        checkpoints.save(checkpoint, model, state)
    return state


def _fit_on(
    run: Path,
    model: keras.Model,
    training: Training,
    validation: tf.data.Dataset,
    settings: SharedTrain,
    state: State,
    held: HeldSignals,
    shown: keras.callbacks.Callback,
    sums: Sequence[np.ndarray] = (),
) -> None:
    """Fit what is left of the epoch that ``state`` stands in, or all epochs from its next on."""
    model.fit(
        training.batches(state.epoch, state.step),
        validation_data=validation,
        steps_per_epoch=training.steps - state.step,
        initial_epoch=state.epoch,
        epochs=state.epoch + 1 if state.step else settings.epochs,
        # What is shown is the first to hear that a validation ended, with its weights in place.
        callbacks=[shown, *_callbacks(run, model, training, settings, state, held, sums)],
        shuffle=False,
        verbose=0,
    )


def _callbacks(
    run: Path,
    model: keras.Model,
    training: Training,
    settings: SharedTrain,
    state: State,
    held: HeldSignals,
    sums: Sequence[np.ndarray],
) -> list[keras.callbacks.Callback]:
    import keras
    from tqdm import tqdm

    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=settings.patience)
    is_rest = state.step > 0

    class Keeper(keras.callbacks.Callback):
        """Prints and keeps what is done; the last callback, so that the others have spoken."""

        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            if state.epoch:
                stopping.best = state.best
                stopping.wait = state.epoch - state.best_epoch
            self.due = time.monotonic() + settings.checkpoint_seconds

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            if is_rest:
                # Keras has set them to nothing.
                for variable, value in zip(model.metrics_variables, sums, strict=True):
                    variable.assign(value)
            self.began = time.monotonic() - state.seconds
            self.bar = tqdm(
                total=training.steps,
                initial=state.step,
                unit="step",
                desc=f"  epoch {epoch + 1}",
                leave=False,
                file=sys.stdout,
                mininterval=2,
                disable=None,
            )

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
            self.bar.update()
            if not math.isfinite(logs["loss"]):
                self.refuse(f"step {state.step + 1}, on {_named(training, state)}")
            state.step += 1
            # What comes after an epoch's last step is that epoch's end.
            if state.step < training.steps:
                state.seconds = time.monotonic() - self.began
                self.keep()

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
            self.bar.close()
            row = {name: float(value) for name, value in logs.items()}
            if not all(map(math.isfinite, row.values())):
                self.refuse("the validation")
            seconds = time.monotonic() - self.began
            state.epoch, state.step, state.seconds = epoch + 1, 0, 0.0
            state.history.append(
                {
                    "epoch": epoch + 1,
                    "seconds": round(seconds, 2),
                    "learning_rate": float(model.optimizer.learning_rate),
                    **row,
                }
            )
            better = row["val_loss"] < state.best
            if better:
                state.best, state.best_epoch = row["val_loss"], epoch + 1
                # Without optimizer and loss the file is a third, and loads where no class of
                # this repository is known.
                bare = keras.Model(model.input, model.outputs[0], name=model.name)
                with _averaged(model), atomic_write(run / "model.keras") as beside:
                    bare.save(beside)
            write_csv(run / "history.csv", state.history[0], state.history)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
            print(
                f"  epoch {epoch + 1:>3}/{settings.epochs}  {seconds:5.1f} s  {shown}"
                f"{'  *' if better else ''}",
                flush=True,
            )
            self.keep(now=is_rest)

        def keep(self, now: bool = False) -> None:
            """Write a checkpoint, if it is time for one; leave, if a signal asked to."""
            begin = time.monotonic()
            if not (now or held.received or begin >= self.due):
                return
            checkpoints.save(run / "checkpoint.npz", model, state)
            took = (time.monotonic() - begin) / _SHARE_OF_SAVING
            wait = settings.checkpoint_seconds and max(settings.checkpoint_seconds, took)
            self.due = time.monotonic() + wait
            if held.received:
                self.bar.close()
                print(f"  saved after {state.place}", flush=True)
                raise Stopped(held.received)

        def refuse(self, where: str) -> None:
            self.bar.close()
            raise UserError(
                f"epoch {state.epoch + 1}: a loss became NaN or infinite in {where}; the best "
                f"epoch is in {run / 'model.keras'}, the last good step in checkpoint.npz beside "
                "it: start a new run with a lower --learning-rate, or without what is wrong there"
            )

    class Averaged(keras.callbacks.Callback):
        """Validates the average of the weights instead of the last step's."""

        def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
            self.average = _averaged(model)
            self.average.__enter__()

        def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
            self.average.__exit__(None, None, None)

    return [Averaged(), stopping, Keeper()]


def _schedule(settings: SharedTrain, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    import keras

    total = steps * settings.epochs
    warm_up = max(1, round(total * settings.warmup_share))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate * 0.01,
        decay_steps=max(1, total - warm_up),
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=warm_up,
    )


def _is_patience_over(state: State, settings: SharedTrain) -> bool:
    return state.epoch - state.best_epoch >= settings.patience


def _named(training: Training, state: State) -> str:
    """The cases of the batch that follows what is done."""
    cases = training.cases(state.epoch, state.step)
    return f"the case{'s' if len(cases) > 1 else ''} {', '.join(cases)}"


@contextlib.contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """The running average in place of the weights, where the optimizer keeps one."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        yield
        return
    of_last_step = [np.asarray(variable) for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, of_last_step, strict=True):
            variable.assign(value)


def _on_all_gpus() -> contextlib.AbstractContextManager:
    """A scope that mirrors a model over the visible GPUs; does nothing with one or none."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()
