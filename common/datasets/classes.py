"""The classes that a dataset tells apart, or the labels that it gives side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from common.base.errors import UserError

BETWEEN = "|"
"""Stands between the labels of one case in a table, as NIH ChestX-ray14 has it."""

TWO = ("negative", "positive")
"""The names of two classes that have none of their own."""


@dataclass(frozen=True)
class Classes:
    """What a network tells apart: two classes, several, or several labels at once.

    A label in a table is a number, the place of its name; of labels that come together it is text,
    their names with `BETWEEN` between them and "" for none. The truth (n, outputs), float32, is
    what a network learns: of two classes 1 for the second, of several 1 in the column of each name
    that holds and 0 elsewhere.

    Attributes:
        names: In the order of their numbers; of two classes the negative one first.
        exclusive: Whether a case has exactly one of them; else it has any number, also none.
    """

    names: tuple[str, ...] = TWO
    exclusive: bool = True

    def __post_init__(self) -> None:
        """Refuse names that no table or network could tell apart."""
        known = ", ".join(self.names) or "none"
        if len(self.names) < (2 if self.exclusive else 1):
            raise UserError(f"classes: {known}: there is nothing to tell apart; give two or more")
        if len({name.casefold() for name in self.names}) < len(self.names) or "" in self.names:
            raise UserError(f"classes: {known}: two have one name, or one has none; rename them")
        if any(BETWEEN in name for name in self.names):
            raise UserError(f"classes: {known}: a name holds {BETWEEN!r}, which parts labels")

    @classmethod
    def described(cls, content: Mapping[Any, Any]) -> Classes:
        """Those of a manifest, a run's data or a table's ``.attrs``.

        One that names none, as of before there were several, has the two classes.
        """
        names = tuple(map(str, content.get("classes", TWO)))
        return cls(names, bool(content.get("exclusive", True)))

    @property
    def description(self) -> dict[str, Any]:
        """``classes`` and ``exclusive``, for JSON."""
        return {"classes": list(self.names), "exclusive": self.exclusive}

    @property
    def are_two(self) -> bool:
        """Whether there are two classes, which share one probability."""
        return self.exclusive and len(self.names) == 2

    @property
    def outputs(self) -> int:
        """How many numbers a network gives."""
        return 1 if self.are_two else len(self.names)

    @property
    def activation(self) -> str:
        """Of a network's last layer: "sigmoid", or "softmax" of several classes."""
        return "softmax" if self.exclusive and not self.are_two else "sigmoid"

    def columns(self, name: str) -> list[str]:
        """The columns of a table that hold a number per output, such as ``probability``."""
        return [name] if self.are_two else [f"{name}_{each}" for each in self.names]

    def truth(self, labels: Sequence[Any] | ArrayLike) -> np.ndarray:
        """Labels (n,) of a table as numbers (n, outputs) float32."""
        if self.exclusive:
            numbers = np.asarray(labels, int)
            truth = np.eye(len(self.names), dtype=np.float32)[numbers]
            return np.asarray(truth[:, 1:] if self.are_two else truth)
        return self.of_words(labels)

    def of_words(self, labels: Sequence[Any] | ArrayLike) -> np.ndarray:
        """Labels (n,) in words, of more than two classes, as numbers (n, outputs) float32."""
        texts = [set(str(label).split(BETWEEN)) for label in np.asarray(labels, object)]
        truth = np.array([[name in text for name in self.names] for text in texts], np.float32)
        return truth.reshape(-1, len(self.names))

    def in_table(self, label: Any) -> int | str:
        """A label as a CSV of images has it: 0 or 1 of two classes, else names."""
        return int(label) if self.are_two else str(self.names[label] if self.exclusive else label)

    def in_words(self, truth: np.ndarray) -> list[str]:
        """The names that hold in each row of a truth, or of answers, (n, outputs)."""
        if self.are_two:
            return [self.names[int(row[0])] for row in truth]
        return [
            BETWEEN.join(name for name, holds in zip(self.names, row, strict=True) if holds)
            for row in truth
        ]

    def strata(self, truth: np.ndarray) -> np.ndarray:
        """What each case of a truth (n, outputs) counts as where classes are balanced, (n,) int.

        Its class; of labels that come together its rarest one, and for none the number after the
        last.
        """
        if self.are_two:
            return np.asarray(truth[:, 0], int)
        if self.exclusive:
            return np.asarray(np.argmax(truth, axis=1))
        counts = truth.sum(axis=0)
        rarest = np.argmin(np.where(truth > 0, counts, np.inf), axis=1)
        return np.asarray(np.where(truth.any(axis=1), rarest, len(self.names)))

    def places_in(self, other: Classes) -> list[int] | None:
        """Where each of these stands among the same ones in another order; None where they differ.

        Letters may differ in case. Two classes without names of their own are any two.
        """
        names, others = ([*map(str.casefold, each.names)] for each in (self, other))
        if self.are_two and other.are_two and [*TWO] in (names, others):
            return [0, 1]
        if self.exclusive != other.exclusive or sorted(names) != sorted(others):
            return None
        return [others.index(name) for name in names]

    def reordered(self, truth: np.ndarray, other: Classes, source: str, run: str) -> np.ndarray:
        """The truth (n, outputs) of a dataset, as of these classes.

        Args:
            truth: Of the dataset's classes.
            other: As in `known_places`, like the rest.
            source: Of the dataset.
            run: What has these classes.
        """
        places = self.known_places(other, source, run)
        return (truth if places == [0, 1] else 1 - truth) if self.are_two else truth[:, places]

    def known_places(self, other: Classes, source: str, run: str) -> list[int]:
        """`places_in` a dataset's classes, which are to be the same ones.

        Args:
            other: Those of the dataset.
            source: What the dataset is, for the error.
            run: What has these classes.

        Raises:
            UserError: They are other classes.
        """
        places, are_two = self.places_in(other), self.are_two and other.are_two
        if places is None:
            raise UserError(
                f"{source}: has the {other}, and {run} was trained on the {self}; give a dataset "
                "of the same ones, in any order"
                + (", or name the positive one with --positive-class" if are_two else "")
            )
        return places

    def __str__(self) -> str:
        """As an error names them: ``classes A, B and C``."""
        *names, last = self.names
        kind = "classes" if self.exclusive else "labels"
        return f"{kind} {', '.join(names)} and {last}" if names else f"label {last}"
