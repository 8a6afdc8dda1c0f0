"""From a film's pixels to a box: the same way for every script."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from common.base.progress import progress
from common.imaging.letterbox import mirror_boxes
from common.records.prepared import Prepared
from common.scores.thumbnails import thumbnail
from common.training import augment
from common.training.evaluation_parts import Columns, joined
from common.training.runs import Run
from heart_detection.config import AveragingSettings, EvaluateSettings
from heart_detection.dataset import images_and_boxes

# Of `AveragingSettings.second_look`: it leaves the heart's surroundings in the picture. On the
# validation split 1.1 to 1.25 were alike.
_ZOOM = 1.2


def predict_boxes(
    model: keras.Model, images: np.ndarray, batch_size: int, settings: AveragingSettings
) -> np.ndarray:
    """The model's boxes (n, 4), (x0, y0, x1, y1) in fractions of the side.

    Args:
        model: Of images to boxes.
        images: (n, image_size, image_size, 1) 0..255.
        batch_size: Images at once.
        settings: Which looks at each image are averaged.
    """

    def predict(images: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(images, batch_size, verbose=0))

    def transformed(transforms: Sequence[tuple[augment.Draws, augment.Draws]]) -> list[np.ndarray]:
        pixels = images.astype(np.float32)
        boxes = [predict(augment.transform_images(pixels, t).numpy()) for t, _ in transforms]
        pairs = zip(boxes, transforms, strict=True)
        return [augment.transform_boxes(box, inverse).numpy() for box, (_, inverse) in pairs]

    predictions = [predict(images)]
    if settings.test_time_augmentation:
        predictions += transformed(augment.test_time_transforms(shift=0.03, scale=0.05))
    if settings.flip:
        predictions += [mirror_boxes(predict(images[:, :, ::-1]))] * len(predictions)
    mean = np.mean(predictions, axis=0)
    if settings.second_look:
        middles = (mean[:, :2] + mean[:, 2:]) / 2
        looks = transformed(augment.closer_looks(middles, _ZOOM, shift=0.03))
        mean = (mean + np.mean(looks, axis=0)) / 2
    return np.asarray(mean)


def predict_cases(
    model: keras.Model, films: tf.data.Dataset, settings: EvaluateSettings, count: int = 0
) -> Columns:
    """Columns ``case``, ``box`` (n, 4) and ``thumbnail`` (n, pixels) of `images_and_boxes`.

    A batch of films is in memory at a time. Of ``count`` films, where it is given, the progress is
    shown.
    """
    size, batches = settings.batch_size, []
    bar = {"desc": "predict", "unit": "batch", "total": -(-count // size) or None}
    for batch in progress(films.batch(size).as_numpy_iterator(), **bar):
        columns = {
            "case": [case.decode() for case in batch["case"]],
            "box": predict_boxes(model, batch["image"], size, settings),
            "thumbnail": np.stack([thumbnail(image[..., 0]) for image in batch["image"]]),
        }
        batches.append(columns)
    return joined(batches)


def model_inputs(run: Run, prepared: Prepared, count: int) -> np.ndarray:
    """Films as the run's network sees them, (count, image_size, image_size, 1) 0..255."""
    films = images_and_boxes(prepared, prepared.splits[:1], run.fitted["image_size"])
    return next(films.batch(count).as_numpy_iterator())["image"]
