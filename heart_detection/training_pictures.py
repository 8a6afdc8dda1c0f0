"""What TensorBoard shows of a heart training next to the curves."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from common.records.prepared import Prepared
from common.reporting.figures import draw_box, pixels, sheet
from common.reporting.palette import PREDICTION, TRUTH
from common.scores.boxes import iou
from common.training.tensorboard import TrainingPictures, first_output
from heart_detection.config import TrainSettings
from heart_detection.dataset import images_and_boxes


def training_pictures(
    prepared: Prepared, splits: list[str], image_size: int, settings: TrainSettings
) -> TrainingPictures | None:
    """The true and the predicted box of the first validation films, and augmented training films.

    Args:
        prepared: The prepared data.
        splits: Those that validate.
        image_size: Side of the model's input in pixels.
        settings: With ``tensorboard_images``; with none of them there are no pictures.
    """
    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    films = images_and_boxes(prepared, splits, image_size)
    records = list(films.take(count).as_numpy_iterator())
    images = np.stack([record["image"] for record in records])
    truth = np.stack([record["box"] for record in records])
    columns = -(-count // 2)

    def validation(model: keras.Model) -> np.ndarray:
        predicted = first_output(model, images)
        titles = [
            f"{record['case'].decode()[:24]}\nIoU {overlap:.2f}"
            for record, overlap in zip(records, iou(truth, predicted), strict=True)
        ]
        figure = sheet(
            list(images[..., 0]),
            list(truth[:, None] * image_size),
            titles,
            columns,
            lambda axes, number: draw_box(axes, predicted[number] * image_size, PREDICTION),
            {"truth": TRUTH, "prediction": PREDICTION},
        )
        return pixels(figure, synthetic)

    def augmented(images: tf.Tensor, boxes: tf.Tensor) -> np.ndarray:
        films = list(images[:count, ..., 0].numpy())
        truth = list(boxes[:count, None].numpy() * image_size)
        figure = sheet(films, truth, [""] * len(films), columns, legend={"truth": TRUTH})
        return pixels(figure, synthetic)

    return TrainingPictures(validation, augmented)
