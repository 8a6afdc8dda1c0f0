"""Parts of what a script works through, each done by a job of its own: ``--part I/N``.

A part is a folder ``parts/I-of-N`` in the output; the file that is written last there completes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from common.base.errors import UserError
from common.base.files import visible_names

PARTS = "parts"
"""The folder of an output that holds its parts."""

# Parts that a line names.
_MAX_NAMED = 5


class Part(NamedTuple):
    """The ``number``-th of ``parts``, from 1; batches of ``batch`` stay whole."""

    number: int
    parts: int
    batch: int

    @classmethod
    def named(cls, text: str, batch: int) -> Part | None:
        """The part that ``I/N`` names; None for ""."""
        number, slash, parts = text.partition("/")
        return cls(int(number), int(parts), batch) if slash else None

    def members(self, count: int) -> range:
        """Which of so many are its own; none where there are fewer batches than parts."""
        batches = -(-count // self.batch)
        first, end = (batches * number // self.parts for number in (self.number - 1, self.number))
        return range(first * self.batch, min(end * self.batch, count))


def part_folder(output: Path, text: str) -> Path:
    """Where a part is written, ``I/N``; for "" the output itself."""
    return output / PARTS / text.replace("/", "-of-") if text else output


def ended_parts(output: Path, file: str, script: str) -> list[Path]:
    """The folders of all parts of an output, in order.

    Args:
        output: Which holds `PARTS`.
        file: The name of what completes a part.
        script: What writes them.

    Raises:
        UserError: One did not end, or they are not the parts of one number.
    """
    names = visible_names(output / PARTS)
    counts = sorted({name.partition("-of-")[2] for name in names})
    if len(counts) != 1 or not counts[0].isdigit():
        raise UserError(
            f"{output / PARTS}: holds {', '.join(names[:_MAX_NAMED])}, which are not the parts of "
            "one number; remove those that are not wanted"
        )
    count = int(counts[0])
    folders = [part_folder(output, f"{number}/{count}") for number in range(1, count + 1)]
    missing = [folder.name for folder in folders if not (folder / file).is_file()]
    if missing:
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise UserError(
            f"{output / PARTS}: {', '.join(missing[:_MAX_NAMED])}{more} did not end; start the "
            f"same {script} with --part {missing[0].replace('-of-', '/')}"
        )
    return folders
