"""What TensorBoard shows of an atrium training beside the curves."""

from __future__ import annotations

from typing import Any

from atrium_segmentation import slices
from atrium_segmentation.config import TrainSettings


def training_pictures(prepared: Any, splits: list[str], side: int, settings: TrainSettings) -> Any:
    """Contours of truth and prediction on some validation slices, and augmented training slices.

    Args:
        prepared: The prepared data.
        splits: Those that validate.
        side: Of the model's input, in pixels.
        settings: With ``tensorboard_images``.

    Returns:
        A `common.training.tensorboard.TrainingPictures`, or None where no pictures are asked for.
    """
    import keras
    import numpy as np

    from common.reporting.figures import PREDICTION, TRUTH, pixels, sheet
    from common.reporting.gifs import radiological
    from common.reporting.orthogonal_views import draw_contours
    from common.scores.volumes import dice
    from common.training.tensorboard import TrainingPictures, first_output

    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    chosen = slices.some_with_structure(prepared, splits, side, settings, count)
    columns = -(-count // 2)

    def draw(images: Any, titles: list[str], masks: dict[str, Any]) -> np.ndarray:
        """Slices (n, side, side, channels) with the contours of masks (n, side, side) by colour."""

        def contours(axes: Any, number: int) -> None:
            for colour, of_colour in masks.items():
                draw_contours(axes, radiological(of_colour[number].T), (1, 1), colour)

        # The channel in the middle is the slice, the others its neighbours.
        films = [radiological(image.T) for image in images[..., settings.neighbours]]
        names = dict(zip(masks, ("truth", "prediction"), strict=False))
        legend = {name: colour for colour, name in names.items()}
        figure = sheet(films, [()] * len(films), titles, columns, contours, legend)
        return pixels(figure, synthetic)

    def validation(model: keras.Model) -> np.ndarray:
        said = first_output(model, chosen["image"])
        predicted = said[..., 0] >= 0.5 if said.shape[-1] == 1 else said.argmax(-1)
        predicted = predicted.astype(np.uint8)
        titles = [
            f"{title}\nDice {dice(one > 0, other > 0):.2f}"
            for title, one, other in zip(chosen["title"], chosen["mask"], predicted, strict=True)
        ]
        return draw(chosen["image"], titles, {TRUTH: chosen["mask"], PREDICTION: predicted})

    def augmented(images: Any, masks: Any) -> np.ndarray:
        shown, mask = images[:count].numpy(), keras.tree.flatten(masks)[0][:count, ..., 0].numpy()
        return draw(shown, [""] * len(shown), {TRUTH: mask.astype(np.uint8)})

    return TrainingPictures(validation, augmented)
