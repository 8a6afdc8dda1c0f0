"""Predict pneumonia on films without labels.

Reads a finished run, and DICOM, PNG or JPEG files or folders of them. Writes predictions.csv (one
row per file: its probability, that rescaled by what the validation split shows, named for the
method, and the decision at the run's threshold; of several classes the predicted one, or the
labels, and the probability of each), pictures/ (each film next to its Grad-CAM map), model_card.md
and predictions.json. A file that cannot be read is named, and its row says why. The same command
resumes an interrupted run.

    python predict.py films/ another.dcm --run runs/my-run --output predictions
    python predict.py films/ --run runs/my-run --pictures 0
    python predict.py films/ --run runs/my-run --reject 0.05
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import lock_folder
from common.base.printing import print_paths, print_settings
from common.datasets.classes import Classes
from common.imaging.image_files import FILM_SUFFIXES, FILMS, is_film
from common.prediction.inputs import find_inputs
from common.prediction.predictions import begin_predictions, titled
from common.scores.decisions import UNDECIDED
from common.training.runs import open_run
from common.training.trained import picture_mark
from pneumonia_classification.config import PROJECT
from pneumonia_classification.model_card import about

if TYPE_CHECKING:
    from pneumonia_classification.inference import Decision


def main() -> None:
    """Predict every film that has no row yet, as evaluate.py does."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict pneumonia on chest films", settings, PROJECT)
    run = open_run(PROJECT, settings)
    folder = settings.output or run.folder / "predictions"
    films = find_inputs(settings.inputs, FILMS, is_film, FILM_SUFFIXES, folder, ids=settings.ids)

    # Before TensorFlow starts: where all is predicted with the same decision, there is no need.
    from pneumonia_classification import inference

    decision, classes = inference.decision(run, settings), inference.classes_of_run(run)
    columns = _columns(decision, classes)
    with lock_folder(folder):
        predictions = begin_predictions(folder, films, run, settings, decision=asdict(decision))
        if predictions is None:
            return
        print(f"\n{len(films)} files; {inference.rule_in_words(decision, classes)}", flush=True)
        start_tensorflow()

        import numpy as np

        from common.explaining.gradcam import layer_to_explain, saliency_maps
        from common.records.stored_images import model_inputs, stored_film, stored_pixels
        from common.reporting.figures import gradcam_picture
        from common.training.film_detector import film_doubter

        model = inference.open_model(run, settings)
        data = run.config["data"]["settings"]
        stretch = data["proportions"] == "stretch"
        read = partial(stored_film, image_size=data["image_size"], stretch=stretch)
        doubt = film_doubter(run)
        for batch in predictions.read(read, settings.batch_size, settings.workers, doubt):
            images = model_inputs([film for _, film in batch], run.fitted["image_size"])
            by_view = inference.probabilities(model, images, classes)
            scores = inference.averaged(by_view, settings.flip, classes)
            table = inference.answers_table(scores, decision, classes)
            rows: list[dict[str, Any]] = [
                {
                    "file": source.file,
                    **{name: _plain(table[name][i]) for name in columns if name in table},
                    "picture": predictions.picture_path(source, settings.pictures),
                }
                for i, (source, _) in enumerate(batch)
            ]
            drawn = [i for i, row in enumerate(rows) if row["picture"]]
            likeliest = None if classes.are_two else table["likeliest"][drawn]
            layer = layer_to_explain(model, settings.gradcam_layer)
            maps = saliency_maps(model, images[drawn], layer, likeliest) if drawn else {}
            for number, i in enumerate(drawn):
                (source, film), row = batch[i], rows[i]
                output = "" if classes.are_two else classes.names[table["likeliest"][i]]
                title = f"{source.name[:36]}\n{_title(row, output, decision.threshold, classes)}"
                gradcam_picture(
                    folder / row["picture"],
                    stored_pixels(film.encoded),
                    {name: heats[number] for name, heats in maps.items()},
                    np.zeros((0, 4)),
                    titled(title, predictions.doubt_of(source.file)),
                    picture_mark(run.config),
                    output or f"the {inference.positive(classes)} output",
                )
            predictions.add(rows)
        paths = predictions.finish(run, about(classes), columns)
    print_paths(paths)


def _columns(rule: Decision, classes: Classes) -> list[str]:
    """The table's columns between ``file`` and ``error``."""
    probabilities = ["probability", *filter(None, [rule.rescaling.column])]
    if not classes.are_two:
        first = ["predicted", *probabilities, *classes.columns("probability")]
    else:
        first = [*probabilities, "predicted", *(["decided"] if rule.band else [])]
    return [*first, "doubt", "picture"]


def _plain(value: Any) -> Any:
    """A cell of the table as JSON and a CSV have it."""
    if isinstance(value, float):
        return round(float(value), 6)
    return value if isinstance(value, str) else int(value)


def _title(row: Mapping[str, Any], output: str, threshold: Any, classes: Classes) -> str:
    """What a picture says of a row, over the map of its likeliest class."""
    from pneumonia_classification.score_pictures import in_words, names_of, shortened

    if classes.are_two:
        answer = names_of(classes)[row["predicted"]]
        if row.get("decided") == UNDECIDED:
            return f"probability {row['probability']:.2f}: {UNDECIDED}"
        return f"probability {row['probability']:.2f}: {answer} (from {threshold:.2f} on)"
    answer = shortened(in_words(row["predicted"]))
    return f"{answer}; {shortened(output)} {row['probability']:.2f}"


if __name__ == "__main__":
    run_script(main)
