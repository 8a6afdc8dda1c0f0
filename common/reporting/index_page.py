"""One page that links the reports and pictures of several evaluations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.base.files import atomic_write
from common.base.tables import Table
from common.reporting.examples import examples_of
from common.reporting.html_report import FILE, Picture, embedded, render
from common.scores.formatting import is_made_up

# Pictures that are linked one by one.
_MAX_LINKS = 24


def write_index(
    path: Path,
    name: str,
    evaluations: Sequence[tuple[str, Path, Mapping[str, Any]]],
    table: Table,
    commands: str = "",
) -> Path:
    """Write the page; gives its path. Runs with maps of where they looked come first.

    Args:
        path: Where to; links are from its folder.
        name: What the page is about: the folder of the runs.
        evaluations: For each a title, its folder, and its metrics.json.
        table: Of their scores.
        commands: What to type next, if anything.
    """
    entries = []
    for title, folder, metrics in sorted(evaluations, key=lambda entry: "gradcam" not in entry[2]):
        pictures = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".gif"))
        first = next((folder / file for e in examples_of(dict(metrics)) for file in e.files), None)
        drawn = [Picture(first, "", "")] if first and first.is_file() else []
        entries.append(
            {
                "title": title,
                "report": _link(folder / FILE, path.parent),
                "picture": next(iter(embedded(drawn).values()), None),
                "caption": first.stem if first else "",
                "files": [_link(file, path.parent) for file in pictures[:_MAX_LINKS]],
            }
        )
    synthetic = all(is_made_up(metrics) for _, _, metrics in evaluations)
    page = render(
        "index.html.j2",
        **{"name": name, "synthetic": synthetic, "table": table, "entries": entries},
        commands=commands,
    )
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _link(file: Path, folder: Path) -> str:
    return quote(os.path.relpath(file, folder).replace(os.sep, "/"))
