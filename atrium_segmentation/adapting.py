"""What a preset of train.py changes for the volumes, unless it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atrium_segmentation.config import TrainSettings
from atrium_segmentation.networks import NETWORKS
from common.base.backend import start_tensorflow
from common.records.prepared import Prepared
from common.training.adapting import Change

# A level is flat while slices are so many times as far apart as pixels, which it doubles.
_THICK = 1.5


def changes(prepared: Prepared, splits: Sequence[str], settings: TrainSettings) -> list[Change]:
    """``flat_levels``, where a network of volumes is trained on slices that are far apart.

    Nearly nnU-Net's rule (Isensee et al. 2021, arXiv:1904.08128).

    Args:
        prepared: The data.
        splits: Those that train.
        settings: Of train.py.
    """
    if not any(NETWORKS[name].sees == "patches" for name in settings.models):
        return []
    x, y, z = _spacing_mm(prepared, splits, settings)
    pixel = math.sqrt(x * y)
    levels = min(math.ceil(max(0.0, math.log2(z / pixel / _THICK))), settings.unet_depth)
    reason = f"slices {z:.2g} mm apart, pixels {pixel:.2g} mm"
    return [Change("flat_levels", levels, reason)] if levels != settings.flat_levels else []


def _spacing_mm(
    prepared: Prepared, splits: Sequence[str], settings: TrainSettings
) -> Sequence[float]:
    """The distance of voxels along x, y and z: as prepared, or the middle one of the volumes."""
    chosen: Sequence[float] = prepared.manifest["settings"]["spacing_mm"]
    if all(chosen):
        return chosen
    start_tensorflow(settings.device)
    import numpy as np

    from atrium_segmentation.dataset import Volumes

    return [float(mm) for mm in np.median(Volumes(prepared, splits).spacings_mm, axis=0)]
