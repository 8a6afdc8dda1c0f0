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
    sizes = np.array([written, 0, 0, 0])
    for file in files:
        pixels = stored_pixels(stored_film(file, STORED).encoded)
        packed, array = io.BytesIO(), io.BytesIO()
        Image.fromarray(pixels).save(packed, "PNG")
        np.save(array, pixels.astype(np.float32) / 255)
        sizes += [0, file.stat().st_size, packed.tell(), array.tell()]
    ours, dicom, png, npy = (sizes / len(files)).tolist()
    saved = 1 - ours / dicom
    stage = f"disk: a record of {STORED} x {STORED}, {saved:.0%} saved"
    target, reached = f"{ARTICLE:.0%} saved", saved >= ARTICLE
    against = f"the DICOM of {datasets.FILM_SIZE} x {datasets.FILM_SIZE}"
    yield Row(stage, ours, dicom, "bytes", dicom / ours, target, reached, against)
    # For these no target is set: they say what else the same pixels would take.
    for other, against in ((png, "a PNG file by Pillow"), (npy, "a float32 .npy")):
        yield Row("disk: a record", ours, other, "bytes", other / ours, "none", None, against)
