"""Write the tables of results into the README files, from the runs that they name.

    python tools/make_tables.py [RUNS]

A table stands between ``<!-- results of PATH -->`` and ``<!-- end of results -->``. PATH, from
RUNS (the folder runs/), is an evaluation (RUN/evaluation/NAME), of which all scores are shown, or a
folder of runs, of which the main scores are. Where it is not there, its table stays as it is.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from common.base.files import ROOT, read_json
from common.base.tables import Table
from common.scores.formatting import score_rows, too_good
from common.training.runs import name_of_data

PAGES = ("README.md", "*/README.md")
_BLOCK = re.compile(r"(<!-- results of (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def with_tables(page: str, runs: Path) -> str:
    """A page with the tables of the runs that are there."""

    def replaced(block: re.Match[str]) -> str:
        path = runs / block[2]
        files = [path / "metrics.json"]
        if not files[0].exists():
            files = sorted(path.glob("**/evaluation/*/metrics.json"))
        if not files:
            print(f"{path}: is not there, so its table stays as it is")
            return block[0]
        evaluations = [read_json(file) for file in files]
        names = [file.parents[2].name for file in files]
        whole = files[0].parent == path
        tables = _all_scores(evaluations[0]) if whole else _main(names, evaluations)
        texts = [markdown(table) for table in tables]
        return f"{block[1]}\n{''.join(texts)}*{_origin(evaluations)}*\n\n{block[3]}"

    return _BLOCK.sub(replaced, page)


def _all_scores(metrics: dict[str, Any]) -> Iterator[Table]:
    yield from import_module(f"{metrics['project']}.score_tables").tables(metrics)


def _main(runs: list[str], evaluations: list[dict[str, Any]]) -> Iterator[Table]:
    rows = (
        (metrics["project"], run, _data(metrics), str(metrics["n"]), *row)
        for run, metrics in zip(runs, evaluations, strict=True)
        for row in score_rows(metrics)
    )
    head = ("project", "run", "data", "cases", "score", "model [95 % interval]", "baseline")
    yield Table("", head, tuple(rows)).without_repeated(head.index("run"))


def _data(metrics: dict[str, Any]) -> str:
    reasons = too_good(metrics)
    return name_of_data(metrics, metrics["split"]) + (f" ({reasons})" if reasons else "")


def markdown(table: Table) -> str:
    """A table with its title as Markdown, with an empty line after it."""
    rows = ["| " + " | ".join(row) + " |" for row in (table.head, *table.rows)]
    rows.insert(1, "|" + "---|" * len(table.head))
    return "\n".join([*([f"{table.title}:", ""] if table.title else []), *rows, "", ""])


def _origin(evaluations: list[dict[str, Any]]) -> str:
    days = sorted({metrics["created"][:10] for metrics in evaluations})
    versions = evaluations[-1]["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras"))
    return (
        f"Scored on {' and '.join(days)}, on {os.cpu_count()} cores ({_processor()}), {packages}."
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    name = re.search(r"model name\s*: (.+)", text)
    return name[1] if name else platform.processor() or platform.machine()


def main() -> None:
    """Write all pages."""
    runs = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs"
    for pattern in PAGES:
        for file in ROOT.glob(pattern):
            file.write_text(with_tables(file.read_text(), runs))


if __name__ == "__main__":
    main()
