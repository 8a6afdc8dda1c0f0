"""From a film's pixels to a box: the same way for every script."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from common.imaging.letterbox import mirror_boxes
from common.records.prepared import Prepared
from common.scores.thumbnails import thumbnail
from common.training import augment
from common.training.runs import Run
from heart_detection.config import EvaluateSettings
from heart_detection.dataset import images_and_boxes


def predict_boxes(
    model: keras.Model,
    images: np.ndarray,
    batch_size: int,
    flip: bool,
    test_time_augmentation: bool,
) -> np.ndarray:
    """The model's boxes (n, 4), (x0, y0, x1, y1) in fractions of the side.

    Args:
        model: Of images to boxes.
        images: (n, image_size, image_size, 1) 0..255.
        batch_size: Images at once.
        flip: Take the mean with the boxes of the mirrored images, mirrored back.
        test_time_augmentation: Take the mean with the boxes of shifted and scaled images,
            transformed back.
    """

    def predict(images: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(images, batch_size, verbose=0))

    predictions = [predict(images)]
    if test_time_augmentation:
        for transform, inverse in augment.test_time_transforms(shift=0.03, scale=0.05):
            transformed = augment.transform_images(images.astype(np.float32), transform)
            boxes = predict(transformed.numpy())
            predictions.append(augment.transform_boxes(boxes, inverse).numpy())
    if flip:
        predictions += [mirror_boxes(predict(images[:, :, ::-1]))] * len(predictions)
    return np.asarray(np.mean(predictions, axis=0))


def predict_cases(
    model: keras.Model, films: tf.data.Dataset, settings: EvaluateSettings
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The box (4,) and the thumbnail of each film of `images_and_boxes`, by case.

    A batch is in memory at a time.
    """
    by_case: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    size = settings.batch_size
    for batch in films.batch(size).as_numpy_iterator():
        boxes = predict_boxes(
            model, batch["image"], size, settings.flip, settings.test_time_augmentation
        )
        for case, box, image in zip(batch["case"], boxes, batch["image"], strict=True):
            by_case[case.decode()] = (box, thumbnail(image[..., 0]))
    return by_case


def model_inputs(run: Run, prepared: Prepared, count: int) -> np.ndarray:
    """Films as the run's network sees them, (count, image_size, image_size, 1) 0..255."""
    films = images_and_boxes(prepared, prepared.splits[:1], run.fitted["image_size"])
    return next(films.batch(count).as_numpy_iterator())["image"]
