"""What TensorBoard shows of a pneumonia training next to the curves."""

from __future__ import annotations

from typing import Any

from pneumonia_classification import score_tables
from pneumonia_classification.config import EvaluateSettings, TrainSettings


def training_pictures(prepared: Any, splits: list[str], side: int, settings: TrainSettings) -> Any:
    """Grad-CAM of the same validation films after every epoch, and augmented training films.

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

    from common.explaining.gradcam import gradcam
    from common.reporting.figures import TRUTH, draw_heat, pixels, sheet
    from common.training.pipeline import stored_films
    from common.training.tensorboard import TrainingPictures, first_output

    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    cases = first_of_each_label(prepared, splits, count)
    by_case = stored_films(prepared, splits, "label", 1, [case["case"] for case in cases], side)
    films = np.stack([by_case[case["case"]] for case in cases])
    boxes = [score_tables.boxes_in_square(case, prepared, side) * side for case in cases]
    columns = -(-count // 2)

    def validation(model: keras.Model) -> np.ndarray:
        # Grad-CAM is of one output; there may be a second, which helps to learn.
        bare = keras.Model(model.input, model.outputs[0])
        images = films[..., None]
        heats = gradcam(bare, images, EvaluateSettings().gradcam_layer)
        titles = [
            f"{case['case'][:24]}\n"
            f"truth: {score_tables.TRUTHS[int(case['label'])]}, score {score:.2f}"
            for case, score in zip(cases, first_output(bare, images)[:, 0], strict=True)
        ]
        figure = sheet(
            films,
            boxes,
            titles,
            columns,
            lambda axes, number: draw_heat(axes, heats[number], side),
            {"radiologist's box": TRUTH},
        )
        return pixels(figure, synthetic)

    def augmented(images: Any, targets: Any, weights: Any = None) -> np.ndarray:
        labels, *places = (target[:count].numpy() for target in keras.tree.flatten(targets))
        names = [score_tables.TRUTHS[int(label)] for label in labels[:, 0]]
        # With --box-weight boxes are given as their share of each place of the last features.
        lit = [_squares(share[..., 0] > 0.01, side) for of in places for share in of]
        figure = sheet(
            images[:count, ..., 0].numpy(),
            lit or [()] * len(names),
            names,
            columns,
            legend={"places that a radiologist's box touches": TRUTH} if lit else None,
        )
        return pixels(figure, synthetic)

    return TrainingPictures(validation, augmented)


def first_of_each_label(prepared: Any, splits: list[str], count: int) -> list[dict[str, Any]]:
    """The first rows of ``cases.csv`` of some splits, negative and positive in turn."""
    cases = prepared.cases()
    cases = cases[cases["split"].isin(splits)].sort_values("label", kind="stable")
    in_turn = cases.groupby("label").cumcount().sort_values(kind="stable").index
    return cases.loc[in_turn[:count]].to_dict("records")


def _squares(places: Any, side: int) -> Any:
    """The boxes (n, 4), in pixels of a film's side, of the places (places, places) that are on."""
    import numpy as np

    corners = np.argwhere(places)[:, ::-1]
    return np.concatenate([corners, corners + 1], 1) * side / len(places)
