"""DICOM series that tests write, by formulas of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import uid

from tests.helpers.fixtures import write_dicom

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_series(
    folder: Path, values: np.ndarray, affine: np.ndarray, order=None, **elements
) -> list[Path]:
    """Write ``(i, j, k)`` integers as a slice for each ``k``; ``affine`` takes indices to RAS+ mm.

    PS3.3 Equation C.7.6.2.1-1, read backwards: the first index counts columns. ``order`` is that of
    the files' names and InstanceNumbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :2] / spacing[:2]
    paths = []
    for number, k in enumerate(order if order is not None else range(values.shape[2])):
        geometry = {
            "ImagePositionPatient": [round(x, 9) for x in (lps @ [0, 0, k, 1])[:3]],
            "ImageOrientationPatient": [round(x, 9) for x in cosines.T.ravel()],
            "PixelSpacing": [round(spacing[1], 9), round(spacing[0], 9)],
            "SeriesInstanceUID": "1.2.9",
            "InstanceNumber": number + 1,
            "SOPClassUID": uid.MRImageStorage,
            "Modality": "MR",
        }
        path = folder / f"IM{number:04d}.dcm"
        write_dicom(path, np.ascontiguousarray(values[:, :, k].T), **{**geometry, **elements})
        paths.append(path)
    return paths
