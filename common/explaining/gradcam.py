"""Grad-CAM: where a classifier looked (Selvaraju et al. 2017, arXiv:1610.02391).

By tf-explain where it works, which is on TensorFlow and in float32 with a flat graph; by this
module's own code for the same formula elsewhere. Both give the same map
(tests/explaining/test_gradcam.py).
"""

from __future__ import annotations

import warnings

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

# Bounds the memory.
_BATCH_SIZE = 16


def gradcam(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    """Grad-CAM of a model's first output.

    Args:
        model: A flat functional model with one output, (batch, outputs).
        images: (cases, image_size, image_size, channels), the model's input.
        layer_name: A convolutional layer's name.

    Returns:
        (cases, image_size, image_size) float32, 0 to 1: the rectified map, scaled to the image
        and divided by its own greatest value; all 0 where nothing speaks for the output.
    """
    works = keras.backend.backend() == "tensorflow" and model.compute_dtype == "float32"
    maps = _tf_explain_maps if works else gradient_maps
    batches = [
        maps(model, images[start : start + _BATCH_SIZE], layer_name)
        for start in range(0, len(images), _BATCH_SIZE)
    ]
    return np.stack([_scaled(heat, images.shape[1]) for batch in batches for heat in batch])


def gradient_maps(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    """The same map without tf-explain, of the arguments of `gradcam`.

    Returns:
        (cases, height, width) of the layer: the sum over channels of the activation times the
        mean gradient of the output; not rectified.
    """
    layer = model.get_layer(layer_name)
    with_activations = keras.Model(model.inputs, [layer.output, model.outputs[0]])
    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(images, tf.float32)
        activations, predictions = with_activations(inputs, training=False)
        scores = predictions[:, 0]
    gradients = tape.gradient(scores, activations)
    weights = tf.reduce_mean(gradients, (1, 2), keepdims=True)
    return np.asarray(tf.reduce_sum(tf.cast(activations * weights, tf.float32), -1))


def with_shuffled_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """The same network with the values of every weight shuffled, so that their spread stays.

    A map that does not change with it shows the image's edges and not what was learned
    (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292).
    """
    copy = keras.models.clone_model(model)
    rng = np.random.default_rng(seed)
    copy.set_weights(
        [
            # A batch variance stays what it is: it cannot be negative.
            weight if weight.ndim < 2 else rng.permutation(weight.ravel()).reshape(weight.shape)
            for weight in model.get_weights()
        ]
    )
    return copy


def _tf_explain_maps(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    # With OpenCV and matplotlib: only where it is used.
    from tf_explain.core.grad_cam import GradCAM

    with warnings.catch_warnings():
        # It calls the model with a list of inputs, which Keras 3 takes and warns about.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        # explain() itself blends the map into a picture and divides a map of zeros by zero.
        activations, gradients = GradCAM.get_gradients_and_filters(
            model, images.astype(np.float32), layer_name, 0, use_guided_grads=False
        )
    return np.asarray(GradCAM.generate_ponderated_output(activations, gradients))


def _scaled(heat: np.ndarray, image_size: int) -> np.ndarray:
    rectified = Image.fromarray(np.maximum(heat, 0).astype(np.float32))
    scaled = np.asarray(rectified.resize((image_size, image_size), Image.Resampling.BILINEAR))
    greatest = scaled.max()
    return scaled / greatest if greatest > 0 else scaled
