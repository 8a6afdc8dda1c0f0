"""Train a ResNet50 to recognise pneumonia on a chest radiograph.

Reads the prepared folder (and prepares it first where there is none). Writes config.json,
history.csv, tensorboard/, model.keras (the best epoch by val_loss), validation.csv (the
predictions of the validation split, from which evaluate.py takes threshold and temperature) and
fitted.json (the baselines, from the training split). The same command resumes a stopped training.

    python train.py --preset cpu --prepared data/prepared/pneumonia --run runs/my-run
"""

from __future__ import annotations

from typing import Any

from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from pneumonia_classification.config import PROJECT, TrainSettings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "train", __doc__)
    print_settings("Train a ResNet50 to classify pneumonia", settings)

    from common.base.backend import start_tensorflow
    from common.base.files import lock_folder, write_csv
    from common.datasets.splits import copies_of, training_splits
    from common.training import runs
    from pneumonia_classification.dataset import prepare, training_data, validation_data
    from pneumonia_classification.inference import predict_cases

    prepared = runs.find_prepared(
        PROJECT, settings, lambda: prepare(PROJECT.prepare_settings(settings))
    )
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()

    from common.models.resnet50 import HEAD_LAYERS
    from common.models.stored import load_model
    from common.training import fitting
    from common.training.precision import set_precision
    from pneumonia_classification.training_pictures import training_pictures

    with lock_folder(run):
        if not runs.begin_run(run, settings, prepared, PROJECT.model_inputs):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with Augmentor's copies, and the validation split.
        train, validation = training_splits(prepared.splits, settings.fold)
        train += [copies_of(split) for split in train]
        side = settings.image_size or prepared.manifest["settings"]["image_size"]
        steps, batch_size = fitting.steps_in_epoch(prepared.count(train), settings)
        precision = set_precision(settings.precision)
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {prepared.count(train)} images train, "
            f"{prepared.count(validation)} validate, "
            f"{side} x {side} pixels, {precision}; run folder {run}",
            flush=True,
        )

        # -- Fit.
        task = fitting.Task(
            training_data(prepared, train, side, steps, batch_size, settings),
            validation_data(prepared, validation, side, batch_size, settings),
            **_losses(settings),
            pictures=training_pictures(prepared, validation, side, settings),
        )
        state = fitting.fit_in_stages(
            run, lambda weights: _build(side, weights, settings), HEAD_LAYERS, task, settings
        )
        print(f"  best epoch {state.best_epoch}, val_loss {state.best:.4f}")

        # -- Constants: from the validation split what decides, from training the baselines.
        model = load_model(run / "model.keras")
        held_out = predict_cases(model, prepared, validation, side, batch_size)
        write_csv(run / "validation.csv", held_out.columns, held_out.to_dict("records"))
        fitted = {"image_size": side, **_baselines(prepared, train)}
        runs.end_run(run, fitted, ["model.keras", "validation.csv"])
    print_paths(
        [run / name for name in ("model.keras", "history.csv", "validation.csv", "fitted.json")]
    )


def _build(side: int, weights: str, settings: TrainSettings) -> Any:
    from common.models.resnet50 import build_resnet50, with_places

    model = build_resnet50(side, weights=weights, standardise=settings.standardise)
    return with_places(model) if settings.box_weight else model


def _losses(settings: TrainSettings) -> dict[str, Any]:
    import keras

    from common.training.losses import InsideRegion

    kinds = {
        "crossentropy": keras.losses.BinaryCrossentropy,
        "focal": keras.losses.BinaryFocalCrossentropy,
    }
    loss = kinds[settings.loss](label_smoothing=settings.label_smoothing)
    metrics = [keras.metrics.AUC(name="auroc"), keras.metrics.BinaryAccuracy(name="accuracy")]
    if not settings.box_weight:
        return {"loss": loss, "metrics": metrics}
    return {
        "loss": [loss, InsideRegion()],
        "metrics": [metrics, []],
        "loss_weights": [1.0, settings.box_weight],
    }


def _baselines(prepared: Any, train: list[str]) -> dict[str, Any]:
    from common.scores.metadata import fit_metadata

    known = prepared.cases().query("split in @train")
    return {
        "majority": int(known["label"].mean() >= 0.5),
        "metadata": fit_metadata(known["view"], known["sex"], known["age_years"], known["label"]),
    }


if __name__ == "__main__":
    run_script(main)
