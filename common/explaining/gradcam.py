"""Where a classifier looked: Grad-CAM, and a finer map where its places are few.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) is tf-explain's where that works, which is on
TensorFlow and in float32 with a flat graph, and of this module's own code for the same formula
elsewhere. Both give the same map (tests/explaining/test_gradcam.py). What is explained is the score
before the sigmoid or softmax: a probability of almost 1 has no gradient left.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

from common.base.errors import UserError
from common.explaining.heatmaps import FINER, GRADCAM, at_image_size, with_peak_1
from common.models.backends import BACKEND, activations_and_gradients

MIN_CELLS = 6
"""Of fewer places a side, a perfect map already misses many opacities."""

# Bounds the memory.
_BATCH_SIZE = 16


def layer_to_explain(model: keras.Model, name: str = "") -> str:
    """The layer that Grad-CAM looks at.

    Args:
        model: A flat functional model with one output.
        name: Of the layer; "" for the last that has a map, and is computed by weights.

    Raises:
        UserError: It is none of the model's, or has no map; the message names layers that have, of
            each size of map the last.
    """
    first = next((i for i, layer in enumerate(model.layers) if layer.weights), 0)
    with_map = [layer for layer in model.layers[first:] if len(layer.output.shape) == 4]
    last = {tuple(layer.output.shape[1:3]): layer.name for layer in with_map}
    if not name and with_map:
        return with_map[-1].name
    if name in {layer.name for layer in with_map}:
        return name
    has = any(layer.name == name for layer in model.layers)
    problem = "has no map of places" if has else "is no layer of the model"
    raise UserError(f"--gradcam-layer {name}: {problem}; ask one of {', '.join(last.values())}")


def saliency_maps(
    model: keras.Model, images: np.ndarray, layer_name: str, classes: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Maps of a model's only output, or of one of several for each image, the finest first.

    Args:
        model: A flat functional model with one output, (batch, outputs).
        images: (cases, image_size, image_size, channels), the model's input.
        layer_name: The convolutional layer of Grad-CAM.
        classes: (cases,) the number of the output to explain; None for the only output.

    Returns:
        By `GRADCAM` the map of `gradcam`; before it, where that layer has fewer than `MIN_CELLS`
        places a side and `finer_layer` finds another, by `FINER` Grad-CAM times the square root of
        the finer layer's LayerCAM (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943). The first says
        what counts, the second where it ends, as Guided Grad-CAM (Selvaraju et al., section 3)
        multiplies two maps. Each is (cases, image_size, image_size) float32, 0 to 1, its own
        greatest value 1, or all 0 where nothing speaks for the output.
    """
    maps = gradcam(model, images, layer_name, classes)
    finer = finer_layer(model, layer_name)
    if not finer:
        return {GRADCAM: maps}
    fine = _in_parts(layer_cam, model, images, finer, classes)
    product = [with_peak_1(heat) for heat in maps * np.sqrt(fine)]
    return {FINER: np.array(product, np.float32).reshape(maps.shape), GRADCAM: maps}


def finer_layer(model: keras.Model, layer_name: str) -> str:
    """The last layer before another, too coarse one, with at least `MIN_CELLS` places a side.

    "" where the layer is not too coarse, or no layer before it is finer.
    """
    names = [layer.name for layer in model.layers]
    before = model.layers[: names.index(layer_name) + 1]
    fine = [
        layer.name
        for layer in before
        if len(layer.output.shape) == 4
        and min(layer.output.shape[1:3]) >= MIN_CELLS
        # Its places are not where those of the image are.
        and not isinstance(layer, keras.layers.ZeroPadding2D)
    ]
    return "" if not fine or fine[-1] == layer_name else fine[-1]


def cells(model: keras.Model, layer_name: str) -> tuple[int, int]:
    """Rows and columns of a layer's map."""
    rows, columns = model.get_layer(layer_name).output.shape[1:3]
    return rows, columns


