"""Films that were turned, mirrored, tilted, squashed or inverted, or are unlike those of training.

A detector learns from the films of a training split alone, without labels, as it changes copies of
them in a known way (self-supervised: Gidaris et al. 2018, arXiv:1803.07728) and fits linear models
of what was done. Films that are unlike them are far from their mean in their main components, or
outside of these (Jackson and Mudholkar 1979, 10.1080/00401706.1979.10489779). From which score on a
film is doubted comes from films that the models were not fitted on: each is scored by models of
other patients' films, and the tails of their scores are taken for exponential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.imaging.detectors import (
    FOLDS,
    in_words,
    patient_folds,
    read_arrays,
    tail_threshold,
    write_arrays,
)
from common.imaging.film_looks import (
    FLIPS,
    HALF_TURNED,
    INVERTED,
    MIRRORED,
    UPRIGHT,
    Copies,
    Look,
    black_bars,
    changed_copies,
    look_numbers,
)

FILE = "film_doubts.npz"
"""In a run's folder."""

VERSION = 2
"""Of what is in it; a detector of another version is not used."""

MIN_FILMS = 50
"""Fewer say too little of what is rare among them."""

MAX_FILMS = 600
"""A detector is fitted to so many films at most, drawn at random."""

SCORES = {
    "turned": "turned by a quarter or a half, or upside down",
    "inverted": "inverted",
    "mirrored": "mirrored",
    "tilt": "tilted",
    "squash": "squashed or stretched",
    "bars": "black bars on both sides, as of a squashed film",
    "unlike": "unlike the films of training",
}
"""What a film is scored for, and the doubt in words."""

# The shares of untouched films that each score may doubt: 2 % in all, with some room.
_SHARES = {"turned": 0.001, "inverted": 0.0005, "mirrored": 0.0003, "tilt": 0.007, "squash": 0.002}
_SHARES |= {"unlike": 0.003}
# A threshold for bars is so far above all but a few that were met, in shares of the side.
_BARS_ABOVE = 0.05
# Tilted and squashed copies of each film, and in all.
_COPIES, _ALL_COPIES = 16, 4000
# The penalty on squared weights, for each copy.
_RIDGE = 0.1
_COMPONENTS = 40
# Of deviations, so that what never varied is no reason for infinite distances.
_LEAST = 0.05
# Of the distance outside of the main components, and of sharpness, next to that in them.
# Chosen on the films of docs/doubts.md.
_OUTSIDE, _SHARPNESS = 4.0, 0.5


