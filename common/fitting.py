"""Compile, fit, stop, keep the best, and go on after a kill: what the three projects share.

The whole state of a training (weights, optimizer, random streams, history, EarlyStopping) lies
in one file, ``checkpoint.npz``, that is replaced in one step. Order and augmentation depend on
(seed, epoch) alone (`common.pipeline`), so a training that goes on ends as an unbroken one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import memory
from common.artefacts import whole_file, write_csv
from common.backend import start_tensorflow
from common.errors import UserError
from common.settings import SharedTrain, gpu_is_there

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SECONDS_BETWEEN_CHECKPOINTS = 30


@dataclass
class State:
    """Where a training stands after an epoch.

    Attributes:
        epoch: Epochs done.
        history: One row an epoch: ``epoch``, ``seconds``, ``learning_rate``, losses, metrics.
        best: The lowest ``val_loss``.
        best_epoch: Its epoch, from 1.
        ended: Whether the training is over.
        peak_memory_mib: The most memory that was held at once, if the system says (`memory`).
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    ended: bool = False
    peak_memory_mib: int | None = None


def set_precision(wanted: str) -> str:
    """Choose the number format of the arithmetic, before a model is built.

    Args:
        wanted: `SharedTrain.precision`.

    Returns:
        The format chosen.
    """
    start_tensorflow()
    import keras

    if wanted == "auto":
        wanted = _best_precision()
    if wanted == "onednn_bfloat16":
        import tensorflow as tf

        # A rewrite of TensorFlow's graph: 1.5 times as fast on a CPU with AVX512-BF16 where
        # Keras's own policy is slower than float32.
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    keras.config.set_dtype_policy(wanted if wanted.startswith("mixed") else "float32")
    return wanted


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
    training: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset,
    steps: int,
    settings: SharedTrain,
    loss_weights: Sequence[float] | None = None,
) -> State:
    """Train a model, or go on with a training that did not end.

    Adam with warm-up and cosine decay; EarlyStopping on ``val_loss``; all visible GPUs of the
    machine. Writes into ``run``: ``model.keras`` (the best epoch), ``history.csv``,
    ``tensorboard/`` and ``checkpoint.npz``.

    Args:
        run: The folder to write to.
        build: Makes the model with its starting weights. Of several outputs the first is what
            the model is for and what is kept; others help it to learn.
        loss: Keras loss, or one for each output.
        metrics: Keras metrics, or some for each output.
        training: The first epoch, from 0, to the batches from there on, ``steps`` an epoch:
            inputs, targets and, if samples differ in weight, their weights.
        validation: Batches.
        steps: Steps in an epoch.
        settings: Epochs, learning rate, patience, averaging.
        loss_weights: How much each output's loss counts; 1 if not given.

    Returns:
        The state at the end.

    Raises:
        UserError: A loss became NaN or infinite.
    """
    import keras

    start_tensorflow()
    keras.utils.set_random_seed(settings.seed)
    memory.begin_peak()
    with _on_all_gpus():
        model = build()
        optimizer = keras.optimizers.Adam(
            _schedule(settings, steps),
            use_ema=settings.averaging > 0,
            ema_momentum=settings.averaging,
        )
        model.compile(optimizer, loss=loss, metrics=metrics, loss_weights=loss_weights)
        model.optimizer.build(model.trainable_variables)
    state = _restore(run / "checkpoint.npz", model)
    # The second is a training that was killed after its last epoch, before it could say so.
    if state.ended or state.epoch - state.best_epoch >= settings.patience:
        state.ended = True
        return state
    if state.epoch:
        print(f"  goes on after epoch {state.epoch}", flush=True)
    model.fit(
        training(state.epoch),
        validation_data=validation,
        steps_per_epoch=steps,
        initial_epoch=state.epoch,
        epochs=settings.epochs,
        callbacks=_callbacks(run, model, state, settings, steps),
        shuffle=False,
        verbose=0,
    )
    state.ended = True
    _save(run / "checkpoint.npz", model, state)
    return state


