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

from dataclasses import asdict

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import lock_folder
from common.base.parts import part_folder
from common.base.printing import print_paths, print_settings
from common.imaging.image_files import FILM_SUFFIXES, FILMS, is_film
from common.prediction.inputs import find_inputs
from common.prediction.predictions import begin_predictions
from common.training.runs import open_run
from pneumonia_classification.config import PROJECT


def main() -> None:
    """Predict every film that has no row yet, as evaluate.py does."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict pneumonia on chest films", settings, PROJECT)
    run = open_run(PROJECT, settings)
    output = settings.output or run.folder / "predictions"
    films = find_inputs(settings.inputs, FILMS, is_film, FILM_SUFFIXES, output, ids=settings.ids)
    folder = part_folder(output, settings.part)

    # Before TensorFlow starts: where all is predicted with the same decision, there is no need.
    from pneumonia_classification import inference

    decision, classes = inference.decision(run, settings), inference.classes_of_run(run)
    with lock_folder(folder):
        predictions = begin_predictions(
            folder, films, run, settings, settings.batch_size, decision=asdict(decision)
        )
        if predictions is None:
            return
        print(
            f"\n{len(predictions.inputs)} files; {inference.rule_in_words(decision, classes)}",
            flush=True,
        )
        start_tensorflow()

        from common.prediction.predictor import predict_all
        from pneumonia_classification.predictor import ClassPredictor

        predictor = ClassPredictor(run, settings, decision)
        columns = predict_all(predictions, predictor, settings)
        paths = predictions.finish(run, predictor.about, columns)
    print_paths(paths)


if __name__ == "__main__":
    run_script(main)
