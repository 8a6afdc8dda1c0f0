"""Train U-Net and FCN-8 to segment the left atrium, both on the same batches.

Reads what prepare_data.py wrote (and prepares first where nothing is prepared). Writes
config.json, for each network a folder with history.csv, tensorboard/ and model.keras (the best
epoch by val_loss), mean_shape.npz (the baseline) and fitted.json (what each network took). A
training that was stopped goes on with the same command.

    python train.py --preset cpu --prepared data/prepared/atrium --run runs/my-run
    python train.py --models unet
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atrium_segmentation.config import PLANES, PROJECT, STRIDE, TrainSettings
from common.errors import run_script
from common.settings import parse, show

MEAN_SHAPE_GRID = (48, 64, 64)
"""Voxels (z, y, x) over a volume's extent on which the baseline's mean shape is kept."""


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "train", __doc__)
    show("Train networks to segment the left atrium", settings)

    from common import fitting, memory, runs
    from common.artefacts import only_one, write_json
    from common.backend import start_tensorflow
    from common.preparing import print_written
    from common.splits import training_splits

    prepared = runs.find_prepared(PROJECT, settings, lambda: _prepare(settings))
    run = runs.run_folder(PROJECT, settings, prepared)
    start_tensorflow()
    with only_one(run):
        if not runs.begin_run(run, settings, prepared):
            print(f"\n{run}: this run has ended already, nothing to do")
            return

        # -- Data: slices of the training volumes, and of the validation volumes.
        train, validation = training_splits(prepared.splits, settings.fold)
        shapes = [volume["mask"].shape for volume in volumes(prepared, train).as_numpy_iterator()]
        side = settings.image_size or side_of(shapes, settings.planes)
        classes = classes_of(prepared)
        count = count_of(shapes, settings.planes)
        steps, batch_size = fitting.steps_in_epoch(count, settings)
        precision = fitting.set_precision(settings.precision)
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
        for name in settings.models:
            model = build(name, classes, settings)
            outputs, parameters = len(model.outputs), model.count_params()
            print(f"\n{name}: {parameters:,} parameters", flush=True)
            (run / name).mkdir(exist_ok=True)
            memory.begin_peak()
            state = fitting.fit(
                run / name,
                build=partial(build, name, classes, settings),
                training=partial(
                    training_data, prepared, train, side, steps, batch_size, settings, outputs
                ),
                validation=validation_data(
                    prepared, validation, side, batch_size, settings, outputs
                ),
                steps=steps,
                settings=settings,
                **_losses(settings, classes, outputs),
            )
            seconds = sum(row["seconds"] for row in state.history)
            fitted["models"][name] = {
                "parameters": parameters,
                "best_epoch": state.best_epoch,
                "val_loss": state.best,
                "seconds": round(seconds, 1),
                "peak_memory_mib": memory.peak_mib(),
            }
            print(
                f"  best epoch {state.best_epoch}, val_loss {state.best:.4f}; {seconds / 60:.1f} "
                f"minutes, {fitted['models'][name]['peak_memory_mib'] or '?'} MiB at the peak"
            )

        # -- Constants: the mean shape of each label, cut where it fits the training masks best.
        fitted["mean_shape_thresholds"] = _fit_mean_shapes(run, prepared, train)
        write_json(run / "fitted.json", fitted)
    models = [run / name / "model.keras" for name in settings.models]
    print_written([*models, run / "mean_shape.npz", run / "fitted.json"])


def build(name: str, classes: int, settings: TrainSettings) -> Any:
    """A network with its starting weights: slices (batch, h, w, channels) to probabilities."""
    from common.errors import UserError
    from common.models.fcn8 import build_fcn8
    from common.models.starting_weights import take_weights
    from common.models.unet import build_unet

    channels = 2 * settings.neighbours + 1
    if name == "unet":
        model = build_unet(
            channels,
            classes,
            settings.unet_width,
            settings.unet_depth,
            deep_supervision=settings.deep_supervision,
        )
    else:
        model = build_fcn8(channels, classes, settings.fcn8_width)
    if settings.weights == "imagenet":
        raise UserError(
            "--weights imagenet: U-Net and FCN-8 have no ImageNet file here; give none, a file "
            "or a run's folder"
        )
    if settings.weights != "none":
        start = Path(settings.weights)
        own = start / name if (start / name).is_dir() else start
        take_weights(model, str(own), head=())
    return model


def classes_of(prepared: Any) -> int:
    """1 for a mask (sigmoid), else the number of labels with the background (softmax)."""
    labels = len(prepared.manifest["labels"])
    return 1 if labels <= 2 else labels


def training_data(
    prepared: Any,
    splits: list[str],
    side: int,
    steps: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
    first_epoch: int,
) -> Any:
    """Shuffled, augmented batches of slices from all volumes.

    Images (batch, side, side, channels) in 0..255 and masks (batch, side, side, 1), moved
    together; the masks once for each output of the network.
    """
    import tensorflow as tf

    from common import augment, pipeline

    ranges = augment.Ranges(
        rotation_degrees=settings.rotation_degrees,
        scale=settings.scale,
        shift=settings.shift,
        contrast=settings.contrast,
        brightness=settings.contrast / 2,
        gamma=settings.contrast,
        noise=settings.noise,
        flip=settings.flip,
        elastic=settings.elastic,
        bias=settings.bias_field,
    )

    def to_samples(volumes: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        def slices(number: tf.Tensor, volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
            of_planes = []
            for place, plane in enumerate(settings.planes):
                own = tf.stack([seed + (place << 32), number])
                samples = slices_of(volume, settings.neighbours, plane)
                if settings.empty_share < 1:
                    samples = _without_some_empty(samples, settings.empty_share, own)
                of_planes.append(_cut(samples, side, own))
            return tf.data.Dataset.from_tensor_slices(_together(of_planes))

        return volumes.enumerate().interleave(
            slices, cycle_length=8, block_length=4, num_parallel_calls=2, deterministic=True
        )

    def to_inputs(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draws = augment.draw(ranges, batch_size, seed)
        images = augment.move_images(tf.cast(batch["image"], tf.float32), draws)
        masks = augment.move_images(tf.cast(batch["mask"], tf.float32), draws, nearest=True)
        return augment.change_intensities(images, draws), _for_each(masks, outputs)

    return pipeline.training_batches(
        volumes(prepared, splits),
        steps,
        batch_size,
        settings.seed,
        first_epoch,
        settings.epochs,
        to_inputs,
        to_samples,
    )


def validation_data(
    prepared: Any,
    splits: list[str],
    side: int,
    batch_size: int,
    settings: TrainSettings,
    outputs: int,
) -> Any:
    """Every slice of some volumes, cut from the middle, in order; otherwise as `training_data`."""
    import tensorflow as tf

    def slices(volume: dict[str, tf.Tensor]) -> tf.data.Dataset:
        of_planes = [
            _cut(slices_of(volume, settings.neighbours, plane), side, None)
            for plane in settings.planes
        ]
        return tf.data.Dataset.from_tensor_slices(_together(of_planes))

    def to_inputs(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        masks = tf.cast(batch["mask"], tf.float32)
        return tf.cast(batch["image"], tf.float32), _for_each(masks, outputs)

    records = volumes(prepared, splits)
    shapes = [volume["mask"].shape for volume in records.as_numpy_iterator()]
    count = count_of(shapes, settings.planes)
    return (
        records.flat_map(slices)
        .apply(tf.data.experimental.assert_cardinality(count))
        .batch(batch_size)
        .map(to_inputs)
        .cache()
        .prefetch(2)
    )


def volumes(prepared: Any, splits: list[str]) -> Any:
    """The working volumes of some splits: ``image`` and ``mask`` (z, y, x) uint8, ``case``.

    A mask counts the dataset's labels from 0, in the order of their values.
    """
    import tensorflow as tf

    from common import pipeline

    features = {
        "case": tf.io.FixedLenFeature((), tf.string),
        "image": tf.io.FixedLenFeature((), tf.string),
        "mask": tf.io.FixedLenFeature((), tf.string),
        "shape": tf.io.FixedLenFeature((3,), tf.int64),
    }

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        example = tf.io.parse_single_example(record, features)
        unpacked = {
            name: tf.reshape(
                tf.io.decode_raw(tf.io.decode_compressed(example[name], "ZLIB"), tf.uint8),
                example["shape"],
            )
            for name in ("image", "mask")
        }
        return {"case": example["case"], **unpacked}

    return pipeline.decoded(prepared, splits, decode)


def slices_of(volume: dict[str, Any], neighbours: int, plane: str = "axial") -> dict[str, Any]:
    """A volume's slices with their neighbours as channels; at an end the end slice repeats.

    Args:
        volume: ``image`` and ``mask``, (z, y, x).
        neighbours: Slices below and above.
        plane: Of `config.PLANES`.

    Returns:
        ``image`` (slices, rows, columns, 2 * neighbours + 1) and ``mask`` (slices, rows, columns,
        1); of an axial slice rows are y and columns x, of a coronal z and x, of a sagittal z and y.
    """
    import tensorflow as tf

    image, mask = (tf.transpose(volume[name], PLANES[plane]) for name in ("image", "mask"))
    count = tf.shape(image)[0]
    offsets = tf.range(-neighbours, neighbours + 1)
    which = tf.clip_by_value(tf.range(count)[:, None] + offsets, 0, count - 1)
    return {"image": tf.transpose(tf.gather(image, which), (0, 2, 3, 1)), "mask": mask[..., None]}


def _together(of_planes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.concat([one[name] for one in of_planes], 0) for name in of_planes[0]}


def _cut(samples: dict[str, Any], side: int, seed: Any) -> dict[str, Any]:
    """Slices cut or padded with 0 to a square: at a place drawn for the volume, else the middle."""
    import tensorflow as tf

    both = tf.concat([samples["image"], samples["mask"]], -1)
    height, width = tf.shape(both)[1], tf.shape(both)[2]
    both = tf.image.resize_with_crop_or_pad(both, tf.maximum(height, side), tf.maximum(width, side))
    if seed is None:
        both = tf.image.resize_with_crop_or_pad(both, side, side)
    else:
        size = (tf.shape(both)[0], side, side, tf.shape(both)[3])
        both = tf.image.stateless_random_crop(both, size, seed)
    channels = samples["image"].shape[-1]
    both = tf.ensure_shape(both, (None, side, side, channels + 1))
    return {"image": both[..., :channels], "mask": both[..., channels:]}


def _without_some_empty(samples: dict[str, Any], share: float, seed: Any) -> dict[str, Any]:
    import tensorflow as tf

    full = tf.reduce_any(samples["mask"] > 0, (1, 2, 3))
    drawn = tf.random.stateless_uniform(tf.shape(full), seed) < share
    return {name: tf.boolean_mask(values, full | drawn) for name, values in samples.items()}


def side_of(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """The smallest square that holds the slices of volumes (z, y, x), a multiple of 32."""
    longest = max(shape[axis] for shape in shapes for plane in planes for axis in PLANES[plane][1:])
    return -(-longest // STRIDE) * STRIDE


def count_of(shapes: Sequence[tuple[int, int, int]], planes: Sequence[str]) -> int:
    """How many slices volumes (z, y, x) have in some planes together."""
    return sum(shape[PLANES[plane][0]] for shape in shapes for plane in planes)


def _for_each(masks: Any, outputs: int) -> Any:
    """The masks, once for each output of a network; a single one as it is."""
    return masks if outputs == 1 else (masks,) * outputs


def _losses(settings: TrainSettings, classes: int, outputs: int) -> dict[str, Any]:
    """The loss and the metric; of further outputs the loss, each half of the finer one's."""
    from common.losses import Dice, segmentation_loss

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

    from common.artefacts import whole_file
    from common.grids import resample
    from common.scores.volumes import dice

    masks = [one["mask"] for one in volumes(prepared, list(splits)).as_numpy_iterator()]
    means, thresholds = [], []
    for label in range(1, len(prepared.manifest["labels"])):
        shares = [resample(mask == label, MEAN_SHAPE_GRID) for mask in masks]
        means.append(np.mean(shares, axis=0, dtype=np.float32))
        cuts = np.linspace(0.1, 0.9, 17)
        scores = [np.mean([dice(one >= 0.5, means[-1] >= cut) for one in shares]) for cut in cuts]
        thresholds.append(float(cuts[int(np.argmax(scores))]))
    with whole_file(run / "mean_shape.npz") as beside:
        np.savez_compressed(beside, means=means)
    return thresholds


def _prepare(settings: TrainSettings) -> Path:
    from atrium_segmentation.prepare_data import prepare

    preset = PROJECT.presets[settings.preset].prepare
    return prepare(dataclasses.replace(preset, preset=settings.preset, seed=settings.seed))


if __name__ == "__main__":
    run_script(main)
