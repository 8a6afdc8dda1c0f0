"""NIfTI to TFRecord, next to nibabel's ``get_fdata`` alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from atrium_segmentation.dataset import VOLUMES_PER_SHARD, decode_case
from benchmarks import bare, datasets
from benchmarks.measuring import Options, Row, compared, in_turn, timed
from common.base.processes import each

SPACING_MM = (1.25, 1.25, 1.25)


def rows(options: Options) -> Iterator[Row]:
    """Volumes per second, an image and its mask each, on all cores."""
    count = options.size(96, 16)
    work, (images, masks) = options.work / "nifti", datasets.volumes(options)
    images = datasets.linked(images, work / "imagesTr", count)
    masks = datasets.linked(masks, work / "labelsTr", count)
    pairs = list(zip(images, masks, strict=True))
    whole, least = in_turn(
        timed(lambda: prepare_volumes([image.name for image in images], work)),
        timed(lambda: each(bare.read_pair, pairs, 0, desc="bare")),
    )
    shutil.rmtree(work)
    stage, against = "NIfTI to TFRecord, all cores", "nibabel get_fdata of image and mask alone"
    yield compared(stage, against, count / whole, count / least, "volumes/s", 0.7)


def prepare_volumes(names: list[str], work: Path) -> None:
    """As prepare_data.py does it, from files to shards."""
    case = {"split": "train", "copy": 0}
    cases = [
        {"case": name, "path": f"imagesTr/{name}", "mask_path": f"labelsTr/{name}", **case}
        for name in names
    ]
    labels = {0: "background", 1: "left atrium"}
    decode = partial(decode_case, source=work, labels=labels, spacing_mm=SPACING_MM)
    datasets.write_shards(work / "ours", cases, decode, VOLUMES_PER_SHARD)
