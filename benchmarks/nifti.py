"""NIfTI to TFRecord, beside nibabel's ``get_fdata`` alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, timed

SPACING_MM = (1.25, 1.25, 1.25)


def rows(options: Options) -> Iterator[Row]:
    """Volumes a second, an image and its mask each, on all cores."""
    from common.base.processes import each

    count = options.size(96, 16)
    work, (images, masks) = options.work / "nifti", datasets.volumes(options)
    pairs = list(
        zip(
            datasets.linked(images, work / "imagesTr", count),
            datasets.linked(masks, work / "labelsTr", count),
            strict=True,
        )
    )
    whole, bare = in_turn(
        timed(lambda: ours([image.name for image, _ in pairs], work)),
        timed(lambda: each(bare_limit, pairs, 0, desc="bare")),
    )
    shutil.rmtree(work)
    yield compared(
        "NIfTI to TFRecord, all cores",
        "nibabel get_fdata of image and mask alone",
        count / whole,
        count / bare,
        "volumes/s",
        0.7,
    )


def ours(names: list[str], work: Path) -> None:
    """As prepare_data.py does it, from files to shards."""
    from atrium_segmentation.prepare_data import VOLUMES_A_SHARD, decode_case
    from common.records import shards

    folder = work / "ours"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = [
        {"case": name, "path": f"imagesTr/{name}", "mask_path": f"labelsTr/{name}"}
        | {"split": "train", "copy": 0}
        for name in names
    ]
    labels = {0: "background", 1: "left atrium"}
    decode = partial(decode_case, source=work, labels=labels, spacing_mm=SPACING_MM)
    _, left_out = shards.write_shards(folder, cases, decode, VOLUMES_A_SHARD, 0)
    if left_out:
        raise RuntimeError(f"volumes were not read: {next(iter(left_out.values()))}")


def bare_limit(pair: tuple[Path, Path]) -> None:
    """Read an image and its mask with nibabel, and nothing else."""
    import nibabel

    for file in pair:
        nibabel.load(file).get_fdata()
