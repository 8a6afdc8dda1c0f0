"""The boxes of a table of films: the columns that they stand in, and what may be wrong with one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from common.base.errors import UserError
from common.datasets.repairs import note_repair
from common.imaging.image_files import PICTURE_SUFFIXES

FAR = ("xmax", "ymax")
"""The columns of the corner of a box that is not its origin."""

# The side of the challenge's films in pixels.
_SIDE = 1024
# Fewer boxes than these may be wrong by themselves.
_SEVERAL = 3
_CORNER = (
    ": its last two numbers (x1 and y1) are read as a corner; call a width and a height w and h"
)

Numbers = TypeVar("Numbers", bound=tuple[float, ...])
Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in the image's own pixels, half-open."""


def boxes_as_text(boxes: Iterable[Box]) -> str:
    """Boxes as one cell of a CSV: ``x0 y0 x1 y1;x0 y0 x1 y1``."""
    return ";".join(" ".join(f"{edge:g}" for edge in box) for box in boxes)


def boxes_of_text(text: str) -> list[list[float]]:
    """The boxes of such a cell, each of four edges."""
    return [[float(edge) for edge in box.split()] for box in text.split(";") if box]


def edges_of(columns: Sequence[str], box: Sequence[str], file: Path, count: int) -> Sequence[str]:
    """The columns of a box, those of both corners if they are there; none if too few are."""
    if {*box[:2], *FAR} <= set(columns):
        note_repair(file, "boxes by two corners, not by a corner and a size", count)
        return (*box[:2], *FAR)
    return box if set(box) <= set(columns) else ()


def box_of(numbers: Sequence[float], edges: Sequence[str]) -> Box:
    """The numbers of `edges_of` as a box."""
    x, y, across, down = numbers
    return (x, y, across, down) if edges[-1] in FAR else (x, y, x + across, y + down)


def refuse_fractions(boxes: Mapping[str, Sequence[Sequence[float]]], file: Path, do: str) -> None:
    """Raise a `UserError` where every box lies between 0 and 1, and no grid of 1 is given."""
    whole = [
        box
        for of_case in boxes.values()
        for box in of_case
        if box[2] > box[0] and box[3] > box[1] and list(box[4:]) != [1, 1]
    ]
    if whole and all(min(box[:4]) >= -0.01 and max(box[:4]) <= 1.01 for box in whole):
        raise UserError(
            f"{file}: all {len(whole)} boxes lie between 0 and 1, as fractions of an image; {do}"
        )


def keep_once(boxes: dict[str, list[Numbers]], file: Path) -> None:
    """Keep of equal boxes of a case the first, as where two readers' tables were joined."""
    before = sum(map(len, boxes.values()))
    for case, listed in boxes.items():
        boxes[case] = list(dict.fromkeys(listed))
    repeated = before - sum(map(len, boxes.values()))
    note_repair(file, "boxes that are there already, the same", repeated)


def resize_boxes(
    boxes: Mapping[str, list[Box]],
    cases: Iterable[Mapping[str, Any]],
    file: Path,
    names: Sequence[str],
) -> dict[str, list[Box]]:
    """The boxes of films that were made smaller than the film that the boxes are of.

    The challenge's films are 1024 x 1024, and many share them as smaller pictures with the tables
    as they were. Where every film is a square picture of one size, boxes leave a tenth or more of
    those that have any, and none leaves 1024 x 1024, they are scaled. Else, where they leave more
    than half, the films are kept without any. Both are counted.

    Args:
        boxes: By case.
        cases: With ``case``, ``path``, ``rows`` and ``columns``, 0 where they are unknown.
        file: The table.
        names: The file names of the challenge's own tables.
    """
    known = [case for case in cases if case["rows"] and boxes.get(case["case"])]
    faults = [[box_fault(box, case, 1.0, 1.0) for box in boxes[case["case"]]] for case in known]
    out = [case for case, own in zip(known, faults, strict=True) if "box leaves the image" in own]
    sizes = {(case["rows"], case["columns"]) for case in known}
    pictures = all(str(case["path"]).lower().endswith(PICTURE_SUFFIXES) for case in known)
    inside = all(
        0 <= edge <= _SIDE + 1 for case in known for box in boxes[case["case"]] for edge in box
    )
    if pictures and inside and len(out) * 10 >= len(known) > 0 and file.name.lower() in names:
        rows, columns = next(iter(sizes))
        if len(sizes) == 1 and rows == columns < _SIDE and out:
            note_repair(file, f"boxes of {_SIDE} x {_SIDE}, scaled to {rows} x {rows}", len(known))
            scale = rows / _SIDE
            return {
                case: [(x0 * scale, y0 * scale, x1 * scale, y1 * scale) for x0, y0, x1, y1 in own]
                for case, own in boxes.items()
            }
    if len(out) >= _SEVERAL and 2 * len(out) > len(known):
        what = "films whose boxes, in pixels of a larger image, are left away"
        note_repair(file, what, len(known))
        return {}
    return dict(boxes)


def box_fault(
    box: Box, case: Mapping[str, Any], across: float, down: float, edges: Sequence[str] = ()
) -> str:
    """Why a box can't be used, or ""; it may overshoot by one pixel of its own grid.

    Such a pixel is ``across`` wide and ``down`` high, in the image's own pixels. ``edges`` are the
    columns that it was read from.
    """
    x0, y0, x1, y1 = box
    if any(math.isnan(part) for part in box):
        return "incomplete box"
    if x1 <= x0 or y1 <= y0:
        is_corner = bool(edges) and edges[-1] in FAR
        return "box without area" + (_CORNER if is_corner else "")
    if x1 - x0 < across and y1 - y0 < down:
        return "box without area: smaller than a pixel"
    inside = x0 >= -across and x1 <= case["columns"] + across
    if not (inside and y0 >= -down and y1 <= case["rows"] + down):
        return "box leaves the image"
    return ""
