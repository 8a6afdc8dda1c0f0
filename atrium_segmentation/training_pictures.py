"""What TensorBoard shows of an atrium training next to the curves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrium_segmentation.config import TrainSettings
from atrium_segmentation.slices import some_with_structure
from common.records.prepared import Prepared
from common.reporting.figures import pixels, sheet
from common.reporting.gifs import radiological
from common.reporting.orthogonal_views import draw_contours
from common.reporting.palette import PREDICTION, TRUTH
from common.scores.volumes import dice
from common.training.tensorboard import TrainingPictures, first_output


def training_pictures(
    prepared: Prepared, splits: list[str], image_size: int, settings: TrainSettings
) -> TrainingPictures | None:
    """Contours of truth and prediction on some validation slices, and augmented training slices.

    Args:
        prepared: The prepared data.
        splits: Those that validate.
        image_size: Side of the model's input in pixels.
        settings: With ``tensorboard_images``.

    Returns:
        None where the settings ask for no pictures.
    """
    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    chosen = some_with_structure(prepared, splits, image_size, settings, count)
    columns = -(-count // 2)

    def draw(images: np.ndarray, titles: list[str], masks: dict[str, np.ndarray]) -> np.ndarray:
        """Slices (n, rows, columns, channels), contours of masks (n, rows, columns) by colour."""

        def contours(axes: Any, number: int) -> None:
            for colour, stack in masks.items():
                draw_contours(axes, radiological(stack[number].T), (1, 1), colour)

        # The channel in the middle is the slice, the others its neighbours.
        films = [radiological(image.T) for image in images[..., settings.neighbours]]
        names = dict(zip(masks, ("truth", "prediction"), strict=False))
        legend = {name: colour for colour, name in names.items()}
        no_boxes = [np.empty((0, 4))] * len(films)
        figure = sheet(films, no_boxes, titles, columns, contours, legend)
        return pixels(figure, synthetic)

    def validation(model: keras.Model) -> np.ndarray:
        outputs = first_output(model, chosen["image"])
        predicted = outputs[..., 0] >= 0.5 if outputs.shape[-1] == 1 else outputs.argmax(-1)
        predicted = predicted.astype(np.uint8)
        titles = [
            f"{title}\nDice {dice(truth > 0, mask > 0):.2f}"
            for title, truth, mask in zip(chosen["title"], chosen["mask"], predicted, strict=True)
        ]
        return draw(chosen["image"], titles, {TRUTH: chosen["mask"], PREDICTION: predicted})

    def augmented(images: tf.Tensor, masks: Any) -> np.ndarray:
        first, mask = images[:count].numpy(), keras.tree.flatten(masks)[0][:count, ..., 0].numpy()
        return draw(first, [""] * len(first), {TRUTH: mask.astype(np.uint8)})

    return TrainingPictures(validation, augmented)
