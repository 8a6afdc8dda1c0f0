"""What a heart run says of a film: its box, for predict.py and for `common.app`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.base.command_line import parse
from common.imaging.image_files import FILMS
from common.models.stored import load_model
from common.prediction.predictions import titled
from common.prediction.predictor import Answer, Drawing, Predictor
from common.records.stored_images import StoredFilm, model_inputs, stored_film, stored_pixels
from common.reporting.figures import box_picture
from common.training.film_detector import film_doubter
from common.training.runs import Run, open_run
from common.training.trained import picture_mark
from heart_detection.config import PROJECT, PredictSettings
from heart_detection.dataset import BOX
from heart_detection.inference import predict_boxes
from heart_detection.model_card import ABOUT


def open_predictor(folder: Path) -> BoxPredictor:
    """A run's, with the settings that predict.py has by default.

    Raises:
        UserError: It is no run of this project, did not end, or was altered.
    """
    settings = parse(PROJECT, "predict", None, ["--run", str(folder)])
    return BoxPredictor(open_run(PROJECT, settings), settings)


class BoxPredictor(Predictor):
    """The predictor of the heart's box, in pixels of the film.

    Args:
        run: The run.
        settings: Of predict.py.
    """

    about, kinds = ABOUT, FILMS
    columns = (*BOX, "doubt", "picture")
    rule = "one box for every film, whatever it shows; there is no threshold"

    def __init__(self, run: Run, settings: PredictSettings) -> None:
        self.run, self._settings = run, settings
        self._model = load_model(run.folder / "model.keras")
        self.read = partial(stored_film, image_size=run.config["data"]["settings"]["image_size"])
        self.doubt = film_doubter(run)

    def predict(self, contents: Sequence[StoredFilm]) -> list[Answer]:
        """The box of each film; ``result`` is (4,), x0, y0, x1, y1."""
        images = model_inputs(contents, self.run.fitted["image_size"])
        boxes = predict_boxes(self._model, images, self._settings.batch_size, self._settings)
        answers = []
        for film, fractions in zip(contents, boxes, strict=True):
            box = film.square.to_pixels(fractions)
            row = dict(zip(BOX, box.round(2).tolist(), strict=True))
            x0, y0, x1, y1 = box.round().astype(int).tolist()
            words = f"heart from {x0}, {y0} to {x1}, {y1} (column, row, in pixels)"
            answers.append(Answer(row, words, film, box))
        return answers

    def draw(self, drawings: Sequence[Drawing]) -> None:
        """Each film with its box in red."""
        for drawing in drawings:
            film = drawing.answer.content
            box_picture(
                drawing.path,
                film.square.cut_out(stored_pixels(film.encoded)),
                None,
                film.square.to_cut_out(drawing.answer.result),
                titled(drawing.name[:36], drawing.doubt),
                picture_mark(self.run.config),
            )
