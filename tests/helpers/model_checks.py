"""What every network of this repository must pass."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np


def check_model(
    build: Callable[[], keras.Model], batch: np.ndarray, target: np.ndarray, loss, folder: Path
) -> None:
    """Save and load, mixed precision, dynamic batch, one step of training.

    Args:
        build: Makes the network.
        batch: (3 or more, ...) what goes in.
        target: What is to come out for it.
        loss: To train with.
        folder: Where the saved model goes.
    """
    model = build()
    check_layer_names(model)
    check_saves_and_loads(model, batch, folder)
    check_dynamic_batch(model, batch)
    check_mixed_precision(build, batch)
    check_two_steps(model, batch, target, loss)


def check_layer_names(model: keras.Model) -> None:
    """Every layer with weights has a name of ours or of keras.applications."""
    automatic = ("conv2d", "dense", "batch_normalization", "activation", "add", "concatenate")
    for layer in model.layers:
        if layer.weights:
            assert not layer.name.startswith(automatic), layer.name


def check_saves_and_loads(model: keras.Model, batch: np.ndarray, folder: Path) -> Path:
    """The ``.keras`` file holds nothing but Keras's own, and gives the same output."""
    path = folder / "saved.keras"
    model.save(path)
    for module, registered in _parts(path):
        assert module is None or module.split(".")[0] == "keras", module
        assert registered is None or ">" not in registered, registered
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(output(loaded, batch), output(model, batch))
    return path


def check_dynamic_batch(model: keras.Model, batch: np.ndarray) -> None:
    """The output for an image does not depend on what else is in the batch."""
    assert model.input_shape[0] is None
    together = output(model, batch)
    np.testing.assert_allclose(output(model, batch[:1]), together[:1], atol=1e-5)


def check_mixed_precision(build: Callable[[], keras.Model], batch: np.ndarray) -> None:
    """Under mixed precision layers compute in half, and the output is float32 and finite."""
    with dtype_policy("mixed_bfloat16"):
        model = build()
        outputs = model(batch)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()
    half = [layer for layer in model.layers if layer.compute_dtype == "bfloat16"]
    assert len(half) > len(model.layers) / 2


def check_two_steps(model: keras.Model, batch: np.ndarray, target: np.ndarray, loss) -> None:
    """Two steps of descent reach every trainable weight and leave all of them finite.

    The first step opens the residual branches, which start closed; the second reaches inside.
    """
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(1e-3), loss, run_eagerly=True)
    for _ in range(2):
        assert np.isfinite(model.train_on_batch(batch, target))
    for old, weight in zip(before, model.trainable_weights, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert (new != old).any(), weight.path


def output(model: keras.Model, batch: np.ndarray) -> np.ndarray:
    """What the network says in inference."""
    return keras.ops.convert_to_numpy(model(batch, training=False))


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Another policy for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def shake(model: keras.Model, seed: int = 0) -> None:
    """Give every weight, moving averages too, another positive value near its own."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value * rng.uniform(0.8, 1.2, value.shape) + rng.uniform(0, 0.01))


def save_as_applications(layers: list[keras.Layer], path: Path) -> None:
    """Weights in the layout of keras.applications' files: names in attributes, those with ":0"."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = keras.ops.convert_to_numpy(weight)


def _parts(path: Path) -> Iterator[tuple[str | None, str | None]]:
    with zipfile.ZipFile(path) as archive:
        waiting = [json.loads(archive.read("config.json"))]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            if "class_name" in entry:
                yield entry.get("module"), entry.get("registered_name")
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)
