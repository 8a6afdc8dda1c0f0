"""Disk use of prepared films, next to the DICOMs, PNG files and float arrays."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks import datasets
from benchmarks.bare import STORED
from benchmarks.dicom import prepare_films
from benchmarks.measuring import Options, Row
from common.records.stored_images import stored_film, stored_pixels

ARTICLE = 0.7
"""The least share of disk that the article saves: 70 to 80 %."""


def rows(options: Options) -> Iterator[Row]:
    """Bytes per image."""
    files, work = datasets.films(options), options.work / "disk"
    work.mkdir(exist_ok=True)
    prepare_films(files, work)
    written = sum(shard.stat().st_size for shard in work.rglob("*.tfrecord"))
    shutil.rmtree(work)
    sizes = {"ours": written, "dicom": 0, "png": 0, "npy": 0}
    for file in files:
        pixels = stored_pixels(stored_film(file, STORED).encoded)
        png, npy = io.BytesIO(), io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        np.save(npy, pixels.astype(np.float32) / 255)
        sizes["dicom"] += file.stat().st_size
        sizes["png"] += png.tell()
        sizes["npy"] += npy.tell()
    size = {name: size / len(files) for name, size in sizes.items()}
    saved = 1 - size["ours"] / size["dicom"]
    yield Row(
        f"disk: a record of {STORED} x {STORED}, {saved:.0%} saved",
        size["ours"],
        size["dicom"],
        "bytes",
        size["dicom"] / size["ours"],
        f"{ARTICLE:.0%} saved",
        saved >= ARTICLE,
        f"the DICOM of {datasets.FILM_SIZE} x {datasets.FILM_SIZE}",
    )
    # For these no target is set: they say what else the same pixels would take.
    for name, against in {"png": "a PNG file by Pillow", "npy": "a float32 .npy"}.items():
        ratio = size[name] / size["ours"]
        yield Row("disk: a record", size["ours"], size[name], "bytes", ratio, "none", None, against)
