"""Train a network (a ResNet50 by default) to box the heart on a chest radiograph.

Reads the prepared folder (and prepares it first where there is none). Writes config.json,
history.csv, tensorboard/, model.keras (the best epoch by --monitor), film_doubts.npz (what an odd
film looks like) and fitted.json (the baselines, from the training split). The same command resumes
a stopped training.

    python train.py --preset cpu --prepared data/prepared/heart --run runs/my-run
    python train.py --weights runs/pneumonia_classification/my-run
"""

from __future__ import annotations

from common.base import hosts
from common.base.backend import start_tensorflow
from common.base.command_line import given_settings, parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from common.base.rank_process import run_as_rank
from common.datasets.splits import copies_of, training_splits
from common.training import runs
from common.training.adapting import adapted, weights_changes
from heart_detection.config import PROJECT


def main() -> None:
    """Train a network, or go on with its training."""
    settings = parse(PROJECT, "train", __doc__)
    run_as_rank(settings.hosts)
    print_settings("Train a network to detect the heart", settings, PROJECT)
    prepared = runs.find_prepared(PROJECT, settings)
    changes = weights_changes(settings)
    settings, reasons = adapted(settings, changes, given_settings(type(settings)))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow(settings.device)

    import numpy as np

    from common.models.film_networks import HEAD_LAYERS
    from common.scores.thumbnails import fit_numbers, thumbnail
    from common.training import fitting, seen
    from common.training.film_detector import fit_film_detector
    from common.training.pipeline import film_size
    from common.training.precision import computed_with, set_precision
    from heart_detection import networks
    from heart_detection.dataset import images_and_boxes, training_data, validation_data
    from heart_detection.training_pictures import training_pictures

    with runs.locked(run):
        precision = set_precision(settings.precision)
        used = computed_with(precision)
        if not runs.begin_run(run, settings, prepared, PROJECT.inputs_function, used, reasons):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with imgaug's copies, and the validation split.
        train, validation = training_splits(prepared.splits, settings.fold, settings.nested)
        with_copies = [*train, *map(copies_of, train)]
        seen.write_seen(run, prepared, train, validation, settings.weights)
        image_size = film_size(prepared, settings.image_size)
        batch_size = fitting.even_batch_size(prepared.count(with_copies), settings)
        print(
            f"\n{runs.name_of_data(prepared.manifest)}: {prepared.count(with_copies)} images "
            f"train, {prepared.count(validation)} validate, {image_size} x {image_size} pixels, "
            f"{precision}; run folder {run}",
            flush=True,
        )

        # -- Fit.
        task = fitting.Task(
            training_data(prepared, with_copies, image_size, batch_size, settings),
            validation_data(prepared, validation, image_size, batch_size),
            **networks.losses(settings),
            pictures=training_pictures(prepared, validation, image_size, settings),
        )
        state = fitting.fit_in_stages(
            run,
            lambda weights: networks.build(image_size, weights, settings),
            HEAD_LAYERS,
            task,
            settings,
        )
        print(f"  best epoch {state.best_epoch}, {settings.monitor} {state.best:.4f}")

        if not hosts.leave():
            return

        # -- Constants: the baselines of the training split, in fractions of the square.
        films = images_and_boxes(prepared, train, image_size).as_numpy_iterator()
        pairs = [(thumbnail(film["image"][..., 0]), film["box"]) for film in films]
        pixels, boxes = map(np.stack, zip(*pairs, strict=True))
        fitted = {
            "image_size": image_size,
            "mean_box": boxes.mean(axis=0).tolist(),
            "thumbnail": fit_numbers(pixels, boxes),
        }
        doubts = fit_film_detector(run, prepared, train, settings.seed)
        runs.end_run(run, fitted, ["model.keras", seen.FILE, *doubts])
    print_paths([run / name for name in ("model.keras", "history.csv", "fitted.json")])


if __name__ == "__main__":
    run_script(main)