def gradcam(
    model: keras.Model, images: np.ndarray, layer_name: str, classes: np.ndarray | None = None
) -> np.ndarray:
    """Grad-CAM, of the arguments of `saliency_maps`.

    Returns:
        (cases, image_size, image_size) float32, 0 to 1: the rectified map, scaled to the image
        and divided by its own greatest value; all 0 where nothing speaks for the output.
    """
    works = BACKEND == "tensorflow" and model.compute_dtype == "float32"
    # tf-explain explains one output of all images.
    formula = _tf_explain_maps if works and classes is None else gradient_maps
    return _in_parts(formula, model, images, layer_name, classes)


def gradient_maps(
    model: keras.Model, images: np.ndarray, layer_name: str, classes: np.ndarray | None = None
) -> np.ndarray:
    """Grad-CAM without tf-explain, of the arguments of `saliency_maps`.

    Returns:
        (cases, height, width) of the layer: the sum over channels of the activation times the
        mean gradient of the output; not rectified.
    """
    activations, gradients = _activations_and_gradients(model, images, layer_name, classes)
    return np.asarray((activations * gradients.mean((1, 2), keepdims=True)).sum(-1))


def layer_cam(
    model: keras.Model, images: np.ndarray, layer_name: str, classes: np.ndarray | None = None
) -> np.ndarray:
    """LayerCAM (Jiang et al. 2021), of the arguments of `saliency_maps`.

    Returns:
        (cases, height, width) of the layer, 0 or more after a ReLU: the sum over channels of the
        activation times its own gradient, where that is positive.
    """
    activations, gradients = _activations_and_gradients(model, images, layer_name, classes)
    return np.asarray((activations * np.maximum(gradients, 0)).sum(-1))


def with_shuffled_weights(model: keras.Model, seeds: Iterable[int]) -> Iterator[keras.Model]:
    """The same network with the values of every weight shuffled, so that their spread stays.

    A map that does not change with it shows the image's edges and not what was learned
    (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292).

    Yields:
        For each seed one copy, whose weights the next seed shuffles anew.
    """
    copy, weights = keras.models.clone_model(model), model.get_weights()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        copy.set_weights(
            [
                # A batch variance stays what it is: it cannot be negative.
                weight if weight.ndim < 2 else rng.permutation(weight.ravel()).reshape(weight.shape)
                for weight in weights
            ]
        )
        yield copy


def _in_parts(
    formula: Callable[..., np.ndarray],
    model: keras.Model,
    images: np.ndarray,
    layer_name: str,
    classes: np.ndarray | None,
) -> np.ndarray:
    """The maps of a formula at the images' size, of some images at a time."""
    maps = np.zeros(images.shape[:3], np.float32)
    for start in range(0, len(images), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        of_part = None if classes is None else classes[part]
        heats = formula(model, images[part], layer_name, of_part)
        maps[part] = [at_image_size(heat, images.shape[1]) for heat in heats]
    return maps


def _scored(model: keras.Model) -> keras.KerasTensor:
    """A model's output before its sigmoid or softmax, where that is a layer of its own."""
    last = model.layers[-1]
    return last.input if isinstance(last, keras.layers.Activation) else model.outputs[0]


def _activations_and_gradients(
    model: keras.Model, images: np.ndarray, layer_name: str, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """A layer's activations (cases, height, width, channels) and the score's gradient there."""
    layer = model.get_layer(layer_name)
    both = keras.Model(model.input, [layer.output, _scored(model)])
    numbers = np.zeros(len(images), int) if classes is None else classes
    return activations_and_gradients(both, layer, images, numbers)


def _tf_explain_maps(
    model: keras.Model, images: np.ndarray, layer_name: str, _: None = None
) -> np.ndarray:
    # With OpenCV and matplotlib: only where it is used.
    from tf_explain.core.grad_cam import GradCAM

    with warnings.catch_warnings():
        # It calls the model with a list of inputs, which Keras 3 takes and warns about.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        # explain() itself blends the map into a picture and divides a map of zeros by zero.
        activations, gradients = GradCAM.get_gradients_and_filters(
            keras.Model(model.inputs, _scored(model)),
            images.astype(np.float32),
            layer_name,
            0,
            use_guided_grads=False,
        )
    return np.asarray(GradCAM.generate_ponderated_output(activations, gradients))
