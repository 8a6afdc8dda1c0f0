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


def model_faults(
    build: Callable[[], keras.Model], batch: np.ndarray, target: np.ndarray, loss, folder: Path
) -> list[str]:
    """What is wrong with a network: names, saving, mixed precision, dynamic batch, training.

    Args:
        build: Makes the network.
        batch: (3 or more, ...) what goes in.
        target: What is to come out for it.
        loss: To train with.
        folder: Where the saved model goes.
    """
    model = build()
    return [
        *faults_of_names(model),
        *faults_of_a_saved_model(model, batch, folder),
        *faults_of_a_batch(model, batch),
        *faults_of_mixed_precision(build, batch),
        *faults_of_two_steps(model, batch, target, loss),
    ]


def faults_of_names(model: keras.Model) -> Iterator[str]:
    """Every layer with weights has a name of ours or of keras.applications."""
    automatic = ("conv2d", "dense", "batch_normalization", "activation", "add", "concatenate")
    for layer in model.layers:
        if layer.weights and layer.name.startswith(automatic):
            yield f"{layer.name}: an automatic name"


def faults_of_a_saved_model(model: keras.Model, batch: np.ndarray, folder: Path) -> Iterator[str]:
    """The ``.keras`` file holds nothing but Keras's own, and gives the same output."""
    path = folder / "saved.keras"
    model.save(path)
    for module, registered in _parts(path):
        if (module or "keras").split(".")[0] != "keras" or ">" in (registered or ""):
            yield f"{module} {registered}: not of Keras"
    loaded = keras.models.load_model(path, safe_mode=True)
    if not np.array_equal(output(loaded, batch), output(model, batch)):
        yield "another output once it was saved and loaded"


def faults_of_a_batch(model: keras.Model, batch: np.ndarray) -> Iterator[str]:
    """The output for an image does not depend on what else is in the batch."""
    if model.input_shape[0] is not None:
        yield f"batches of {model.input_shape[0]} alone"
    if not np.allclose(output(model, batch[:1]), output(model, batch)[:1], atol=1e-5):
        yield "the output for an image depends on its batch"


def faults_of_mixed_precision(build: Callable[[], keras.Model], batch: np.ndarray) -> Iterator[str]:
    """Under mixed precision layers compute in half, and the output is float32 and finite."""
    with dtype_policy("mixed_bfloat16"):
        model = build()
        outputs = model(batch)
    if keras.backend.standardize_dtype(outputs.dtype) != "float32":
        yield f"mixed precision: the output is {outputs.dtype}"
    if not np.isfinite(keras.ops.convert_to_numpy(outputs)).all():
        yield "mixed precision: the output is not finite"
    half = [layer for layer in model.layers if layer.compute_dtype == "bfloat16"]
    if len(half) <= len(model.layers) / 2:
        yield f"mixed precision: {len(half)} of {len(model.layers)} layers compute in it"


def faults_of_two_steps(
    model: keras.Model, batch: np.ndarray, target: np.ndarray, loss
) -> Iterator[str]:
    """Two steps of descent reach every trainable weight and leave all of them finite.

    The first step opens the residual branches, which start closed; the second reaches inside.
    """
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(1e-3), loss, run_eagerly=True)
    if not all(np.isfinite(model.train_on_batch(batch, target)) for _ in range(2)):
        yield "the loss is not finite"
    for old, weight in zip(before, model.trainable_weights, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        if not np.isfinite(new).all() or not (new != old).any():
            yield f"{weight.path}: not finite after two steps, or not trained"


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


def save_as_applications(
    layers: list[keras.Layer], path: Path, renamed: tuple[str, str] = ("", "")
) -> Path:
    """Weights in the layout of keras.applications' files: names in attributes, those with ":0"."""
    with h5py.File(path, "w") as file:
        names = [layer.name.replace(*renamed) for layer in layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for layer, name in zip(layers, names, strict=True):
            group = file.create_group(name)
            weights = [f"{name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for place, weight in zip(weights, layer.weights, strict=True):
                group[place] = keras.ops.convert_to_numpy(weight)
    return path


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
