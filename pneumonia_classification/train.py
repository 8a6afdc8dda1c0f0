"""Train a ResNet50 to tell pneumonia on a chest radiograph.

Reads what prepare_data.py wrote (and prepares first where nothing is prepared). Writes
config.json, history.csv, tensorboard/, model.keras (the best epoch by val_loss), validation.csv
(what it says of the validation split, from which evaluate.py takes threshold and temperature) and
fitted.json (the baselines, from the training split). A training that was stopped goes on with the
same command.

    python train.py --preset cpu --prepared data/prepared/pneumonia --run runs/my-run
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
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

    prepared = runs.find_prepared(PROJECT, settings, lambda: _prepare(settings))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()

    from common.models.resnet50 import HEAD_LAYERS
    from common.models.stored import load_model
    from common.training import fitting
    from common.training.precision import set_precision
    from pneumonia_classification.training_pictures import training_pictures

    with lock_folder(run):
        if not runs.begin_run(run, settings, prepared):
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
        held_out = predict(model, prepared, validation, side, batch_size)
        write_csv(run / "validation.csv", held_out.columns, held_out.to_dict("records"))
        fitted = {"image_size": side, **_baselines(prepared, train)}
        runs.end_run(run, fitted, ["model.keras", "validation.csv"])
    print_paths(
        [run / name for name in ("model.keras", "history.csv", "validation.csv", "fitted.json")]
    )


def training_data(
    prepared: Any,
    splits: list[str],
    side: int,
    steps: int,
    batch_size: int,
    settings: TrainSettings,
) -> Any:
    """Shuffled, augmented batches: images (batch, side, side, 1) in 0..255, labels (batch, 1).

    With ``box_weight`` the targets are the labels and the share of every place of the last
    features that lies in a radiologist's box, (batch, places, places, 1). With class weights the
    weights of the samples, (batch, 1), come third.
    """
    import tensorflow as tf

    from common.training import augment, pipeline

    ranges = augment.Ranges(
        rotation_degrees=settings.rotation_degrees,
        scale=settings.scale,
        shift=settings.shift,
        contrast=settings.contrast,
        brightness=settings.contrast / 2,
    )

    of_label = _of_each_label(prepared, splits)
    # By label, 0 and 1.
    rarity = tf.constant([max(of_label) / max(one, 1) for one in of_label], tf.float32)
    balanced = tf.constant([sum(of_label) / 2 / max(one, 1) for one in of_label], tf.float32)

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[Any, ...]:
        draws = augment.draw(ranges, batch_size, seed)
        moved = {
            name: augment.transform_images(tf.cast(batch[name], tf.float32), draws)
            for name in ("image", "region")
            if name in batch
        }
        images = augment.change_intensities(moved["image"], draws)
        targets = _targets({**batch, **moved}, side)
        if settings.balance != "weights":
            return images, targets
        weights = tf.gather(balanced, tf.cast(batch["label"], tf.int32))
        return images, targets, (weights, tf.ones_like(weights)) if settings.box_weight else weights

    def oversampled(records: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        return pipeline.repeated(
            records, lambda one: rarity[tf.cast(one["label"][0], tf.int32)], seed
        )

    return pipeline.Training(
        images_and_labels(prepared, splits, side, settings.box_weight > 0),
        steps,
        batch_size,
        settings.seed,
        settings.epochs,
        to_inputs,
        oversampled if settings.balance == "oversampling" else None,
    )


def validation_data(
    prepared: Any, splits: list[str], side: int, batch_size: int, settings: TrainSettings
) -> Any:
    """Batches as `training_data` gives them, in order and as they are."""
    records = images_and_labels(prepared, splits, side, settings.box_weight > 0)
    return records.batch(batch_size).map(lambda batch: (batch["image"], _targets(batch, side)))


def images_and_labels(
    prepared: Any, splits: list[str], side: int, with_region: bool = False
) -> Any:
    """Every record once, in order: ``image`` (side, side, 1) 0..255, ``label`` (1,), ``case``.

    And, if asked for, ``region``: 255 where a radiologist's box is, in the image's shape.
    """
    from common.training import pipeline

    return pipeline.radiographs(prepared, splits, side, "label", 1, with_region)


def predict(model: Any, prepared: Any, splits: list[str], side: int, batch_size: int) -> Any:
    """What a model says of every case of some splits, in their order.

    Returns:
        A table of ``case``, ``label``, ``probability``, and ``mirrored``: the probability of the
        film's mirror image.
    """
    import numpy as np
    import pandas as pd

    from pneumonia_classification.inference import probabilities

    parts = []
    for batch in images_and_labels(prepared, splits, side).batch(batch_size).as_numpy_iterator():
        parts.append(
            {
                "case": [case.decode() for case in batch["case"]],
                "label": batch["label"][:, 0].astype(int),
                **probabilities(model, batch["image"]),
            }
        )
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _targets(batch: Any, side: int) -> Any:
    import tensorflow as tf

    if "region" not in batch:
        return batch["label"]
    places = -(-side // 32)
    inside = tf.cast(batch["region"], tf.float32) / 255
    return batch["label"], tf.image.resize(inside, (places, places), "area")


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


def _of_each_label(prepared: Any, splits: list[str]) -> tuple[int, int]:
    """The records of some splits that are negative and positive, Augmentor's copies among them."""
    from common.datasets.splits import is_copies

    labels = prepared.cases().query("split in @splits")["label"]
    copies = prepared.count([split for split in splits if is_copies(split)])
    positives = int(labels.sum()) + copies
    return len(labels) + copies - positives, positives


def _baselines(prepared: Any, train: list[str]) -> dict[str, Any]:
    from common.scores.metadata import fit_metadata

    known = prepared.cases().query("split in @train")
    return {
        "majority": int(known["label"].mean() >= 0.5),
        "metadata": fit_metadata(known["view"], known["sex"], known["age_years"], known["label"]),
    }


def _prepare(settings: TrainSettings) -> Path:
    from pneumonia_classification.prepare_data import prepare

    preset = PROJECT.presets[settings.preset].prepare
    return prepare(dataclasses.replace(preset, preset=settings.preset, seed=settings.seed))


if __name__ == "__main__":
    run_script(main)
