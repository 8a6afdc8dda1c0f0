"""Grad-CAM: where a classifier looked (Selvaraju et al. 2017, arXiv:1610.02391).

By tf-explain where it works, which is on TensorFlow and in float32 with a flat graph; by the
same formula of our own elsewhere. Both give the same map (tests/explaining/test_gradcam.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.scores.intervals import ci95_of_mean, ci95_of_share

if TYPE_CHECKING:
    import keras

_AT_ONCE = 16


def gradcam(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    """Grad-CAM of a model's first output.

    Args:
        model: A flat functional model with one output, (batch, outputs).
        images: (cases, side, side, channels), the model's input.
        layer_name: A convolutional layer's name.

    Returns:
        (cases, side, side) float32, 0 to 1: the rectified map, scaled to the image and divided
        by its own greatest value; all 0 where nothing spoke for the output.
    """
    maps = [
        _tf_explain_maps(model, images[start : start + _AT_ONCE], layer_name)
        if _tf_explain_works(model)
        else own_maps(model, images[start : start + _AT_ONCE], layer_name)
        for start in range(0, len(images), _AT_ONCE)
    ]
    side = images.shape[1:3]
    return np.stack([_scaled(one, side) for part in maps for one in part])


def own_maps(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    """The same map without tf-explain.

    Args:
        model: As for `gradcam`.
        images: As for `gradcam`.
        layer_name: As for `gradcam`.

    Returns:
        (cases, height, width) of the layer: the sum over channels of the activation times the
        mean gradient of the output; not rectified.
    """
    import keras
    import tensorflow as tf

    both = keras.Model(model.inputs, [model.get_layer(layer_name).output, model.outputs[0]])
    with tf.GradientTape() as tape:
        activations, predictions = both(tf.convert_to_tensor(images, tf.float32), training=False)
        spoken = predictions[:, 0]
    gradients = tape.gradient(spoken, activations)
    weights = tf.reduce_mean(gradients, (1, 2), keepdims=True)
    return tf.reduce_sum(tf.cast(activations * weights, tf.float32), -1).numpy()


def _tf_explain_maps(model: keras.Model, images: np.ndarray, layer_name: str) -> np.ndarray:
    from tf_explain.core.grad_cam import GradCAM

    with warnings.catch_warnings():
        # It calls the model with a list of inputs, which Keras 3 takes and warns about.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        # explain() itself blends the map into a picture and divides a map of zeros by zero.
        activations, gradients = GradCAM.get_gradients_and_filters(
            model, images.astype(np.float32), layer_name, 0, use_guided_grads=False
        )
    return np.asarray(GradCAM.generate_ponderated_output(activations, gradients))


def _tf_explain_works(model: keras.Model) -> bool:
    import keras

    return keras.backend.backend() == "tensorflow" and model.compute_dtype == "float32"


def _scaled(one: np.ndarray, side: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    rectified = Image.fromarray(np.maximum(one, 0).astype(np.float32))
    scaled = np.asarray(rectified.resize(side[::-1], Image.Resampling.BILINEAR))
    greatest = scaled.max()
    return scaled / greatest if greatest > 0 else scaled


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """The same network with its weights drawn anew, each in the spread that it has.

    A map that does not change with it shows the image's edges and not what was learned
    (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292).
    """
    import keras

    copy = keras.models.clone_model(model)
    draws = np.random.default_rng(seed)
    copy.set_weights(
        [
            # A batch variance stays what it is: it cannot be negative.
            weight if weight.ndim < 2 else draws.permutation(weight.ravel()).reshape(weight.shape)
            for weight in model.get_weights()
        ]
    )
    return copy


def likeness(maps: np.ndarray, others: np.ndarray) -> float | None:
    """The mean rank correlation of two sets of maps (cases, side, side), -1 to 1.

    Spearman's, over the pixels of each case; cases with a map of one value do not count, and
    None is the likeness of none.
    """
    from scipy.stats import spearmanr

    found = [
        float(spearmanr(one, other, axis=None).statistic)
        for one, other in zip(maps, others, strict=True)
        if np.ptp(one) > 0 and np.ptp(other) > 0
    ]
    return float(np.mean(found)) if found else None


def centred_blob(side: int) -> np.ndarray:
    """A map (side, side), 0 to 1, that only knows that films are centred: a Gaussian.

    Its standard deviation is a quarter of the side.
    """
    away = ((np.arange(side) + 0.5) / side - 0.5) / 0.25
    bell = np.exp(-(away**2) / 2)
    return np.outer(bell, bell)


def pointing_game(
    maps: np.ndarray, boxes: list[np.ndarray], patients: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Whether a map's peak lies in a radiologist's box (Zhang et al. 2016, arXiv:1608.00507).

    Args:
        maps: (cases, side, side), from `gradcam`.
        boxes: For each case its boxes (n, 4), (x0, y0, x1, y1) in fractions of the side; cases
            with none do not count.
        patients: The patient of each case, for the interval.
        seed: Of the bootstrap.

    Returns:
        ``pointing_game``: share of the cases whose peak is inside a box, and its ``ci95``;
        ``chance``: the mean share of the image that boxes cover, which a random peak would score,
        and a map without form would have inside; ``weight_inside``: the mean share of a map's
        weight inside, and its ``weight_inside_ci95``; ``centred_blob``: both of `centred_blob`;
        ``n`` cases. None where n is 0.
    """
    hits, chances, inside, blob_hits, blob_inside, known = [], [], [], [], [], []
    for one, of_case, patient in zip(maps, boxes, patients, strict=True):
        if not len(of_case):
            continue
        known.append(patient)
        covered = boxes_mask(of_case, one.shape[0])
        peak = np.unravel_index(np.argmax(one), one.shape)
        hits.append(bool(covered[peak]) and one.max() > 0)
        chances.append(covered.mean())
        inside.append((one * covered).sum() / one.sum() if one.sum() > 0 else 0.0)
        blob = centred_blob(one.shape[0])
        blob_hits.append(covered[np.unravel_index(np.argmax(blob), blob.shape)])
        blob_inside.append((blob * covered).sum() / blob.sum())
    if not hits:
        return {
            "pointing_game": None,
            "ci95": None,
            "chance": None,
            "weight_inside": None,
            "weight_inside_ci95": None,
            "centred_blob": None,
            "n": 0,
        }
    return {
        "pointing_game": float(np.mean(hits)),
        "ci95": ci95_of_share(hits, known, seed),
        "chance": float(np.mean(chances)),
        "weight_inside": float(np.mean(inside)),
        "weight_inside_ci95": ci95_of_mean(inside, known, seed),
        "centred_blob": {
            "pointing_game": float(np.mean(blob_hits)),
            "weight_inside": float(np.mean(blob_inside)),
        },
        "n": len(hits),
    }


def boxes_mask(boxes: np.ndarray, side: int) -> np.ndarray:
    """The pixels (side, side) whose centres lie in any of the boxes, given in fractions."""
    centres = (np.arange(side) + 0.5) / side
    mask = np.zeros((side, side), bool)
    for x0, y0, x1, y1 in boxes:
        columns = (centres >= x0) & (centres < x1)
        rows = (centres >= y0) & (centres < y1)
        mask |= rows[:, None] & columns[None, :]
    return mask
