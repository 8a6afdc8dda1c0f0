"""The names of the splits, and which of them train and validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from common.base.errors import UserError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""The split column's values; a set prepared in folds has `fold_name` for the first two."""


RANDOM, SHIFTED = "random", "shifted"
"""The part column's values, of cases that validate or test; "" where they have no parts."""


def fold_name(fold: int) -> str:
    """The split column's value of a fold, counted from 0."""
    return f"fold-{fold}"


def copies_of(split: str) -> str:
    """The name under which the augmented copies of a split's cases are kept."""
    return f"{split}-copies"


def is_copies(split: str) -> bool:
    """Whether a split's name is that of augmented copies."""
    return split.endswith("-copies")


def folds_in(splits: Sequence[str]) -> list[str]:
    """Those of some splits that are folds, without copies."""
    return [name for name in splits if re.fullmatch(r"fold-\d+", name)]


def training_splits(splits: list[str], fold: int) -> tuple[list[str], list[str]]:
    """The splits to train on and to validate on.

    Args:
        splits: The names of the splits that were prepared, those of copies among them.
        fold: The validating fold, where the set was prepared in folds.

    Returns:
        The two, without copies.

    Raises:
        UserError: There is no such fold, or nothing to validate on.
    """
    # Without copies (`copies_of`): those of the fold that validates must not train.
    folds = folds_in(splits)
    if folds:
        if fold_name(fold) not in folds:
            raise UserError(f"--fold {fold}: the data was prepared in {len(folds)} folds, from 0")
        return [name for name in folds if name != fold_name(fold)], [fold_name(fold)]
    if fold:
        raise UserError(f"--fold {fold}: the data was not prepared in folds; prepare with --folds")
    if TRAIN not in splits:
        raise UserError("the prepared data has no training split; prepare data that has one")
    if VALIDATION not in splits:
        raise UserError(
            "the prepared data has no validation split, which EarlyStopping needs: "
            "prepare again with --validation-share above 0"
        )
    return [TRAIN], [VALIDATION]


def split_order(splits: Iterable[str]) -> list[str]:
    """Split names in the order of tables: what trains first, then validation, then test."""
    return sorted(set(splits), key=lambda name: (name == TEST, name == VALIDATION, name))
