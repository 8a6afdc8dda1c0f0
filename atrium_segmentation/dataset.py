"""The record of a volume and its mask: how it is made and read.

A working volume is (z, y, x), from the feet to the head, the back to the front, left to right.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from atrium_segmentation.config import PROJECT, PrepareSettings
from common.base.errors import UnusableError
from common.base.memory import free_memory
from common.base.printing import print_paths, print_settings
from common.datasets.decathlon import index_volumes
from common.datasets.splits import TRAIN
from common.datasets.wrong_folder import VOLUMES, refuse_wrong_folder
from common.imaging.fingerprints import fingerprint
from common.imaging.volume_doubts import look_at_volume, look_over
from common.imaging.volumes import Volume, read_mask, read_volume, resample_mask, resample_volume
from common.records.looks import Looking
from common.records.mapped import MappedRecords
from common.records.outcomes import REMARK
from common.records.prepared import Prepared
from common.records.preparing import preparation
from synthetic_sample.make_sample import make_sample

VOLUMES_PER_SHARD = 8
"""Volumes in one TFRecord file."""

FORMAT = 2
"""Of the records; where the number differs, older ones are prepared anew."""

MIXED_VOLUMES = 8
"""Volumes whose slices are mixed, and that are kept, where not all fit into memory."""

WINDOW_PERCENTILES = (0.5, 99.5)
"""The percentiles of a volume's intensities that are stored as 0 and as 255: the units of MRI are
arbitrary and differ from scan to scan."""


def prepare(
    settings: PrepareSettings,
    all_test: bool = False,
    accept: Callable[[Mapping[int, str]], object] | None = None,
) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.
        accept: Is called with the labels before any volume is prepared, and may raise.

    Returns:
        The prepared folder.
    """
    print_settings("Prepare volumes for left atrium segmentation", settings, PROJECT)
    with preparation(PROJECT, settings, make_sample, all_test, format=FORMAT) as steps:
        source, folder = steps.source.folder, steps.folder
        if steps.is_finished:
            return folder

        # -- Index: which volumes there are, and what their labels are called.
        refuse_wrong_folder(source, VOLUMES)
        cases, labels = index_volumes(source, settings.patients)
        if accept:
            accept(labels)

        # -- Check: what files and names say; the voxels are checked where they are read.
        usable = steps.check(cases)

        # -- Split: by patient, all in one stratum.
        usable = steps.split(cases, usable["case"].str[:0])

        # -- Write.
        jobs = steps.jobs(usable, ["mask_path"])
        decode = partial(decode_case, source=source, labels=labels, spacing_mm=settings.spacing_mm)
        shards = steps.write(cases, jobs, decode, VOLUMES_PER_SHARD, LOOKING)
        if settings.check:
            # SciPy takes a second to import, and decoding processes import this module.
            from common.scores.expected import print_expected

            readable = cases[cases["left_out"] == ""]
            print_expected(readable, settings.test_share, mean=("mean Dice", 0.9, 0.03))
            return folder

        # -- Report: tables, counts, the disk that was saved.
        steps.print_cases(cases)
        print(f"  labels: {', '.join(f'{value} {name}' for value, name in labels.items())}")
        steps.finish(cases, shards, labels={str(value): name for value, name in labels.items()})
    print_paths([folder / name for name in ("cases.csv", "cohort.csv", "manifest.json")])
    return folder


