"""Weights to start from: taken from a file or a run by the names and shapes of layers.

Only arrays are read. No model is built from a configuration and nothing is unpickled, so a
file from a stranger can do no more than hold other numbers.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import keras

from common.base.errors import UserError
from common.models.backbones import BACKBONES

Arrays = Mapping[str, list[h5py.Dataset]]
"""By the name of their layer."""


def imagenet_file(backbone: str) -> Path:
    """The ImageNet weights of a network of keras.applications, without its head.

    Args:
        backbone: One of `backbones.BACKBONES`.

    Returns:
        The file in Keras's own cache; it is downloaded if it is not there.

    Raises:
        UserError: The download fails. The message names the file, the folder to put it
            in by hand and what else can be done.
    """
    folder, file, md5 = BACKBONES[backbone].file
    # Keras's own folder, which Keras does not know if `start_tensorflow` imported it.
    home = Path(os.environ.get("KERAS_HOME", "~/.keras"))
    with suppress(OSError, RuntimeError):  # Keras takes another where this one can't be written
        home = home.expanduser()
        home.mkdir(parents=True, exist_ok=True)
    try:
        options = {"cache_dir": home, "cache_subdir": "models", "file_hash": md5}
        with _an_end_to_waiting():
            return Path(keras.utils.get_file(file, folder + file, **options))
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise UserError(
            f"the ImageNet weights could not be downloaded ({error}). Get {file} from "
            f"{folder} on another machine and put it into {home / 'models'}, or choose "
            "--weights none, or --weights with a weights file or the folder of a finished run"
        ) from error


@contextmanager
def _an_end_to_waiting() -> Iterator[None]:
    """A server that is silent for half a minute counts as one that is not there."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def take_imagenet(model: keras.Model, backbone: str) -> list[str]:
    """Copy ImageNet's weights into the backbone of ``model``.

    Args:
        model: With the layers of the backbone.
        backbone: One of `backbones.BACKBONES`.

    Returns:
        The names of the layers taken, in the backbone's order.

    Raises:
        UserError: The file cannot be had, or is not that network's.
    """
    path = imagenet_file(backbone)
    try:
        network = read_official(path, backbone)
    except UserError as error:
        raise UserError(f"{error}; remove it, so that ImageNet's is downloaded again") from error
    taken = [layer for layer in network.layers if layer.weights]
    for layer in taken:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    return [layer.name for layer in taken]


def read_official(path: Path, backbone: str) -> keras.Model:
    """A network of keras.applications without its head, with the weights of a file of its layout.

    Keras reads its own files, by the order of their layers: the names in them are of older
    versions.

    Args:
        path: A ``.h5`` file.
        backbone: One of `backbones.BACKBONES`.

    Raises:
        UserError: It is not that network's, or cannot be read.
    """
    official = BACKBONES[backbone]
    network = official.build(
        include_top=False, weights=None, input_shape=(224, 224, 3), **official.options
    )
    try:
        network.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: not readable as the weights of {backbone} in Keras's own layout ({error})"
        ) from error
    return network


def take_weights(
    model: keras.Model, source: str | Path, head: Collection[str] = (), anew: Collection[str] = ()
) -> list[str]:
    """Copy into ``model`` every layer of ``source`` that has the same name and shapes.

    Args:
        model: A built model.
        source: A ``.keras`` or ``.weights.h5`` file, an older ``.h5`` file (such as those
            of keras.applications), or the folder of a run, which holds ``model.keras``.
        head: Names of the layers that may keep their own values, where ``source`` lacks
            them or has them in another shape.
        anew: Of these, names of the layers that keep their own values whatever ``source`` holds.

    Returns:
        The names of the layers taken, in the model's order.

    Raises:
        UserError: The file is not there or is of another kind, or a layer outside ``head``
            is not in it with the same shapes; the model is then as it was.
    """
    path = _file(source)
    if not path.is_file():
        raise UserError(
            f"{path}: there are no weights here; --weights is imagenet, none, auto, a .keras "
            "or .weights.h5 file, or the folder of a run that has a model.keras"
        )
    layers = [layer for layer in model.layers if layer.weights]
    with _open_arrays(path) as arrays:
        taken = [layer for layer in layers if layer.name not in anew and _fits(layer, arrays)]
        missing = [layer for layer in layers if layer not in taken and layer.name not in head]
        if missing:
            first = missing[0]
            shapes = [tuple(weight.shape) for weight in first.weights]
            file_shapes = [array.shape for array in arrays.get(first.name, [])]
            raise UserError(
                f"{path}: its weights do not fit {model.name}: {len(taken)} of {len(layers)} "
                f"layers do; the first that does not is {first.name}, with the shapes {shapes} "
                f"here and {file_shapes or 'none'} there. Give the weights of the same network"
            )
        for layer in taken:
            layer.set_weights([array[()] for array in arrays[layer.name]])
    return [layer.name for layer in taken]


