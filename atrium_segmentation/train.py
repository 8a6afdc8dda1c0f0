"""Train U-Net, FCN-8, a 3-D U-Net or networks of your own to segment the left atrium.

Reads the prepared folder (and prepares it first where there is none). Writes config.json, one
folder per network with history.csv, tensorboard/ and model.keras (the best epoch by --monitor),
mean_shape.npz (the baseline), volume_doubts.npz (what an odd volume looks like) and fitted.json
(each network's time and memory). The same command resumes a stopped training.

    python train.py --preset cpu --prepared data/prepared/atrium --run runs/my-run
    python train.py --models unet unet3d
"""

from __future__ import annotations

from functools import partial
from typing import Any

from atrium_segmentation import adapting
from atrium_segmentation.config import PROJECT
from common.base import hosts
from common.base.backend import start_tensorflow
from common.base.command_line import given_settings, parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from common.base.rank_process import run_as_rank
from common.datasets.splits import training_splits
from common.training import runs
from common.training.adapting import adapted, weights_changes


def main() -> None:
    """Train each of the networks, or go on with their training."""
    settings = parse(PROJECT, "train", __doc__)
    run_as_rank(settings.hosts)
    print_settings("Train networks to segment the left atrium", settings, PROJECT)
    prepared = runs.find_prepared(PROJECT, settings)
    train, validation = training_splits(prepared.splits, settings.fold, settings.nested)
    changes = [*weights_changes(settings), *adapting.changes(prepared, train, settings)]
    settings, reasons = adapted(settings, changes, given_settings(type(settings)))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow(settings.device)

    import keras

    from atrium_segmentation import mean_shape, networks, patches, slices
    from atrium_segmentation.dataset import Volumes
    from atrium_segmentation.odd_volumes import fit_volume_detector
    from atrium_segmentation.training_pictures import training_pictures
    from common.training import fitting, seen
    from common.training.precision import computed_with, set_precision

    with runs.locked(run):
        precision = set_precision(settings.precision)
        used = computed_with(precision)
        if not runs.begin_run(run, settings, prepared, PROJECT.inputs_function, used, reasons):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training volumes and the validation volumes, cut as each network sees them.
        seen.write_seen(run, prepared, train, validation, settings.weights)
        volumes, held_out = Volumes(prepared, train), Volumes(prepared, validation)
        image_size = settings.image_size or slices.smallest_square(volumes.shapes, settings.planes)
        labels = prepared.manifest["labels"]
        classes = 1 if len(labels) <= 2 else len(labels)  # a mask, or a share of each label
        patch = patches.patch_size(volumes, image_size, settings)
        cuts: dict[str, Any] = {"slices": (slices, image_size), "patches": (patches, patch)}
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {len(volumes)} volumes train, "
            f"{len(held_out)} validate, {precision}; run folder {run}",
            flush=True,
        )

        # -- Fit each network; those that see slices, on the same batches.
        pictures = {
            sees: training_pictures(prepared, validation, cuts[sees][0], cuts[sees][1], settings)
            for sees in {networks.NETWORKS[name].sees for name in settings.models}
        }
        models = {}
        for name in settings.models:
            # Every rank has to draw the same weights.
            keras.utils.set_random_seed(settings.seed)
            model = networks.build(name, classes, settings)
            outputs, parameters = len(model.outputs), model.count_params()
            sees = networks.NETWORKS[name].sees
            cut, size = cuts[sees]
            count = cut.count(volumes, settings)
            words = {
                "slices": f"slices ({' and '.join(settings.planes)}) of {image_size} x "
                f"{image_size} pixels, {2 * settings.neighbours + 1} as channels",
                "patches": f"patches of {' x '.join(map(str, patch))} voxels",
            }
            print(f"\n{name}: {parameters:,} parameters, {count} {words[sees]}", flush=True)
            (run / name).mkdir(exist_ok=True)
            batch_size = fitting.even_batch_size(count, settings, setting=cut.BATCH_SIZE)
            task = fitting.Task(
                cut.training_data(volumes, size, batch_size, settings, outputs),
                cut.validation_data(held_out, size, batch_size, settings, outputs),
                **networks.losses(settings, classes, outputs),
                pictures=pictures[sees],
            )
            build = partial(networks.build, name, classes, settings)
            state = fitting.fit(run / name, build, task, settings)
            seconds = sum(row["seconds"] for row in state.history)
            models[name] = {
                "parameters": parameters,
                "best_epoch": state.best_epoch,
                "val_loss": state.history[state.best_epoch - 1]["val_loss"],
                "seconds": round(seconds, 1),
                "peak_memory_mib": state.peak_memory_mib,
            }
            print(
                f"  best epoch {state.best_epoch}, {settings.monitor} {state.best:.4f}; "
                f"{seconds / 60:.1f} minutes, {state.peak_memory_mib or '?'} MiB at the peak"
            )

        if not hosts.leave():
            return

        # -- Constants: the mean shape of each label, cut where it fits the training masks best.
        fitted = {
            "models": models,
            "neighbours": settings.neighbours,
            "planes": list(settings.planes),
            "patch": patch,
            "labels": labels,
            "mean_shape_thresholds": mean_shape.fit_mean_shapes(run, prepared, train),
        }
        kept = [*(f"{name}/model.keras" for name in settings.models), mean_shape.FILE]
        doubts = fit_volume_detector(run, prepared, volumes, settings.seed)
        runs.end_run(run, fitted, [*kept, seen.FILE, *doubts])
    print_paths([run / name for name in (*kept, "fitted.json")])


if __name__ == "__main__":
    run_script(main)
