"""A run's detector of odd volumes (`common.imaging.volume_doubts`), fitted by train.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from atrium_segmentation.dataset import Volumes
from common.imaging.detectors import doubter, keep_detector
from common.imaging.volume_doubts import (
    FILE,
    MIN_VOLUMES,
    fit_detector,
    look_at_volume,
    read_detector,
)
from common.records.looks import patients_of
from common.records.prepared import Prepared
from common.training.runs import Run


def fit_volume_detector(run: Path, prepared: Prepared, volumes: Volumes, seed: int) -> list[str]:
    """Fit the detector of a run's training volumes, and write it into the run.

    Returns:
        The file's name; nothing where there are too few volumes.
    """
    looks = {scan["case"]: look_at_volume(scan["image"], scan["affine"]) for scan in volumes}
    detector = fit_detector([*looks.values()], patients_of(prepared.cases(), looks), seed)
    too_few = f"{len(looks)} volumes are too few to learn what is odd; {MIN_VOLUMES} are enough"
    return keep_detector(run, FILE, detector, too_few)


def doubted_volumes(run: Run, looks: Mapping[str, np.ndarray]) -> dict[str, str] | None:
    """Why each case is doubted by a run's detector, or "", from its look; None without one."""
    detector = read_detector(run.folder / FILE)
    if detector is None:
        return None
    return dict(zip(looks, detector.doubts([*looks.values()]), strict=True))


def volume_doubter(run: Run) -> Callable[[Mapping[str, Any]], str]:
    """What says why a volume of `dataset.read_unlabelled` is doubted."""
    without = "the run has no detector of odd volumes: only their voxels are doubted"

    def look(volume: Mapping[str, Any]) -> np.ndarray:
        return look_at_volume(volume["working"], volume["working_affine"])

    return doubter(read_detector(run.folder / FILE), look, itemgetter("doubt"), without)
