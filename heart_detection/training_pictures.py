"""What TensorBoard shows of a heart training next to the curves."""

from __future__ import annotations

from typing import Any

from heart_detection.config import TrainSettings


def training_pictures(films: Any, side: int, settings: TrainSettings, synthetic: bool) -> Any:
    """The true and the predicted box of the first validation films, and augmented training films.

    Args:
        films: The validation split, as `train.images_and_boxes` gives it.
        side: Of the model's input, in pixels.
        settings: With ``tensorboard_images``.
        synthetic: Whether the data was made up.

    Returns:
        A `common.training.tensorboard.TrainingPictures`, or None where no pictures are asked for.
    """
    import keras
    import numpy as np

    from common.reporting.figures import PREDICTION, TRUTH, draw_box, pixels, sheet
    from common.scores.boxes import iou
    from common.training.tensorboard import TrainingPictures, first_output

    count = settings.tensorboard_images
    if not count:
        return None
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
            images[..., 0],
            truth[:, None] * side,
            titles,
            columns,
            lambda axes, number: draw_box(axes, predicted[number] * side, PREDICTION),
            {"truth": TRUTH, "prediction": PREDICTION},
        )
        return pixels(figure, synthetic)

    def augmented(images: Any, boxes: Any) -> np.ndarray:
        shown, truth = images[:count, ..., 0].numpy(), boxes[:count, None].numpy() * side
        figure = sheet(shown, truth, [""] * len(shown), columns, legend={"truth": TRUTH})
        return pixels(figure, synthetic)

    return TrainingPictures(validation, augmented)
