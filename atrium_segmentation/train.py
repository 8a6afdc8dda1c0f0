"""Train U-Net, FCN-8 or networks of your own to segment the left atrium, on the same batches.

Reads what prepare_data.py wrote (and prepares first where nothing is prepared). Writes
config.json, for each network a folder with history.csv, tensorboard/ and model.keras (the best
epoch by val_loss), mean_shape.npz (the baseline) and fitted.json (what each network took). A
training that was stopped goes on with the same command.

    python train.py --preset cpu --prepared data/prepared/atrium --run runs/my-run
    python train.py --models unet
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atrium_segmentation.config import PROJECT, TrainSettings
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings

MEAN_SHAPE_GRID = (48, 64, 64)
"""Voxels (z, y, x) over a volume's extent on which the baseline's mean shape is kept."""


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "train", __doc__)
    print_settings("Train networks to segment the left atrium", settings)

    from atrium_segmentation import slices
    from atrium_segmentation.dataset import prepare, volumes
    from atrium_segmentation.networks import build
    from common.base.backend import start_tensorflow
    from common.base.files import lock_folder
    from common.datasets.splits import training_splits
    from common.training import runs

    prepared = runs.find_prepared(
        PROJECT, settings, lambda: prepare(PROJECT.prepare_settings(settings))
    )
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()

    from atrium_segmentation.training_pictures import training_pictures
    from common.training import fitting
    from common.training.precision import set_precision

    with lock_folder(run):
        if not runs.begin_run(run, settings, prepared, PROJECT.model_inputs):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: slices of the training volumes, and of the validation volumes.
        train, validation = training_splits(prepared.splits, settings.fold)
        shapes = [volume["mask"].shape for volume in volumes(prepared, train).as_numpy_iterator()]
        side = settings.image_size or slices.side_of(shapes, settings.planes)
        classes = _classes_of(prepared)
        count = slices.count_of(shapes, settings.planes)
        steps, batch_size = fitting.steps_in_epoch(count, settings)
        precision = set_precision(settings.precision)
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {prepared.count(train)} volumes train "
            f"({count} slices, {' and '.join(settings.planes)}), {prepared.count(validation)} "
            f"validate, {side} x {side} pixels, {2 * settings.neighbours + 1} slices as channels, "
            f"{precision}; run folder {run}",
            flush=True,
        )

        # -- Fit each network on the same batches.
        fitted: dict[str, Any] = {
            "models": {},
            "neighbours": settings.neighbours,
            "planes": list(settings.planes),
            "labels": prepared.manifest["labels"],
        }
        pictures = training_pictures(prepared, validation, side, settings)
        for name in settings.models:
            model = build(name, classes, settings)
            outputs, parameters = len(model.outputs), model.count_params()
            print(f"\n{name}: {parameters:,} parameters", flush=True)
            (run / name).mkdir(exist_ok=True)
            task = fitting.Task(
                slices.training_data(prepared, train, side, steps, batch_size, settings, outputs),
                slices.validation_data(prepared, validation, side, batch_size, settings, outputs),
                **_losses(settings, classes, outputs),
                pictures=pictures,
            )
            state = fitting.fit(run / name, partial(build, name, classes, settings), task, settings)
            seconds = sum(row["seconds"] for row in state.history)
            fitted["models"][name] = {
                "parameters": parameters,
                "best_epoch": state.best_epoch,
                "val_loss": state.best,
                "seconds": round(seconds, 1),
                "peak_memory_mib": state.peak_memory_mib,
            }
            print(
                f"  best epoch {state.best_epoch}, val_loss {state.best:.4f}; {seconds / 60:.1f} "
                f"minutes, {state.peak_memory_mib or '?'} MiB at the peak"
            )

        # -- Constants: the mean shape of each label, cut where it fits the training masks best.
        fitted["mean_shape_thresholds"] = _fit_mean_shapes(run, prepared, train)
        kept = [*(f"{name}/model.keras" for name in settings.models), "mean_shape.npz"]
        runs.end_run(run, fitted, kept)
    print_paths([run / name for name in (*kept, "fitted.json")])


def _classes_of(prepared: Any) -> int:
    """1 for a mask (sigmoid), else the number of labels with the background (softmax)."""
    labels = len(prepared.manifest["labels"])
    return 1 if labels <= 2 else labels


def _losses(settings: TrainSettings, classes: int, outputs: int) -> dict[str, Any]:
    """The loss and the metric; of further outputs the loss, each half of the finer one's."""
    from common.training.loss_names import segmentation_loss
    from common.training.losses import Dice

    loss, metrics = segmentation_loss(settings.loss, classes), [Dice(classes)]
    if outputs == 1:
        return {"loss": loss, "metrics": metrics}
    return {
        "loss": [loss] * outputs,
        "metrics": [metrics, *[[]] * (outputs - 1)],
        "loss_weights": [0.5**level for level in range(outputs)],
    }


def _fit_mean_shapes(run: Path, prepared: Any, splits: Sequence[str]) -> list[float]:
    """Keep each label's mean mask over the volumes' extents, and the cuts with the best Dice."""
    import numpy as np

    from atrium_segmentation.dataset import volumes
    from common.base.files import atomic_write
    from common.imaging.grids import resample
    from common.scores.volumes import dice

    masks = [one["mask"] for one in volumes(prepared, list(splits)).as_numpy_iterator()]
    means, thresholds = [], []
    for label in range(1, len(prepared.manifest["labels"])):
        shares = [resample(mask == label, MEAN_SHAPE_GRID) for mask in masks]
        means.append(np.mean(shares, axis=0, dtype=np.float32))
        cuts = np.linspace(0.1, 0.9, 17)
        scores = [np.mean([dice(one >= 0.5, means[-1] >= cut) for one in shares]) for cut in cuts]
        thresholds.append(float(cuts[int(np.argmax(scores))]))
    with atomic_write(run / "mean_shape.npz") as beside:
        np.savez_compressed(beside, means=means)
    return thresholds


if __name__ == "__main__":
    run_script(main)
