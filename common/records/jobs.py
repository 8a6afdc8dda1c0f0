"""The jobs of decoding: the cases, and the augmented copies of training cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from common.datasets.splits import TEST, VALIDATION, copies_of, split_order
from common.records.rows import rows_of


def jobs(
    cases: pd.DataFrame, columns: Sequence[str], copies: int | Mapping[str, int], seed: int
) -> list[dict[str, Any]]:
    """List the cases to decode, split by split, then the copies of training cases.

    Args:
        cases: The usable cases, with ``split``.
        columns: The columns that decoding needs besides ``case``, ``path`` and ``split``.
        copies: Number of augmented copies per case; or by case, 0 for one that is not there.
        seed: With the case and the copy, decides how a copy looks.

    Returns:
        Rows with ``copy``, 0 for the case itself and then from 1, and the copy's ``seed``.
        Copies are in a split of their own (`common.datasets.splits.copies_of`), so that neither
        validation nor test ever holds one.
    """
    needed = cases[["case", "path", "split", *columns]].assign(copy=0, seed=0)
    rows: list[Any] = list(rows_of(needed))
    # Shuffled once, so that a shard holds every kind of case.
    np.random.default_rng(seed).shuffle(rows)
    order = split_order(cases["split"].unique())
    rows.sort(key=lambda row: order.index(row["split"]))
    decoding = list(rows)
    for number, row in enumerate(rows):
        count = copies if isinstance(copies, int) else copies.get(row["case"], 0)
        if row["split"] not in (TEST, VALIDATION):
            decoding += [
                {
                    **row,
                    "split": copies_of(row["split"]),
                    "copy": copy,
                    "seed": (seed * 1_000_003 + number * 101 + copy * 7) % 2**31,
                }
                for copy in range(1, count + 1)
            ]
    return decoding
