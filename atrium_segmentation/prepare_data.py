"""Prepare left-atrium volumes: NIfTI images and masks to TFRecords.

Reads a folder with imagesTr/, labelsTr/ and dataset.json. Writes cases.csv (every case and its
split), records/ and manifest.json. Started again, it goes on, or says that all is there.

    python prepare_data.py --source data/raw/Task02_Heart --prepared data/prepared/atrium
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atrium_segmentation.config import PROJECT, PrepareSettings
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings

VOLUMES_A_SHARD = 8

SHOWN_PERCENTILES = (0.5, 99.5)
"""Of a volume's intensities, what is stored as 0 and as 255: the units of MRI are arbitrary and
differ from scan to scan."""

FORMAT = 2
"""Of the records; another number makes older ones be prepared anew."""


def main() -> None:
    """The script."""
    prepare(parse(PROJECT, "prepare", __doc__))


def prepare(settings: PrepareSettings, all_test: bool = False) -> Path:
    """Prepare a dataset.

    Args:
        settings: Where from, where to, and how.
        all_test: Make every case a test case, to evaluate a finished run on it.

    Returns:
        The prepared folder.
    """
    from common.base.files import lock_folder
    from common.datasets.decathlon import index_volumes
    from common.records import preparing
    from common.records.findings import DatasetCheck
    from common.records.shards import finish

    print_settings("Prepare volumes for left atrium segmentation", settings)
    source = preparing.find_source(PROJECT, settings)
    folder = settings.prepared or PROJECT.prepared(source.synthetic)
    all_test = all_test or settings.check
    with lock_folder(folder):
        begun = preparing.begin(folder, source, settings, all_test, format=FORMAT)
        if begun is None:
            return folder
        key, decides = begun

        # -- Index: which volumes there are, and what their labels are called.
        cases, labels = index_volumes(source.folder)
        cases["split"] = ""
        sizes = preparing.describe_volumes(cases, source.folder, settings)

        # -- Check: what files and names say; the voxels are looked at where they are read.
        check = DatasetCheck(source.folder, folder, settings)
        check.look(cases, sizes)
        left = check.usable(cases)

        # -- Split: by patient.
        one_stratum = left["case"].str[:0]
        cases.loc[left.index, "split"] = preparing.split(left, one_stratum, settings, all_test)
        left = cases.loc[left.index]

        # -- Write.
        jobs = preparing.jobs(left, ["mask_path"], 0, settings.seed)
        decode = partial(
            decode_case, source=source.folder, labels=labels, spacing_mm=settings.spacing_mm
        )
        shards, unreadable = check.decode(jobs, decode, VOLUMES_A_SHARD)
        preparing.leave_out(cases, unreadable)
        left = check.usable(cases)
        if settings.check:
            check.tell(cases)
            return folder

        # -- Tell: tables, counts, the disk that was saved.
        preparing.write_cases(folder, cases)
        preparing.print_splits(cases, {}, settings)
        print(f"  labels: {', '.join(f'{value} {name}' for value, name in labels.items())}")
        files = [*left["path"], *left["mask_path"]]
        check.tell(cases)
        disk = preparing.print_disk(source.folder, files, shards)
        finish(
            folder,
            {
                **preparing.manifest(PROJECT, source, key, decides, cases, shards, disk),
                "labels": {str(value): name for value, name in labels.items()},
            },
        )
    print_paths([folder / "cases.csv", folder / "manifest.json"])
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
    working grid; ``grid_image`` and ``grid_mask`` on the
    volume's own, canonical, and ``grid_header`` says how its file lies (`nifti.Volume`). A training
    volume is never scored whole and has none of the latter.

    Args:
        job: A row of the table of cases.
        source: The dataset's folder.
        labels: The mask's values and their names.
        spacing_mm: Working distance of voxels along x, y and z; 0 is the volume's own.

    Raises:
        UserError: The image or the mask cannot be read, or they do not match.
    """
    import numpy as np

    from common.base.errors import UnusableError
    from common.datasets.splits import TRAIN
    from common.imaging.nifti import read_mask, read_volume, resample_mask, resample_volume
    from common.records.outcomes import REMARK

    volume = read_volume(source / job["path"])
    if volume.voxels.min() == volume.voxels.max():
        raise UnusableError(f"{volume.path}: all its voxels are one value", "constant image")
    mask = read_mask(source / job["mask_path"], volume, labels)
    if sorted(labels) != list(range(len(labels))):
        mask = np.searchsorted(sorted(labels), mask).astype(np.uint8)
    spacing = working_spacing(volume, spacing_mm)
    ends = percentiles(volume.voxels, SHOWN_PERCENTILES)
    image, affine = resample_volume(volume, spacing)
    working_mask, _ = resample_mask(mask, volume, spacing)
    features = {
        "case": job["case"],
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
    if not mask.any():
        features[REMARK] = "empty mask: none of its voxels is labelled"
    if job["split"] != TRAIN:
        features["grid_header"] = volume.grid_header
        features["grid_image"] = packed(as_bytes(volume.voxels, ends))
        features["grid_mask"] = packed(mask)
    return features


def working_spacing(volume: Any, spacing_mm: tuple[float, float, float]) -> tuple[float, ...]:
    """The spacing asked for along x, y and z, the volume's own (`nifti.Volume`) where it is 0."""
    return tuple(w or own for w, own in zip(spacing_mm, volume.spacing_mm, strict=True))


def as_bytes(voxels: Any, ends: tuple[float, float]) -> Any:
    """Intensities as uint8: one end becomes 0, the other 255, and what lies outside is cut off.

    Args:
        voxels: Any shape, float32.
        ends: The percentiles `SHOWN_PERCENTILES` of the volume on its own grid.
    """
    import numpy as np

    low, high = ends
    result = np.empty_like(voxels, np.uint8)
    for part, scaled in zip(_slabs(voxels), _slabs(result), strict=True):
        scaled[:] = np.clip(np.rint((part - low) * (255 / max(high - low, 1e-6))), 0, 255)
    return result


def percentiles(voxels: Any, percents: Sequence[float]) -> Any:
    """`np.percentile`; of whole numbers by counting, the same to the last bit and much faster."""
    import numpy as np

    least = voxels.min()
    if voxels.max() - least >= 1 << 16:
        return np.percentile(voxels, percents)
    counts = np.zeros(int(voxels.max() - least) + 1, np.int64)
    for part in _slabs(voxels):
        above = part - least
        whole = above.astype(np.intp)
        if not np.array_equal(whole, above):
            return np.percentile(voxels, percents)
        counts += np.bincount(whole.ravel("K"), minlength=len(counts))
    up_to = np.cumsum(counts)
    place = np.asarray(percents) / 100 * (voxels.size - 1)
    first = np.floor(place)
    low, high = (np.searchsorted(up_to, at, side="right") + least for at in (first, first + 1))
    share = place - first
    # As numpy has it, from whichever is nearer.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def _slabs(voxels: Any) -> Any:
    """A volume's slices along the axis whose steps in memory are the longest: views, each small."""
    import numpy as np

    return np.moveaxis(voxels, int(np.argmax(np.abs(voxels.strides))), 0)


def packed(values: Any) -> bytes:
    """A uint8 array (x, y, z) as zlib bytes in the order (z, y, x)."""
    import numpy as np
    from isal import isal_zlib

    # On scans a fifth of the time of Python's own zlib at its level 3, for 5 % more bytes.
    return isal_zlib.compress(np.ascontiguousarray(values.T))


if __name__ == "__main__":
    run_script(main)