def decode_case(
    job: Mapping[str, Any],
    source: Path,
    labels: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
) -> dict[str, Any]:
    """One volume to the features of its record.

    Arrays are zlib-compressed uint8 in the order (z, y, x), so that a slice is contiguous.
    A mask counts the labels from 0, in the order of their values. ``image`` and ``mask`` lie on the
    working grid; ``grid_image`` and ``grid_mask`` on the volume's own, canonical, and
    ``grid_header`` tells the orientation of its file (`volumes.Volume`). A training volume is never
    scored whole and has none of the latter.

    Args:
        job: A row of the table of cases.
        source: The dataset's folder.
        labels: The mask's values and their names.
        spacing_mm: Working distance of voxels along x, y and z; 0 is the volume's own.

    Raises:
        UserError: The image or the mask cannot be read, or they do not match.
    """
    volume = read_varied(source / job["path"])
    mask = read_mask(source / job["mask_path"], volume, labels)
    if sorted(labels) != list(range(len(labels))):
        mask = np.searchsorted(sorted(labels), mask).astype(np.uint8)
    spacing = working_spacing(volume, spacing_mm)
    ends = percentiles(volume.voxels, WINDOW_PERCENTILES)
    image, affine = resample_volume(volume, spacing)
    working_mask, _ = resample_mask(mask, volume, spacing)
    features = {
        "case": job["case"],
        **fingerprint(volume.voxels),
        "image": packed(as_bytes(image, ends)),
        "mask": packed(working_mask),
        "shape": np.array(image.shape[::-1]),
        "affine": affine.astype("<f8").tobytes(),
        "grid_shape": np.array(volume.voxels.shape[::-1]),
        "grid_affine": volume.affine.astype("<f8").tobytes(),
        "grid_image": b"",
        "grid_mask": b"",
        "grid_header": b"",
    }
    remarks = [f"NaN or infinite: {volume.doubt}"] if volume.doubt else []
    if not mask.any():
        remarks.append("empty mask: none of its voxels is labelled")
    if remarks:
        features[REMARK] = "\n".join(remarks)
    if job["split"] != TRAIN:
        features["grid_header"] = volume.grid_header
        features["grid_image"] = packed(as_bytes(volume.voxels, ends))
        features["grid_mask"] = packed(mask)
    return features


def look_of(features: Mapping[str, Any]) -> np.ndarray:
    """The look of a volume from its `decode_case`."""
    image = np.frombuffer(zlib.decompress(features["image"]), np.uint8)
    return look_at_volume(image.reshape(features["shape"]), _affine(features["affine"]))


LOOKING = Looking(look_of, look_over)
"""How the volumes of a dataset are looked at."""


class Volumes(Sequence[dict[str, Any]]):
    """The working volumes of some splits.

    Each has its ``case``; ``image`` and ``mask`` (z, y, x) uint8; ``affine`` (4, 4) to mm. A mask
    counts the dataset's labels from 0, in the order of their values.

    Args:
        prepared: Where they are.
        splits: Which.

    Attributes:
        shapes: (z, y, x) of each.
        spacings_mm: (volumes, 3), the distance of voxels along x, y and z.
        are_in_memory: Whether all are kept, since together they take at most half of the memory
            that is free; else a few are, and the others are unpacked anew.
    """

    def __init__(self, prepared: Prepared, splits: Sequence[str]) -> None:
        self._records = MappedRecords(prepared.shards(splits))
        self.shapes, spacings = [], []
        # One at a time: its features hold the image too.
        for features in map(_features, self._records):
            self.shapes.append(tuple(features["shape"].int64_list.value))
            affine = _affine(features["affine"].bytes_list.value[0])
            spacings.append(np.linalg.norm(affine[:3, :3], axis=0))
        self.spacings_mm = np.array(spacings)
        size = 2 * sum(map(math.prod, self.shapes))
        self.are_in_memory = size <= free_memory() / 2
        kept = None if self.are_in_memory else MIXED_VOLUMES
        self._read = functools.lru_cache(kept)(self._unpacked)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._read(int(number))

    def _unpacked(self, number: int) -> dict[str, Any]:
        features = _features(self._records[number])
        return {
            "case": features["case"].bytes_list.value[0].decode(),
            "image": _array(features["image"], features["shape"]),
            "mask": _array(features["mask"], features["shape"]),
            "affine": _affine(features["affine"].bytes_list.value[0]),
        }


def whole_volumes(
    prepared: Prepared, splits: Sequence[str], records: range | None = None
) -> Iterator[dict[str, Any]]:
    """The volumes of some splits, one at a time, in order.

    Args:
        prepared: Where they are.
        splits: Which.
        records: Their numbers in the order of the splits; None for all.

    Yields:
        ``case``; ``working`` (z, y, x) and ``working_affine``, what the networks see; ``image``
        and ``mask`` (x, y, z) uint8 on the volume's own grid, canonical, with ``affine``,
        ``spacing_mm`` and ``grid_header`` (`volumes.Volume`). A mask counts the labels from 0.
    """
    files, places = prepared.holding(splits, records)
    stored = MappedRecords(files)
    for place in places:
        feature = _features(stored[place])
        grid_affine = _affine(feature["grid_affine"].bytes_list.value[0])
        yield {
            "case": feature["case"].bytes_list.value[0].decode(),
            "working": _array(feature["image"], feature["shape"]),
            "working_affine": _affine(feature["affine"].bytes_list.value[0]),
            "image": _array(feature["grid_image"], feature["grid_shape"]).T,
            "mask": _array(feature["grid_mask"], feature["grid_shape"]).T,
            "affine": grid_affine,
            "grid_header": feature["grid_header"].bytes_list.value[0],
            "spacing_mm": np.linalg.norm(grid_affine[:3, :3], axis=0),
        }


