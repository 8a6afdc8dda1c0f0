"""A folder of predictions: one row and one picture per file, written as they come, resumable.

A finished folder holds ``predictions.csv`` (one row per file, in the order of the files),
``model_card.md`` and ``predictions.json``, written last. Until then every row is in
``unfinished.jsonl``, so that the same command resumes after a kill. A part of the files
(`common.prediction.parts`) has a folder of its own within, and ``part.json`` in place of the last.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from common.base.files import (
    content_key,
    read_json,
    remove_partial_files,
    versions,
    visible_names,
    write_text,
)
from common.base.parts import Part
from common.base.processes import stream
from common.base.progress import progress
from common.base.settings import SharedPredict, first_names
from common.datasets.published import without_slices
from common.imaging.image_files import list_files
from common.imaging.library_warnings import library_warnings
from common.prediction.archive import check_highdicom
from common.prediction.finished import FINISHED, MAX_ROWS, PICTURES, TABLE, finish
from common.prediction.inputs import WRITTEN, Input
from common.prediction.parts import FILE as PART
from common.prediction.parts import finish_part
from common.reporting.model_card import FILE, About, model_hashes, write_model_card
from common.training.runs import Run

# Characters of a doubt in a line of a picture's title.
_WIDTH = 48
_UNFINISHED = "unfinished.jsonl"
# Settings that do not decide the predictions.
_NOT_IN_KEY = {
    *("preset", "seed", "inputs", "run", "output", "ids", "ensemble"),
    *("batch_size", "workers", "overwrite", "part"),
}
# Pictures in one folder, at most.
_PICTURES_A_FOLDER = 1000


@dataclasses.dataclass
class Predictions:
    """The rows of a folder of predictions, written as they come.

    Attributes:
        folder: The folder.
        inputs: The files, all of them or those of a part.
        decides: What the predictions depend on besides the files.
        key: The hash of both, and of the part; other predictions have another.
        whole_key: The hash of all files and of what decides.
        rows: By the file's name in the table; with ``error`` where it could not be read, and with
            ``warnings`` of libraries (`common.imaging.library_warnings`) where there are.
        strict: Whether files that are doubted are skipped.
        part: Which part of the files these are, where they are one.
        total: The number of all files.
    """

    folder: Path
    inputs: Sequence[Input]
    decides: Mapping[str, Any]
    key: str
    rows: dict[str, dict[str, Any]]
    strict: bool = False
    whole_key: str = ""
    part: Part | None = None
    total: int = 0
    _kinds: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    _doubts: dict[str, str] = dataclasses.field(default_factory=dict)

    def read(
        self,
        read: Callable[[Path], Any],
        batch_size: int,
        workers: int,
        look: Callable[[Any], str],
        ahead: int = 0,
    ) -> Iterator[list[tuple[Input, Any]]]:
        """Read the files without a row, in processes, in batches, a few files ahead.

        A file that cannot be read is printed, gets its row, and stops no other. Which files share
        a batch depends on their numbers alone: a network's last digits may depend on it.

        Args:
            read: Reads a file from its path; importable, raises `UserError`.
            batch_size: Files in a batch, with those that could not be read; the last has fewer.
            workers: Number of processes; 0: one per core.
            look: Why what was read is doubted, "" for no reason.
            ahead: Files that are read ahead of the network, by as many processes at most; 0: a few
                for each process.
        """
        files = [file for file in self.inputs if file.file not in self.rows]
        paths = [file.path for file in files]
        contents = stream(partial(read_or_error, read), paths, workers, lost, ahead)
        numbers = [file.number // batch_size for file in files]
        is_last = (this != following for this, following in pairwise([*numbers, -1]))
        batch, skipped = [], 0
        with progress(total=len(self.inputs), initial=len(self.rows), unit="file") as bar:
            for file, (content, error, kinds), ends in zip(files, contents, is_last, strict=True):
                self._kinds[file.file] = kinds
                if not error:
                    self._doubts[file.file] = doubt = look(content)
                    error = f"doubted (--strict): {doubt}" if doubt and self.strict else ""
                if not error:
                    batch.append((file, content))
                else:
                    self.add([{"file": file.file, "error": error}])
                    bar.update()
                    skipped += 1
                    if skipped <= MAX_ROWS:
                        bar.write(f"  skipped: {file.display}: {error}", file=sys.stdout)
                if batch and ends:
                    yield batch
                    bar.update(len(batch))
                    batch = []

    def doubt_of(self, file: str) -> str:
        """Why a file that was read is doubted, by its name in the table; "" for no reason."""
        return self._doubts.get(file, "")

    def picture_path(self, file: Input, limit: int) -> str:
        """A file's picture, below the folder; "" beyond the limit, which is none if negative.

        More than fit into one folder are in several, which are numbered.
        """
        drawn = self.total if limit < 0 else min(limit, self.total)
        if file.number >= drawn:
            return ""
        number = file.number // _PICTURES_A_FOLDER
        below = f"{number:04d}/" if drawn > _PICTURES_A_FOLDER else ""
        return f"{PICTURES}/{below}{file.name}.png"

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, each with its ``file``; they outlive a kill."""
        with open(self.folder / _UNFINISHED, "a", encoding="utf-8") as file:
            kinds = ({"warnings": k} if (k := self._kinds.get(row["file"])) else {} for row in rows)
            whole = [
                {**row, "doubt": self.doubt_of(row["file"]), **more}
                for row, more in zip(rows, kinds, strict=True)
            ]
            file.writelines(json.dumps(row) + "\n" for row in whole)
            file.flush()
            os.fsync(file.fileno())
        self.rows |= {row["file"]: row for row in whole}

    def finish(self, run: Run, about: About, columns: Sequence[str]) -> list[Path]:
        """Write what completes the folder (`common.prediction.finished`); print a summary.

        Args:
            run: The run whose models predicted.
            about: The project's part of the model card.
            columns: The table's columns between ``file`` and ``error``.

        Returns:
            The paths that were written.

        Raises:
            UserError: No file could be read.
        """
        rows = [self.rows[file.file] for file in self.inputs]
        facts = {
            "project": run.config["project"],
            "trained_on_synthetic": run.config["synthetic"],
            # Its name before; of the files that are predicted nobody knows.
            "synthetic": run.config["synthetic"],
            "run": run.folder.resolve().name,
            "split_warning": run.config.get("split_warning", ""),
            "key": self.whole_key,
            **self.decides,
            "versions": versions(),
        }

        def write_card() -> None:
            write_model_card(self.folder, run, about)

        if self.part:
            write_card()
            finish_part(self.folder, self.key, self.part, rows, columns, facts)
            paths = [self.folder]
            skipped = sum(1 for row in rows if row.get("error"))
            print(f"\n  part {self.part.number} of {self.part.parts}: ", end="")
            print(f"{len(rows) - skipped} of {len(rows)} files predicted, {skipped} skipped")
        else:
            displays = {file.file: file.display for file in self.inputs}
            paths = finish(self.folder, rows, columns, facts, write_card, displays)
        (self.folder / _UNFINISHED).unlink()
        return paths


