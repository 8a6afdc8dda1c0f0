"""Every kind of writer, over an old file, in a folder that has no room: FOLDER."""

import sys
from pathlib import Path

import numpy as np

from common.base.backend import start_tensorflow
from common.base.errors import disk_fault
from common.base.files import atomic_write, write_bytes, write_csv, write_json

LARGE = 1 << 22


def tfrecord(path):
    import tensorflow as tf

    with atomic_write(path) as beside, tf.io.TFRecordWriter(str(beside)) as writer:
        writer.write(np.random.default_rng(0).bytes(LARGE))


def model(path):
    import keras

    start_tensorflow()
    image = keras.Input((1024,))
    with atomic_write(path) as beside:
        keras.Model(image, keras.layers.Dense(1024)(image)).save(beside)


def arrays(path):
    with atomic_write(path) as beside:
        np.savez(beside, a=np.zeros(LARGE, np.uint8))


def picture(path):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048), np.uint8)
    with atomic_write(path) as beside:
        Image.fromarray(noise).save(beside)


WRITERS = {
    "a.tfrecord": tfrecord,
    "a.keras": model,
    "a.npz": arrays,
    "a.png": picture,
    "a.json": lambda path: write_json(path, ["x" * LARGE]),
    "a.csv": lambda path: write_csv(path, ["x"], [{"x": "y" * LARGE}]),
    "a.gif": lambda path: write_bytes(path, bytes(LARGE)),
}


def main(folder):
    for name, write in WRITERS.items():
        path = folder / name
        path.write_text("old")
        try:
            write(path)
            result = "was written"
        except OSError as error:
            result = f"{disk_fault(error)} {error.filename == str(path)} {path.read_text()}"
        print(name, result)
    print("left", sorted(path.name for path in folder.iterdir()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