@dataclass(frozen=True)
class Models:
    """Linear models of what was done to a film, and the films' main components.

    Attributes:
        weights: (772 + 1, 11), the last row for what is constant: of the tilt in degrees, the
            squash, and of each pose.
        centre: (775,), the mean of untouched films' numbers and sharpness.
        scale: (775,), their deviation.
        axes: (772, components), the main components of numbers.
        variances: (components,).
        sharpness: (3, 3), the covariance of sharpness.
    """

    weights: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    sharpness: np.ndarray

    def scores(self, looks: Sequence[Look]) -> np.ndarray:
        """Scores (n, `SCORES`) of looks; high ones are odd."""
        if not looks:
            return np.zeros((0, len(SCORES)))
        numbers = np.stack([look_numbers(look.picture) for look in looks])
        bars = np.array([black_bars(look.picture) for look in looks])
        deviations = (_whole(numbers, looks) - self.centre) / self.scale
        sharpness = np.linalg.solve(self.sharpness, deviations[:, -3:].T).T * deviations[:, -3:]
        deviations = deviations[:, :-3]
        parts = deviations @ self.axes
        outside = (deviations**2).sum(axis=1) - (parts**2).sum(axis=1)
        near = (parts**2 / self.variances).mean(axis=1) + _OUTSIDE * outside / deviations.shape[1]
        by_name = {
            **self.changes(numbers),
            "bars": np.minimum(bars[:, ::2], bars[:, 1::2]).max(axis=1),
            "unlike": np.log(near + _SHARPNESS * sharpness.mean(axis=1)),
        }
        return np.stack([by_name[name] for name in SCORES], axis=1)

    def changes(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The scores of what was done to films, from their numbers (n, 772), by name."""
        tilt, squash, *poses = (_with_one(numbers) @ self.weights).T
        upright = np.maximum(poses[UPRIGHT], poses[MIRRORED])
        return {
            "turned": np.sum(poses[HALF_TURNED:INVERTED], axis=0)
            - poses[UPRIGHT]
            - poses[MIRRORED],
            "inverted": poses[INVERTED] - upright,
            "mirrored": poses[MIRRORED] - poses[UPRIGHT],
            "tilt": np.abs(tilt),
            "squash": np.abs(squash),
        }


@dataclass(frozen=True)
class Detector:
    """Models, and the score (`SCORES`,) above which each doubts a film."""

    models: Models
    thresholds: np.ndarray

    def doubts(self, looks: Sequence[Look]) -> list[str]:
        """Why each film is doubted, in words; "" for no reason."""
        return in_words(self.models.scores(looks) > self.thresholds, [*SCORES.values()])

    def write(self, path: Path) -> None:
        """Write the detector into a file."""
        write_arrays(path, VERSION, {**vars(self.models), "thresholds": self.thresholds})


def read_detector(path: Path) -> Detector | None:
    """A detector that `Detector.write` wrote; None where there is none of this version.

    Raises:
        UserError: The file is damaged.
    """
    names = list(Models.__dataclass_fields__)
    arrays = read_arrays(path, VERSION, [*names, "thresholds"])
    if arrays is None:
        return None
    return Detector(Models(**{name: arrays[name] for name in names}), arrays["thresholds"])


def fit_detector(looks: Sequence[Look], patients: Sequence[str], seed: int) -> Detector | None:
    """Fit a detector; None where there are fewer than `MIN_FILMS`.

    Args:
        looks: Of the films of a training split.
        patients: The patient of each.
        seed: Of what is drawn.
    """
    if len(looks) < MIN_FILMS:
        return None
    chosen = _sample(len(looks), seed)
    fitted = _CrossFitted([looks[i] for i in chosen], [patients[i] for i in chosen], seed)
    return Detector(fitted.models(), fitted.thresholds)


def look_over(looks: Sequence[Look], patients: Sequence[str], seed: int) -> list[str]:
    """The doubts of each film of a set, by models that were not fitted on its patient's films.

    Args:
        looks: Of all films; where there are fewer than `MIN_FILMS`, none is doubted.
        patients: The patient of each.
        seed: Of what is drawn.
    """
    if len(looks) < MIN_FILMS:
        return [""] * len(looks)
    chosen = _sample(len(looks), seed)
    folds = patient_folds(patients, seed)
    fitted = _CrossFitted(
        [looks[i] for i in chosen], [patients[i] for i in chosen], seed, folds[chosen]
    )
    scores = np.zeros((len(looks), len(SCORES)))
    for fold in range(FOLDS):
        members = np.flatnonzero(folds == fold)
        scores[members] = fitted.models(fold).scores([looks[int(i)] for i in members])
    return in_words(scores > fitted.thresholds, [*SCORES.values()])


class _CrossFitted:
    """Models of all films but those of a fold of patients, and thresholds from these.

    Args:
        looks: The films.
        patients: Of each.
        seed: Of what is drawn.
        folds: Of each, where they are given.
    """

    def __init__(
        self,
        looks: Sequence[Look],
        patients: Sequence[str],
        seed: int,
        folds: np.ndarray | None = None,
    ) -> None:
        count = int(np.clip(_ALL_COPIES // len(looks), 4, _COPIES))
        self._looks = looks
        self._folds = patient_folds(patients, seed) if folds is None else folds
        self._copies = changed_copies([look.picture for look in looks], count, seed)
        numbers = np.stack([look_numbers(look.picture) for look in looks])
        self._whole = _whole(numbers, looks)
        # Of standardised numbers; what is constant has no penalty.
        self._penalty = _RIDGE * np.append(self._copies.numbers.var(axis=0) + 1e-4, 0)
        own = self._folds[self._copies.film]
        self._sums = [_sums(self._copies, own == fold) for fold in range(FOLDS)]
        self.thresholds = self._thresholds()

    def models(self, without: int = -1) -> Models:
        """The models of all films but those of a fold."""
        parts = [part for fold, part in enumerate(self._sums) if fold != without]
        weights = []
        for sums in zip(*parts, strict=True):
            products, targets, counts = (sum(each) for each in zip(*sums, strict=True))
            weights.append(np.linalg.solve(products + np.diag(self._penalty * counts), targets))
        return Models(np.hstack(weights), *_components(self._whole[self._folds != without]))

    def _thresholds(self) -> np.ndarray:
        right = []
        for fold in range(FOLDS):
            members = np.flatnonzero(self._folds == fold)
            right.append(self.models(fold).scores([self._looks[int(i)] for i in members]))
        untouched = dict(zip(SCORES, np.concatenate(right).T, strict=True))
        thresholds = {
            name: tail_threshold(untouched[name], share) for name, share in _SHARES.items()
        }
        thresholds["bars"] = np.quantile(untouched["bars"], 0.99) + _BARS_ABOVE
        return np.array([thresholds[name] for name in SCORES])


def _sums(copies: Copies, members: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """What a ridge regression needs of some copies, for changes by degrees and for poses.

    A copy in a pose counts four times: as it is, mirrored, turned by a half, and both.
    """
    is_posed = copies.pose >= 0
    by_degrees, posed = np.flatnonzero(members & ~is_posed), np.flatnonzero(members & is_posed)
    changes = np.stack([copies.degrees, copies.squash], axis=1)
    products, targets = _products(copies.numbers[posed], np.eye(INVERTED + 1)[copies.pose[posed]])
    for order, poses in FLIPS:
        places = np.append(order, len(order))
        products = products + products[np.ix_(places, places)]
        targets = targets + targets[places][:, list(poses)]
    return [
        (*_products(copies.numbers[by_degrees], changes[by_degrees]), len(by_degrees)),
        (products, targets, len(posed) * 2 ** len(FLIPS)),
    ]


def _products(numbers: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of numbers (n, 772), with a one: with themselves, and with targets (n, k)."""
    numbers = _with_one(numbers).astype(float)
    return numbers.T @ numbers, numbers.T @ targets


def _components(whole: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of untouched films (n, 775) the last five attributes of `Models`."""
    centre, scale = whole.mean(axis=0), whole.std(axis=0) + _LEAST
    count = min(_COMPONENTS, len(whole) // 4)
    deviations = (whole - centre) / scale
    _, lengths, axes = np.linalg.svd(deviations[:, :-3], full_matrices=False)
    sharpness = np.cov(deviations[:, -3:].T) + _LEAST * np.eye(3)
    return centre, scale, axes[:count].T, lengths[:count] ** 2 / len(whole), sharpness


def _sample(count: int, seed: int) -> np.ndarray:
    if count <= MAX_FILMS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_FILMS, replace=False))


def _whole(numbers: np.ndarray, looks: Sequence[Look]) -> np.ndarray:
    """Numbers (n, 772) with sharpness, (n, 775)."""
    return np.hstack([numbers, [look.sharpness for look in looks]])


def _with_one(numbers: np.ndarray) -> np.ndarray:
    return np.column_stack([numbers, np.ones(len(numbers), np.float32)])
