"""Predict the heart's box on films without boxes.

Reads a finished run, and DICOM, PNG or JPEG files or folders of them. Writes predictions.csv (one
row per file: the box in the image's own pixels, half-open), pictures/ (each film with its box in
red), model_card.md and predictions.json. A file that cannot be read is named, and its row says why.
The same command resumes an interrupted run.

    python predict.py films/ another.dcm --run runs/my-run --output predictions
    python predict.py films/ --run runs/my-run --pictures 0
"""

from __future__ import annotations

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
from heart_detection.config import PROJECT
from heart_detection.model_card import ABOUT


def main() -> None:
    """Predict every film that has no row yet, as evaluate.py does."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict the box of the heart on chest films", settings, PROJECT)
    run = open_run(PROJECT, settings)
    output = settings.output or run.folder / "predictions"
    films = find_inputs(settings.inputs, FILMS, is_film, FILM_SUFFIXES, output, ids=settings.ids)
    folder = part_folder(output, settings.part)
    with lock_folder(folder):
        predictions = begin_predictions(folder, films, run, settings, settings.batch_size)
        if predictions is None:
            return
        print(f"\n{len(predictions.inputs)} files", flush=True)
        start_tensorflow()

        from common.prediction.predictor import predict_all
        from heart_detection.predictor import BoxPredictor

        predictor = BoxPredictor(run, settings)
        columns = predict_all(predictions, predictor, settings)
        paths = predictions.finish(run, ABOUT, columns)
    print_paths(paths)


if __name__ == "__main__":
    run_script(main)
