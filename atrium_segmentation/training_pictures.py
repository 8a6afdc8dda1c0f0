"""What TensorBoard shows of an atrium training next to the curves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrium_segmentation.config import TrainSettings
from common.records.prepared import Prepared
from common.reporting.figures import pixels, sheet
from common.reporting.gifs import radiological
from common.reporting.orthogonal_views import draw_contours
from common.reporting.palette import PREDICTION, TRUTH
from common.scores.volumes import dice
from common.training.tensorboard import TrainingPictures, first_output


def training_pictures(
    prepared: Prepared, splits: list[str], cut: Any, size: Any, settings: TrainSettings
) -> TrainingPictures | None:
    """Contours of truth and prediction on some validation slices, and augmented training slices.

    Args:
        prepared: The prepared data.
        splits: Those that validate.
        cut: The module that cuts volumes for the network, `slices` or `patches`, of which the
            slice in the middle is drawn.
        size: Of what it cuts.
        settings: With ``tensorboard_images``.

    Returns:
        None where the settings ask for no pictures.
    """
    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    chosen = cut.some_with_structure(prepared, splits, size, settings, count)
    truths = _middle(chosen["mask"][..., None])[..., 0]
    columns = -(-count // 2)

    def draw(images: np.ndarray, titles: list[str], masks: dict[str, np.ndarray]) -> np.ndarray:
        """What a network sees, and contours of masks (n, rows, columns) by colour."""

        def contours(axes: Any, number: int) -> None:
            for colour, stack in masks.items():
                draw_contours(axes, radiological(stack[number].T), (1, 1), colour)

        # The channel in the middle is the slice, the others its neighbours.
        images = _middle(images)
        films = [radiological(image.T) for image in images[..., images.shape[-1] // 2]]
        names = dict(zip(masks, ("truth", "prediction"), strict=False))
        legend = {name: colour for colour, name in names.items()}
        no_boxes = [np.empty((0, 4))] * len(films)
        figure = sheet(films, no_boxes, titles, columns, contours, legend)
        return pixels(figure, synthetic)

    def validation(model: keras.Model) -> np.ndarray:
        outputs = _middle(first_output(model, chosen["image"]))
        predicted = outputs[..., 0] >= 0.5 if outputs.shape[-1] == 1 else outputs.argmax(-1)
        predicted = predicted.astype(np.uint8)
        titles = [
            f"{title}\nDice {dice(truth > 0, mask > 0):.2f}"
            for title, truth, mask in zip(chosen["title"], truths, predicted, strict=True)
        ]
        return draw(chosen["image"], titles, {TRUTH: truths, PREDICTION: predicted})

    def augmented(images: tf.Tensor, masks: Any) -> np.ndarray:
        first, mask = (
            _middle(values[:count].numpy()) for values in (images, keras.tree.flatten(masks)[0])
        )
        return draw(first, [""] * len(first), {TRUTH: mask[..., 0].astype(np.uint8)})

    return TrainingPictures(validation, augmented)


def _middle(values: np.ndarray) -> np.ndarray:
    """Of patches (n, slices, rows, columns, channels) the slices in their middle, as of slices."""
    return values[:, values.shape[1] // 2] if values.ndim == 5 else values
