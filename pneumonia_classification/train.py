"""Train a network (a ResNet50 by default) to recognise pneumonia on a chest radiograph.

Reads the prepared folder (and prepares it first where there is none). Writes config.json,
history.csv, tensorboard/, model.keras (the best epoch by --monitor), validation.csv (the
predictions of the validation split, from which evaluate.py takes what it decides by),
film_doubts.npz (what an odd film looks like) and fitted.json (the baselines, from the training
split). The same command resumes a stopped training.

    python train.py --preset cpu --prepared data/prepared/pneumonia --run runs/my-run
"""

from __future__ import annotations

from common.base import hosts
from common.base.backend import start_tensorflow
from common.base.command_line import given_settings, parse
from common.base.errors import run_script
from common.base.files import write_csv
from common.base.printing import print_paths, print_settings
from common.base.rank_process import run_as_rank
from common.datasets.classes import Classes
from common.datasets.splits import copies_of, training_splits
from common.training import runs
from common.training.adapting import adapted, weights_changes
from pneumonia_classification import adapting
from pneumonia_classification.config import PROJECT


def main() -> None:
    """Train a network, or go on with its training."""
    settings = parse(PROJECT, "train", __doc__)
    run_as_rank(settings.hosts)
    print_settings("Train a network to classify pneumonia", settings, PROJECT)
    prepared = runs.find_prepared(PROJECT, settings)
    train, validation = training_splits(prepared.splits, settings.fold, settings.nested)
    with_copies = [*train, *map(copies_of, train)]
    data = adapting.data_of(prepared, train, with_copies, settings.weights)
    changes = [*weights_changes(settings), *adapting.changes(settings, data)]
    settings, reasons = adapted(settings, changes, given_settings(type(settings)))
    classes = Classes.described(prepared.manifest)
    adapting.refuse_senseless(settings, classes)
    measured = adapting.measured_classes(settings, prepared, validation)
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow(settings.device)

    from common.models.film_networks import HEAD_LAYERS
    from common.models.stored import load_model
    from common.training import fitting, seen
    from common.training.film_detector import fit_film_detector
    from common.training.pipeline import film_size
    from common.training.precision import computed_with, set_precision
    from pneumonia_classification import networks
    from pneumonia_classification.dataset import training_data, validation_data
    from pneumonia_classification.inference import predict_cases, with_patients
    from pneumonia_classification.scores import fit_baselines
    from pneumonia_classification.training_pictures import training_pictures

    with runs.locked(run):
        precision = set_precision(settings.precision)
        used = computed_with(precision)
        if not runs.begin_run(run, settings, prepared, PROJECT.inputs_function, used, reasons):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with Augmentor's copies, and the validation split.
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
            validation_data(prepared, validation, image_size, batch_size, settings),
            **networks.losses(settings, classes, measured),
            pictures=training_pictures(prepared, validation, image_size, settings),
        )
        state = fitting.fit_in_stages(
            run,
            lambda weights: networks.build(image_size, weights, settings, classes),
            HEAD_LAYERS,
            task,
            settings,
        )
        print(f"  best epoch {state.best_epoch}, {settings.monitor} {state.best:.4f}")

        if not hosts.leave():
            return

        # -- Constants: from the validation split what decides, from training the baselines.
        # In the arithmetic that evaluate.py and predict.py predict with.
        set_precision("float32")
        model = load_model(run / "model.keras")
        held_out = predict_cases(model, prepared, validation, image_size, batch_size)
        table = with_patients(held_out, prepared)
        write_csv(run / "validation.csv", table.columns, table.to_dict("records"))
        fitted = {"image_size": image_size, **fit_baselines(prepared, train, image_size)}
        doubts = fit_film_detector(run, prepared, train, settings.seed)
        runs.end_run(run, fitted, ["model.keras", "validation.csv", seen.FILE, *doubts])
    print_paths(
        [run / name for name in ("model.keras", "history.csv", "validation.csv", "fitted.json")]
    )


if __name__ == "__main__":
    run_script(main)
