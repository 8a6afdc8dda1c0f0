"""Saved models, float32 whatever trained them; what a file declares is held against its bytes."""

from __future__ import annotations

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import keras

from common.base.errors import UserError

# Those of float16, the smallest format that a weight has.
_BYTES_PER_WEIGHT = 2
# What Keras 3.13 to 3.15 write of every layer, at its usual value, and Keras 3.12 to 3.14 refuse.
_NEW_ARGUMENTS = {
    **{"input_axes": None, "output_axes": None, "quantization_config": None},
    **{"renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99},
}


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model in float32, as a ``.keras`` file that Keras 3.12 to 3.15 open.

    Raises:
        OSError: It cannot be written.
    """
    in_float32(model).save(path)
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            if entry.filename == "config.json":
                content = json.dumps(_without_new_arguments(json.loads(content))).encode()
            archive.writestr(entry, content)


def _without_new_arguments(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_new_arguments(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        name: _without_new_arguments(value)
        for name, value in config.items()
        if name not in _NEW_ARGUMENTS or value != _NEW_ARGUMENTS[name]
    }


def load_model(path: Path) -> keras.Model:
    """Load a ``.keras`` file in safe mode, in float32, for inference.

    Raises:
        UserError: It is not there, or not a model that this Keras reads.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such model; did the training end?")
    try:
        check_declared(path)
        return in_float32(keras.saving.load_model(path, compile=False, safe_mode=True))
    except Exception as error:  # Keras raises many types for a damaged file.
        if (version := keras_version(path)) not in ("", keras.__version__):
            raise UserError(
                f"{path}: was saved by Keras {version}, and Keras {keras.__version__} cannot load "
                f"it ({type(error).__name__}); pip install keras=={version}, or update this "
                "repository"
            ) from error
        raise UserError(
            f"{path}: cannot be loaded ({type(error).__name__}); it is damaged or no model of "
            "this repository: train again"
        ) from error


def keras_version(path: Path) -> str:
    """The version of Keras that saved a ``.keras`` file; "" where the file does not say it."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return ""
    return version if re.fullmatch(r"\d[\w.+-]{0,30}", str(version)) else ""


def in_float32(model: keras.Model) -> keras.Model:
    """A model whose layers compute in float32; one of mixed precision is copied, weights too.

    ONNX, LiteRT and tf-explain know no bfloat16.
    """
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model
    return in_format(model, "float32")


def in_format(model: keras.Model, policy: str) -> keras.Model:
    """A copy of a model, weights too, whose layers have a policy of Keras: mixed_bfloat16."""

    def copied(operation: keras.Operation) -> keras.Operation:
        dtype = {"dtype": policy} if isinstance(operation, keras.Layer) else {}
        return type(operation).from_config({**operation.get_config(), **dtype})

    copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


def check_declared(path: Path) -> None:
    """Refuse a model whose configuration asks for more weights than the file has bytes.

    The model is built without memory for its weights, in safe mode: nothing in the file runs.

    Raises:
        ValueError: It declares more than it holds. Keras raises many other types for a file that
            is damaged, and whatever else is no model.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        # Keras stores and does not compress; what unpacks to more was not written by it.
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise ValueError("unpacks to more bytes than it has")
        config = json.loads(archive.read("config.json"))
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if sum(math.prod(weight.shape) for weight in model.weights) * _BYTES_PER_WEIGHT > size:
        raise ValueError("declares more weights than it has bytes")
