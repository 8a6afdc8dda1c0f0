"""What a folder of predictions holds when all its files have a row, and what is printed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from common.base.files import write_csv, write_json
from common.base.tables import Table, print_table
from common.prediction.inputs import WRITTEN
from common.reporting.model_card import FILE, NOT_FOR, SYNTHETIC
from common.training.runs import now

TABLE, FINISHED = "predictions.csv", "predictions.json"
PICTURES, MASKS, DICOM = WRITTEN
OF_CLASS = "probability_"
"""What the columns of single classes begin with, which only the table has."""

MAX_ROWS = 10
"""Rows, and skipped files, that are printed."""


def finish(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    facts: Mapping[str, Any],
    write_card: Callable[[], object],
    displays: Mapping[str, str],
) -> list[Path]:
    """Write the table, the model's card and ``predictions.json``; print a summary.

    Args:
        folder: The folder.
        rows: A row a file, in the order of the files, as `Predictions.rows` has them.
        columns: The table's columns between ``file`` and ``error``.
        facts: What ``predictions.json`` says besides counts and the time.
        write_card: Writes the model's card into the folder.
        displays: What the screen calls a file, by its name in the table.

    Returns:
        The paths that were written.

    Raises:
        UserError: No file could be read.
    """
    kinds = Counter(kind for row in rows for kind in row.get("warnings", ()))
    rows = [{name: row[name] for name in row if name != "warnings"} for row in rows]
    good = [row for row in rows if not row.get("error")]
    bad = [row for row in rows if row.get("error")]
    write_csv(folder / TABLE, ["file", *columns, "error"], rows)
    if not good:
        raise UserError(
            f"{folder / TABLE}: none of {len(rows)} files could be read; the first, "
            f"{displays[bad[0]['file']]}: {bad[0]['error']}"
        )
    write_card()
    doubted = [row for row in rows if row.get("doubt")]
    counts = {
        "files": len(rows),
        "skipped": len(bad),
        "doubted": len(doubted),
        "warnings": dict(sorted(kinds.items())),
    }
    own = {name: value for name, value in facts.items() if name != "versions"}
    last = {"versions": facts["versions"], "created": now()}
    write_json(folder / FINISHED, {**own, **counts, **last})

    unprinted = ("picture", "mask", "dicom", OF_CLASS)
    printed = (name for name in columns if not name.startswith(unprinted))
    head = ("file", *printed)
    by_path = ({**row, "file": displays[row["file"]]} for row in good[:MAX_ROWS])
    first = tuple(tuple(str(row.get(name, "")) for name in head) for row in by_path)
    print_table(Table("", head, first))
    if len(good) > MAX_ROWS:
        print(f"  and {len(good) - MAX_ROWS} more")
    print(f"\n  {len(good)} of {len(rows)} files predicted, {len(bad)} skipped")
    if doubted:
        print(
            f"  {len(doubted)} are doubted (column doubt); the first, {doubted[0]['file']}: "
            f"{doubted[0]['doubt']}"
        )
    for kind, count in sorted(kinds.items()):
        print(f"  a library warned, in {count} files: {kind}")
    for caution in (
        *((SYNTHETIC,) if facts["synthetic"] else ()),
        *((f"What trained the model: {w}.",) if (w := facts["split_warning"]) else ()),
        NOT_FOR,
    ):
        print(f"  {caution}")
    paths = [folder / name for name in (TABLE, FILE, *WRITTEN)]
    return [path for path in paths if path.exists()]
