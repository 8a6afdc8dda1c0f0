"""The whole state of a training in a file, from which it goes on as if never broken off.

It holds weights, batch statistics, optimizer, random streams, the sums of the metrics within an
epoch, history and what EarlyStopping knows.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.base import hosts
from common.base.errors import UserError
from common.base.files import atomic_write
from common.base.formats import check_version, stamp
from common.base.settings import SharedTrain
from common.models.backends import assign
from common.training import memory


@dataclass
class State:
    """Where a training stands.

    Attributes:
        epoch: Epochs done.
        step: Steps done of the next epoch.
        seconds: Time that these took.
        history: One row per epoch: ``epoch``, ``seconds``, ``learning_rate``, losses, metrics.
        best: The lowest ``val_loss``, or the best of another score where that is monitored.
        best_epoch: Its epoch, from 1; 0 before the first, where ``best`` is infinite.
        ended: Whether the training is over.
        peak_memory_mib: The most memory that was in use at once, if the system says (`memory`).
        in_blocks: Whether the samples come in blocks (`pipeline.Training.ordered`), which hung on
            memory and disk where the training began; None before, and of an earlier version.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    ended: bool = False
    peak_memory_mib: int | None = None
    in_blocks: bool | None = None

    def is_over(self, settings: SharedTrain) -> bool:
        """Whether the epochs are done, or the best of them is too long ago."""
        return self.epoch >= settings.epochs or self.epoch - self.best_epoch >= settings.patience

    @property
    def place(self) -> str:
        """What was done last, in words."""
        if self.step:
            return f"step {self.step} of epoch {self.epoch + 1}"
        return f"epoch {self.epoch}"


def save(path: Path, model: keras.Model, state: State) -> None:
    """Write everything into one file, so that it is replaced in one step.

    Args:
        path: Ends in ``.npz``.
        model: Compiled, its optimizer built.
        state: Where it stands; takes the peak of memory along.
    """
    state.peak_memory_mib = max(state.peak_memory_mib or 0, memory.peak_mib() or 0) or None
    arrays: dict[str, Any] = {
        f"v{number}": keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(_variables(model))
    }
    if state.step:
        sums = enumerate(model.metrics_variables)
        arrays |= {f"m{number}": keras.ops.convert_to_numpy(sum_) for number, sum_ in sums}
    content = json.dumps({**stamp("checkpoint.npz"), **vars(state)})
    about = np.frombuffer(content.encode(), np.uint8)
    with atomic_write(path) as partial:
        np.savez(partial, state=about, **arrays)


def restore(path: Path, model: keras.Model) -> tuple[State, list[np.ndarray]]:
    """Read a checkpoint, and put its arrays into the model; every rank that which the first wrote.

    Returns:
        The state, a new one where there is no file, and the variables of ``model.metrics`` where
        it stands within an epoch, else none.

    Raises:
        UserError: The file is damaged, of another model or of a newer version.
    """
    hosts.meet()
    if not path.exists():
        return State(), []
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as saved:
            content = dict(json.loads(bytes(saved["state"])))
            check_version(path, content)
            content.pop("schema_version", None)
            state = State(**content)
            sums = [saved[name] for name in saved.files if name.startswith("m")]
            if len(saved.files) != len(variables) + len(sums) + 1:
                raise ValueError("another model")
            assign(variables, [saved[f"v{number}"] for number in range(len(variables))])
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: is damaged or of another model; remove it to begin this run anew"
        ) from error
    return state, sums


def _variables(model: keras.Model) -> list[Any]:
    """Weights, batch statistics, random streams and the optimizer's moments and counter."""
    weights = {id(weight) for weight in model.weights}
    seeds = [variable for variable in model.variables if id(variable) not in weights]
    return [*model.weights, *seeds, *model.optimizer.variables]