def load_model(path: Path) -> keras.Model:
    """Load a ``.keras`` file in safe mode, in float32, for inference.

    Raises:
        UserError: It is not there, or not a model that this Keras reads.
    """
    import keras

    start_tensorflow()
    if not path.exists():
        raise UserError(f"{path}: there is no such model; did the training end?")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types for a damaged file.
        raise UserError(
            f"{path}: cannot be loaded ({type(error).__name__}); it is damaged or no model of "
            "this repository: train again"
        ) from error


def _callbacks(
    run: Path, model: keras.Model, state: State, settings: SharedTrain, steps: int
) -> list[keras.callbacks.Callback]:
    import keras
    from tqdm import tqdm

    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=settings.patience)

    class Keeper(keras.callbacks.Callback):
        """Prints and keeps every epoch; the last callback, so that the others have spoken."""

        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            if state.epoch:
                stopping.best = state.best
                stopping.wait = state.epoch - state.best_epoch
            self.kept = time.monotonic()

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.began = time.monotonic()
            self.bar = tqdm(
                total=steps,
                unit="step",
                desc=f"  epoch {epoch + 1}",
                leave=False,
                file=sys.stdout,
                mininterval=2,
                disable=None,
            )

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            self.bar.update()

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.bar.close()
            row = {name: float(value) for name, value in (logs or {}).items()}
            if not all(map(math.isfinite, row.values())):
                raise UserError(
                    f"epoch {epoch + 1}: a loss became NaN or infinite; start a new run with a "
                    "lower --learning-rate"
                )
            seconds = time.monotonic() - self.began
            state.epoch = epoch + 1
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
                with _averaged(model), whole_file(run / "model.keras") as beside:
                    bare.save(beside)
            write_csv(run / "history.csv", state.history[0], state.history)
            if time.monotonic() - self.kept > SECONDS_BETWEEN_CHECKPOINTS:
                _save(run / "checkpoint.npz", model, state)
                self.kept = time.monotonic()
            shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
            print(
                f"  epoch {epoch + 1:>3}/{settings.epochs}  {seconds:5.1f} s  {shown}"
                f"{'  *' if better else ''}",
                flush=True,
            )

    class Averaged(keras.callbacks.Callback):
        """Validates the average of the weights instead of the last step's."""

        def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
            self.average = _averaged(model)
            self.average.__enter__()

        def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
            self.average.__exit__(None, None, None)

    board = keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False)
    return [Averaged(), board, stopping, Keeper()]


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


def _save(path: Path, model: keras.Model, state: State) -> None:
    """Everything in one file, so that it is replaced in one step."""
    state.peak_memory_mib = max(state.peak_memory_mib or 0, memory.peak_mib() or 0) or None
    variables = _variables(model)
    arrays = {f"v{number}": np.asarray(v) for number, v in enumerate(variables)}
    about = np.frombuffer(json.dumps(vars(state)).encode(), np.uint8)
    with whole_file(path) as beside:
        np.savez(beside, state=about, **arrays)


def _restore(path: Path, model: keras.Model) -> State:
    if not path.exists():
        return State()
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as saved:
            state = State(**json.loads(bytes(saved["state"])))
            if len(saved.files) != len(variables) + 1:
                raise ValueError("another model")
            for number, variable in enumerate(variables):
                variable.assign(saved[f"v{number}"])
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: is damaged or of another model; remove it to begin this run anew"
        ) from error
    return state


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


def _variables(model: keras.Model) -> list[Any]:
    """Weights, batch statistics, random streams and the optimizer's moments and counter."""
    seeds = [v for v in model.variables if all(v is not w for w in model.weights)]
    return [*model.weights, *seeds, *model.optimizer.variables]


def _on_all_gpus() -> contextlib.AbstractContextManager:
    """A scope that mirrors a model over the visible GPUs; does nothing with one or none."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()


def _best_precision() -> str:
    if gpu_is_there():
        import tensorflow as tf

        cards = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(cards[0]) if cards else {}
        newer = details.get("compute_capability", (8, 0)) >= (8, 0)
        return "mixed_bfloat16" if newer else "mixed_float16"
    import keras

    flags = Path("/proc/cpuinfo")
    has_bfloat16 = flags.exists() and "avx512_bf16" in flags.read_text()
    on_tensorflow = keras.backend.backend() == "tensorflow"
    return "onednn_bfloat16" if has_bfloat16 and on_tensorflow else "float32"
