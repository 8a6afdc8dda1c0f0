"""Disk use of prepared films, beside the DICOMs, PNG files and float arrays."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

from benchmarks import datasets
from benchmarks.measuring import Options, Row

ARTICLE = 0.7
"""The share that the article saves at least; it says 70 to 80 %."""


def rows(options: Options) -> Iterator[Row]:
    """Bytes an image."""
    import numpy as np
    from PIL import Image

    from benchmarks.dicom import STORED, ours
    from common.records.stored_images import stored_image, stored_pixels

    files, work = datasets.films(options), options.work / "disk"
    work.mkdir(exist_ok=True)
    ours(files, work)
    written = sum(shard.stat().st_size for shard in work.rglob("*.tfrecord"))
    shutil.rmtree(work)
    sizes = {"ours": written, "dicom": 0, "png": 0, "npy": 0}
    for file in files:
        pixels = stored_pixels(stored_image(file, STORED))
        png, npy = io.BytesIO(), io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        np.save(npy, pixels.astype(np.float32) / 255)
        sizes["dicom"] += file.stat().st_size
        sizes["png"] += png.tell()
        sizes["npy"] += npy.tell()
    each = {name: size / len(files) for name, size in sizes.items()}
    saved = 1 - each["ours"] / each["dicom"]
    yield Row(
        f"disk: a record of {STORED} x {STORED}, {saved:.0%} saved",
        each["ours"],
        each["dicom"],
        "bytes",
        each["dicom"] / each["ours"],
        f"{ARTICLE:.0%} saved",
        saved >= ARTICLE,
        f"the DICOM of {datasets.SIDE} x {datasets.SIDE}",
    )
    # For these no target is set: they say what else the same pixels would take.
    for name, against in {"png": "a PNG file by Pillow", "npy": "a float32 .npy"}.items():
        ratio = each[name] / each["ours"]
        yield Row("disk: a record", each["ours"], each[name], "bytes", ratio, "none", None, against)
