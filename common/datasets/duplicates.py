"""Films with exactly equal pixels, and volumes with exactly equal voxels.

Pixels are compared as `common.imaging.films.read_film` returns them. To decode a whole set
for that would double the time to prepare it, so the stored bytes are compared first, which were
read with the headers: equal bytes in equal coding are equal pixels. Films are decoded only where
bytes cannot tell, which is where films of the same size are coded in several ways. Films of the
same size and coding count as different where their bytes are, until all are decoded:
`find_late_duplicates` then finds the same pixels in other bytes, as of a PNG that was saved again.

Volumes are equal where their shape and every value are, in the order of the file. Only those whose
first slices are equal are read whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.base.processes import each
from common.imaging.films import read_film
from common.imaging.stored_films import Stored
from common.imaging.volume_files import read_file, read_start

# From this number on processes share the work, some 100 ms each.
_VOLUME_POOL_FROM = 50


def find_duplicates(cases: pd.DataFrame, source: Path, workers: int = 0) -> pd.Series:
    """Find films with exactly equal pixels.

    Args:
        cases: With ``case``, a unique name, ``path``, relative to ``source``, and ``stored``, how
            its film is (`common.imaging.stored_films.Stored`), None where that is not known.
        source: The dataset's folder.
        workers: Number of processes; 0 for one per core.

    Returns:
        (cases,) the first case, by sorted path, with the same pixels; "" for that case itself,
        for a film without an equal, and for a file that cannot be read. An id may be one of ours,
        which the key of ``id-map.csv`` decides; a path is the same on every machine.
    """
    ordered = cases.sort_values(["path", "case"])
    first: dict[Stored, str] = {}
    repeated: set[Stored] = set()
    codings = defaultdict(set)
    for path, film in zip(ordered["path"].to_numpy(object), ordered["stored"], strict=True):
        if film in first:
            repeated.add(film)
        elif film is not None:
            first[film] = path
            codings[film.size].add(film.coding)
    # Those with equal bytes too: a film that cannot be decoded equals none.
    doubtful = [film for film in first if film in repeated or len(codings[film.size]) > 1]
    firsts = [source / first[film] for film in doubtful]
    digests = each(_pixels, firsts, 1, workers, _unread, desc="compare pixels", unit="film")
    pixels = dict(zip(doubtful, digests, strict=True))
    originals = _originals(
        ordered["case"].to_numpy(object), [pixels.get(film) for film in ordered["stored"]]
    )
    return pd.Series(originals, ordered.index, dtype=object).reindex(cases.index)


def find_late_duplicates(cases: pd.DataFrame) -> pd.Series:
    """Find cases that were decoded to the same pixels, and whose ``duplicate_of`` does not say so.

    Args:
        cases: With ``case``, ``path``, ``left_out``, ``duplicate_of`` and ``sha256``, that of their
            pixels, "" where they are not known.

    Returns:
        (cases,) as from `find_duplicates`, "" for cases that `find_duplicates` found.
    """
    ordered = cases.sort_values(["path", "case"])
    ordered = ordered[(ordered["left_out"] == "") & (ordered["sha256"] != "")]
    known = ordered["duplicate_of"].where(ordered["duplicate_of"] != "", ordered["case"])
    first: dict[str, tuple[str, str]] = {}
    late = pd.Series("", cases.index, dtype=object)
    for index, case, own, pixels in zip(
        ordered.index, ordered["case"], known, ordered["sha256"], strict=True
    ):
        original, by = first.setdefault(pixels, (case, own))
        if by != own:
            late[index] = original
    return late


def on_other_sides(cases: pd.DataFrame) -> pd.Series:
    """(cases,) whether a case's equal, in ``duplicate_of``, is in another ``split`` than it."""
    split_of = {"": "", **dict(zip(cases["case"], cases["split"], strict=True))}
    others = cases["duplicate_of"].map(split_of)
    return (cases["split"] != others) & (cases["split"] != "") & (others != "")


def find_duplicate_volumes(cases: pd.DataFrame, source: Path, workers: int = 0) -> pd.DataFrame:
    """Find volumes with exactly equal voxels.

    Args:
        cases: With ``case``, and ``path`` of volumes.
        source: The dataset's folder.
        workers: As for `find_duplicates`.

    Returns:
        (cases,) ``duplicate_of``, as from `find_duplicates`, and ``size``: shape and spacing in
        words, "" for a file that cannot be read.
    """
    ordered = cases.sort_values(["path", "case"])
    files = [source / path for path in ordered["path"]]
    starts = each(
        _start, files, _VOLUME_POOL_FROM, workers, _unread, desc="compare starts", unit="volume"
    )
    counts = Counter(starts)
    doubtful = [f for f, start in zip(files, starts, strict=True) if start and counts[start] > 1]
    digests = each(_voxels, doubtful, 1, workers, _unread, desc="compare volumes", unit="volume")
    voxels = dict(zip(doubtful, digests, strict=True))
    columns = {
        "duplicate_of": _originals(ordered["case"], [voxels.get(file) for file in files]),
        "size": [start[0] if start else "" for start in starts],
    }
    return pd.DataFrame(columns, ordered.index, dtype=object).reindex(cases.index)


def _originals(cases: Iterable[str], digests: Iterable[str | None]) -> list[str]:
    """The first case with the digest of each, "" for that first case and without a digest."""
    first: dict[str, str] = {}
    originals = []
    for case, digest in zip(cases, digests, strict=True):
        original = case if digest is None else first.setdefault(digest, case)
        originals.append("" if original == case else original)
    return originals


def _unread(_path: Path, _reason: str) -> None:
    """A file that ends the process which reads it equals none; decoding it again tells why."""


def _pixels(path: Path) -> str | None:
    """The digest of a film's pixels; None where it cannot be decoded."""
    try:
        pixels = read_film(path).pixels
    except UserError:
        return None
    return f"{pixels.shape} {_digest(pixels.tobytes())}"


def _start(path: Path) -> tuple[str, str] | None:
    """A volume's size in words and the digest of its first slice; None where it can't be read."""
    try:
        grid, values = read_start(path)
    except UserError:
        return None
    shape = " x ".join(map(str, grid.shape))
    spacing = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(grid.affine[:3, :3], axis=0))
    return f"{shape} of {spacing} mm", _value_digest(values)


def _voxels(path: Path) -> str | None:
    """The digest of a volume's values; None where it can't be read."""
    try:
        values = read_file(path)[0]
    except UserError:
        return None
    return f"{values.shape} {_value_digest(values)}"


def _value_digest(values: np.ndarray) -> str:
    # In the same type and order, so that 1 is 1 however it is stored. Not every NaN is silent.
    with np.errstate(invalid="ignore"):
        return _digest(np.ascontiguousarray(values, "<f8").tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
