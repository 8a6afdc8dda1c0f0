"""Fingerprints of images: of the exact pixels, and one that a resized or re-encoded copy shares.

The second is a difference hash of many bits (after Krawetz 2013, "Kind of like that",
https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html): the image is
averaged to a few cells, and each bit says whether a cell is brighter than its neighbour.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

NEAR = 0.075
"""Images that differ in at most this share of the bits are near duplicates."""

# Cells along each axis: 544 bits of a film, 540 of a volume.
_CELLS = {2: 17, 3: 6}
# Cells that differ by less, as a share of the cells' standard deviation, count as equal: else noise
# would decide the bits of an even background.
_EQUAL = 0.02


def fingerprint(image: np.ndarray) -> dict[str, str]:
    """The fingerprints of a film (rows, columns) or a volume (x, y, z), of any number type.

    Returns:
        ``sha256``, of shape and values as float32; and ``perceptual``, the bits as hexadecimal.
    """
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image, "<f4").tobytes())
    cells = averaged(image, _CELLS[image.ndim])
    steps = [np.diff(cells, axis=axis).ravel() for axis in range(image.ndim)]
    bits = np.concatenate(steps) > _EQUAL * cells.std()
    return {"sha256": digest.hexdigest(), "perceptual": np.packbits(bits).tobytes().hex()}


def differences(some: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """The share of bits in which ``perceptual`` fingerprints differ: (some, others), 0 to 1.

    Films and volumes differ in all bits, and so does "" from everything.
    """
    shares = np.ones((len(some), len(others)), np.float32)
    for length in {len(text) for text in some} - {0}:
        rows, columns = (
            [number for number, text in enumerate(texts) if len(text) == length]
            for texts in (some, others)
        )
        if columns:
            signs = _signs([some[i] for i in rows]), _signs([others[i] for i in columns])
            bits = signs[0].shape[1]
            shares[np.ix_(rows, columns)] = (bits - signs[0] @ signs[1].T) / (2 * bits)
    return shares


def averaged(image: np.ndarray, cells: int) -> np.ndarray:
    """An image averaged to so many equal cells along each of its axes, float32."""
    result = image.astype(np.float32)
    for axis, size in enumerate(image.shape):
        result = np.moveaxis(np.tensordot(_shares(size, cells), result, (1, axis)), 0, axis)
    return result


@functools.lru_cache(maxsize=64)
def _shares(size: int, cells: int) -> np.ndarray:
    """What each of so many places gives to the mean of each cell: (cells, size) float32."""
    edges, places = np.linspace(0, size, cells + 1)[:, None], np.arange(size)
    overlaps = np.minimum(edges[1:], places + 1) - np.maximum(edges[:-1], places)
    shares: np.ndarray = (np.clip(overlaps, 0, None) * cells / size).astype(np.float32)
    return shares


def _signs(texts: Sequence[str]) -> np.ndarray:
    """(texts, bits) of -1 and 1; packed bits beyond the last one are 0 in every text."""
    data = np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)
    return np.unpackbits(data, axis=1).astype(np.float32) * 2 - 1
