"""Parts of the files, each predicted by a job of its own, and what makes one of them again.

A part is a folder ``parts/I-of-N`` in the output, with the pictures and masks of its files and,
written last, ``part.json``. `merge` makes of all N what one run would have written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.base.errors import UserError
from common.base.files import lock_folder, read_json, visible_names, write_bytes, write_json
from common.prediction.finished import FINISHED, finish
from common.prediction.inputs import PARTS, Input
from common.reporting.model_card import FILE as CARD

FILE = "part.json"

# Parts that a line names.
_MAX_NAMED = 5


class Part(NamedTuple):
    """The ``number``-th of ``parts``, from 1; batches of ``batch`` files stay whole."""

    number: int
    parts: int
    batch: int

    @classmethod
    def named(cls, text: str, batch: int) -> Part | None:
        """The part that ``I/N`` names; None for ""."""
        number, slash, parts = text.partition("/")
        return cls(int(number), int(parts), batch) if slash else None

    def members(self, inputs: Sequence[Input]) -> list[Input]:
        """Its files, which stand together in the list; none where there are fewer batches."""
        batches = -(-len(inputs) // self.batch)
        first, end = (batches * number // self.parts for number in (self.number - 1, self.number))
        return list(inputs[first * self.batch : end * self.batch])


def part_folder(output: Path, text: str) -> Path:
    """Where a part is written, ``I/N``; for "" the output itself."""
    return output / PARTS / text.replace("/", "-of-") if text else output


def finish_part(
    folder: Path,
    key: str,
    part: Part,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    facts: Mapping[str, Any],
) -> None:
    """Write ``part.json``, which completes a part; arguments as for `finish`, ``key`` its own."""
    content = {"key": key, "part": part, "columns": columns, "facts": facts, "rows": rows}
    write_json(folder / FILE, content)


def merge(output: Path) -> list[Path]:
    """Make of all parts in an output what one run would have written there; they then go.

    Returns:
        The paths that were written; none where nothing was left to do.

    Raises:
        UserError: There are no parts, one is missing, or they are not of the same predictions.
    """
    if not (output / PARTS).is_dir() and not (output / FINISHED).is_file():
        raise UserError(
            f"{output}: holds no parts of predictions; name the --output of predict.py --part"
        )
    with lock_folder(output):
        # A kill may have left some of them.
        if (output / FINISHED).is_file():
            shutil.rmtree(output / PARTS, ignore_errors=True)
            print(f"\n{output}: is merged already, nothing to do")
            return []
        contents = _contents(output)
        rows = [row for content in contents.values() for row in content["rows"]]
        for folder, content in contents.items():
            for row in content["rows"]:
                for name in filter(None, map(row.get, ("picture", "mask", "dicom"))):
                    _move(folder / name, output / name)
        card = next(iter(contents)) / CARD
        first = next(iter(contents.values()))
        paths = finish(
            output,
            rows,
            first["columns"],
            first["facts"],
            lambda: write_bytes(output / CARD, card.read_bytes()),
            {row["file"]: row["file"] for row in rows},
        )
        shutil.rmtree(output / PARTS)
    return paths


def _contents(output: Path) -> dict[Path, dict[str, Any]]:
    """What each part's file says, by its folder, in the order of the parts."""
    names = visible_names(output / PARTS)
    counts = sorted({name.partition("-of-")[2] for name in names})
    if len(counts) != 1 or not counts[0].isdigit():
        raise UserError(
            f"{output / PARTS}: holds {', '.join(names[:_MAX_NAMED])}, which are not the parts of "
            "one number; remove those that are not wanted"
        )
    count = int(counts[0])
    folders = [part_folder(output, f"{number}/{count}") for number in range(1, count + 1)]
    missing = [folder.name for folder in folders if not (folder / FILE).is_file()]
    if missing:
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise UserError(
            f"{output / PARTS}: {', '.join(missing[:_MAX_NAMED])}{more} did not end; start the "
            f"same predict.py with --part {missing[0].replace('-of-', '/')}"
        )
    contents = {folder: read_json(folder / FILE) for folder in folders}
    first = contents[folders[0]]
    for folder, content in contents.items():
        others = [name for name in first["facts"] if content["facts"][name] != first["facts"][name]]
        if content["part"][2] != first["part"][2]:
            others.append("--batch-size")
        if others:
            raise UserError(
                f"{folder}: differs from the first part in {', '.join(others)} (key: the files, "
                "the run or settings); predict it again, with the same command and --overwrite"
            )
    return contents


def _move(file: Path, place: Path) -> None:
    """Move a file, which an earlier merge that was killed may have done."""
    if file.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    elif not place.is_file():
        raise UserError(f"{file}: is missing; predict its part again, with --overwrite")
