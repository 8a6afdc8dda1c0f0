"""From a film's pixels to a probability and a decision: one way for every script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.base.progress import progress
from common.datasets.classes import TWO, Classes
from common.records.prepared import Prepared
from common.scores import classification, several_classes
from common.scores.calibration import NONE, PLATT, Rescaling, choose_rescaling
from common.scores.decisions import UNDECIDED, Band, fit_band
from common.scores.thumbnails import predict_labels, thumbnail
from common.training.evaluation_parts import Columns, joined
from common.training.runs import Run
from pneumonia_classification.config import DecisionSettings
from pneumonia_classification.dataset import classes_of, images_and_labels

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Decision:
    """What turns a probability into a decision, from the run's validation split alone.

    Attributes:
        threshold: Probabilities from here on are called pneumonia; one for each of several labels;
            None where the likeliest class is the answer.
        source: Where it is from, in words.
        rescaling: What turns probabilities into shares, as well as that split can tell.
        band: Where no answer is given; None where every film gets one.
    """

    threshold: float | list[float] | None
    source: str
    rescaling: Rescaling
    band: Band | None = None

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (n, outputs) as answers, 0 or 1."""
        thresholds = self.threshold
        return several_classes.answers_of(
            probabilities, [thresholds] if isinstance(thresholds, float) else thresholds
        )

    def rescaled(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (n, outputs) rescaled."""
        return several_classes.rescaled(probabilities, self.rescaling, self.threshold is None)


def positive(classes: Classes) -> str:
    """The second of two classes in words: pneumonia where they have no names of their own."""
    return "pneumonia" if classes.names == TWO else classes.names[1]


def rule_in_words(rule: Decision, classes: Classes) -> str:
    """How a run decides, and what it rescales, for the console."""
    words = rescaling_in_words(rule.rescaling)
    scale = f"; {rule.rescaling.column}: {words}" if rule.rescaling.column else f"; {words}"
    if rule.threshold is None:
        return f"the likeliest of {len(classes.names)} classes is the answer{scale}"
    if not classes.are_two:
        return f"each of {len(classes.names)} labels from its threshold on ({rule.source}){scale}"
    answer = f"called {positive(classes)} from {rule.threshold:.3f} on ({rule.source})"
    if rule.band is not None:
        answer += f"; {UNDECIDED} from {rule.band.low:.3f} to {rule.band.high:.3f}"
    return answer + scale


def rescaling_in_words(rescaling: Rescaling) -> str:
    """What is done to probabilities."""
    if rescaling.method == NONE:
        return "probabilities stay as they are: validation shows no misfit beyond chance"
    line = f"logits / {rescaling.temperature:.2f}"
    line += f" {rescaling.shift:+.2f}" if rescaling.method == PLATT else ""
    return f"{line}, from the validation split"


def classes_of_run(run: Run) -> Classes:
    """What a run's network tells apart."""
    return Classes.described(run.config["data"])


def open_model(run: Run, settings: DecisionSettings) -> keras.Model:
    """The run's network.

    Raises:
        UserError: It cannot be loaded, or has no such layer as Grad-CAM is to look at.
    """
    # A decision, which predict.py needs first, is made without Keras.
    from common.explaining.gradcam import layer_to_explain
    from common.models.stored import load_model

    model = load_model(run.folder / "model.keras")
    layer_to_explain(model, settings.gradcam_layer)
    return model


def probabilities(
    model: keras.Model, images: np.ndarray, classes: Classes | None = None
) -> dict[str, np.ndarray]:
    """Predict a batch of films (n, image_size, image_size, 1) of 0..255.

    Returns:
        ``probability`` (n,), and ``mirrored`` (n,): that of the film's mirror image; of several
        classes these columns of each (`Classes.columns`).
    """
    classes = classes or Classes()
    by_view = {"probability": images, "mirrored": images[:, :, ::-1]}
    return {
        column: values
        for name, seen in by_view.items()
        for column, values in zip(
            classes.columns(name), model.predict_on_batch(seen).T.astype(float), strict=True
        )
    }


def predict_cases(
    model: keras.Model,
    prepared: Prepared,
    splits: list[str],
    image_size: int,
    batch_size: int,
    thumbnail_model: Any = None,
    classes: Classes | None = None,
    records: range | None = None,
) -> Columns:
    """Predict cases of some splits, in their order.

    Args:
        model: The run's network.
        prepared: The data.
        splits: Of it.
        image_size: Side of the network's input in pixels.
        batch_size: Films at once.
        thumbnail_model: A baseline's, or one per class.
        classes: What the network tells apart; None for what the data does.
        records: The cases, by the numbers of their records; None for all.

    Returns:
        Columns of ``case``, ``label``, and `probabilities`; of a baseline's thumbnail model its
        probability, ``thumbnail``. Of several classes the label is in the data's words.
    """
    of_data = classes_of(prepared)
    classes = classes or of_data
    parts = []
    films = images_and_labels(prepared, splits, image_size, records)
    count = prepared.count(splits) if records is None else len(records)
    bar = {"desc": "predict", "unit": "batch", "total": -(-count // batch_size)}
    for batch in progress(films.batch(batch_size).as_numpy_iterator(), **bar):
        baseline = {}
        if thumbnail_model:
            models = [thumbnail_model] if classes.are_two else thumbnail_model
            pixels = np.stack([thumbnail(image[..., 0]) for image in batch["image"]])
            columns = zip(classes.columns("thumbnail"), models, strict=True)
            baseline = {column: predict_labels(each, pixels) for column, each in columns}
        labels = batch["label"]
        parts.append(
            {
                "case": [case.decode() for case in batch["case"]],
                "label": labels[:, 0].astype(int) if of_data.are_two else of_data.in_words(labels),
                **probabilities(model, batch["image"], classes),
                **baseline,
            }
        )
    return joined(parts)


def averaged(
    predictions: Mapping[str, np.ndarray] | pd.DataFrame, flip: bool, classes: Classes | None = None
) -> np.ndarray:
    """The probabilities (n, outputs), with ``flip`` the mean of those of film and mirror image."""
    classes = classes or Classes()
    names = ["probability", "mirrored"] if flip else ["probability"]
    views = [[predictions[column] for column in classes.columns(name)] for name in names]
    return np.mean(views, axis=0).T


def answers_table(scores: np.ndarray, rule: Decision, classes: Classes) -> dict[str, Any]:
    """What tables say of films, from their probabilities (n, outputs), by column.

    Returns:
        ``probability``, that rescaled under the name of its method (`Rescaling.column`), if it
        was, and ``predicted``, 0 or 1, each (n,); where there is a band ``decided``, with
        `UNDECIDED` within it. Of several classes ``predicted`` is in words, the first two are of
        the ``likeliest``, whose number is there too, and so are ``probability`` and ``predicted``
        of every class (`Classes.columns`).
    """
    answers, likeliest = rule.answers(scores), np.argmax(scores, axis=1)
    parts = {"probability": scores}
    if rule.rescaling.column:
        parts[rule.rescaling.column] = rule.rescaled(scores)
    table: dict[str, Any] = {
        name: np.take_along_axis(part, likeliest[:, None], 1)[:, 0] for name, part in parts.items()
    }
    if classes.are_two:
        table["predicted"] = answers[:, 0]
        if rule.band is not None:
            sure = rule.band.answers(scores[:, 0])
            table["decided"] = [UNDECIDED if np.isnan(answer) else int(answer) for answer in sure]
        return table
    return {
        **table,
        "predicted": classes.in_words(answers),
        "likeliest": likeliest,
        **dict(zip(classes.columns("probability"), scores.T, strict=True)),
        **dict(zip(classes.columns("predicted"), answers.T, strict=True)),
    }


def labelled(cases: pd.DataFrame, of_data: Classes, classes: Classes, name: str) -> pd.DataFrame:
    """The cases with labels as the run has them, not their data.

    Args:
        cases: Of the data, with ``label``.
        of_data: What these tell apart.
        classes: What the run does.
        name: Of the data, for an error.

    Returns:
        The same with ``label``: 0 or 1, or in words and in numbers by class (`Classes.columns`).

    Raises:
        UserError: The data has other classes than the run.
    """
    truth = classes.reordered(of_data.truth(cases["label"]), of_data, name, "the run").astype(int)
    by_class = dict(zip(classes.columns("label"), truth.T, strict=True))
    return cases.assign(
        **({} if classes.are_two else {"label": classes.in_words(truth)}), **by_class
    )


def decision(run: Run, settings: DecisionSettings) -> Decision:
    """The run's thresholds, rescaling and band, all from its ``validation.csv``.

    Raises:
        UserError: The run has no readable ``validation.csv``; or a setting is for two classes, and
            there are several; or there are too few patients for ``--reject``.
    """
    classes = classes_of_run(run)
    for flag in ("reject", "prevalence"):
        if getattr(settings, flag, 0) and not classes.are_two:
            raise UserError(f"--{flag}: is for two classes, and the run tells apart the {classes}")
    exclusive = classes.activation == "softmax"
    if exclusive and (settings.threshold or settings.sensitivity):
        flag = "--threshold" if settings.threshold else "--sensitivity"
        raise UserError(
            f"{flag}: of the {classes} the likeliest is the answer, so there is no threshold; "
            "leave it out"
        )
    try:
        # A class may be called NA, or 01.
        held_out = pd.read_csv(
            run.folder / "validation.csv", dtype={"label": str}, keep_default_na=False
        )
        labels = held_out["label"]
        truth = classes.truth(labels) if classes.are_two else classes.of_words(labels)
        scores = averaged(held_out, settings.flip, classes)
        # A run of an earlier version does not say whose each film is.
        patients = held_out["patient" if "patient" in held_out else "case"]
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"{run.folder / 'validation.csv'}: is not there or damaged; train again into another "
            "folder"
        ) from error
    if classes.are_two:
        rescaling = choose_rescaling(truth[:, 0], scores[:, 0], patients)
    else:
        rescaling = several_classes.choose_rescaling(truth, scores, patients, exclusive)
    if exclusive:
        return Decision(None, "the likeliest", rescaling)
    pairs = [*zip(truth.T, scores.T, strict=True)]
    if settings.threshold:
        thresholds, source = [settings.threshold] * len(pairs), "given"
    elif settings.sensitivity:
        wanted = settings.sensitivity
        thresholds = [classification.threshold_for_sensitivity(*pair, wanted) for pair in pairs]
        source = f"validation, sensitivity {wanted:g}"
    else:
        thresholds = [classification.youden_threshold(*pair) for pair in pairs]
        source = "validation, Youden"
    if not settings.threshold and classes.are_two and len(set(labels)) < 2:
        thresholds, source = [0.5], "0.5, one class"
    elif not settings.threshold and not classes.are_two:
        # A sensitivity needs positives alone.
        is_told = truth.any(axis=0) & (~truth.all(axis=0) | bool(settings.sensitivity))
        names = np.asarray(classes.names)[~is_told]
        if names.size:
            source += f"; 0.5 of {', '.join(names)}, since validation has no two kinds of them"
    threshold = float(thresholds[0]) if classes.are_two else [*map(float, thresholds)]
    band = _band(run, settings.reject, held_out, truth, scores, threshold)
    return Decision(threshold, source, rescaling, band)


def _band(
    run: Run,
    share: float,
    held_out: pd.DataFrame,
    truth: np.ndarray,
    scores: np.ndarray,
    threshold: float | list[float],
) -> Band | None:
    """Where no answer is given, by ``--reject``; None where it is 0."""
    if not share or isinstance(threshold, list):
        return None
    if "patient" not in held_out:
        raise UserError(
            f"{run.folder / 'validation.csv'}: was written by an earlier version and does not say "
            "whose each film is, as --reject needs; train again"
        )
    patients = held_out["patient"]
    band = fit_band(truth[:, 0], scores[:, 0], patients, share, threshold)
    if band is None:
        fewest = min(patients[truth[:, 0] == label].nunique() for label in (0, 1))
        needed, smallest = np.ceil(1 / share - 1 - 1e-9), np.ceil(1000 / (fewest + 1)) / 1000
        raise UserError(
            f"--reject {share:g}: takes {needed:.0f} patients of each label in the validation "
            f"split, and one has {fewest}; give {smallest:g} or more"
        )
    return band


def with_patients(predictions: Columns, prepared: Prepared) -> pd.DataFrame:
    """Predictions of cases with ``patient``, a number from 1 on, which is the same for the same."""
    of_case = prepared.cases().set_index("case")["patient"]
    numbers, _ = pd.factorize(of_case.loc[predictions["case"]])
    table = pd.DataFrame(predictions)
    table.insert(1, "patient", numbers + 1)
    return table


def model_inputs(run: Run, prepared: Prepared, count: int) -> np.ndarray:
    """Films as the run's network sees them, (count, image_size, image_size, 1) 0..255."""
    films = images_and_labels(prepared, prepared.splits[:1], run.fitted["image_size"])
    return next(films.batch(count).as_numpy_iterator())["image"]
