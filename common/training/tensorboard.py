"""What TensorBoard shows of a training: ``tensorboard --logdir runs``.

Keras's own callback writes the curves; this module adds the same validation pictures after every
epoch, augmented samples, precision and recall, HParams, and the profiler's trace. Nothing of it
draws a random number or changes a weight.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.pr_curve import summary as pr_curve

from common.base.files import atomic_write
from common.base.settings import WITHOUT_CONSEQUENCE, SharedTrain
from common.models.backends import alone
from common.training.best_epoch import best_epoch
from common.training.checkpoints import State
from common.training.pipeline import Training

_FOLDER = "tensorboard"
CURVE = np.linspace(0, 1, 200)
"""The thresholds of a curve of precision and recall, which TensorBoard takes to be even."""


@dataclass(frozen=True)
class TrainingPictures:
    """The pictures that a project draws for TensorBoard.

    Attributes:
        validation: From a model to a picture of the same validation cases each time, with what
            the model predicts, (height, width, 3) uint8.
        augmented: From a training batch, inputs and targets (and weights, if there are any), to
            the same.
    """

    validation: Callable[[keras.Model], np.ndarray]
    augmented: Callable[..., np.ndarray]


def first_output(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """A model's first output for images (batch, height, width, channels), as float32."""
    first = keras.tree.flatten(model(images, training=False))[0]
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(first, "float32")))


def remove_events_from(run: Path, epoch: int) -> None:
    """Remove what TensorBoard was told of epochs from ``epoch`` (from 0) on.

    A kill leaves events of epochs that no checkpoint holds and that are trained once more.
    """
    for file in (run / _FOLDER).rglob("events.out.tfevents.*"):
        events = []
        # The last event may be cut.
        with contextlib.suppress(tf.errors.DataLossError):
            events.extend(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
        kept = [event for event in events if tf.compat.v1.Event.FromString(event).step < epoch]
        if not kept:
            file.unlink()
        elif len(kept) < len(events):
            with atomic_write(file) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
                for event in kept:
                    writer.write(event)


def hyperparameters(model: keras.Model, settings: SharedTrain) -> dict[str, bool | float | str]:
    """The network's name, and every setting that what comes out depends on, for HParams."""
    values = {"network": model.name}
    for name, value in dataclasses.asdict(settings).items():
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if name not in WITHOUT_CONSEQUENCE:
            values[name] = value if isinstance(value, bool | int | float | str) else text
    return values


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras's curves, and the pictures of a project; the first callback, to see what is validated.

    Args:
        run: The run's folder; writes into ``run/tensorboard``.
        training: Gives the samples that are shown before the first step.
        metrics: Those that the model was compiled with. Of the first AUC among them precision and
            recall are shown: it has counted both while validating, at thresholds from 0 to 1.
        settings: For HParams; with ``profile`` and ``monitor``.
        state: Where the training stands.
        pictures: What is drawn; None for nothing.
    """

    def __init__(
        self,
        run: Path,
        training: Training,
        metrics: Any,
        settings: SharedTrain,
        state: State,
        pictures: TrainingPictures | None,
    ) -> None:
        # TensorFlow traces the first step, and XLA compiles it: it is like no other.
        steps = (2, settings.profile + 1) if settings.profile else 0
        super().__init__(str(run / _FOLDER), write_graph=False, profile_batch=steps)
        self.training, self.settings, self.state = training, settings, state
        self.pictures = pictures
        flat = keras.tree.flatten(metrics)
        self.auc = next((metric for metric in flat if isinstance(metric, keras.metrics.AUC)), None)
        self.writer = tf.summary.create_file_writer(self.log_dir)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Show the settings and the first batch, if nothing is trained yet."""
        super().on_train_begin(logs)
        if self.state.epoch:
            return
        with self.writer.as_default(0):
            hparams.hparams(hyperparameters(self.model, self.settings))
            if self.pictures is not None:
                inputs = self.training.inputs(next(iter(self.training.batches().take(1))))
                tf.summary.image("augmented", self.pictures.augmented(*inputs)[None])
        self.writer.flush()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch, which no event of a validation tells."""
        super().on_epoch_begin(epoch, logs)
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Trace; no step is shown, so that none is read from the device."""
        super().on_train_batch_end(batch)

    def on_test_end(self, logs: Mapping[str, float]) -> None:
        """Show precision, recall and the validation pictures."""
        # Keras would add the same numbers once more, against steps instead of epochs.
        if not np.isfinite(list(logs.values())).all():
            return
        with self.writer.as_default(self.epoch):
            if self.auc is not None:
                _show_precision_and_recall(self.auc)
            if self.pictures is not None:
                with alone(self.model) as model:
                    picture = self.pictures.validation(model)
                tf.summary.image("validation", picture[None])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Show the curves and the scores of the best epoch."""
        super().on_epoch_end(epoch, logs)
        rows = [*self.state.history, logs]
        best = rows[best_epoch(rows, self.settings.monitor) - 1]
        with self.writer.as_default(epoch):
            # HParams compares runs by the last value of a curve.
            for name in logs:
                # An epoch of an earlier version has no score that was not measured then.
                if name.startswith("val_") and name in best:
                    tf.summary.scalar(f"best_epoch/{name}", best[name])
        # Before the checkpoint says that this epoch is done.
        for writer in (self.writer, self._train_writer, self._val_writer):
            writer.flush()


def _show_precision_and_recall(auc: keras.metrics.AUC) -> None:
    variables = (auc.true_positives, auc.false_positives, auc.true_negatives, auc.false_negatives)
    tp, fp, tn, fn = map(keras.ops.convert_to_numpy, variables)
    if tp.ndim == 2:  # of several classes: all answers together
        tp, fp, tn, fn = (counts.sum(axis=1) for counts in (tp, fp, tn, fn))
    places = np.abs(np.asarray(auc.thresholds)[:, None] - CURVE).argmin(axis=0)
    tp, fp, tn, fn = (counts[places] for counts in (tp, fp, tn, fn))
    precision, recall = tp / np.maximum(tp + fp, 1), tp / np.maximum(tp + fn, 1)
    curves = pr_curve.raw_data_pb(
        "validation", tp, fp, tn, fn, precision, recall, num_thresholds=len(tp)
    )
    tf.summary.experimental.write_raw_pb(curves.SerializeToString())