def described(source: str | Path) -> tuple[str, set[str]]:
    """The name of the model of a ``.keras`` file or of a run, and those of its layers.

    Nothing of another file.
    """
    try:
        config = json.loads(_entry(_file(source), "config.json"))["config"]
        return str(config["name"]), {layer["config"]["name"] for layer in config["layers"]}
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return "", set()


def _file(source: str | Path) -> Path:
    return Path(source) / "model.keras" if Path(source).is_dir() else Path(source)


def _fits(layer: keras.Layer, arrays: Arrays) -> bool:
    shapes = [array.shape for array in arrays.get(layer.name, [])]
    return shapes == [tuple(weight.shape) for weight in layer.weights]


@contextmanager
def _open_arrays(path: Path) -> Iterator[Arrays]:
    """The arrays of a weights file by the name of their layer, read when they are indexed."""
    try:
        content = _content(path)
        _check_heaps(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            yield _arrays(file)
    except (
        *(OSError, KeyError, ValueError, RuntimeError, EOFError),
        *(OverflowError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise UserError(
            f"{path}: not readable as Keras weights ({error}); give a .keras or .weights.h5 file"
        ) from error


def _content(path: Path) -> bytes:
    """A file of weights, read whole; of a ``.keras`` file, so that its checksum is looked at."""
    return _entry(path, "model.weights.h5") if path.suffix == ".keras" else path.read_bytes()


def _entry(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(name).file_size > path.stat().st_size:
            raise ValueError("unpacks to more bytes than it has")
        return archive.read(name)


# Where a global heap begins, and its size.
_HEAP = re.compile(rb"GCOL\x01\0\0\0(.{8})", re.DOTALL)


def _check_heaps(content: bytes) -> None:
    """Refuse a heap of names in which a free object has no length: HDF5 never comes to its end.

    HDF5 File Format Specification 3.0, III.E, global heap.
    """
    for heap in _HEAP.finditer(content):
        end = min(heap.start() + int.from_bytes(heap[1], "little"), len(content))
        position = heap.end()
        while position + 16 <= end:
            index, size = struct.unpack_from("<H6xQ", content, position)
            if index == 0 and size < 16:
                raise ValueError("a heap of names in it has no end")
            position += 16 + -(-size // 8) * 8 if index else size


def _arrays(file: h5py.File) -> Arrays:
    # Files of Keras 2 and of keras.applications name layers and weights in attributes; a
    # whole model in that format holds the same one level down.
    legacy = file.get("model_weights", file)
    if "layer_names" in legacy.attrs:
        return {
            _text(layer): [
                _inside(legacy[_text(layer)][_text(weight)])
                for weight in legacy[_text(layer)].attrs["weight_names"]
            ]
            for layer in legacy.attrs["layer_names"]
        }
    # Keras 3 numbers layers by their class and keeps the name with the variables.
    arrays: dict[str, list[h5py.Dataset]] = {}

    def visit(_: str, entry: h5py.HLObject) -> None:
        if isinstance(entry, h5py.Group) and "name" in entry.attrs:
            keys = sorted((key for key in entry if key.isdigit()), key=int)
            arrays[_text(entry.attrs["name"])] = [_inside(entry[key]) for key in keys]

    file.visititems(visit)
    return arrays


def _inside(array: h5py.Dataset) -> h5py.Dataset:
    # HDF5 can point at any other file of the machine.
    if array.external or array.is_virtual:
        raise ValueError(f"{array.name} points outside the file")
    return array


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
