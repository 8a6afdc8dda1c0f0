"""How many odd volumes are found, and untouched ones doubted, of other patients.

    python -m benchmarks.volume_doubts --data ../shared/data/Task02_Heart

Three folds by patient: a detector (`common.imaging.volume_doubts`) is fitted to two, and looks at
the third, as it is and changed, and at what is no volume of the kind. Volumes come from a folder in
the decathlon's layout. Prints a table in Markdown, in percent; its second column is of detectors
that are fitted to 20 volumes, the fewest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from atrium_segmentation.config import PrepareSettings
from atrium_segmentation.dataset import read_unlabelled
from benchmarks.film_doubts import as_markdown
from common.base.errors import run_script
from common.base.files import ROOT
from common.base.processes import each
from common.datasets.decathlon import index_volumes
from common.imaging.volume_doubts import MIN_VOLUMES, fit_detector, look_at_volume

Scan = tuple[np.ndarray, np.ndarray]
"""A working volume (z, y, x) uint8, and its affine."""

_DRAWN = 5


def _blank(volume: np.ndarray) -> np.ndarray:
    return np.concatenate([volume[: len(volume) // 2] * 0, volume[len(volume) // 2 :]])


def _edges(volume: np.ndarray) -> np.ndarray:
    return np.clip(4 * np.abs(np.gradient(volume.astype(float), axis=1)), 0, 255).astype(np.uint8)


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "untouched": lambda volume: volume,
    "head first": lambda volume: volume[::-1],
    "front to back": lambda volume: volume[:, ::-1],
    "left to right": lambda volume: volume[:, :, ::-1],
    "turned by 180 degrees, slice by slice": lambda volume: volume[:, ::-1, ::-1],
    "turned by 90 degrees, slice by slice": lambda volume: np.rot90(volume, axes=(1, 2)),
    "y and z exchanged": lambda volume: np.transpose(volume, (1, 0, 2)),
    "inverted": lambda volume: 255 - volume,
    "the upper half alone": lambda volume: volume[len(volume) // 2 :],
    "the lower half blank": _blank,
    "its edges alone, as of a gradient filter": _edges,
}
"""What is done to the volumes of the fold that no detector saw."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT.parent / "shared" / "data" / "Task02_Heart"
    parser.add_argument("--data", type=Path, default=default)
    folder = parser.parse_args().data
    cases, _ = index_volumes(folder)
    cases = cases[cases["left_out"] == ""]
    read = partial(_working, spacing_mm=PrepareSettings().spacing_mm)
    scans = each(read, [folder / path for path in cases["path"]], 1, 0, desc="volumes")
    patients = cases["patient"].astype(str).to_numpy()
    columns = {
        f"{len(scans) * 2 // 3} learned": shares_doubted(scans, patients, None),
        f"{MIN_VOLUMES} learned": shares_doubted(scans, patients, MIN_VOLUMES),
    }
    print(as_markdown(pd.DataFrame(columns)))


def shares_doubted(
    scans: Sequence[Scan], patients: np.ndarray, learned: int | None
) -> dict[str, str]:
    """A column of the table: the percent of volumes of each kind that are doubted, with the count.

    Args:
        scans: All volumes.
        patients: Of each.
        learned: To how many of two folds a detector is fitted; None for all.
    """
    doubted: dict[str, list[str]] = {}
    looks = [look_at_volume(*scan) for scan in scans]
    for known, unseen in GroupKFold(3, shuffle=True, random_state=0).split(looks, groups=patients):
        fitted = known[:learned]
        detector = fit_detector([looks[i] for i in fitted], patients[fitted].tolist(), seed=0)
        assert detector is not None
        own = [scans[i] for i in unseen]
        batches = {
            kind: [(change(volume), affine) for volume, affine in own]
            for kind, change in CHANGES.items()
        }
        batches["half as large"] = [(volume, affine / 2) for volume, affine in own]
        batches["noise; phantoms of a CT and of a head"] = _no_hearts(own[:_DRAWN])
        for kind, batch in batches.items():
            doubts = detector.doubts([look_at_volume(*scan) for scan in batch])
            doubted.setdefault(kind, []).extend(doubts)
    return {
        kind: f"{100 * np.mean([bool(doubt) for doubt in doubts]):.1f} "
        f"({sum(map(bool, doubts))} of {len(doubts)})"
        for kind, doubts in doubted.items()
    }


def _working(path: Path, spacing_mm: tuple[float, float, float]) -> Scan:
    volume = read_unlabelled(path, spacing_mm)
    return volume["working"], volume["working_affine"]


def _no_hearts(like: Sequence[Scan]) -> list[Scan]:
    """Noise, a body with two dark lungs and a spine, a skull about a brain with its ventricles."""
    generator = np.random.default_rng(0)
    body = (((0.5, 0.5), 0.45, 140), ((0.3, 0.5), 0.16, 20), ((0.7, 0.5), 0.16, 20),
            ((0.5, 0.8), 0.06, 240))  # fmt: skip
    head = (((0.5, 0.5), 0.42, 230), ((0.5, 0.5), 0.36, 110), ((0.46, 0.5), 0.05, 20),
            ((0.54, 0.5), 0.05, 20))  # fmt: skip
    noise = [(generator.integers(0, 256, scan.shape).astype(np.uint8), at) for scan, at in like]
    drawn = [_drawn(scan, shapes, generator) for scan in like for shapes in (body, head)]
    return [*noise, *drawn]


def _drawn(
    like: Scan,
    shapes: Sequence[tuple[tuple[float, float], float, int]],
    generator: np.random.Generator,
) -> Scan:
    depth, height, width = like[0].shape
    slices = np.zeros((depth, height, width), np.uint8)
    for number, picture in enumerate(slices):
        size = np.sqrt(max(0.05, 1 - (2 * number / depth - 1) ** 2))
        for (x, y), radius, grey in shapes:
            axes = (round(radius * size * width), round(radius * size * height))
            cv2.ellipse(picture, (round(x * width), round(y * height)), axes, 0, 0, 360, grey, -1)
    noisy = slices + generator.normal(0, 6, slices.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), like[1]


if __name__ == "__main__":
    run_script(main)
