"""Train a ResNet50 to tell pneumonia on a chest radiograph.

Reads what prepare_data.py wrote (and prepares first where nothing is prepared). Writes
config.json, history.csv, tensorboard/, model.keras (the best epoch by val_loss) and fitted.json
(the threshold from the validation split, the baselines from the training split). A training
that was stopped goes on with the same command.

    python train.py --preset cpu --prepared data/prepared/pneumonia --run runs/my-run
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from common.errors import run_script
from common.settings import parse, show
from pneumonia_classification.config import PROJECT, TrainSettings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "train", __doc__)
    show("Train a ResNet50 to classify pneumonia", settings)

    from common import fitting, runs
    from common.artefacts import only_one, write_json
    from common.backend import start_tensorflow
    from common.preparing import copies_of, print_written
    from common.splits import training_splits

    prepared = runs.find_prepared(PROJECT, settings, lambda: _prepare(settings))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()
    with only_one(run):
        if not runs.begin_run(run, settings, prepared):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with Augmentor's copies, and the validation split.
        train, validation = training_splits(prepared.splits, settings.fold)
        train += [copies_of(split) for split in train]
        side = settings.image_size or prepared.manifest["settings"]["image_size"]
        steps, batch_size = fitting.steps_in_epoch(prepared.count(train), settings)
        precision = fitting.set_precision(settings.precision)
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {prepared.count(train)} images train, "
            f"{prepared.count(validation)} validate, "
            f"{side} x {side} pixels, {precision}; run folder {run}",
            flush=True,
        )

        # -- Fit.
        state = fitting.fit(
            run,
            build=lambda: _build(side, settings),
            loss=_loss(settings),
            metrics=_metrics(),
            training=lambda first_epoch: training_data(
                prepared, train, side, steps, batch_size, first_epoch, settings
            ),
            validation=images_and_labels(prepared, validation, side)
            .batch(batch_size)
            .map(lambda batch: (batch["image"], batch["label"])),
            steps=steps,
            settings=settings,
        )
        print(f"  best epoch {state.best_epoch}, val_loss {state.best:.4f}")

        # -- Constants: threshold from validation, baselines from training, never from test.
        model = fitting.load_model(run / "model.keras")
        fitted = _fit_constants(model, prepared, train, validation, side, batch_size)
        write_json(run / "fitted.json", {"image_size": side, **fitted})
    print_written([run / name for name in ("model.keras", "history.csv", "fitted.json")])


def training_data(
    prepared: Any,
    splits: list[str],
    side: int,
    steps: int,
    batch_size: int,
    first_epoch: int,
    settings: TrainSettings,
) -> Any:
    """Shuffled, augmented batches: images (batch, side, side, 1) in 0..255, labels (batch, 1)."""
    import tensorflow as tf

    from common import augment, pipeline

    ranges = augment.Ranges(
        rotation_degrees=settings.rotation_degrees,
        scale=settings.scale,
        shift=settings.shift,
        contrast=settings.contrast,
        brightness=settings.contrast / 2,
    )

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draws = augment.draw(ranges, batch_size, seed)
        images = augment.move_images(tf.cast(batch["image"], tf.float32), draws)
        return augment.change_intensities(images, draws), batch["label"]

    return pipeline.training_batches(
        images_and_labels(prepared, splits, side),
        steps,
        batch_size,
        settings.seed,
        first_epoch,
        settings.epochs,
        to_inputs,
    )


def images_and_labels(prepared: Any, splits: list[str], side: int) -> Any:
    """Every record once, in order: ``image`` (side, side, 1) 0..255, ``label`` (1,), ``case``."""
    from common import pipeline

    return pipeline.radiographs(prepared, splits, side, "label", 1)


def _build(side: int, settings: TrainSettings) -> Any:
    from common.models.resnet50 import build_resnet50

    return build_resnet50(side, weights=settings.weights)


def _loss(settings: TrainSettings) -> Any:
    import keras

    return keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing)


def _metrics() -> list[Any]:
    import keras

    return [keras.metrics.AUC(name="auroc"), keras.metrics.BinaryAccuracy(name="accuracy")]


def _fit_constants(
    model: Any, prepared: Any, train: list[str], validation: list[str], side: int, batch_size: int
) -> dict[str, Any]:
    import numpy as np

    from common.scores.classification import fit_metadata, youden_threshold

    held_out = images_and_labels(prepared, validation, side).batch(batch_size)
    labels = np.concatenate([batch["label"] for batch in held_out.as_numpy_iterator()])[:, 0]
    scores = model.predict(held_out.map(lambda batch: batch["image"]), verbose=0)[:, 0]
    threshold = youden_threshold(labels, scores)
    cases = prepared.cases()
    known = cases[cases["split"].isin(train)]
    return {
        "threshold": float(threshold),
        "threshold_from": "validation, Youden" if 0 < labels.mean() < 1 else "0.5, one class",
        "majority": int(known["label"].mean() >= 0.5),
        "metadata": fit_metadata(known["view"], known["sex"], known["age_years"], known["label"]),
    }


def _prepare(settings: TrainSettings) -> Path:
    from pneumonia_classification.prepare_data import prepare

    preset = PROJECT.presets[settings.preset].prepare
    return prepare(dataclasses.replace(preset, preset=settings.preset, seed=settings.seed))


if __name__ == "__main__":
    run_script(main)
