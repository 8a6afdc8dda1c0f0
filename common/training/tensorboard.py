"""What TensorBoard shows of a training: ``tensorboard --logdir runs``.

Keras's own callback writes the curves; here they get the rest that one looks for: the same
validation pictures after every epoch, augmented samples, precision and recall, HParams, and the
profiler's trace. Nothing of it draws a random number or changes a weight.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.files import atomic_write
from common.base.settings import WITHOUT_CONSEQUENCE, SharedTrain
from common.training.checkpoints import State
from common.training.pipeline import Training

if TYPE_CHECKING:
    import keras

FOLDER = "tensorboard"


@dataclass(frozen=True)
class Seen:
    """What a project has drawn for TensorBoard.

    Attributes:
        validation: Draws the same validation cases each time, as a model sees them: gives
            (height, width, 3) uint8.
        augmented: Draws a batch that the training gives, inputs and targets (with what comes
            third, if anything does): gives the same.
    """

    validation: Callable[[keras.Model], np.ndarray]
    augmented: Callable[..., np.ndarray]


def first_output(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a model says of images in its first output, as float32."""
    import keras

    first = keras.tree.flatten(model(images, training=False))[0]
    return keras.ops.convert_to_numpy(keras.ops.cast(first, "float32"))


def go_on(run: Path, epoch: int) -> None:
    """Remove what TensorBoard was told of epochs from ``epoch`` (from 0) on.

    A kill leaves events of epochs that no checkpoint holds and that are trained once more.
    """
    import tensorflow as tf

    for file in (run / FOLDER).rglob("events.out.tfevents.*"):
        events = []
        # The last event may be cut.
        with contextlib.suppress(tf.errors.DataLossError):
            events.extend(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
        kept = [one for one in events if tf.compat.v1.Event.FromString(one).step < epoch]
        if not kept:
            file.unlink()
        elif len(kept) < len(events):
            with atomic_write(file) as beside, tf.io.TFRecordWriter(str(beside)) as writer:
                for one in kept:
                    writer.write(one)


def hyperparameters(model: keras.Model, settings: SharedTrain) -> dict[str, bool | float | str]:
    """The network's name, and every setting that what comes out depends on, for HParams."""
    return {
        "network": model.name,
        **{
            name: value if isinstance(value, bool | int | float | str) else _words(value)
            for name, value in dataclasses.asdict(settings).items()
            if name not in WITHOUT_CONSEQUENCE
        },
    }


def callback(
    run: Path,
    training: Training,
    metrics: Any,
    settings: SharedTrain,
    state: State,
    seen: Seen | None,
) -> keras.callbacks.Callback:
    """The callback of a call of `keras.Model.fit`; the first, so that it sees what is validated.

    Args:
        run: The run's folder; writes into ``run/tensorboard``.
        training: Gives the samples that are shown before the first step.
        metrics: Those that the model was compiled with. Of the first AUC among them precision and
            recall are shown: it has counted both while validating, at thresholds from 0 to 1.
        settings: For HParams; with ``profile``.
        state: Where the training stands.
        seen: What is drawn; None for nothing.
    """
    import keras
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams
    from tensorboard.plugins.pr_curve import summary as pr_curve

    flat = keras.tree.flatten(metrics)
    auc = next((one for one in flat if isinstance(one, keras.metrics.AUC)), None)

    class Board(keras.callbacks.TensorBoard):
        """Keras's curves, and beside them what a project has drawn."""

        def __init__(self) -> None:
            # TensorFlow traces the first step, and XLA compiles it: it is like no other.
            steps = (2, settings.profile + 1) if settings.profile else 0
            super().__init__(str(run / FOLDER), write_graph=False, profile_batch=steps)
            self.writer = tf.summary.create_file_writer(self.log_dir)

        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            super().on_train_begin(logs)
            if state.epoch:
                return
            with self.writer.as_default(0):
                hparams.hparams(hyperparameters(self.model, settings))
                if seen is not None:
                    batch = next(iter(training.batches().take(1)))
                    show("augmented", seen.augmented(*batch))
            self.writer.flush()

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            super().on_epoch_begin(epoch, logs)
            self.epoch = epoch

        def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
            # Keras would add the same numbers once more, against steps instead of epochs.
            if not np.isfinite(list(logs.values())).all():
                return
            with self.writer.as_default(self.epoch):
                if auc is not None:
                    show_precision_and_recall(auc)
                if seen is not None:
                    show("validation", seen.validation(self.model))

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            best = min([*state.history, logs], key=lambda row: row["val_loss"])
            with self.writer.as_default(epoch):
                # HParams compares runs by the last value of a curve.
                for name in logs:
                    if name.startswith("val_"):
                        tf.summary.scalar(f"best_epoch/{name}", best[name])
            # Before the checkpoint says that this epoch is done.
            for writer in (self.writer, self._train_writer, self._val_writer):
                writer.flush()

    def show(name: str, picture: np.ndarray) -> None:
        tf.summary.image(name, picture[None])

    def show_precision_and_recall(auc: keras.metrics.AUC) -> None:
        tp, fp, tn, fn = (
            keras.ops.convert_to_numpy(counts)
            for counts in (
                auc.true_positives,
                auc.false_positives,
                auc.true_negatives,
                auc.false_negatives,
            )
        )
        curves = pr_curve.raw_data_pb(
            "validation",
            tp,
            fp,
            tn,
            fn,
            tp / np.maximum(tp + fp, 1),
            tp / np.maximum(tp + fn, 1),
            num_thresholds=len(tp),
        )
        tf.summary.experimental.write_raw_pb(curves.SerializeToString())

    return Board()


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
