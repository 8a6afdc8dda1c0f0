"""Train a ResNet50 to box the heart on a chest radiograph.

Reads the prepared folder (and prepares it first where there is none). Writes config.json,
history.csv, tensorboard/, model.keras (the best epoch by val_loss) and fitted.json (the baseline:
the mean box of the training split). The same command resumes a stopped training.

    python train.py --preset cpu --prepared data/prepared/heart --run runs/my-run
    python train.py --weights runs/pneumonia_classification/my-run
"""

from __future__ import annotations

from typing import Any

from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from heart_detection.config import PROJECT, TrainSettings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "train", __doc__)
    print_settings("Train a ResNet50 to detect the heart", settings)

    from common.base.backend import start_tensorflow
    from common.base.files import lock_folder
    from common.datasets.splits import copies_of, training_splits
    from common.training import runs
    from heart_detection.dataset import images_and_boxes, prepare, training_data

    prepared = runs.find_prepared(
        PROJECT, settings, lambda: prepare(PROJECT.prepare_settings(settings))
    )
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()

    from common.models.resnet50 import HEAD_LAYERS
    from common.training import fitting
    from common.training.precision import set_precision
    from heart_detection.training_pictures import training_pictures

    with lock_folder(run):
        if not runs.begin_run(run, settings, prepared, PROJECT.model_inputs):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with imgaug's copies, and the validation split.
        train, validation = training_splits(prepared.splits, settings.fold)
        with_copies = [*train, *map(copies_of, train)]
        side = settings.image_size or prepared.manifest["settings"]["image_size"]
        steps, batch_size = fitting.steps_in_epoch(prepared.count(with_copies), settings)
        precision = set_precision(settings.precision)
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {prepared.count(with_copies)} images "
            f"train, {prepared.count(validation)} validate, "
            f"{side} x {side} pixels, {precision}; run folder {run}",
            flush=True,
        )

        # -- Fit.
        held_out = images_and_boxes(prepared, validation, side)
        task = fitting.Task(
            training_data(prepared, with_copies, side, steps, batch_size, settings),
            held_out.batch(batch_size).map(lambda batch: (batch["image"], batch["box"])),
            _loss(settings),
            _metrics(),
            pictures=training_pictures(held_out, side, settings, prepared.manifest["synthetic"]),
        )
        state = fitting.fit_in_stages(
            run, lambda weights: _build(side, weights, settings), HEAD_LAYERS, task, settings
        )
        print(f"  best epoch {state.best_epoch}, val_loss {state.best:.4f}")

        # -- Constants: the mean box of the training split, in fractions of the square.
        boxes = [one["box"] for one in images_and_boxes(prepared, train, side).as_numpy_iterator()]
        mean_box = [float(edge) for edge in sum(boxes) / len(boxes)]
        runs.end_run(run, {"image_size": side, "mean_box": mean_box}, ["model.keras"])
    print_paths([run / name for name in ("model.keras", "history.csv", "fitted.json")])


def _build(side: int, weights: str, settings: TrainSettings) -> Any:
    from common.models.resnet50 import build_box_resnet50

    return build_box_resnet50(
        side, weights=weights, pooling=settings.pooling, standardise=settings.standardise
    )


def _loss(settings: TrainSettings) -> Any:
    from common.training.loss_names import box_loss

    return box_loss(settings.loss)


def _metrics() -> list[Any]:
    from common.training.losses import iou

    return [iou]


if __name__ == "__main__":
    run_script(main)
