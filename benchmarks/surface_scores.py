"""HD95 and mean surface distance of a whole volume, next to MONAI's on the same masks.

The masks are a lobed body and the same body shifted and roughened, on an anisotropic grid of the
size of a heart MRI. Both programs give the same two numbers, which is checked to five digits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from benchmarks.measuring import Options, Row, compared, in_turn_with_torch, timed
from common.scores.volumes import surface_scores

SHAPE, SPACING_MM = (320, 320, 88), (0.625, 0.625, 1.25)


def rows(options: Options) -> Iterator[Row]:
    """Seconds per volume."""
    shape = tuple(length // 4 for length in SHAPE) if options.quick else SHAPE
    truth, predicted = _masks(shape)
    file = options.work / "masks.npz"
    ours = surface_scores(truth, predicted, SPACING_MM)
    np.savez(file, truth=truth, predicted=predicted, spacing_mm=SPACING_MM, ours=ours)
    run = timed(lambda: surface_scores(truth, predicted, SPACING_MM))
    seconds, torch_seconds = in_turn_with_torch(options, run, "surface", file)
    file.unlink()
    stage = f"HD95 and mean surface distance, {' x '.join(map(str, shape))}"
    yield compared(stage, "MONAI's metrics, the same two numbers", seconds, torch_seconds, "s", 5.0)


def _masks(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((places**2 * np.array([3, 4, 2]).reshape(3, 1, 1, 1)).sum(0))
    lobes = ndimage.gaussian_filter(rng.normal(size=shape), 10) * 15
    rough = ndimage.gaussian_filter(rng.normal(size=shape), 4) * 4
    truth = radius + lobes < 0.8
    predicted = np.roll(radius + lobes + rough < 0.8, (2, -3, 1), (0, 1, 2))
    return truth, predicted
