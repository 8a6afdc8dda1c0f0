"""The table: as text, as a picture, and for other programs."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row
from common.base.files import atomic_write, read_json, versions, write_json

_COLUMNS = ("stage", "ours", "other", "unit", "ratio", "target", "reached", "against")


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory and the card of this machine, as far as it says."""
    cpu = platform.processor() or platform.machine()
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    found: dict[str, Any] = {"processor": cpu, "cores": os.cpu_count()}
    if meminfo.exists():
        found["memory_gib"] = round(int(meminfo.read_text().split()[1]) / 2**20, 1)
    return {**found, "card": _card(), "system": platform.platform()}


def write(
    folder: Path, found: Mapping[str, Sequence[Row]], order: Sequence[str], torch: dict[str, str]
) -> list[Path]:
    """Write ``results.json`` and ``results.png``.

    What results.json has of other parts, from the same machine, stays, with its own date.

    Args:
        folder: Where to.
        found: The lines of each part that was run.
        order: Of all parts.
        torch: The versions of what they stand beside.

    Returns:
        The paths.
    """
    of, date = machine(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    known = {**versions(), **torch}
    note = {"date": date, "commit": known.get("commit")}
    path = folder / "results.json"
    before = read_json(path) if path.exists() else {}
    kept = before.get("rows", []) if before.get("machine") == of else []
    lines = [one for one in kept if one.get("part") in set(order) - set(found)]
    for part, rows in found.items():
        lines += [{**dataclasses.asdict(row), "part": part, **note} for row in rows]
    lines.sort(key=lambda line: order.index(line["part"]))
    write_json(path, {"machine": of, "versions": known, "date": date, "rows": lines})
    names = {field.name for field in dataclasses.fields(Row)}
    rows = [Row(**{name: line[name] for name in names}) for line in lines]
    _draw(folder / "results.png", rows, {"machine": of, "date": date})
    return [path, folder / "results.png"]


def as_text(rows: Sequence[Row]) -> str:
    """The table in columns."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = {0, 3, 5, 6, 7}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
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


def _draw(path: Path, rows: Sequence[Row], content: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {True: "#2a7f62", False: "#b4462e", None: "#777777"}
    figure = plt.figure(figsize=(13, 1.2 + 0.3 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    lines = [_COLUMNS[:-1], *(_cells(row)[:-1] for row in rows)]
    places = (0.02, 0.48, 0.56, 0.58, 0.72, 0.74, 0.92)
    step = 1 / (len(lines) + 3)
    of = content["machine"]
    about = f"{of['processor']}, {of['cores']} cores, {of['card'] or 'no card'}, {content['date']}"
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
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=120, facecolor="white")
    plt.close(figure)


def _card() -> str:
    import subprocess

    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip().replace("\n", ", ")
