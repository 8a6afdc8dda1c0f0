"""The order of an epoch: which sample comes when, by NumPy, from (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 64
"""Samples that are read together where single ones are slow to find."""

WINDOW = 64
"""Blocks that are mixed with one another, and that whoever reads them has to keep."""


def epoch_order(
    seed: int,
    epoch: int,
    n: int,
    block: int | Sequence[int] = 1,
    window: int = WINDOW,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """The order in which an epoch goes through ``n`` samples, each once.

    In blocks of 1 it is a permutation drawn evenly from all. In larger ones the blocks are
    permuted, and the samples of ``window`` blocks that then follow each other are mixed.

    Args:
        seed: With the epoch, decides the order.
        epoch: From 0.
        n: How many samples there are.
        block: How many neighbours are read together; or the size of every block, with the sum n.
        window: How many blocks.
        times: (n,) float, how often each sample comes on average over the epochs. In one epoch it
            is that number rounded down or up, as systematic sampling draws it, and the sum is that
            of ``times`` rounded down or up.

    Returns:
        (n,) int64, each of 0..n-1 once; or as long as ``times`` makes it.
    """
    random = np.random.default_rng((seed, epoch))
    samples, counts = np.arange(n), np.ones(n, np.int64)
    if times is not None:
        drawn = random.permutation(n)
        sums = np.floor(np.cumsum(times[drawn]) + random.random()).astype(np.int64)
        counts[drawn] = np.diff(sums, prepend=0)
    if block == 1:
        return random.permutation(np.repeat(samples, counts))
    ends = np.cumsum(block) if isinstance(block, Sequence) else np.arange(block, n, block)
    parts = zip(np.split(samples, ends), np.split(counts, ends), strict=True)
    blocks = [np.repeat(*part) for part in parts if len(part[0])]
    places = random.permutation(len(blocks))
    windows = (places[start : start + window] for start in range(0, len(blocks), window))
    mixed = [random.permutation(np.concatenate([blocks[k] for k in some])) for some in windows]
    return np.concatenate([samples[:0], *mixed])
