"""Score the networks of an atrium run, a whole volume at a time, and show their masks.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (a row a volume and network) and for
some cases two GIFs: CASE-truth.gif, and CASE-models.gif with FCN-8 left and U-Net right. Every
score is taken at the volume's own spacing, beside that of the mean training shape.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atrium_segmentation.config import PROJECT, STRIDE, EvaluateSettings, PrepareSettings
from common.errors import UserError, run_script
from common.settings import parse, show

TITLES = {"fcn8": "FCN-8", "unet": "U-Net"}
"""The networks in the order in which they are shown, from left to right."""


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

    from common import fitting
    from common.artefacts import only_one, write_csv, write_json
    from common.preparing import print_written
    from common.scores.volumes import volume_scores

    with only_one(folder):
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, lambda into: _prepare_all(run, settings, into)
        )
        _refuse_other_labels(run, prepared)
        cases = prepared.cases()
        cases = cases[cases["split"].isin(splits)]
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)

        # -- Predict and score every volume, one at a time.
        models = {
            network: fitting.load_model(run.folder / network / "model.keras")
            for network in TITLES
            if network in run.fitted["models"]
        }
        mean_shape = np.load(run.folder / "mean_shape.npz")["mean"]
        patients = cases.set_index("case")["patient"]
        rows, of_cases, seconds = [], [], dict.fromkeys(models, 0.0)
        for volume in tqdm(
            whole_volumes(prepared, splits), total=len(cases), unit="volume", file=sys.stdout
        ):
            truth, case = volume["mask"] > 0, volume["case"]
            row: dict[str, Any] = {"case": case, "patient": patients[case]}
            for network, model in models.items():
                began = time.monotonic()
                mask = segment(model, volume, run.fitted["neighbours"], settings)
                seconds[network] += time.monotonic() - began
                row[network] = volume_scores(truth, mask > 0, volume["spacing_mm"])
                rows.append(
                    {"case": case, "patient": patients[case], "model": network, **row[network]}
                )
            row["mean_shape"] = _mean_shape_dice(mean_shape, run, truth)
            of_cases.append(row)

        # -- Write; pictures of an earlier evaluation would stand among these.
        shutil.rmtree(folder / "gifs", ignore_errors=True)
        metrics = {
            "n": len(of_cases),
            "models": {
                network: {
                    **_summary([row[network] for row in of_cases], patients, of_cases, settings),
                    "parameters": run.fitted["models"][network]["parameters"],
                    "seconds_per_volume": seconds[network] / len(of_cases),
                }
                for network in models
            },
            "baselines": {
                "mean_shape": {"dice": float(np.mean([row["mean_shape"] for row in of_cases]))}
            },
            "cases": of_cases,
        }
        write_csv(folder / "predictions.csv", rows[0], rows)
        pictures = _draw(folder, run, prepared, splits, models, of_cases, settings)
        write_json(
            folder / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
    _print(metrics)
    print_written([folder / "metrics.json", folder / "predictions.csv", *pictures])


def whole_volumes(prepared: Any, splits: list[str]) -> Iterator[dict[str, Any]]:
    """The volumes of some splits, one at a time, in order.

    Yields:
        ``case``; ``working`` (z, y, x) and ``working_affine``, what the networks see; ``image``
        and ``mask`` (x, y, z) uint8 on the volume's own grid, canonical, with ``affine`` and
        ``spacing_mm``.
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
            "spacing_mm": np.linalg.norm(grid_affine[:3, :3], axis=0),
        }


