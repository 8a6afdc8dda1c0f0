"""The arrays of a PyTorch file, read without PyTorch.

Such a file is a pickle, which can name any function of the machine to be called. Here nothing that
it names is imported or called: tensors become arrays, and whatever else stands in it an object that
does nothing (https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.base.errors import UserError

# What a file begins with that is no archive (torch/serialization.py).
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Modules within modules.
_MAX_DEPTH = 50


def read_torch_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that ``torch.save`` wrote, of a state dict or of a whole module.

    Args:
        path: A ``.pt`` or ``.pth`` file, an archive or of the format before PyTorch 1.6.

    Returns:
        By their names in the state dict ("features.conv0.weight"), without the "module." that
        DataParallel puts before them: arrays with PyTorch's order of axes.

    Raises:
        UserError: It is no such file, is damaged, or holds no arrays.
    """
    try:
        is_archive = zipfile.is_zipfile(path)
        saved = _of_archive(path) if is_archive else _of_stream(path.read_bytes())
        arrays = dict(_named(saved))
    except (
        *(OSError, EOFError, KeyError, ValueError, TypeError, IndexError, AttributeError),
        *(RuntimeError, OverflowError, MemoryError, struct.error),
        *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise UserError(
            f"{path}: not readable as a PyTorch file ({error}); give a .pt or .pth file as "
            "torch.save writes it, of a state dict or of a module"
        ) from error
    if not arrays:
        raise UserError(f"{path}: holds no arrays; give the file of a state dict or of a module")
    return arrays


@dataclass
class _Storage:
    """Numbers in a row, of which tensors are parts; they stand elsewhere in the file."""

    dtype: str
    count: int
    numbers: np.ndarray | None = None

    def fill(self, content: bytes | memoryview) -> None:
        self.numbers = np.frombuffer(content, self.dtype, self.count)


@dataclass
class _Tensor:
    """A part of a storage: where it begins, its shape, and the steps along its axes."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = self.storage.numbers
        if numbers is None:
            raise ValueError("the numbers of a tensor are not in it")
        axes = list(zip(self.shape, self.steps, strict=True))
        last = self.start + sum((length - 1) * step for length, step in axes)
        is_sound = min((self.start, *self.shape, *self.steps)) >= 0
        if not is_sound or max(last, math.prod(self.shape) - 1) >= len(numbers):
            raise ValueError("a tensor in it reaches past its numbers")
        strides = [step * numbers.itemsize for step in self.steps]
        return np.lib.stride_tricks.as_strided(numbers[self.start :], self.shape, strides).copy()


class _Inert:
    """Stands for whatever else a pickle names: it can be called and filled, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the pickle gives."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, *_: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """As of a list."""

    add = append


class _Unpickler(pickle.Unpickler):
    """Imports nothing of what a pickle names; collects the storages of its tensors by their key."""

    def __init__(self, content: io.BytesIO) -> None:
        super().__init__(content)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor": _tensor,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
        }
        return known.get(f"{module}.{name}", _Inert)

    def persistent_load(self, place: Any) -> Any:
        kind, dtype, *rest = place
        if kind == "module":  # A class, and its source, before PyTorch 1.6.
            return dtype
        if dtype not in _DTYPES.values():
            raise ValueError("numbers of a kind that is not read")
        key, _, count = rest[:3]
        return self.storages.setdefault(str(key), _Storage(dtype, int(count)))


def _tensor(storage: _Storage, start: int, shape: Any, steps: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, int(start), tuple(map(int, shape)), tuple(map(int, steps)))


def _of_archive(path: Path) -> Any:
    """What an archive holds: data.pkl in one folder, and there the numbers of each storage."""
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = pickled.removesuffix("data.pkl")
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("unpacks to more bytes than it has")
        unpickler = _Unpickler(io.BytesIO(archive.read(pickled)))
        saved = unpickler.load()
        for key, storage in unpickler.storages.items():
            storage.fill(archive.read(f"{root}data/{key}"))
    return saved


def _of_stream(content: bytes) -> Any:
    """What a file before PyTorch 1.6 holds: pickles in a row, then the storages' numbers."""
    stream = io.BytesIO(content)
    if _Unpickler(stream).load() != _MAGIC_NUMBER:
        raise ValueError("begins as no file of PyTorch")
    for _ in ("protocol", "machine"):
        _Unpickler(stream).load()
    unpickler = _Unpickler(stream)
    saved = unpickler.load()
    for key in _Unpickler(stream).load():
        storage = unpickler.storages[str(key)]
        (count,) = struct.unpack("<q", stream.read(8))
        if count != storage.count:
            raise ValueError("a storage in it has another length than its tensors were told")
        storage.fill(stream.read(count * np.dtype(storage.dtype).itemsize))
    return saved


def _named(saved: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a state dict, or of a module and those in it, by their names."""
    if depth > _MAX_DEPTH:
        raise ValueError("modules in it are nested without end")
    if isinstance(saved, Mapping):
        saved = saved.get("state_dict", saved)
        entries = saved.items() if isinstance(saved, Mapping) else ()
        for name, value in entries:
            if isinstance(value, _Tensor):
                yield f"{before}{name}".removeprefix("module."), value.array()
        return
    parts = vars(saved) if isinstance(saved, _Inert) else {}
    for kind in ("_parameters", "_buffers"):
        yield from _named(parts.get(kind, {}), before, depth + 1)
    for name, module in dict(parts.get("_modules", {})).items():
        yield from _named(module, f"{before}{name}.", depth + 1)