def _features(record: bytes) -> Any:
    """The features of a serialised record, by name."""
    # A decoding process imports this module, and need not wait for TensorFlow.
    import tensorflow as tf

    return tf.train.Example.FromString(record).features.feature


def _affine(stored: bytes) -> np.ndarray:
    return np.frombuffer(stored, "<f8").reshape(4, 4)


def _array(feature: Any, shape: Any) -> np.ndarray:
    values = np.frombuffer(zlib.decompress(feature.bytes_list.value[0]), np.uint8)
    return values.reshape(shape.int64_list.value)


def read_unlabelled(path: Path, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """A file as `whole_volumes` yields records, with `Volume.doubt`, without ``case`` and ``mask``.

    Args:
        path: The file.
        spacing_mm: Working distance of voxels along x, y and z; 0 is the volume's own.

    Raises:
        UserError: The file cannot be read, or all its voxels are one value.
    """
    volume = read_varied(path)
    ends = percentiles(volume.voxels, WINDOW_PERCENTILES)
    working, affine = resample_volume(volume, working_spacing(volume, spacing_mm))
    return {
        "working": np.ascontiguousarray(as_bytes(working, ends).T),
        "working_affine": affine,
        "image": as_bytes(volume.voxels, ends),
        "affine": volume.affine,
        "spacing_mm": volume.spacing_mm,
        "grid_header": volume.grid_header,
        "doubt": volume.doubt,
    }


def read_varied(path: Path) -> Volume:
    """`read_volume`, of a volume that shows something.

    Raises:
        UserError: The file cannot be read.
        UnusableError: All its voxels are one value, as a failed export leaves them.
    """
    volume = read_volume(path)
    if volume.voxels.min() == volume.voxels.max():
        raise UnusableError(
            f"{path}: all its voxels are one value; export it again or leave it out",
            "constant image",
        )
    return volume


def working_spacing(volume: Volume, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """The chosen spacing along x, y and z in mm, the volume's own where it is 0."""
    x, y, z = (
        chosen or stored for chosen, stored in zip(spacing_mm, volume.spacing_mm, strict=True)
    )
    return x, y, z


def as_bytes(voxels: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Intensities as uint8: one end becomes 0, the other 255, and what lies outside is clipped.

    Args:
        voxels: Any shape, float32.
        ends: The percentiles `WINDOW_PERCENTILES` of the volume on its own grid.
    """
    low, high = ends
    result = np.empty_like(voxels, np.uint8)
    for part, scaled in zip(_slabs(voxels), _slabs(result), strict=True):
        scaled[:] = np.clip(np.rint((part - low) * (255 / max(high - low, 1e-6))), 0, 255)
    return result


def percentiles(voxels: np.ndarray, percents: Sequence[float]) -> np.ndarray:
    """`np.percentile`, (percents,); of integers by counting: the same bits, and much faster."""
    least = voxels.min()
    if voxels.max() - least >= 1 << 16:
        return np.percentile(voxels, percents)
    counts = np.zeros(int(voxels.max() - least) + 1, np.int64)
    for part in _slabs(voxels):
        above = part - least
        integers = above.astype(np.intp)
        if not np.array_equal(integers, above):
            return np.percentile(voxels, percents)
        counts += np.bincount(integers.ravel("K"), minlength=len(counts))
    cumulative = np.cumsum(counts)
    place = np.asarray(percents) / 100 * (voxels.size - 1)
    first = np.floor(place)
    low, high = (
        np.searchsorted(cumulative, rank, side="right") + least for rank in (first, first + 1)
    )
    share = place - first
    # As numpy does, from the nearer of the two.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def _slabs(voxels: np.ndarray) -> np.ndarray:
    """A volume's slices along the axis whose steps in memory are the longest: views, each small."""
    return np.moveaxis(voxels, int(np.argmax(np.abs(voxels.strides))), 0)


def packed(values: np.ndarray) -> bytes:
    """A uint8 array (x, y, z) as zlib bytes in the order (z, y, x)."""
    # On scans a fifth of the time of Python's own zlib at its level 3, for 5 % more bytes.
    return isal_zlib.compress(np.ascontiguousarray(values.T))