def segment(model: Any, volume: dict[str, Any], neighbours: int, settings: EvaluateSettings) -> Any:
    """A network's mask of a whole volume, on the volume's own grid.

    Slices are padded to multiples of 32, seen in batches, and the probabilities, not the masks,
    are brought to the volume's own grid.

    Returns:
        (x, y, z) uint8: the label of every voxel.
    """
    import numpy as np

    from common.nifti import to_grid
    from common.scores.volumes import largest_component

    working = volume["working"]
    count, height, width = working.shape
    rows, columns = (-(-side // STRIDE) * STRIDE - side for side in (height, width))
    top, left = rows // 2, columns // 2
    padded = np.pad(working, ((0, 0), (top, rows - top), (left, columns - left)))
    offsets = np.arange(-neighbours, neighbours + 1)
    which = np.clip(np.arange(count)[:, None] + offsets, 0, count - 1)
    slices = np.moveaxis(padded[which], 1, -1).astype(np.float32)
    said = model.predict(slices, settings.batch_size, verbose=0)
    said = said[:, top : top + height, left : left + width]
    on_grid = np.stack(
        [
            to_grid(
                said[..., label].T, volume["working_affine"], volume["mask"].shape, volume["affine"]
            )
            for label in range(said.shape[-1])
        ],
        -1,
    )
    if on_grid.shape[-1] == 1:
        labels = (on_grid[..., 0] >= 0.5).astype(np.uint8)
    else:
        labels = np.argmax(on_grid, -1).astype(np.uint8)
    if settings.largest_component:
        labels *= largest_component(labels > 0)
    return labels


def _summary(
    scores: list[dict[str, float]], patients: Any, rows: list[dict[str, Any]], settings: Any
) -> dict[str, Any]:
    import numpy as np

    from common.scores.intervals import ci95_of_mean

    def of(name: str) -> np.ndarray:
        return np.array([score[name] for score in scores], float)

    owners = [patients[row["case"]] for row in rows]
    return {
        "dice": {
            "mean": float(of("dice").mean()),
            "min": float(of("dice").min()),
            "ci95": ci95_of_mean(of("dice"), owners, settings.seed),
        },
        **{name: {"mean": float(of(name).mean())} for name in ("jaccard", "hd95_mm", "assd_mm")},
        "volume_error_ml": {"mean": float(np.abs(of("predicted_ml") - of("truth_ml")).mean())},
    }


def _mean_shape_dice(mean_shape: Any, run: Any, truth: Any) -> float:
    """The Dice of the mean training shape stretched over a volume's extent."""
    from common.grids import resample
    from common.scores.volumes import dice

    stretched = resample(mean_shape.T, truth.shape)
    return dice(truth, stretched >= run.fitted["mean_shape_threshold"])


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
    if len(labels) != len(trained):
        raise UserError(
            f"{prepared.manifest['source']}: has {len(labels)} labels, and the run was trained "
            f"on {len(trained)}; give a dataset with the same labels"
        )


def _draw(
    folder: Path,
    run: Any,
    prepared: Any,
    splits: list[str],
    models: dict[str, Any],
    of_cases: list[dict[str, Any]],
    settings: EvaluateSettings,
) -> list[Path]:
    """GIFs of the worst case, the best, and some between, named after their rank."""
    import numpy as np
    from tqdm import tqdm

    from common.gifs import Panel, write_gif

    best_model = list(models)[-1]
    order = np.argsort([row[best_model]["dice"] for row in of_cases])
    places = np.unique(np.linspace(0, len(order) - 1, settings.pictures).round().astype(int))
    drawn = {of_cases[order[place]]["case"]: place for place in places[: settings.pictures]}
    scores = {row["case"]: row for row in of_cases}
    synthetic, written = run.config["synthetic"], []
    shown = (one for one in whole_volumes(prepared, splits) if one["case"] in drawn)
    for volume in tqdm(shown, total=len(drawn), unit="GIFs", file=sys.stdout):
        case = volume["case"]
        stem = folder / "gifs" / f"{drawn[case] + 1:02d}-{case}"
        truth = Panel("truth", truth=volume["mask"] > 0)
        predicted = [
            Panel(
                f"{TITLES[network]}, Dice {scores[case][network]['dice']:.3f}",
                truth=volume["mask"] > 0,
                prediction=segment(model, volume, run.fitted["neighbours"], settings) > 0,
            )
            for network, model in models.items()
        ]
        pictures = {
            "truth": ([truth], case),
            "models": (predicted, f"{case}  blue: truth, red: prediction"),
        }
        for which, (panels, caption) in pictures.items():
            path = stem.with_name(f"{stem.name}-{which}.gif")
            written.append(
                write_gif(path, volume["image"], volume["spacing_mm"], panels, caption, synthetic)
            )
    return written


def _print(metrics: dict[str, Any]) -> None:
    from common.results import with_interval

    models = metrics["models"]
    print(f"\n  {'':<26}" + "".join(f"{TITLES[name]:<24}" for name in models) + "mean shape")
    baseline = metrics["baselines"]["mean_shape"]["dice"]
    dices = "".join(f"{with_interval(model['dice'], 'mean'):<24}" for model in models.values())
    print(f"  {'Dice':<26}{dices}{baseline:.3f}")

    def line(title: str, name: str, key: str = "mean", digits: int = 3) -> None:
        cells = "".join(f"{model[name][key]:<24.{digits}f}" for model in models.values())
        print(f"  {title:<26}{cells}")

    line("lowest Dice of a case", "dice", "min")
    line("Jaccard", "jaccard")
    line("HD95, mm", "hd95_mm", digits=2)
    line("mean surface distance, mm", "assd_mm", digits=2)
    line("volume error, ml", "volume_error_ml", digits=1)
    for title, name in (("parameters", "parameters"), ("seconds a volume", "seconds_per_volume")):
        cells = "".join(
            f"{model[name]:<24,}" if name == "parameters" else f"{model[name]:<24.2f}"
            for model in models.values()
        )
        print(f"  {title:<26}{cells}")
    first = next(iter(models))
    worst = sorted(metrics["cases"], key=lambda row: row[first]["dice"])[:3]
    named = ", ".join(f"{row['case']} {row[first]['dice']:.3f}" for row in worst)
    print(f"  worst cases of {TITLES[first]}: {named}")


if __name__ == "__main__":
    run_script(main)
