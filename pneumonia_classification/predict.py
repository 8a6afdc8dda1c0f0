"""Predict pneumonia on films without labels.

Reads a finished run, and DICOM files or folders of them. Writes predictions.csv (one row per file:
its probability, the calibrated one, and the decision at the run's threshold), pictures/ (each film
next to its Grad-CAM map), model_card.md and predictions.json. A file that cannot be read is named,
and its row says why. The same command resumes an interrupted run.

    python predict.py films/ another.dcm --run runs/my-run --output predictions
    python predict.py films/ --run runs/my-run --pictures 0
"""

from __future__ import annotations

from functools import partial
from typing import Any

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import lock_folder
from common.base.printing import print_paths, print_settings
from common.imaging.dicom_names import SUFFIXES, is_dicom
from common.prediction.inputs import find_inputs
from common.prediction.predictions import begin_predictions
from common.training.runs import open_run
from common.training.trained import picture_mark
from pneumonia_classification.config import PROJECT
from pneumonia_classification.model_card import ABOUT

COLUMNS = ("probability", "calibrated", "predicted", "picture")
"""The table's columns between ``file`` and ``error``."""


def main() -> None:
    """Predict every film that has no row yet, as evaluate.py does."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict pneumonia on chest films", settings)
    run = open_run(PROJECT, settings)
    folder = settings.output or run.folder / "predictions"
    films = find_inputs(settings.inputs, "DICOM", is_dicom, SUFFIXES, folder)

    # Before TensorFlow starts: where all is predicted with the same decision, there is no need.
    from pneumonia_classification import inference

    decision = inference.decision(run, settings)
    threshold, temperature = decision.threshold, decision.temperature
    with lock_folder(folder):
        predictions = begin_predictions(folder, films, run, settings, decision=vars(decision))
        if predictions is None:
            return
        print(
            f"\n{len(films)} files; called pneumonia from {threshold:.3f} on ({decision.source})",
            flush=True,
        )
        start_tensorflow()

        import numpy as np

        from common.explaining.gradcam import gradcam
        from common.records.stored_images import model_inputs, stored_film, stored_pixels
        from common.reporting.figures import gradcam_picture
        from common.scores.classification import with_temperature

        model = inference.open_model(run, settings)
        data = run.config["data"]["settings"]
        stretch = data["proportions"] == "stretch"
        read = partial(stored_film, image_size=data["image_size"], stretch=stretch)
        for batch in predictions.read(read, settings.batch_size, settings.workers):
            images = model_inputs([film for _, film in batch], run.fitted["image_size"])
            scores = inference.averaged(inference.probabilities(model, images), settings.flip)
            rows: list[dict[str, Any]] = [
                {
                    "file": source.file,
                    "probability": round(float(score), 6),
                    "calibrated": round(float(with_temperature(score, temperature)), 6),
                    "predicted": int(score >= threshold),
                    "picture": predictions.picture_path(source, settings.pictures),
                }
                for (source, _), score in zip(batch, scores, strict=True)
            ]
            drawn = [i for i, row in enumerate(rows) if row["picture"]]
            maps = gradcam(model, images[drawn], settings.gradcam_layer) if drawn else ()
            for i, heat in zip(drawn, maps, strict=True):
                (source, film), row = batch[i], rows[i]
                answer = "pneumonia" if row["predicted"] else "no pneumonia"
                title = (
                    f"{source.name[:36]}\nprobability {row['probability']:.2f}: {answer} "
                    f"(from {threshold:.2f} on)"
                )
                pixels = stored_pixels(film.encoded)
                synthetic = picture_mark(run.config)
                gradcam_picture(
                    folder / row["picture"], pixels, heat, np.zeros((0, 4)), title, synthetic
                )
            predictions.add(rows)
        paths = predictions.finish(run, ABOUT, COLUMNS)
    print_paths(paths)


if __name__ == "__main__":
    run_script(main)
