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
from pathlib import Path
from typing import Any

from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from pneumonia_classification.config import PROJECT, PredictSettings

COLUMNS = ("probability", "calibrated", "predicted", "picture")


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict pneumonia on chest films", settings)

    from common.base.files import lock_folder
    from common.imaging.dicom_file import SUFFIXES, is_dicom
    from common.prediction import inputs
    from common.prediction.predictions import begin_predictions
    from common.training import runs
    from pneumonia_classification import inference
    from pneumonia_classification.model_card import ABOUT

    run = runs.open_run(PROJECT, settings)
    folder = settings.output or run.folder / "predictions"
    films = inputs.find_inputs(settings.inputs, "DICOM", is_dicom, SUFFIXES, folder)
    decision = inference.decision(run, settings)
    with lock_folder(folder):
        predictions = begin_predictions(folder, films, run, settings, decision=vars(decision))
        if predictions is None:
            return
        print(
            f"\n{len(films)} files; called pneumonia from {decision.threshold:.3f} on "
            f"({decision.source})",
            flush=True,
        )
        _predict(predictions, run, decision, settings)
        written = predictions.finish(run, ABOUT, COLUMNS)
    print_paths(written)


def _predict(predictions: Any, run: Any, decision: Any, settings: PredictSettings) -> None:
    """Every film that has no row yet: as train.py saw its films, as evaluate.py scores them."""
    from common.base.backend import start_tensorflow

    start_tensorflow()

    from common.explaining.gradcam import gradcam
    from common.records.stored_images import model_inputs, stored_film
    from common.scores.classification import with_temperature
    from pneumonia_classification import inference

    model = inference.open_model(run, settings)
    data = run.config["data"]["settings"]
    read = partial(
        stored_film, image_size=data["image_size"], stretch=data["proportions"] == "stretch"
    )
    for batch in predictions.read(read, settings.batch_size, settings.workers):
        images = model_inputs([film for _, film in batch], run.fitted["image_size"])
        scores = inference.averaged(inference.probabilities(model, images), settings.flip)
        rows = [
            {
                "file": one.file,
                "probability": round(float(score), 6),
                "calibrated": round(float(with_temperature(score, decision.temperature)), 6),
                "predicted": int(score >= decision.threshold),
                "picture": predictions.picture_path(one, settings.pictures),
            }
            for (one, _), score in zip(batch, scores, strict=True)
        ]
        drawn = [i for i, row in enumerate(rows) if row["picture"]]
        maps = gradcam(model, images[drawn], settings.gradcam_layer) if drawn else []
        for i, heat in zip(drawn, maps, strict=True):
            one, film = batch[i]
            _draw(predictions.folder, one.name, film, rows[i], heat, decision, run)
        predictions.add(rows)


def _draw(
    folder: Path, name: str, film: Any, row: dict[str, Any], heat: Any, decision: Any, run: Any
) -> None:
    from common.records.stored_images import stored_pixels
    from common.reporting.figures import gradcam_picture

    said = "pneumonia" if row["predicted"] else "no pneumonia"
    gradcam_picture(
        folder / row["picture"],
        stored_pixels(film.encoded),
        heat,
        [],
        f"{name[:36]}\nprobability {row['probability']:.2f}: {said} "
        f"(from {decision.threshold:.2f} on)",
        run.config["synthetic"],
    )


if __name__ == "__main__":
    run_script(main)
