"""Volumes that are unlike those of training: of another organ, sequence or size, or turned.

A look at a volume is a row of numbers: its size in mm, its tones, its sharpness along each axis,
and a coarse picture. How unlike the others it is, is its distance from their mean by the
covariances of the picture and of the rest, which are shrunk where volumes are few (Ledoit and Wolf
2004, 10.1016/S0047-259X(03)00096-4). A volume that is turned or mirrored is nearer to them in one
of the seven other ways round than as it is. From which score on a volume is doubted comes from
volumes of other patients than those that the covariances are of.
"""

from __future__ import annotations

import itertools
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
from common.imaging.grids import resample

FILE = "volume_doubts.npz"
"""In a run's folder."""

VERSION = 1
"""Of what is in it; a detector of another version is not used."""

MIN_VOLUMES = 20
"""Fewer say too little of what is rare among them."""

SCORES = {
    "turned": "turned by a half, or mirrored",
    "unlike": "unlike the volumes of training",
}
"""What a volume is scored for, and the doubt in words."""

# The shares of untouched volumes that each score may doubt: 2 % in all.
_SHARES = {"turned": 0.005, "unlike": 0.015}
_SIDE = 6
_PERCENTS = (5, 10, 25, 50, 75, 90, 95)
# Of deviations, so that what never varied is no reason for infinite distances.
_LEAST = 0.05
# Of the distance in what is no picture. Chosen on the volumes of docs/doubts.md.
_OF_REST = 0.25
_WAYS_ROUND = [way for way in itertools.product((1, -1), repeat=3) if way != (1, 1, 1)]


def look_at_volume(working: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Look at a volume.

    Args:
        working: (z, y, x) uint8, from a low percentile of its intensities to a high one.
        affine: (4, 4), from indices x, y, z to mm.

    Returns:
        (229,) float32: the logarithms of its size in mm, seven percentiles, the logarithms of its
        mean differences a mm along z, y and x, and a picture of 6 x 6 x 6, standardised.
    """
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    values = working.astype(np.float32) / 255
    sharpness = [
        np.log(np.abs(np.diff(values, axis=axis)).mean() / spacing + 1e-4) if length > 1 else 0.0
        for axis, (length, spacing) in enumerate(zip(values.shape, spacing_mm, strict=True))
    ]
    coarse = resample(values, (_SIDE,) * 3).ravel()
    return np.concatenate(
        [
            np.log(np.array(values.shape) * spacing_mm),
            np.percentile(values, _PERCENTS),
            sharpness,
            (coarse - coarse.mean()) / (coarse.std() + 1e-3),
        ]
    ).astype(np.float32)


@dataclass(frozen=True)
class Detector:
    """What looks of right volumes are like, and from which score (`SCORES`,) each is doubted.

    Attributes:
        centre: (229,), their mean.
        scale: (229,), their deviation.
        precision: (229, 229), what makes deviations a distance: the inverses of both shrunk
            covariances, each with its share.
        thresholds: (`SCORES`,).
    """

    centre: np.ndarray
    scale: np.ndarray
    precision: np.ndarray
    thresholds: np.ndarray

    def scores(self, looks: Sequence[np.ndarray]) -> np.ndarray:
        """Scores (n, `SCORES`) of looks; high ones are odd."""
        if not len(looks):
            return np.zeros((0, len(SCORES)))
        whole = np.stack(looks).astype(float)
        unlike = self._distance(whole)
        rest, coarse = np.split(whole, [-(_SIDE**3)], axis=1)
        cubes = coarse.reshape(-1, _SIDE, _SIDE, _SIDE)
        others = [
            self._distance(np.hstack([rest, cubes[:, ::z, ::y, ::x].reshape(coarse.shape)]))
            for z, y, x in _WAYS_ROUND
        ]
        return np.stack([unlike - np.min(others, axis=0), unlike], axis=1)

    def doubts(self, looks: Sequence[np.ndarray]) -> list[str]:
        """Why each volume is doubted, in words; "" for no reason."""
        return in_words(self.scores(looks) > self.thresholds, [*SCORES.values()])

    def write(self, path: Path) -> None:
        """Write the detector into a file."""
        write_arrays(path, VERSION, vars(self))

    def _distance(self, whole: np.ndarray) -> np.ndarray:
        """The logarithm of the squared distance, whose mean over right volumes is about 1, (n,)."""
        deviations = (whole - self.centre) / self.scale
        squares: np.ndarray = np.einsum("ij,jk,ik->i", deviations, self.precision, deviations)
        return np.log(squares + 1e-12)


def read_detector(path: Path) -> Detector | None:
    """A detector that `Detector.write` wrote; None where there is none of this version.

    Raises:
        UserError: The file is damaged.
    """
    arrays = read_arrays(path, VERSION, list(Detector.__dataclass_fields__))
    return None if arrays is None else Detector(**arrays)


def fit_detector(
    looks: Sequence[np.ndarray], patients: Sequence[str], seed: int
) -> Detector | None:
    """Fit a detector; None where there are fewer than `MIN_VOLUMES`.

    Args:
        looks: Of the volumes of a training split.
        patients: The patient of each.
        seed: Of what is drawn.
    """
    if len(looks) < MIN_VOLUMES:
        return None
    scores = _cross_fitted(np.stack(looks), patients, seed)
    return _fitted(np.stack(looks), _thresholds(scores))


def look_over(looks: Sequence[np.ndarray], patients: Sequence[str], seed: int) -> list[str]:
    """The doubts of each volume of a set, by a detector that saw none of its patient.

    Args:
        looks: Of all volumes; where there are fewer than `MIN_VOLUMES`, none is doubted.
        patients: The patient of each.
        seed: Of what is drawn.
    """
    if len(looks) < MIN_VOLUMES:
        return [""] * len(looks)
    scores = _cross_fitted(np.stack(looks), patients, seed)
    return in_words(scores > _thresholds(scores), [*SCORES.values()])


def _cross_fitted(whole: np.ndarray, patients: Sequence[str], seed: int) -> np.ndarray:
    """The scores (n, `SCORES`) of volumes by detectors that saw none of their patient."""
    folds, scores = patient_folds(patients, seed), np.zeros((len(whole), len(SCORES)))
    for fold in range(FOLDS):
        scores[folds == fold] = _fitted(whole[folds != fold]).scores(whole[folds == fold])
    return scores


def _fitted(whole: np.ndarray, thresholds: np.ndarray | None = None) -> Detector:
    # scikit-learn takes a second to import, and decoding processes import this module.
    from scipy.linalg import block_diag
    from sklearn.covariance import ledoit_wolf

    centre, scale = whole.mean(axis=0), whole.std(axis=0) + _LEAST
    parts = np.split((whole - centre) / scale, [-(_SIDE**3)], axis=1)
    inverses = [np.linalg.inv(ledoit_wolf(part, assume_centered=True)[0]) for part in parts]
    shares = (_OF_REST, 1 - _OF_REST)
    precision = block_diag(
        *(share / len(inverse) * inverse for share, inverse in zip(shares, inverses, strict=True))
    )
    none = np.full(len(SCORES), np.inf)
    return Detector(centre, scale, precision, none if thresholds is None else thresholds)


def _thresholds(scores: np.ndarray) -> np.ndarray:
    shares = [_SHARES[name] for name in SCORES]
    return np.array([tail_threshold(*pair) for pair in zip(scores.T, shares, strict=True)])
