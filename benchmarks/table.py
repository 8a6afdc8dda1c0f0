"""The table: as text, as a picture, and for other programs."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.measuring import Row
from common.base.files import atomic_write, read_json, versions, write_json

_COLUMNS = ("stage", "ours", "other", "unit", "ratio", "target", "reached", "against")


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory and the card of this machine, as far as it tells."""
    cpu = platform.processor() or platform.machine()
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    described: dict[str, Any] = {"processor": cpu, "cores": os.cpu_count()}
    if meminfo.exists():
        described["memory_gib"] = round(int(meminfo.read_text().split()[1]) / 2**20, 1)
    return {**described, "card": _card(), "system": platform.platform()}


def write(
    folder: Path, parts: Mapping[str, Sequence[Row]], order: Sequence[str], torch: dict[str, str]
) -> list[Path]:
    """Write ``results.json`` and ``results.png``.

    Rows of other parts in results.json stay, with their own date, if they are from this machine.

    Args:
        folder: Where to write.
        parts: The rows of each part that was run.
        order: All parts in the order of the table.
        torch: The versions of the alternatives.

    Returns:
        The paths.
    """
    this_machine, date = machine(), datetime.now(UTC).isoformat(timespec="seconds")
    known = {**versions(), **torch}
    note = {"date": date, "commit": known.get("commit")}
    path = folder / "results.json"
    before = read_json(path) if path.exists() else {}
    kept = before.get("rows", []) if before.get("machine") == this_machine else []
    lines = [line for line in kept if line.get("part") in set(order) - set(parts)]
    for part, rows in parts.items():
        lines += [{**dataclasses.asdict(row), "part": part, **note} for row in rows]
    lines.sort(key=lambda line: order.index(line["part"]))
    write_json(path, {"machine": this_machine, "versions": known, "date": date, "rows": lines})
    table = [Row(**{f.name: line[f.name] for f in dataclasses.fields(Row)}) for line in lines]
    _draw(folder / "results.png", table, this_machine, date)
    return [path, folder / "results.png"]


def as_text(rows: Sequence[Row]) -> str:
    """The table in columns."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left_aligned = {0, 3, 5, 6, 7}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left_aligned else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    reached = {True: "yes", False: "no", None: "-"}[row.reached]
    numbers = number(row.ours), number(row.other), row.unit, number(row.ratio)
    return (row.stage, *numbers, row.target, reached, row.against)


def _draw(path: Path, rows: Sequence[Row], machine: Mapping[str, Any], date: str) -> None:
    colours = {True: "#2a7f62", False: "#b4462e", None: "#777777"}
    figure = Figure(figsize=(13, 1.2 + 0.3 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    lines = [_COLUMNS[:-1], *(_cells(row)[:-1] for row in rows)]
    places = (0.02, 0.48, 0.56, 0.58, 0.72, 0.74, 0.92)
    step = 1 / (len(lines) + 3)
    cores = f"{machine['cores']} cores, {machine['card'] or 'no card'}"
    about = f"{machine['processor']}, {cores}, {date}"
    axes.text(places[0], 1 - step, about, fontsize=9, color="#555555")
    for number, line in enumerate(lines):
        for place, (x, cell) in enumerate(zip(places, line, strict=True)):
            axes.text(
                x,
                1 - (number + 2.2) * step,
                cell,
                fontsize=9,
                fontweight="bold" if number == 0 else "normal",
                ha="right" if place in (1, 2, 4) else "left",
                color=colours[rows[number - 1].reached] if number and place == 6 else "black",
            )
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, facecolor="white")


def _card() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        query = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return query.stdout.strip().replace("\n", ", ")
