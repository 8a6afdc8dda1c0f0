"""Parts of an evaluation: its cases, each part of them predicted by a job of its own.

A part (`common.base.parts`) has ``part.npz``: columns with the cases as first axis and, as JSON,
what decided them; next to it lie the masks. The same evaluate.py without ``--part`` takes all of
them in place of predicting.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.base.errors import UserError
from common.base.files import atomic_write, content_key, versions, visible_names
from common.base.parts import PARTS, Part, ended_parts
from common.base.settings import SOURCE_SETTINGS, SharedEvaluate
from common.records.prepared import Prepared
from common.training.evaluations import PART
from common.training.runs import Run

Columns = dict[str, np.ndarray]
"""Arrays by name, whose first axis is the cases."""

# Settings that decide no prediction: what is evaluated, which the key has as what it is, what is
# decided by predictions, and what is written.
_NOT_IN_KEY = {
    *("preset", "seed", "run", "ensemble", "prepared", "source", "ids", "name", "split", "part"),
    *(*SOURCE_SETTINGS, "positive_class"),
    *("sensitivity", "threshold", "reject", "prevalence", "gradcam_layer", "pictures"),
}
_ABOUT = "about"


def joined(parts: Sequence[Mapping[str, Any]]) -> Columns:
    """Columns of some batches, volumes or parts as columns of all; those without any are skipped.

    Columns of words become NumPy's, which a file can hold.
    """
    names = next(filter(None, parts), {})
    columns = {name: np.concatenate([part[name] for part in parts if part]) for name in names}
    return {
        name: column.astype(str) if column.dtype == object else column
        for name, column in columns.items()
    }


class Parts:
    """How an evaluation comes to its predictions: here, whole or a part, or from all parts.

    Args:
        new: Of `evaluations.new_evaluation`, in the evaluation's folder or in that of a part.
        runs: The runs whose models predict.
        prepared: The data.
        splits: Those to score.
        settings: Of evaluate.py.
        batch: How many cases stay together, so that a part predicts what the whole would.
    """

    def __init__(
        self,
        new: Path,
        runs: Sequence[Run],
        prepared: Prepared,
        splits: Sequence[str],
        settings: SharedEvaluate,
        batch: int = 1,
    ) -> None:
        self._new, self._folder = new, new.parent
        self._count = prepared.count(splits)
        self._part = Part.named(settings.part, batch)
        self._about: dict[str, Any] = {
            # With the hashes of the models.
            "the run": [content_key(run.fitted) for run in runs],
            "the data": [prepared.manifest["key"], prepared.sha256],
            "the split": list(splits),
            "versions": versions(),
            **{
                f"--{name.replace('_', '-')}": value
                for name, value in dataclasses.asdict(settings).items()
                if name not in _NOT_IN_KEY
            },
        }

    def write(self, predict: Callable[[range], Mapping[str, Any]]) -> None:
        """Predict a part and write it, if it was not yet.

        Args:
            predict: Numbers of records, in the order of the splits, to their columns, among them
                ``case``; it may leave cases out. What it writes into subfolders of ``new`` too.

        Raises:
            UserError: There is such a part of other predictions.
        """
        assert self._part is not None
        if (self._folder / PART).is_file():
            self._read(self._folder)
            print(f"\n{self._folder}: is predicted already, nothing to do")
            return
        records = self._part.members(self._count)
        columns = joined([predict(records)] if records else [])
        arrays: dict[str, Any] = {_ABOUT: json.dumps(self._about), **columns}
        with atomic_write(self._new / PART) as temporary:
            np.savez(temporary, **arrays)
        done = f"{len(columns.get('case', ()))} of {self._count} cases predicted"
        print(f"\n  part {self._part.number} of {self._part.parts}: {done}; {self._folder}")

    def columns(self, predict: Callable[[range], Mapping[str, Any]]) -> Columns:
        """The predictions of all cases: from parts where there are any, else made here.

        Args:
            predict: As for `write`.

        Raises:
            UserError: A part did not end, or is of other predictions.
        """
        if not (self._folder / PARTS).is_dir() or not visible_names(self._folder / PARTS):
            return joined([predict(range(self._count))])
        try:
            folders = ended_parts(self._folder, PART, "evaluate.py")
        except UserError as error:
            raise UserError(
                f"{error}; or remove {self._folder / PARTS}, to predict all cases here"
            ) from None
        columns = joined([self._read(folder) for folder in folders])
        for folder in folders:
            for name in visible_names(folder):
                if (folder / name).is_dir():
                    shutil.copytree(folder / name, self._new / name, dirs_exist_ok=True)
        print(f"\n{self._folder / PARTS}: {len(folders)} parts are predicted, which are scored now")
        return columns

    def _read(self, folder: Path) -> Columns:
        """The columns of a part that ended, which is of these predictions."""
        try:
            with np.load(folder / PART) as stored:
                about = json.loads(str(stored[_ABOUT]))
                columns = {name: stored[name] for name in stored.files if name != _ABOUT}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            raise UserError(
                f"{folder / PART}: is damaged; remove {folder} and predict that part again"
            ) from None
        here = json.loads(json.dumps(self._about))
        others = [name for name in here if about.get(name) != here[name]]
        if others:
            raise UserError(
                f"{folder}: was predicted with other values of {', '.join(others)}; give the same "
                f"evaluate.py as then, or remove {folder} and predict that part again"
            )
        return columns
