"""The baseline: the mean shape of the training masks, laid over a volume without looking at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atrium_segmentation.dataset import Volumes
from common.base.files import atomic_write
from common.imaging.grids import resample
from common.records.prepared import Prepared
from common.scores.volumes import dice
from common.training.runs import Run

GRID = (48, 64, 64)
"""Voxels (z, y, x) over a volume's extent on which the mean shape is kept."""

# What a share of 1 is in bytes; its half is a byte too.
_WHOLE = 254

FILE = "mean_shape.npz"
"""In a run's folder: ``means``, (labels, *GRID) float32 of 0 to 1."""


def fit_mean_shapes(run: Path, prepared: Prepared, splits: Sequence[str]) -> list[float]:
    """Keep each label's mean mask over the volumes' extents; gives the cuts with the best Dice."""
    labels = range(1, len(prepared.manifest["labels"]))
    # Of one volume at a time and in bytes: all masks may be more than the memory holds.
    shares_of = [
        [_in_bytes(resample(volume["mask"] == label, GRID)) for label in labels]
        for volume in Volumes(prepared, splits)
    ]
    means, thresholds = [], []
    for shares in zip(*shares_of, strict=True):
        mean = np.mean(shares, axis=0, dtype=np.float32) / _WHOLE
        cuts = np.linspace(0.1, 0.9, 17)
        scores = [
            np.mean([dice(share >= _WHOLE / 2, mean >= cut) for share in shares]) for cut in cuts
        ]
        means.append(mean)
        thresholds.append(float(cuts[int(np.argmax(scores))]))
    with atomic_write(run / FILE) as temporary:
        np.savez_compressed(temporary, means=means)
    return thresholds


def _in_bytes(share: np.ndarray) -> np.ndarray:
    """Shares of 0 to 1 as bytes of 0 to `_WHOLE`."""
    return np.rint(share * _WHOLE).astype(np.uint8)


def mean_shape_mask(run: Run, shape: tuple[int, int, int]) -> np.ndarray:
    """A run's mean shapes over a volume of that shape: (x, y, z) uint8, labels from 0."""
    mask = np.zeros(shape, np.uint8)
    with np.load(run.folder / FILE) as stored:
        means = stored["means"]
    thresholds = run.fitted["mean_shape_thresholds"]
    for label, (mean, threshold) in enumerate(zip(means, thresholds, strict=True), start=1):
        mask[resample(mean.T, shape) >= threshold] = label
    return mask
