"""Train a ResNet50 to recognise pneumonia on a chest radiograph.

Reads the prepared folder (and prepares it first where there is none). Writes config.json,
history.csv, tensorboard/, model.keras (the best epoch by --monitor), validation.csv (the
predictions of the validation split, from which evaluate.py takes threshold and temperature) and
fitted.json (the baselines, from the training split). The same command resumes a stopped training.

    python train.py --preset cpu --prepared data/prepared/pneumonia --run runs/my-run
"""

from __future__ import annotations

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import lock_folder, write_csv
from common.base.printing import print_paths, print_settings
from common.datasets.splits import copies_of, training_splits
from common.training import runs
from pneumonia_classification.config import PROJECT


def main() -> None:
    """Train a network, or go on with its training."""
    settings = parse(PROJECT, "train", __doc__)
    print_settings("Train a ResNet50 to classify pneumonia", settings)
    prepared = runs.find_prepared(PROJECT, settings, lambda: PROJECT.prepare_to_train(settings))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()

    import numpy as np

    from common.models.resnet50 import HEAD_LAYERS
    from common.models.stored import load_model
    from common.scores.metadata import fit_metadata
    from common.scores.thumbnails import fit_labels, thumbnail
    from common.training import fitting, seen
    from common.training.precision import computed_with, set_precision
    from pneumonia_classification import networks
    from pneumonia_classification.dataset import images_and_labels, training_data, validation_data
    from pneumonia_classification.inference import predict_cases
    from pneumonia_classification.training_pictures import training_pictures

    with lock_folder(run):
        precision = set_precision(settings.precision)
        used = computed_with(precision)
        if not runs.begin_run(run, settings, prepared, PROJECT.inputs_function, used):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: the training split with Augmentor's copies, and the validation split.
        train, validation = training_splits(prepared.splits, settings.fold)
        seen.write_seen(run, prepared, train, validation, settings.weights)
        with_copies = [*train, *map(copies_of, train)]
        image_size = settings.image_size or prepared.manifest["settings"]["image_size"]
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

        # -- Constants: from the validation split what decides, from training the baselines.
        model = load_model(run / "model.keras")
        held_out = predict_cases(model, prepared, validation, image_size, batch_size)
        write_csv(run / "validation.csv", held_out.columns, held_out.to_dict("records"))
        cases = prepared.cases().query("split in @train")
        films = images_and_labels(prepared, train, image_size).as_numpy_iterator()
        pairs = [(thumbnail(film["image"][..., 0]), film["label"][0]) for film in films]
        pixels, labels = map(np.stack, zip(*pairs, strict=True))
        fitted = {
            "image_size": image_size,
            "majority": int(cases["label"].mean() >= 0.5),
            "metadata": fit_metadata(
                cases["view"], cases["sex"], cases["age_years"], cases["label"]
            ),
            "thumbnail": fit_labels(pixels, labels),
        }
        runs.end_run(run, fitted, ["model.keras", "validation.csv", seen.FILE])
    print_paths(
        [run / name for name in ("model.keras", "history.csv", "validation.csv", "fitted.json")]
    )


if __name__ == "__main__":
    run_script(main)
