"""Score the networks of an atrium run, a whole volume at a time, and show their masks.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (a row a volume, network and label),
masks/CASE-NETWORK.nii.gz in the grid of the case's own file, and for some cases two GIFs, the
truth and FCN-8 beside U-Net, and a picture of the three orthogonal views. Every score is taken at
the volume's own spacing, beside that of the mean training shape.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
    python evaluate.py --run runs/fold-0 --ensemble runs/fold-1 runs/fold-2
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atrium_segmentation import report
from atrium_segmentation.config import (
    PLANES,
    PROJECT,
    STRIDE,
    EvaluateSettings,
    PrepareSettings,
)
from common.errors import UserError, run_script
from common.settings import parse, show


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "evaluate", __doc__)
    show("Evaluate left atrium segmentation", settings)

    from common import runs
    from common.backend import start_tensorflow

    run = runs.open_run(PROJECT, settings)
    name, folder = runs.evaluation_folder(run, settings)
    start_tensorflow()

    import numpy as np
    from tqdm import tqdm

    from common.artefacts import only_one, write_csv, write_json
    from common.nifti import write_mask
    from common.preparing import print_written

    with only_one(folder):
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, lambda into: _prepare_all(run, settings, into)
        )
        _refuse_other_labels(run, prepared)
        members = [run, *_further_runs(run, settings)]
        cases = prepared.cases()
        cases = cases[cases["split"].isin(splits)]
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)

        # -- Predict and score every volume, one at a time; masks of an earlier evaluation would
        # stand among these.
        networks = open_networks(members)
        mean_shapes = _mean_shapes(run)
        values = np.array([int(value) for value in run.fitted["labels"]], np.uint8)
        labels = list(run.fitted["labels"].values())[1:]
        patients = cases.set_index("case")["patient"]
        shutil.rmtree(folder / "masks", ignore_errors=True)
        scored, seconds = [], dict.fromkeys(networks, 0.0)
        for volume in tqdm(
            whole_volumes(prepared, splits), total=len(cases), unit="volume", file=sys.stdout
        ):
            case, found = volume["case"], {"mean_shape": mean_shapes(volume["mask"].shape)}
            for network, models in networks.items():
                began = time.monotonic()
                found[network] = segment(models, volume, settings)
                seconds[network] += time.monotonic() - began
                path = folder / "masks" / f"{case}-{network}.nii.gz"
                write_mask(path, values[found[network]], volume["grid_header"])
            scores = {what: _scores(volume, mask, labels) for what, mask in found.items()}
            scored.append({"case": case, "patient": patients[case], **scores})

        # -- Write.
        metrics = {
            "n": len(scored),
            "labels": labels,
            "flip": settings.flip,
            "largest_component": settings.largest_component,
            "ensemble": len(members),
            "models": {
                network: {
                    **_summary(network, scored, labels, settings.seed),
                    **_training(members, network),
                    "seconds_per_volume": seconds[network] / len(scored),
                }
                for network in networks
            },
            "baselines": {"mean_shape": _summary("mean_shape", scored, labels, settings.seed)},
            "cases": scored,
        }
        if len(networks) == 2:
            less = [row["unet"]["dice"] - row["fcn8"]["dice"] for row in scored]
            metrics["unet_minus_fcn8"] = _mean_and_interval(less, scored, settings.seed)
        rows = [
            {
                "case": row["case"],
                "patient": row["patient"],
                "model": network,
                "label": label,
                **row[network]["per_label"][label],
            }
            for row in scored
            for network in networks
            for label in labels
        ]
        write_csv(folder / "predictions.csv", rows[0], rows)
        pictures = report.draw(
            folder,
            scored,
            whole_volumes(prepared, splits),
            settings.pictures,
            run.config["synthetic"],
        )
        write_json(
            folder / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
    report.print_scores(metrics)
    print_written(
        [folder / "metrics.json", folder / "predictions.csv", folder / "masks", *pictures]
    )


def open_networks(members: Sequence[Any]) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """The networks that all of some runs have, as they are shown from left to right.

    Returns:
        By name, each run's model and what it was fitted to: ``neighbours``, ``planes``.
    """
    from common import fitting

    names = [name for name in report.TITLES if all(name in m.fitted["models"] for m in members)]
    if not names:
        raise UserError("the runs of --ensemble have no network in common; train the same --models")
    return {
        name: [
            (fitting.load_model(one.folder / name / "model.keras"), one.fitted) for one in members
        ]
        for name in names
    }


def whole_volumes(prepared: Any, splits: list[str]) -> Iterator[dict[str, Any]]:
    """The volumes of some splits, one at a time, in order.

    Yields:
        ``case``; ``working`` (z, y, x) and ``working_affine``, what the networks see; ``image``
        and ``mask`` (x, y, z) uint8 on the volume's own grid, canonical, with ``affine``,
        ``spacing_mm`` and ``grid_header`` (`nifti.Volume`). A mask counts the labels from 0.
    """
    import zlib

    import numpy as np
    import tensorflow as tf

    def array(feature: Any, shape: Any) -> np.ndarray:
        values = np.frombuffer(zlib.decompress(feature.bytes_list.value[0]), np.uint8)
        return values.reshape(shape.int64_list.value)

    def affine(feature: Any) -> np.ndarray:
        return np.frombuffer(feature.bytes_list.value[0], "<f8").reshape(4, 4)

    files = [str(file) for file in prepared.shards(splits)]
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        grid_affine = affine(feature["grid_affine"])
        yield {
            "case": feature["case"].bytes_list.value[0].decode(),
            "working": array(feature["image"], feature["shape"]),
            "working_affine": affine(feature["affine"]),
            "image": array(feature["grid_image"], feature["grid_shape"]).T,
            "mask": array(feature["grid_mask"], feature["grid_shape"]).T,
            "affine": grid_affine,
            "grid_header": feature["grid_header"].bytes_list.value[0],
            "spacing_mm": np.linalg.norm(grid_affine[:3, :3], axis=0),
        }


def segment(
    members: Sequence[tuple[Any, dict[str, Any]]],
    volume: dict[str, Any],
    settings: EvaluateSettings,
) -> Any:
    """The mask of a whole volume, on the volume's own grid.

    The probabilities of all members in all their planes are averaged, and they, not masks, are
    brought to the volume's own grid.

    Args:
        members: Networks, with the neighbours and planes that each was fitted to.
        volume: Of `whole_volumes`.
        settings: Flip and largest component.

    Returns:
        (x, y, z) uint8: the label of every voxel, counted from 0.
    """
    import numpy as np

    from common.nifti import to_grid
    from common.scores.volumes import largest_component

    said = np.mean(
        [
            _said(model, volume["working"], plane, fitted["neighbours"], settings)
            for model, fitted in members
            for plane in fitted["planes"]
        ],
        axis=0,
    )
    shape, affine = volume["mask"].shape, volume["affine"]
    on_grid = [
        to_grid(said[..., channel].T, volume["working_affine"], shape, affine)
        for channel in range(said.shape[-1])
    ]
    if len(on_grid) == 1:
        labels = (on_grid[0] >= 0.5).astype(np.uint8)
    else:
        labels = np.argmax(on_grid, 0).astype(np.uint8)
    if settings.largest_component:
        for label in range(1, labels.max() + 1):
            part = labels == label
            labels[part & ~largest_component(part)] = 0
    return labels


def _said(model: Any, working: Any, plane: str, neighbours: int, settings: EvaluateSettings) -> Any:
    """A network's probabilities (z, y, x, channels) of a working volume (z, y, x) in a plane."""
    import numpy as np

    order = PLANES[plane]
    slices = np.transpose(working, order)
    count, height, width = slices.shape
    rows, columns = (-(-side // STRIDE) * STRIDE - side for side in (height, width))
    top, left = rows // 2, columns // 2
    padded = np.pad(slices, ((0, 0), (top, rows - top), (left, columns - left)))
    offsets = np.arange(-neighbours, neighbours + 1)
    which = np.clip(np.arange(count)[:, None] + offsets, 0, count - 1)
    shown = np.moveaxis(padded[which], 1, -1).astype(np.float32)
    said = model.predict(shown, settings.batch_size, verbose=0)
    if settings.flip:
        of_mirrored = model.predict(shown[:, :, ::-1], settings.batch_size, verbose=0)
        said = (said + of_mirrored[:, :, ::-1]) / 2
    said = said[:, top : top + height, left : left + width]
    return np.transpose(said, (*np.argsort(order), 3))


def _scores(volume: dict[str, Any], mask: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Every score of a mask: its mean over labels, and each label's own."""
    from common.scores.volumes import volume_scores

    per_label = {
        label: volume_scores(volume["mask"] == value, mask == value, volume["spacing_mm"])
        for value, label in enumerate(labels, start=1)
    }
    of_each = list(per_label.values())
    mean = {name: sum(of[name] for of in of_each) / len(of_each) for name in of_each[0]}
    return {**mean, "per_label": per_label}


def _summary(
    what: str, scored: list[dict[str, Any]], labels: Sequence[str], seed: int
) -> dict[str, Any]:
    """Every score of a network or baseline over cases, with its interval over patients."""

    def over_cases(scores: list[dict[str, Any]]) -> dict[str, Any]:
        summed = {
            name: _mean_and_interval([of[name] for of in scores], scored, seed)
            for name in ("dice", "jaccard", "hd95_mm", "assd_mm")
        }
        summed["dice"]["min"] = min(of["dice"] for of in scores)
        errors = [abs(of["predicted_ml"] - of["truth_ml"]) for of in scores]
        return {**summed, "volume_error_ml": _mean_and_interval(errors, scored, seed)}

    of_cases = [row[what] for row in scored]
    per_label = {
        label: over_cases([scores["per_label"][label] for scores in of_cases]) for label in labels
    }
    return {**over_cases(of_cases), "per_label": per_label}


def _mean_and_interval(
    values: list[float], scored: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    import numpy as np

    from common.scores.intervals import ci95_of_mean

    owners = [row["patient"] for row in scored]
    return {"mean": float(np.mean(values)), "ci95": ci95_of_mean(values, owners, seed)}


def _training(members: Sequence[Any], network: str) -> dict[str, Any]:
    """What a network took, all members of an ensemble together."""
    of = [one.fitted["models"][network] for one in members]
    peaks = [one["peak_memory_mib"] for one in of if one["peak_memory_mib"]]
    return {
        "parameters": sum(one["parameters"] for one in of),
        "training_minutes": sum(one["seconds"] for one in of) / 60,
        "training_peak_memory_mib": max(peaks, default=None),
    }


def _mean_shapes(run: Any) -> Any:
    """A function of a volume's shape (x, y, z) to the mean training shapes over it, labels."""
    import numpy as np

    from common.grids import resample

    means = np.load(run.folder / "mean_shape.npz")["means"]
    thresholds = run.fitted["mean_shape_thresholds"]

    def over(shape: tuple[int, int, int]) -> Any:
        mask = np.zeros(shape, np.uint8)
        for label, (mean, threshold) in enumerate(zip(means, thresholds, strict=True), start=1):
            mask[resample(mean.T, shape) >= threshold] = label
        return mask

    return over


def _further_runs(run: Any, settings: EvaluateSettings) -> list[Any]:
    """The runs of --ensemble, none of which may have learned from what is scored."""
    from common import runs

    members = []
    for folder in settings.ensemble:
        member = runs.open_run(PROJECT, dataclasses.replace(settings, run=folder))
        if member.config["data"]["key"] != run.config["data"]["key"]:
            raise UserError(
                f"{folder}: was trained on other data than {run.folder}, perhaps on what is to be "
                "scored; give runs of one prepared set"
            )
        fold, of_run = (one.config["settings"]["fold"] for one in (member, run))
        if settings.split == "validation" and fold != of_run:
            raise UserError(
                f"{folder}: was trained on the validation split of {run.folder}; score the test "
                "split"
            )
        members.append(member)
    return members


def _prepare_all(run: Any, settings: EvaluateSettings, into: Path) -> Path:
    """Another dataset through the same door, every case a test case."""
    from atrium_segmentation.prepare_data import prepare

    data = run.config["data"]["settings"]
    return prepare(
        PrepareSettings(
            spacing_mm=tuple(data["spacing_mm"]),
            seed=data["seed"],
            source=settings.source,
            prepared=into,
            overwrite=True,
        ),
        all_test=True,
    )


def _refuse_other_labels(run: Any, prepared: Any) -> None:
    labels, trained = prepared.manifest["labels"], run.fitted["labels"]
    if set(labels) != set(trained):
        raise UserError(
            f"{prepared.manifest['source']}: has the labels {', '.join(labels)}, and the run was "
            f"trained on {', '.join(trained)}; give a dataset with the same labels"
        )


if __name__ == "__main__":
    run_script(main)
