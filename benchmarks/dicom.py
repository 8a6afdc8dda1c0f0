"""DICOM to TFRecord, beside the plain way and beside decoding and resizing alone."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.measuring import Options, Row, compared, in_turn, timed

STORED = 224


def rows(options: Options) -> Iterator[Row]:
    """Images a second for each core, and for all cores."""
    from common.base.processes import each

    cores = os.cpu_count() or 1
    count, few = options.size(4800, 96), options.size(200, 48)
    work = options.work / "dicom"
    files = datasets.linked(datasets.films(options), work / "films", count)
    name, decode = fastest_decoder(files[0])
    print(f"   {count} films of {files[0].stat().st_size // 1000} KB; fastest decoder: {name}")
    whole, plain, bare = in_turn(
        timed(lambda: ours(files, work)),
        timed(lambda: plain_way(files[:few], work / "plain.tfrecord")),
        timed(lambda: each(partial(bare_limit, decode=decode), files, 0, desc="bare")),
    )
    shutil.rmtree(work)
    yield compared(
        "DICOM to TFRecord, a core",
        "pixel_array, Pillow resize, PNG, TFRecord; one process",
        count / whole / cores,
        few / plain,
        "images/s",
        6.0,
    )
    yield compared(
        "DICOM to TFRecord, all cores",
        f"decode ({name}) and resize alone",
        count / whole,
        count / bare,
        "images/s",
        0.8,
    )


def ours(files: list[Path], work: Path) -> None:
    """As prepare_data.py does it, from files to shards."""
    from common.records import shards
    from pneumonia_classification.prepare_data import decode_case

    folder = work / "ours"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case = {"split": "train", "copy": 0, "seed": 0, "label": 0, "boxes": []}
    size = {"rows": datasets.SIDE, "columns": datasets.SIDE}
    cases = [{"case": file.stem, "path": file.name, **case, **size} for file in files]
    decode = partial(decode_case, source=files[0].parent, folder=folder, side=STORED, stretch=False)
    _, left_out = shards.write_shards(folder, cases, decode, 512, 0)
    if left_out:
        raise RuntimeError(f"{len(left_out)} films were not read: {next(iter(left_out.values()))}")


def plain_way(files: list[Path], path: Path) -> None:
    """As one would write it down first."""
    import pydicom
    import tensorflow as tf
    from PIL import Image

    with tf.io.TFRecordWriter(str(path)) as writer:
        for file in files:
            image = Image.fromarray(pydicom.dcmread(file).pixel_array).resize((STORED, STORED))
            png = io.BytesIO()
            image.save(png, "PNG")
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.getvalue()]))
            features = tf.train.Features(feature={"image": feature})
            writer.write(tf.train.Example(features=features).SerializeToString())


def bare_limit(file: Path, decode: Callable[[bytes], Any]) -> None:
    """Decode and resize, and nothing else: the frame is cut out by its markers."""
    from PIL import Image

    pixels = decode(_frame(file))
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.resize((STORED, STORED), Image.Resampling.BILINEAR)


def fastest_decoder(file: Path) -> tuple[str, Callable[[bytes], Any]]:
    """The name of the fastest decoder that is installed here, and it."""
    frame, found = _frame(file), {}
    for name, decode in {"Pillow": pillow, "OpenCV": opencv, "simplejpeg": simplejpeg}.items():
        try:
            decode(frame)
        except ImportError:
            continue
        found[name] = decode

    def many(decode: Callable[[bytes], Any]) -> None:
        for _ in range(20):
            decode(frame)

    seconds = in_turn(*[timed(partial(many, decode)) for decode in found.values()])
    return min(zip(seconds, found.items(), strict=True), key=lambda pair: pair[0])[1]


def pillow(frame: bytes) -> Any:
    """A JPEG by Pillow, to its image."""
    from PIL import Image

    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    image.load()
    return image


def opencv(frame: bytes) -> Any:
    """A JPEG by OpenCV, to an array."""
    import cv2
    import numpy as np

    return cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE)


def simplejpeg(frame: bytes) -> Any:
    """A JPEG by simplejpeg, to an array."""
    import simplejpeg

    return simplejpeg.decode_jpeg(frame, "GRAY")[..., 0]


def _frame(file: Path) -> bytes:
    content = file.read_bytes()
    return content[content.index(b"\xff\xd8\xff") : content.rindex(b"\xff\xd9") + 2]
