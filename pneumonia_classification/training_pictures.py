"""What TensorBoard shows of a pneumonia training next to the curves."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.datasets.classes import Classes
from common.explaining.gradcam import layer_to_explain, saliency_maps
from common.records.prepared import Prepared
from common.reporting.figures import draw_heat, pixels, sheet
from common.reporting.palette import TRUTH
from common.training.pipeline import stored_films
from common.training.tensorboard import TrainingPictures, first_output
from pneumonia_classification.config import TrainSettings
from pneumonia_classification.dataset import boxes_in_square, classes_of
from pneumonia_classification.score_pictures import in_words, shortened


def training_pictures(
    prepared: Prepared, splits: list[str], image_size: int, settings: TrainSettings
) -> TrainingPictures | None:
    """Grad-CAM of the same validation films after every epoch, and augmented training films.

    Args:
        prepared: The prepared data.
        splits: Those that validate.
        image_size: Side of the model's input in pixels.
        settings: With ``tensorboard_images``; with none of them there are no pictures.
    """
    count, synthetic = settings.tensorboard_images, prepared.manifest["synthetic"]
    if not count:
        return None
    cases = first_of_each_label(prepared, splits, count)
    classes, names = classes_of(prepared), [case["case"] for case in cases]
    by_case = dict(stored_films(prepared, splits, names, image_size))
    films = np.stack([by_case[case["case"]] for case in cases])
    boxes = [boxes_in_square(case, prepared, image_size) * image_size for case in cases]
    columns = -(-count // 2)

    def validation(model: keras.Model) -> np.ndarray:
        # Grad-CAM explains one output; a second may be there to learn from.
        bare = keras.Model(model.input, model.outputs[0])
        images = films[..., None]
        scores = first_output(bare, images)
        likeliest = None if classes.are_two else np.argmax(scores, axis=1)
        maps = saliency_maps(bare, images, layer_to_explain(bare), likeliest)
        heats = next(iter(maps.values()))
        titles = [
            f"{case['case'][:24]}\n{_title(classes, case['label'], row)}"
            for case, row in zip(cases, scores, strict=True)
        ]
        figure = sheet(
            list(films),
            boxes,
            titles,
            columns,
            lambda axes, number: draw_heat(axes, heats[number], image_size),
            {"radiologist's box": TRUTH},
        )
        return pixels(figure, synthetic)

    def augmented(
        images: tf.Tensor, targets: tf.Tensor | list[tf.Tensor], weights: tf.Tensor | None = None
    ) -> np.ndarray:
        labels, *places = (target[:count].numpy() for target in keras.tree.flatten(targets))
        names = [_mixed(classes, label) for label in labels]
        # With --box-weight boxes are given as their share of each place of the last features.
        lit = [_squares(share[..., 0] > 0.01, image_size) for shares in places for share in shares]
        figure = sheet(
            list(images[:count, ..., 0].numpy()),
            lit or [np.zeros((0, 4))] * len(names),
            names,
            columns,
            legend={"places that a radiologist's box touches": TRUTH} if lit else None,
        )
        return pixels(figure, synthetic)

    return TrainingPictures(validation, augmented)


def _title(classes: Classes, label: Any, scores: np.ndarray) -> str:
    """What is true of a film and what a model says, probabilities (outputs,), in words."""
    truth = in_words(classes.in_table(label), classes.names)
    if classes.are_two:
        return f"truth: {truth}, score {scores[0]:.2f}"
    likeliest = int(np.argmax(scores))
    return f"{shortened(truth)}\n{classes.names[likeliest]} {scores[likeliest]:.2f}"


def _mixed(classes: Classes, label: np.ndarray) -> str:
    """The label (outputs,) of a film, which between 0 and 1 is of a mixed one, in words."""
    if classes.are_two:
        (share,) = label
        return in_words(int(share), classes.names) if share in (0, 1) else f"{share:.0%} positive"
    named = [(name, share) for name, share in zip(classes.names, label, strict=True) if share > 0]
    parts = [name if share == 1 else f"{share:.0%} {name}" for name, share in named]
    return shortened(", ".join(parts) or "none")


def first_of_each_label(
    prepared: Prepared, splits: list[str], count: int
) -> list[dict[Hashable, Any]]:
    """The first rows of ``cases.csv`` of some splits, every label in turn."""
    cases = prepared.cases()
    cases = cases[cases["split"].isin(splits)].sort_values("label", kind="stable")
    in_turn = cases.groupby("label").cumcount().sort_values(kind="stable").index
    return cases.loc[in_turn[:count]].to_dict("records")


def _squares(places: np.ndarray, image_size: int) -> np.ndarray:
    """Boxes (n, 4), in pixels of the film, of the places (places, places) that are on."""
    corners = np.argwhere(places)[:, ::-1]
    return np.concatenate([corners, corners + 1], 1) * image_size / len(places)
