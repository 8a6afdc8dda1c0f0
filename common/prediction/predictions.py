"""A folder of predictions: a row and a picture a file, kept as they come, and gone on with.

A finished folder holds ``predictions.csv`` (a row a file, in the order of the files),
``model_card.md`` and ``predictions.json``, written last. Until then every row is kept in
``unfinished.jsonl``, so that the same command goes on after a kill.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from common.base.files import (
    content_key,
    read_json,
    remove_partial_files,
    versions,
    visible_names,
    write_csv,
    write_json,
    write_text,
)
from common.base.processes import stream
from common.base.settings import SharedPredict, first_names
from common.base.tables import Table, print_table
from common.prediction.inputs import WRITTEN, Input
from common.reporting.model_card import (
    FILE,
    NOT_FOR,
    SYNTHETIC,
    About,
    model_hashes,
    write_model_card,
)
from common.training.runs import Run, now

TABLE = "predictions.csv"
PICTURES, MASKS = WRITTEN
SHOWN_ROWS = 10

_FINISHED, _UNFINISHED = "predictions.json", "unfinished.jsonl"
_DECIDES_NOTHING = {
    *("preset", "seed", "inputs", "run", "output", "ensemble"),
    *("batch_size", "workers", "overwrite"),
}
_POOL_FROM = 32


@dataclasses.dataclass
class Predictions:
    """The rows of a folder of predictions, kept as they come.

    Attributes:
        folder: Where they are written.
        inputs: All files.
        decides: What they depend on, beside the files.
        key: Of both; other predictions have another.
        rows: By a file's name in the table; with ``error`` where it could not be read.
    """

    folder: Path
    inputs: Sequence[Input]
    decides: Mapping[str, Any]
    key: str
    rows: dict[str, dict[str, Any]]

    def read(
        self, read: Callable[[Path], Any], batch_size: int, workers: int
    ) -> Iterator[list[tuple[Input, Any]]]:
        """What has no row yet, read in processes, in batches, a few files ahead.

        A file that cannot be read is named, gets its row, and stops no other.

        Args:
            read: A file's path to what is wanted of it; importable, raises `UserError`.
            batch_size: Files in a batch; the last may have fewer.
            workers: Processes; 0 is one a core.
        """
        from tqdm import tqdm

        left = [one for one in self.inputs if one.file not in self.rows]
        done = stream(partial(_or_reason, read), [one.path for one in left], _POOL_FROM, workers)
        batch, named = [], 0
        with tqdm(
            total=len(self.inputs), initial=len(self.rows), unit="file", file=sys.stdout
        ) as bar:
            for one, (value, reason) in zip(left, done, strict=True):
                if not reason:
                    batch.append((one, value))
                else:
                    self.add([{"file": one.file, "error": reason}])
                    bar.update()
                    named += 1
                    if named <= SHOWN_ROWS:
                        bar.write(f"  skipped: {one.file}: {reason}", file=sys.stdout)
                if len(batch) == batch_size or (batch and one is left[-1]):
                    yield batch
                    bar.update(len(batch))
                    batch = []

    def picture(self, one: Input, most: int) -> str:
        """Where a file's picture goes, below the folder; "" if it is none of the first so many."""
        return f"{PICTURES}/{one.name}.png" if most < 0 or one.number < most else ""

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows, each with its ``file``; they outlive a kill."""
        with open(self.folder / _UNFINISHED, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        self.rows |= {row["file"]: dict(row) for row in rows}

    def finish(self, run: Run, about: About, columns: Sequence[str]) -> list[Path]:
        """Write the table, the model's card and what makes the folder whole; tell what was found.

        Args:
            run: The run that was asked.
            about: What its project says of its models.
            columns: Of the table, between ``file`` and ``error``.

        Returns:
            What was written.

        Raises:
            UserError: No file could be read.
        """
        rows = [self.rows[one.file] for one in self.inputs]
        good = [row for row in rows if not row.get("error")]
        bad = [row for row in rows if row.get("error")]
        write_csv(self.folder / TABLE, ["file", *columns, "error"], rows)
        if not good:
            raise UserError(
                f"{self.folder / TABLE}: none of {len(rows)} files could be read; the first, "
                f"{bad[0]['file']}: {bad[0]['error']}"
            )
        write_model_card(self.folder, run, about)
        write_json(
            self.folder / _FINISHED,
            {
                "project": run.config["project"],
                "synthetic": run.config["synthetic"],
                "run": run.folder.resolve().name,
                "key": self.key,
                **self.decides,
                "files": len(rows),
                "skipped": len(bad),
                "versions": versions(),
                "created": now(),
            },
        )
        (self.folder / _UNFINISHED).unlink()

        shown = ("file", *(name for name in columns if name not in ("picture", "mask")))
        first = tuple(tuple(str(row[name]) for name in shown) for row in good[:SHOWN_ROWS])
        print_table(Table("", shown, first))
        if len(good) > SHOWN_ROWS:
            print(f"  and {len(good) - SHOWN_ROWS} more")
        print(f"\n  {len(good)} of {len(rows)} files predicted, {len(bad)} skipped")
        for caution in (SYNTHETIC, NOT_FOR) if run.config["synthetic"] else (NOT_FOR,):
            print(f"  {caution}")
        made = [self.folder / name for name in (TABLE, FILE, PICTURES, MASKS)]
        return [path for path in made if path.exists()]


def begin(
    folder: Path, inputs: Sequence[Input], run: Run, settings: SharedPredict, **more: Any
) -> Predictions | None:
    """Begin a folder of predictions, or go on with one that was made of the same.

    Args:
        folder: Where to write; it exists.
        inputs: The files.
        run: The run to ask.
        settings: All but places and processes decide what is predicted.
        more: What decides it beside the run's models and the settings.

    Returns:
        None where all is there already.

    Raises:
        UserError: The folder holds other predictions, or something else.
    """
    chosen = {n: v for n, v in first_names(settings).items() if n not in _DECIDES_NOTHING}
    decides = {"models": model_hashes(run.folder), "settings": chosen, **more}
    key = content_key({"decides": decides, "files": [_identity(one) for one in inputs]})
    finished, unfinished = folder / _FINISHED, folder / _UNFINISHED
    kept = _lines(unfinished)
    there = read_json(finished) if finished.exists() else kept[0] if kept else None
    same = there is not None and there.get("key") == key
    if there is None and (others := visible_names(folder)):
        raise UserError(f"{folder}: holds {others[0]} and no predictions; choose another --output")
    if same and finished.exists():
        print(f"\n{folder}: these {len(inputs)} files are predicted already, nothing to do")
        return None
    # Where no file could be read there is nothing to lose.
    of_worth = finished.exists() or any("error" not in row for row in kept[1:])
    if there is not None and not same and of_worth and not settings.overwrite:
        raise UserError(
            f"{folder}: holds predictions of other files, of another run or with other settings; "
            "choose another --output, or replace them with --overwrite"
        )
    remove_partial_files(folder)
    if not same:
        kept = [{"key": key}]
    # Whole again: a kill may have torn its last line. And first, so that the folder is known for
    # one of predictions wherever the next lines are broken off.
    write_text(unfinished, "".join(json.dumps(line) + "\n" for line in kept))
    if not same:
        for name in (PICTURES, MASKS):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (_FINISHED, TABLE, FILE):
            (folder / name).unlink(missing_ok=True)
    if len(kept) > 1:
        print(f"\n{folder}: goes on, {len(kept) - 1} of {len(inputs)} files are done", flush=True)
    return Predictions(folder, inputs, decides, key, {row["file"]: row for row in kept[1:]})


def _identity(one: Input) -> tuple[str, int, int]:
    try:
        status = one.path.stat()
    except OSError:  # it will be skipped, and named
        return one.file, 0, 0
    return one.file, status.st_size, status.st_mtime_ns


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines, if it is there."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def _or_reason(read: Callable[[Path], Any], path: Path) -> tuple[Any, str]:
    """What is read, or why it can't be, without the path."""
    try:
        return read(path), ""
    except UserError as error:
        return None, str(error).removeprefix(f"{path}: ")
