"""The names of the splits, and which of them train and validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from common.base.errors import UserError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""The split column's values; a set prepared in folds has `fold_name` for the first two."""

FOLD = "fold"
"""The role of the fold that a nested cross-validation leaves out."""

ROLES = (TRAIN, VALIDATION, FOLD, TEST)
"""What a split does in a training (`splits_by_role`)."""

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


def splits_by_role(
    splits: Sequence[str], fold: int = 0, nested: bool = False
) -> dict[str, list[str]]:
    """What each split does in a training.

    Args:
        splits: The names of the splits that were prepared, those of copies among them.
        fold: The fold that validates, where the set was prepared in folds; with ``nested`` the
            fold that is left out, and the next one validates.
        nested: Whether a fold is left out.

    Returns:
        The splits of `TRAIN`, `VALIDATION`, `FOLD` and `TEST`, without copies; an empty list of a
        role that no split has.

    Raises:
        UserError: There is no such fold, or too few to leave one out.
    """
    # Without copies (`copies_of`): those of a fold that validates must not train.
    folds = folds_in(splits)
    roles = {name: [name] if name in splits else [] for name in ROLES}
    if not folds and (fold or nested):
        setting = f"--fold {fold}" if fold else "--nested"
        raise UserError(f"{setting}: the data was not prepared in folds; prepare with --folds")
    if not folds:
        return roles
    if fold_name(fold) not in folds:
        raise UserError(f"--fold {fold}: the data was prepared in {len(folds)} folds, from 0")
    if nested and len(folds) < 3:
        raise UserError(
            f"--nested: of {len(folds)} folds one is left out and one validates, so none trains; "
            "prepare with --folds 3 or more"
        )
    left_out = [fold_name(fold)] if nested else []
    validation = fold_name((fold + nested) % len(folds))
    train = [name for name in folds if name not in (validation, *left_out)]
    return {**roles, TRAIN: train, VALIDATION: [validation], FOLD: left_out}


def training_splits(
    splits: Sequence[str], fold: int = 0, nested: bool = False
) -> tuple[list[str], list[str]]:
    """The splits to train on and to validate on; the arguments are those of `splits_by_role`.

    Raises:
        UserError: As there, or there is nothing to train or to validate on.
    """
    roles = splits_by_role(splits, fold, nested)
    if not roles[TRAIN]:
        raise UserError("the prepared data has no training split; prepare data that has one")
    if not roles[VALIDATION]:
        raise UserError(
            "the prepared data has no validation split, which EarlyStopping needs: "
            "prepare again with --validation-share above 0"
        )
    return roles[TRAIN], roles[VALIDATION]


def split_order(splits: Iterable[str]) -> list[str]:
    """Split names in the order of tables: what trains first, then validation, then test."""
    return sorted(set(splits), key=lambda name: (name == TEST, name == VALIDATION, name))
