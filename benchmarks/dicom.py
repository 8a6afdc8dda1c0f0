"""DICOM to TFRecord, next to the plain way and to decoding and resizing alone."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from timeit import timeit
from typing import Any

import pydicom
from PIL import Image

from benchmarks import bare, datasets
from benchmarks.bare import STORED
from benchmarks.measuring import Options, Row, compared, in_turn, timed
from common.base.processes import each
from pneumonia_classification.dataset import decode_case


def rows(options: Options) -> Iterator[Row]:
    """Images per second for each core, and for all cores."""
    cores = os.cpu_count() or 1
    count, few = options.size(4800, 96), options.size(200, 48)
    work = options.work / "dicom"
    files = datasets.linked(datasets.films(options), work / "films", count)
    name, decode = fastest_decoder(files[0])
    print(f"   {count} films of {files[0].stat().st_size // 1000} KB; fastest decoder: {name}")
    whole, plain, least = in_turn(
        timed(lambda: prepare_films(files, work)),
        timed(lambda: plain_way(files[:few], work / "plain.tfrecord")),
        timed(lambda: each(partial(bare.decode_film, decode=decode), files, 0, desc="bare")),
    )
    shutil.rmtree(work)
    stage, a_core = "DICOM to TFRecord", count / whole / cores
    against = "pixel_array, Pillow resize, PNG, TFRecord; one process"
    yield compared(f"{stage}, a core", against, a_core, few / plain, "images/s", 6.0)
    against = f"decode ({name}) and resize alone"
    yield compared(f"{stage}, all cores", against, count / whole, count / least, "images/s", 0.8)


def prepare_films(files: list[Path], work: Path) -> None:
    """As prepare_data.py does it, from files to shards."""
    folder = work / "ours"
    case = {"split": "train", "copy": 0, "seed": 0, "label": 0, "boxes": []}
    size = {"rows": datasets.FILM_SIZE, "columns": datasets.FILM_SIZE}
    cases = [{"case": file.stem, "path": file.name, **case, **size} for file in files]
    decode = partial(
        decode_case, source=files[0].parent, folder=folder, image_size=STORED, stretch=False
    )
    datasets.write_shards(folder, cases, decode, 512)


def plain_way(files: list[Path], path: Path) -> None:
    """The loop that one would write first; one process."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for file in files:
            image = Image.fromarray(pydicom.dcmread(file).pixel_array).resize((STORED, STORED))
            png = io.BytesIO()
            image.save(png, "PNG")
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.getvalue()]))
            features = tf.train.Features(feature={"image": feature})
            writer.write(tf.train.Example(features=features).SerializeToString())


def fastest_decoder(file: Path) -> tuple[str, Callable[[bytes], Any]]:
    """The fastest installed decoder: its name and function."""
    frame = bare.jpeg_frame(file)
    decoders = [("Pillow", "PIL", bare.pillow), ("OpenCV", "cv2", bare.opencv)]
    decoders += [("simplejpeg", "simplejpeg", bare.simplejpeg)]
    installed = [(name, decode) for name, module, decode in decoders if find_spec(module)]
    runs = [partial(timeit, partial(decode, frame), number=20) for _, decode in installed]
    seconds = in_turn(*runs)
    return installed[seconds.index(min(seconds))]
