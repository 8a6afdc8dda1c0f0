"""HD95 and mean surface distance of a whole volume, beside MONAI's on the same masks.

The masks are a lobed body and the same body shifted and roughened, on an anisotropic grid of the
size of a heart MRI. Both give the same two numbers (checked to five digits), and the best of some
rounds of each is taken, in turn.

    pip install monai
    python -m benchmarks.surface_scores
"""

from __future__ import annotations

import time

import numpy as np
from scipy import ndimage

from common.errors import UserError, run_script
from common.scores.volumes import surface_scores

SHAPE, SPACING_MM = (320, 320, 88), (0.625, 0.625, 1.25)
ROUNDS = 3


def main() -> None:
    """Time both and print the ratio."""
    try:
        import torch
        from monai.metrics import (
            compute_average_surface_distance,
            compute_hausdorff_distance,
        )
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install monai") from None

    truth, predicted = _masks()
    tensors = [torch.tensor(mask[None, None].astype("float32")) for mask in (predicted, truth)]

    def theirs() -> tuple[float, float]:
        options = {"include_background": True, "spacing": SPACING_MM}
        return (
            float(compute_hausdorff_distance(*tensors, percentile=95, **options)),
            float(compute_average_surface_distance(*tensors, symmetric=True, **options)),
        )

    def ours() -> tuple[float, float]:
        return surface_scores(truth, predicted, SPACING_MM)

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-5)
    seconds = {of.__name__: min(_seconds(of) for _ in range(ROUNDS)) for of in (ours, theirs)}
    print(f"HD95 {ours()[0]:.2f} mm, mean surface distance {ours()[1]:.2f} mm, by both")
    print(f"common.scores.volumes  {seconds['ours']:.3f} s a volume of {SHAPE}")
    print(f"MONAI                  {seconds['theirs']:.3f} s")
    print(f"ratio                  {seconds['theirs'] / seconds['ours']:.1f}")


def _masks() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    radius = np.sqrt((places**2 * np.array([3, 4, 2]).reshape(3, 1, 1, 1)).sum(0))
    lobes = ndimage.gaussian_filter(rng.normal(size=SHAPE), 10) * 15
    rough = ndimage.gaussian_filter(rng.normal(size=SHAPE), 4) * 4
    truth = radius + lobes < 0.8
    predicted = np.roll(radius + lobes + rough < 0.8, (2, -3, 1), (0, 1, 2))
    return truth, predicted


def _seconds(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    run_script(main)
