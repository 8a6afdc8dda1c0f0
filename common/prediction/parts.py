"""Parts of the files, each predicted by a job of its own, and what makes one of them again.

A part is a folder ``parts/I-of-N`` in the output, with the pictures and masks of its files and,
written last, ``part.json``. `merge` makes of all N what one run would have written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from common.base.files import lock_folder, read_json, write_bytes, write_json
from common.base.parts import PARTS, Part, ended_parts
from common.prediction.finished import FINISHED, finish
from common.reporting.model_card import FILE as CARD

FILE = "part.json"


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
        UserError: There are no parts, one is missing, or they are not of the same predictions; or
            they are of an evaluation.
    """
    if output.resolve().parent.name == "evaluation":
        raise UserError(
            f"{output}: holds an evaluation; the same evaluate.py without --part makes it of its "
            "parts, since it takes the data and the settings too"
        )
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
    folders = ended_parts(output, FILE, "predict.py")
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