def titled(title: str, doubt: str) -> str:
    """A picture's title, with the doubt under it."""
    return f"{title}\nDOUBTED: {textwrap.fill(doubt, _WIDTH)}" if doubt else title


def begin_predictions(
    folder: Path,
    inputs: Sequence[Input],
    run: Run,
    settings: SharedPredict,
    batch_size: int,
    **more: Any,
) -> Predictions | None:
    """Begin a folder of predictions, or resume one of the same predictions.

    Args:
        folder: The folder to write, a part's own (`common.base.parts.part_folder`); it
            exists.
        inputs: All files, also for a part.
        run: The run whose models predict.
        settings: The settings of predict.py.
        batch_size: As for `Predictions.read`.
        more: What decides the predictions besides the run's models and the settings.

    Returns:
        None if the folder is finished.

    Raises:
        UserError: The folder holds other predictions, or other files.
    """
    if settings.dicom:
        check_highdicom()
    chosen = first_names(settings)
    for name in ("strict", "dicom"):
        if not chosen[name]:
            chosen.pop(name)  # folders of before it keep their key
    chosen = {n: v for n, v in chosen.items() if n not in _NOT_IN_KEY}
    decides = {"models": model_hashes(run.folder), "settings": chosen, **more}
    whole_key = content_key({"decides": decides, "files": [_identity(file) for file in inputs]})
    key, total, part = whole_key, len(inputs), Part.named(settings.part, batch_size)
    if part:
        if _is_merged(folder.parents[1], whole_key):
            return None
        key = content_key({"key": whole_key, "part": part})
        inputs = [inputs[number] for number in part.members(total)]
    finished, unfinished = folder / (PART if part else FINISHED), folder / _UNFINISHED
    lines = _read_lines(unfinished)
    header = read_json(finished) if finished.exists() else lines[0] if lines else None
    same = header is not None and header.get("key") == key
    if header is None and (names := visible_names(folder)):
        raise UserError(f"{folder}: holds {names[0]} and no predictions; choose another --output")
    if same and finished.exists():
        print(f"\n{folder}: these {len(inputs)} files are predicted already, nothing to do")
        return None
    # Where no file could be read there is nothing to lose.
    has_predictions = finished.exists() or any("error" not in row for row in lines[1:])
    if has_predictions and not same and not settings.overwrite:
        raise UserError(
            f"{folder}: holds predictions of other files, of another run or with other settings; "
            "choose another --output, or replace them with --overwrite"
        )
    remove_partial_files(folder)
    if not same:
        lines = [{"key": key}]
    # Rewritten, since a kill may have torn its last line; and first, so that the folder counts as
    # one of predictions wherever a kill stops the next lines.
    write_text(unfinished, "".join(json.dumps(line) + "\n" for line in lines))
    if not same:
        for name in WRITTEN:
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (FINISHED, PART, TABLE, FILE):
            (folder / name).unlink(missing_ok=True)
    if len(lines) > 1:
        print(f"\n{folder}: goes on, {len(lines) - 1} of {len(inputs)} files are done", flush=True)
    by_file = {row["file"]: row for row in lines[1:]}
    strict = settings.strict
    return Predictions(folder, inputs, decides, key, by_file, strict, whole_key, part, total)


