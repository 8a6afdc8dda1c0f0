"""What happens between the steps of a training: stop, print and save."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from tqdm import tqdm

from common.base import hosts
from common.base.errors import UserError
from common.base.files import atomic_write, write_csv
from common.base.settings import SharedTrain
from common.base.signals import HeldSignals, Stopped
from common.models.backends import assign, begin_step, write_back
from common.models.stored import save_model
from common.training import checkpoints
from common.training.averaging import ValidateAverage, share_batch_statistics
from common.training.best_epoch import best_epoch, epoch_line, monitored
from common.training.checkpoints import State
from common.training.pipeline import Training

STEPS_UNREAD = 32
"""Steps after which their losses are read from the device, at the latest: it computes meanwhile,
and does not wait for the host after every step."""

# The most of a training's time that goes into its checkpoints.
_MAX_SAVING_SHARE = 1 / 20


@dataclass(frozen=True)
class Unread:
    """A number that stays on the device, since Keras reads all that a step gives, but not this.

    Attributes:
        value: A tensor of the backend.
    """

    value: Any


def leave_losses_on_device(model: keras.Model) -> None:
    """Let what a model's training steps give be `Unread`; the epochs' scores stay numbers."""
    make = model.make_train_function

    def make_train_function(force: bool = False) -> None:
        before = model.train_function
        make(force)
        step = model.train_function
        if step is before:
            return

        def train_function(*arguments: Any) -> Any:
            # On JAX the state follows.
            given = step(*arguments)
            logs, *state = given if isinstance(given, tuple) else (given,)
            logs = {name: Unread(value) for name, value in logs.items()}
            return (logs, *state) if state else logs

        model.train_function = train_function

    model.make_train_function = make_train_function


class ResumedEarlyStopping(keras.callbacks.EarlyStopping):
    """EarlyStopping that counts the epochs before a restart too.

    Args:
        settings: With ``monitor``, and ``patience``: epochs without a better one.
        state: Where the training stands.
    """

    def __init__(self, settings: SharedTrain, state: State) -> None:
        mode = "min" if settings.monitor == "val_loss" else "max"
        super().__init__(monitor=settings.monitor, mode=mode, patience=settings.patience)
        self.state = state

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        super().on_train_begin(logs)
        if self.state.epoch:
            self.best = self.state.best
            self.wait = self.state.epoch - self.state.best_epoch

    def get_monitor_value(self, logs: Mapping[str, float]) -> float:
        """The monitored score, of whatever output it is."""
        return monitored(logs, self.monitor)


class SaveProgress(keras.callbacks.Callback):
    """Prints and saves what is done; the last callback, so that the others have spoken.

    Args:
        run: The folder to write to: ``model.keras``, ``history.csv`` and ``checkpoint.npz``.
        training: What is trained on.
        settings: Epochs, how often a checkpoint is due, and which score is ``monitor``.
        state: Where the training stands; kept up to date.
        signals: Those that ask to stop.
        average: What was validated, if not the last step's weights.
        metric_sums: The metrics' variables, if the training goes on within an epoch.

    Attributes:
        saving_seconds: What writing models and checkpoints has taken.

    Raises:
        UserError: A loss became NaN or infinite.
        Stopped: A signal asked to stop; all is saved.
    """

    def __init__(
        self,
        run: Path,
        training: Training,
        settings: SharedTrain,
        state: State,
        signals: HeldSignals,
        average: ValidateAverage,
        metric_sums: Sequence[np.ndarray] = (),
    ) -> None:
        super().__init__()
        self.run, self.training, self.settings = run, training, settings
        self.state, self.signals, self.metric_sums = state, signals, metric_sums
        self.average = average
        self.is_rest_of_epoch = state.step > 0
        self.losses: list[Any] = []
        self.saving_seconds = 0.0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.due = time.monotonic() + self.settings.checkpoint_seconds

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.is_rest_of_epoch:
            # Keras has set them to nothing.
            now, then = self.model.metrics_variables, self.metric_sums
            if [tuple(sums.shape) for sums in now] == [sums.shape for sums in then]:
                assign(now, then)
            else:
                print(
                    "  the checkpoint is of a version that measured other scores: this epoch's "
                    "training scores are of the steps since",
                    flush=True,
                )
        self.began = time.monotonic() - self.state.seconds
        self.bar = tqdm(
            total=self.training.steps, initial=self.state.step, unit="step", leave=False,
            desc=f"  epoch {epoch + 1}", file=sys.stdout, mininterval=2, disable=None,
        )  # fmt: skip

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Begin what the step draws."""
        begin_step(self.settings.seed, self.state.epoch, self.state.step)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Unread]) -> None:
        """Count the step; save, if it is time."""
        state = self.state
        self.bar.update()
        self.losses.append(logs["loss"].value)
        state.step += 1
        is_last = state.step == self.training.steps
        if is_last or len(self.losses) == STEPS_UNREAD:
            self._look_at_losses()
        # What comes after an epoch's last step is that epoch's end.
        if not is_last:
            state.seconds = time.monotonic() - self.began
            self._save_if_due()

    def _look_at_losses(self) -> None:
        """Read the losses of the steps since the last look; name the first batch of no number."""
        losses, self.losses = self.losses, []
        if not losses or math.isfinite(losses[-1]):
            return  # the running mean of the epoch, which stays NaN once it is
        finite = [math.isfinite(loss) for loss in losses]
        step = self.state.step - len(losses) + finite.index(False)
        cases = self.training.cases(self.state.epoch, step)
        names = f"the case{'s' if len(cases) > 1 else ''} {', '.join(cases)}"
        self._refuse(f"step {step + 1}, on {names}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keep the model, if it is the best so far, and the history; print a line."""
        state = self.state
        self.bar.close()
        scores = {name: float(value) for name, value in logs.items()}
        if not all(map(math.isfinite, scores.values())):
            self._refuse("the validation")
        seconds = time.monotonic() - self.began
        state.epoch, state.step, state.seconds = epoch + 1, 0, 0.0
        rate = float(self.model.optimizer.learning_rate)
        row = {"epoch": epoch + 1, "seconds": round(seconds, 2), "learning_rate": rate}
        state.history.append({**row, **scores})
        monitor = self.settings.monitor
        is_best = best_epoch(state.history, monitor) == epoch + 1
        if is_best:
            state.best, state.best_epoch = monitored(scores, monitor), epoch + 1
            self._save_model()
        if hosts.is_first():
            write_csv(self.run / "history.csv", list(state.history[-1]), state.history)
        print(f"  {epoch_line(state.history, self.settings.epochs, monitor)}", flush=True)
        # Here, since Keras puts the average in place of the weights where a training ends.
        state.ended = state.is_over(self.settings)
        self._save_if_due(now=self.is_rest_of_epoch or state.ended)

    def _save_model(self) -> None:
        if not hosts.is_first():
            return
        # Without optimizer and loss the file is a third, and loads where no class of this
        # repository is known.
        model, begin = self.model, time.monotonic()
        bare = keras.Model(model.input, model.outputs[0], name=model.name)
        with self.average.in_place(), atomic_write(self.run / "model.keras") as partial:
            save_model(bare, partial)
        self.saving_seconds += time.monotonic() - begin

    def _save_if_due(self, now: bool = False) -> None:
        """Write a checkpoint, if it is time for one; leave, if a signal asked any rank to."""
        begin = time.monotonic()
        received = hosts.any_of(self.signals.received)
        if not (now or received or begin >= self.due):
            return
        self._look_at_losses()
        if hosts.is_first():
            write_back(self.model)
            share_batch_statistics(self.model)
            checkpoints.save(self.run / "checkpoint.npz", self.model, self.state)
        seconds = time.monotonic() - begin
        self.saving_seconds += seconds
        pause = seconds / _MAX_SAVING_SHARE
        interval = self.settings.checkpoint_seconds
        self.due = time.monotonic() + (interval and max(interval, pause))
        if received:
            hosts.meet()  # the others wait until all is saved
            self.bar.close()
            print(f"  saved after {self.state.place}", flush=True)
            raise Stopped(received)

    def _refuse(self, place: str) -> NoReturn:
        self.bar.close()
        raise UserError(
            f"epoch {self.state.epoch + 1}: a loss became NaN or infinite in {place}; the best "
            f"epoch is in {self.run / 'model.keras'}, the last good step in checkpoint.npz next to "
            "it: start a new run with a lower --learning-rate, or without what is wrong there"
        )
