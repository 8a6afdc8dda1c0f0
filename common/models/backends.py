"""What Keras has no word of its own for, on each of its backends: TensorFlow, JAX and PyTorch.

The rest of the repository is `keras` and `keras.ops`, and tf.data, which reads for every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

BACKEND: str = keras.backend.backend()
"""The one that Keras was imported with: "tensorflow", "jax" or "torch"."""


def gpu_count() -> int:
    """The graphics cards that the backend has found."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    if BACKEND == "jax":
        import jax

        return sum(device.platform == "gpu" for device in jax.local_devices())
    import torch

    return int(torch.cuda.device_count())


def gpu_capability() -> tuple[int, int]:
    """The compute capability of the first graphics card, such as (8, 0); there has to be one."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        first = tf.config.list_physical_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(first)
        return details.get("compute_capability", (8, 0))
    if BACKEND == "jax":
        import jax

        capability = getattr(jax.local_devices()[0], "compute_capability", "8.0")
        major, _, minor = capability.partition(".")
        return int(major), int(minor)
    import torch

    return torch.cuda.get_device_capability(0)


def gpu_name() -> str:
    """What the first graphics card calls itself; there has to be one."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        first = tf.config.list_physical_devices("GPU")[0]
        return str(tf.config.experimental.get_device_details(first).get("device_name", first.name))
    if BACKEND == "jax":
        import jax

        return str(jax.local_devices()[0].device_kind)
    import torch

    return str(torch.cuda.get_device_name(0))


def begin_step(seed: int, epoch: int, step: int) -> None:
    """Let what a training step draws hang on (seed, epoch, step) alone, not on what came before.

    On PyTorch dropout draws from one stream of the process, which no checkpoint holds; elsewhere
    from variables of the model.
    """
    if BACKEND == "torch":
        import torch

        torch.manual_seed((seed * 1_000_003 + epoch) * 1_000_003 + step)


def assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Give variables values that all ranks have (`common.base.hosts`).

    JAX would have the ranks compare each of them.
    """
    for variable, value in zip(variables, values, strict=True):
        if _distribution() is not None:
            import jax

            layout = variable.value.sharding
            value = jax.make_array_from_process_local_data(layout, np.asarray(value))
        variable.assign(value)


@contextmanager
def alone(model: keras.Model) -> Iterator[keras.Model]:
    """A model to predict with in this process alone: a copy, where it is of several ranks."""
    distribution = _distribution()
    if distribution is None:
        yield model
        return
    weights = model.get_weights()
    keras.distribution.set_distribution(None)
    try:
        # Of the network alone: Keras would compile a copy of a compiled model again.
        network = keras.Model(model.input, model.outputs, name=model.name)
        copy = keras.models.clone_model(network)
        copy.set_weights(weights)
        yield copy
    finally:
        keras.distribution.set_distribution(distribution)


def write_back(model: keras.Model) -> None:
    """Let a model's variables be what its training has come to, between two steps of `fit`.

    On JAX an epoch's steps hand the values from one to the next, and the variables have none.
    """
    if BACKEND == "jax":
        model.jax_state_sync()


def training_pass(model: keras.Model) -> Callable[[Any], None]:
    """A function of a batch of tf.data that passes it through as in training, compiled once.

    It changes the moving statistics of the model's layers, and no weights.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        # Traced once, whatever the number of epochs.
        return tf.function(lambda batch: model(batch, training=True), reduce_retracing=True)
    if BACKEND == "jax":
        import jax

        def changed(weights: list[Any], others: list[Any], batch: Any) -> list[Any]:
            return model.stateless_call(weights, others, batch, training=True)[1]

        compiled = jax.jit(changed)

        def on_jax(batch: Any) -> None:
            variables = (model.trainable_variables, model.non_trainable_variables)
            values = ([variable.value for variable in part] for part in variables)
            changes = compiled(*values, _of_all_ranks(batch))
            for variable, value in zip(model.non_trainable_variables, changes, strict=True):
                variable.assign(value)

        return on_jax
    import torch

    def on_torch(batch: Any) -> None:
        with torch.no_grad():
            model(_as_arrays(batch), training=True)

    return on_torch


def activations_and_gradients(
    model: keras.Model, layer: keras.Layer, images: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a layer gives, and the gradient of a score by it.

    Args:
        model: Of images to two outputs: what the layer gives, and scores (cases, scores).
        layer: Of the model.
        images: (cases, height, width, channels).
        numbers: (cases,) int, which score is meant of each.

    Returns:
        Twice (cases, height, width, channels) of the layer, float32.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            inputs = tf.convert_to_tensor(images, tf.float32)
            activations, scores = model(inputs, training=False)
            chosen = tf.gather(scores, numbers, axis=1, batch_dims=1)
        gradients = tape.gradient(chosen, activations)
    elif BACKEND == "jax":
        activations, gradients = _on_jax(model, layer, images, numbers)
    else:
        import torch

        activations, scores = model(images.astype(np.float32), training=False)
        chosen = scores[torch.arange(len(images)), torch.as_tensor(numbers)]
        [gradients] = torch.autograd.grad(chosen.sum(), activations)
    values = (keras.ops.cast(each, "float32") for each in (activations, gradients))
    first, second = map(keras.ops.convert_to_numpy, values)
    return first, second


def _on_jax(
    model: keras.Model, layer: keras.Layer, images: np.ndarray, numbers: np.ndarray
) -> tuple[Any, Any]:
    """JAX has the gradient by an argument of a function: here by what is added to the output."""
    import jax
    from jax import numpy as jnp

    def score(added: Any) -> tuple[Any, Any]:
        call = layer.call
        layer.call = lambda *inputs, **options: call(*inputs, **options) + added
        try:
            activations, scores = model(images.astype(np.float32), training=False)
        finally:
            del layer.call
        return scores[jnp.arange(len(images)), numbers].sum(), activations

    shape = (len(images), *layer.output.shape[1:])
    zeros = jnp.zeros(shape, layer.compute_dtype)
    gradients, activations = jax.grad(score, has_aux=True)(zeros)
    return activations, gradients


def _as_arrays(batch: Any) -> Any:
    return keras.tree.map_structure(np.asarray, batch)


def _of_all_ranks(batch: Any) -> Any:
    """A batch of which each rank gives its own rows; the rows themselves without ranks."""
    distribution = _distribution()
    if distribution is None:
        return _as_arrays(batch)
    import jax

    def whole(rows: np.ndarray) -> Any:
        layout = distribution.get_data_layout(rows.shape).backend_layout
        return jax.make_array_from_process_local_data(layout, rows)

    return keras.tree.map_structure(whole, _as_arrays(batch))


def _distribution() -> Any:
    """What divides batches among the devices of all ranks; None without ranks."""
    return keras.distribution.distribution() if BACKEND == "jax" else None