def _is_merged(output: Path, whole_key: str) -> bool:
    """Whether an output has the predictions of all parts; a `UserError` where it has others."""
    if (output / FINISHED).exists() and read_json(output / FINISHED).get("key") == whole_key:
        print(f"\n{output}: all parts are predicted and merged already, nothing to do")
        return True
    for name in (FINISHED, _UNFINISHED):
        if (output / name).exists():
            raise UserError(f"{output}: holds predictions already; choose another --output")
    return False


def _identity(file: Input) -> tuple[str | int, ...]:
    try:
        parts = list_files(file.path).files if file.path.is_dir() else [file.path]
        stats = [(part.name, part.stat()) for part in parts]
    except OSError:
        # Reading it will fail too, and skip it.
        return file.file, 0, 0
    if len(stats) == 1:
        return file.file, stats[0][1].st_size, stats[0][1].st_mtime_ns
    named = [(name, status.st_size, status.st_mtime_ns) for name, status in stats]
    return file.file, len(named), content_key({"parts": named})


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file of JSON lines; none if it does not exist."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def read_or_error(read: Callable[[Path], Any], path: Path) -> tuple[Any, str, list[str]]:
    """The content of a file, or the error without its path; and the kinds of warnings."""
    with library_warnings() as kinds:
        try:
            return read(path), "", sorted(kinds)
        except UserError as error:
            text = str(error).removeprefix(f"{path}: ").replace(f"{path}{os.sep}", "")
            return None, without_slices(text, path), sorted(kinds)
        except Exception as error:
            error.add_note(f"while reading {path}")
            raise


def lost(_: Any, reason: str) -> tuple[None, str, list[str]]:
    """What `read_or_error` gives, of a file whose process ended."""
    return None, reason, []
