"""What is decoded for the records: the cases, and the augmented copies of those that train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from common.datasets.splits import TEST, VALIDATION, copies_of, split_order


def jobs(
    cases: pd.DataFrame, columns: Sequence[str], copies: int, seed: int, of: str = "case != ''"
) -> list[dict[str, Any]]:
    """What is to be decoded: the cases, split by split, then the copies of those that train.

    Args:
        cases: The cases that are not left out, with ``split``.
        columns: What decoding needs of a case beside ``case``, ``path`` and ``split``.
        copies: How many augmented copies of each case are wanted.
        seed: With the case and the copy, decides how a copy looks.
        of: A pandas query for the cases that are copied.

    Returns:
        Rows with ``copy``, 0 for the case itself and then from 1, and the copy's ``seed``.
        Copies stand in a split of their own, beside that of their case, so that what validates
        or tests never holds one.
    """
    rows = cases[["case", "path", "split", *columns]].to_dict("records")
    copied = set(cases.query(of)["case"])
    # Shuffled once, so that a shard holds every kind of case.
    np.random.default_rng(seed).shuffle(rows)
    order = split_order(cases["split"])
    rows.sort(key=lambda row: order.index(row["split"]))
    made = [{**row, "copy": 0, "seed": 0} for row in rows]
    for number, row in enumerate(rows):
        if row["case"] in copied and row["split"] not in (TEST, VALIDATION):
            made += [
                {
                    **row,
                    "split": copies_of(row["split"]),
                    "copy": copy,
                    "seed": (seed * 1_000_003 + number * 101 + copy * 7) % 2**31,
                }
                for copy in range(1, copies + 1)
            ]
    return made
