"""How a film was taken and stored, in statistics that need no lung.

A label that they predict can be learned without the disease (`common.scores.shortcuts`). They are
of the film before it becomes a square, as `common.imaging.dicom` decodes it, and of its file. A
statistic is called GROUP.NAME; a group is one way to tell films apart.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pandas as pd

from common.imaging.dicom import Radiograph

GROUPS = {
    "shape": "shape",
    "sharpness": "sharpness and noise",
    "tone": "tone",
    "frame": "frame and corners",
    "file": "the file",
    "tags": "DICOM tags",
}
"""The groups of statistics, in words."""

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# Rows, and columns, along which grey values are compared: those of a large film are sampled.
_LINES = 128
# Of pixels: a difference below it is rounding.
_LEAST = 1e-3
# Films whose values are Python's at once.
_AT_ONCE = 10_000
# A grey value up to this is black, what a scanner's noise and JPEG make of a border too.
_BLACK = 8


def acquisition(film: Radiograph, file_bytes: int) -> dict[str, float | str | None]:
    """The statistics of a film by GROUP.NAME, in a fixed order.

    ``shape`` has the logarithm of the ratio of horizontal to vertical gradients, in which the
    proportions of a film remain that was squashed into a square. Gradients and second differences
    are of each pixel, and of 2 and 4 pixels together. ``tags`` are text, ``station`` a hash.

    Args:
        film: As it is decoded.
        file_bytes: The size of its file.
    """
    pixels = film.pixels
    rows, columns = pixels.shape
    across = _energies(cv2.transpose(pixels[:: max(1, rows // _LINES)]))
    down = _energies(np.ascontiguousarray(pixels[:, :: max(1, columns // _LINES)]))
    tags = film.origin
    row_mm = film.spacing_mm[0] if film.spacing_mm else None
    return {
        "shape.proportions": _log(rows / columns),
        "shape.pixels": _log(rows * columns),
        **{
            f"shape.gradients_{scale}": _log(across[0, scale] / down[0, scale])
            for scale in (1, 2, 4)
        },
        **{
            f"sharpness.{name}_{scale}": _log(across[order, scale] + down[order, scale])
            for order, name in enumerate(("gradients", "details"))
            for scale in (1, 2, 4)
        },
        "sharpness.noise": _log(across[2, 1] + down[2, 1]),
        "sharpness.blocks_across": _log(across[3, 1]),
        "sharpness.blocks_down": _log(down[3, 1]),
        **_tone(pixels),
        **_frame(pixels),
        "file.bytes_per_pixel": _log(file_bytes / pixels.size),
        "file.bits": tags["bits"],
        "file.photometric": tags["photometric"],
        "file.compression": tags["compression"],
        **{f"tags.{name}": tags[name] for name in ("maker", "model", "station", "view")},
        "tags.row_mm": row_mm,
    }


def as_text(statistics: Mapping[str, Any]) -> str:
    """The values of `acquisition` without their names, as JSON."""
    values = [float(f"{v:.5g}") if isinstance(v, float) else v for v in statistics.values()]
    return json.dumps(values, separators=(",", ":"))


def as_table(texts: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The statistics of films, from each case and its `as_text`, with the cases as index.

    A case without a text, or with one of another version, is not in it.
    """
    names = list(_names())
    values = ((case, json.loads(text)) for case, text in texts if text)
    rows = ((case, row) for case, row in values if len(row) == len(names))
    # In parts, since a row of Python's numbers takes five times that of a table.
    parts = []
    while part := dict(islice(rows, _AT_ONCE)):
        parts.append(pd.DataFrame.from_dict(part, orient="index", columns=names))
    # A part may have nothing in a column of numbers or of texts.
    return pd.concat(parts).infer_objects() if parts else pd.DataFrame(columns=names)


@functools.cache
def _names() -> tuple[str, ...]:
    blank = Radiograph(np.zeros((8, 8), np.uint8), None, None, origin=defaultdict(str))
    return tuple(acquisition(blank, 1))


def _energies(lines: np.ndarray) -> dict[tuple[int, int], float]:
    """Differences along columns of uint8 (n, m), by what they are and the pixels taken together.

    0 is the mean square of gradients, 1 that of second differences, 2 the mean of their absolute
    values; 3 the ratio of gradients across the borders of JPEG's blocks to all others.
    """
    sums: np.ndarray = lines.astype(np.int16)
    energies: dict[tuple[int, int], float] = {}
    for scale in (1, 2, 4):
        if scale > 1:  # a sum's square is scale² that of a mean
            pairs = len(sums) // 2 * 2
            sums = sums[0:pairs:2] + sums[1:pairs:2]
        first = sums[1:] - sums[:-1]
        second = first[1:] - first[:-1]
        for order, differences in enumerate((first, second)):
            energies[order, scale] = _mean(differences, cv2.NORM_L2SQR) / scale**2 + _LEAST
        if scale == 1:
            energies[2, 1] = _mean(second, cv2.NORM_L1)
            at_border = np.arange(len(first)) % 8 == 7
            border, others = (_mean(first[part], cv2.NORM_L1) for part in (at_border, ~at_border))
            energies[3, 1] = (border + _LEAST) / (others + _LEAST)
    return energies


def _mean(differences: np.ndarray, norm: int) -> float:
    """The mean of absolute values or squares; 0 of nothing."""
    return cv2.norm(differences, norm) / differences.size if differences.size else 0.0


def _tone(pixels: np.ndarray) -> dict[str, float]:
    counts = cv2.calcHist([pixels], [0], None, [256], [0, 256]).ravel().astype(float)
    shares, grey = counts / counts.sum(), np.arange(256)
    mean = float(shares @ grey)
    running = np.cumsum(shares) + 1e-9
    percentiles = np.searchsorted(running, np.array(_PERCENTILES) / 100)
    return {
        "tone.mean": mean,
        "tone.deviation": float(np.sqrt(shares @ (grey - mean) ** 2)),
        **{f"tone.p{p}": float(v) for p, v in zip(_PERCENTILES, percentiles, strict=True)},
        "tone.black": float(shares[0]),
        "tone.white": float(shares[255]),
        "tone.levels": float(np.count_nonzero(counts)),
    }


def _frame(pixels: np.ndarray) -> dict[str, float]:
    """Means of corners, of a tenth of the shorter side, and of borders, and what of these is black.

    Bars are black from side to side, as shares of the film.
    """
    corner, border = (max(1, min(pixels.shape) // part) for part in (10, 32))
    corners = {
        "top_left": pixels[:corner, :corner],
        "top_right": pixels[:corner, -corner:],
        "bottom_left": pixels[-corner:, :corner],
        "bottom_right": pixels[-corner:, -corner:],
    }
    borders = {
        "top": pixels[:border],
        "bottom": pixels[-border:],
        "left": pixels[:, :border],
        "right": pixels[:, -border:],
    }
    black = [_black_share(part) for part in borders.values()]
    bars = [_black_share(pixels.max(axis=axis)) for axis in (1, 0)]
    return {
        **{
            f"frame.{name}": cv2.sumElems(part)[0] / part.size
            for name, part in {**corners, **borders}.items()
        },
        "frame.black": sum(black) / len(black),
        "frame.bars_across": bars[0],
        "frame.bars_down": bars[1],
    }


def _black_share(values: np.ndarray) -> float:
    return int(np.count_nonzero(values <= _BLACK)) / values.size


def _log(value: float) -> float:
    return math.log(max(value, _LEAST**2))
