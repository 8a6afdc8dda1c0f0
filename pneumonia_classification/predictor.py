"""What a pneumonia run says of a film: probability, decision, map; for predict.py and the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.base.command_line import parse
from common.datasets.classes import Classes
from common.explaining.gradcam import layer_to_explain, saliency_maps
from common.imaging.image_files import FILMS
from common.prediction.predictions import titled
from common.prediction.predictor import Answer, Drawing, Predictor
from common.records.stored_images import StoredFilm, model_inputs, stored_film, stored_pixels
from common.reporting.figures import gradcam_picture
from common.scores.decisions import UNDECIDED
from common.scores.formatting import significant
from common.training.film_detector import film_doubter
from common.training.runs import Run, open_run
from common.training.trained import picture_mark
from pneumonia_classification import inference
from pneumonia_classification.config import PROJECT, PredictSettings
from pneumonia_classification.model_card import about
from pneumonia_classification.score_pictures import in_words, names_of, shortened


def open_predictor(folder: Path) -> ClassPredictor:
    """A run's, with the settings that predict.py has by default.

    Raises:
        UserError: It is no run of this project, did not end, or was altered.
    """
    settings = parse(PROJECT, "predict", None, ["--run", str(folder)])
    run = open_run(PROJECT, settings)
    return ClassPredictor(run, settings, inference.decision(run, settings))


class ClassPredictor(Predictor):
    """The predictor of probabilities and decisions.

    Args:
        run: The run.
        settings: Of predict.py.
        decision: How it decides.
    """

    kinds = FILMS

    def __init__(self, run: Run, settings: PredictSettings, decision: inference.Decision) -> None:
        self.run, self._settings, self._decision = run, settings, decision
        self._classes = classes = inference.classes_of_run(run)
        self._model = inference.open_model(run, settings)
        self._layer = layer_to_explain(self._model, settings.gradcam_layer)
        self.about = about(classes)
        self.rule = inference.rule_in_words(decision, classes)
        self._own = _columns(decision, classes)
        self.columns = (*self._own, "doubt", "picture")
        data = run.config["data"]["settings"]
        stretch = data["proportions"] == "stretch"
        self.read = partial(stored_film, image_size=data["image_size"], stretch=stretch)
        self.doubt = film_doubter(run)

    def predict(self, contents: Sequence[StoredFilm]) -> list[Answer]:
        """Probabilities and decision; ``result`` is of several classes the likeliest's number."""
        images = model_inputs(contents, self.run.fitted["image_size"])
        by_view = inference.probabilities(self._model, images, self._classes)
        scores = inference.averaged(by_view, self._settings.flip, self._classes)
        table = inference.answers_table(scores, self._decision, self._classes)
        answers = []
        for i, film in enumerate(contents):
            row = {name: _plain(table[name][i]) for name in self._own if name in table}
            likeliest = None if self._classes.are_two else int(table["likeliest"][i])
            answers.append(Answer(row, self._words(row, self._output(likeliest)), film, likeliest))
        return answers

    def draw(self, drawings: Sequence[Drawing]) -> None:
        """Each film next to its Grad-CAM map, of several classes that of the likeliest."""
        if not drawings:
            return
        films = [drawing.answer.content for drawing in drawings]
        numbers = [drawing.answer.result for drawing in drawings]
        images = model_inputs(films, self.run.fitted["image_size"])
        likeliest = None if self._classes.are_two else np.array(numbers)
        maps = saliency_maps(self._model, images, self._layer, likeliest)
        for i, drawing in enumerate(drawings):
            output = self._output(drawing.answer.result)
            gradcam_picture(
                drawing.path,
                stored_pixels(films[i].encoded),
                {name: heats[i] for name, heats in maps.items()},
                np.zeros((0, 4)),
                titled(f"{drawing.name[:36]}\n{drawing.answer.words}", drawing.doubt),
                picture_mark(self.run.config),
                output or f"the {inference.positive(self._classes)} output",
            )

    def _output(self, likeliest: int | None) -> str:
        return "" if likeliest is None else self._classes.names[likeliest]

    def _words(self, row: Mapping[str, Any], output: str) -> str:
        """What a picture says of a row, over the map of its likeliest class."""
        if self._classes.are_two:
            if row.get("decided") == UNDECIDED:
                return f"probability {row['probability']:.2f}: {UNDECIDED}"
            answer, threshold = names_of(self._classes)[row["predicted"]], self._decision.threshold
            return f"probability {row['probability']:.2f}: {answer} (from {threshold:.2f} on)"
        answer = shortened(in_words(row["predicted"]))
        return f"{answer}; {shortened(output)} {row['probability']:.2f}"


def _columns(rule: inference.Decision, classes: Classes) -> list[str]:
    """The project's own columns of predictions.csv."""
    probabilities = ["probability", *filter(None, [rule.rescaling.column])]
    if not classes.are_two:
        return ["predicted", *probabilities, *classes.columns("probability")]
    return [*probabilities, "predicted", *(["decided"] if rule.band else [])]


def _plain(value: Any) -> Any:
    """A cell of the table as JSON and a CSV have it."""
    if isinstance(value, float):
        return significant(float(value))
    return value if isinstance(value, str) else int(value)
