"""Score a heart run on cases that it never saw, and draw the boxes.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (boxes in each image's own pixels),
iou_histogram.png and pictures with the truth in blue and the prediction in red, the worst first.
Prints the counts over and under IoU 0.5 and the scores beside the mean box's.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from common.errors import run_script
from common.settings import parse, show
from heart_detection.config import PROJECT, EvaluateSettings, PrepareSettings
from heart_detection.prepare_data import BOX


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "evaluate", __doc__)
    show("Evaluate a heart detector", settings)

    from common import runs
    from common.backend import start_tensorflow

    run = runs.open_run(PROJECT, settings)
    name, folder = runs.evaluation_folder(run, settings)
    start_tensorflow()

    import numpy as np

    from common import figures, fitting
    from common.artefacts import only_one, write_csv, write_json
    from common.letterbox import Letterbox
    from common.pipeline import stored_films
    from common.preparing import print_written
    from common.scores.boxes import box_scores, iou
    from heart_detection.train import images_and_boxes

    with only_one(folder):
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, lambda into: _prepare_all(run, settings, into)
        )
        side = run.fitted["image_size"]
        records = list(images_and_boxes(prepared, splits, side).as_numpy_iterator())
        images = np.stack([record["image"] for record in records])
        names = [record["case"].decode() for record in records]
        cases = prepared.cases().set_index("case").loc[names].reset_index()

        # -- Predict, and go back to each image's own pixels.
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)
        model = fitting.load_model(run.folder / "model.keras")
        fractions = model.predict(images, settings.batch_size, verbose=0)
        stored_side = prepared.manifest["settings"]["image_size"]
        squares = [
            Letterbox(rows, columns, stored_side)
            for rows, columns in zip(cases["rows"], cases["columns"], strict=True)
        ]
        truth = cases[BOX].to_numpy(float)
        predicted = np.stack([s.to_pixels(f) for s, f in zip(squares, fractions, strict=True)])
        mean_box = np.stack([square.to_pixels(run.fitted["mean_box"]) for square in squares])

        # -- Score, beside the box that looks at no image.
        spacing_mm = cases[["row_mm", "column_mm"]].to_numpy(float)
        metrics = box_scores(
            truth, predicted, cases["patient"].to_numpy(), mean_box, spacing_mm, settings.seed
        )

        # -- Write; pictures of an earlier evaluation would stand among these.
        shutil.rmtree(folder / "boxes", ignore_errors=True)
        ious = iou(truth, predicted)
        rows = [
            {
                "case": case,
                "patient": patient,
                **{f"true_{edge}": round(value, 2) for edge, value in zip(BOX, t, strict=True)},
                **dict(zip(BOX, np.round(p, 2).tolist(), strict=True)),
                "iou": round(float(overlap), 4),
            }
            for case, patient, t, p, overlap in zip(
                names, cases["patient"], truth, predicted, ious, strict=True
            )
        ]
        write_csv(folder / "predictions.csv", rows[0], rows)
        synthetic = run.config["synthetic"]
        pictures = [
            figures.histogram_picture(
                folder / "iou_histogram.png",
                ious,
                metrics["baselines"]["mean_box"]["iou_mean"],
                "IoU of the predicted and the true box",
                synthetic,
            )
        ]
        worst = np.argsort(ious)[: settings.pictures]
        films = stored_films(prepared, splits, "box", 4, [names[i] for i in worst])
        for rank, i in enumerate(worst, start=1):
            square, film = squares[i], films[names[i]]
            film = film[square.top :, square.left :][: square.height, : square.width]
            # The film is drawn at the size it was stored in; its boxes come along.
            scale = np.tile([square.width / square.columns, square.height / square.rows], 2)
            pictures.append(
                figures.box_picture(
                    folder / "boxes" / f"{rank:02d}-{names[i]}.png",
                    film,
                    truth[i] * scale,
                    predicted[i] * scale,
                    f"{names[i][:36]}\nIoU {ious[i]:.2f}",
                    synthetic,
                )
            )
        write_json(
            folder / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
    _print(metrics)
    print_written([folder / "metrics.json", folder / "predictions.csv", *pictures])


def _prepare_all(run: Any, settings: EvaluateSettings, into: Path) -> Path:
    """Another dataset through the same door, every case a test case."""
    from heart_detection.prepare_data import prepare

    kept = ("image_size", "seed")
    data = {name: run.config["data"]["settings"][name] for name in kept}
    return prepare(
        PrepareSettings(**data, source=settings.source, prepared=into, overwrite=True),
        all_test=True,
    )


def _print(metrics: dict[str, Any]) -> None:
    from common.results import with_interval

    over, under = metrics["iou_above"]["0.5"], metrics["iou_below"]["0.5"]
    print(f"\nNumber of predictions where iou > threshold(0.5): {over}")
    print(f"Number of predictions where iou < threshold(0.5): {under}\n")
    baseline = metrics["baselines"]["mean_box"]
    print(f"  {'':<26}{'model':<24}mean box of training")
    print(
        f"  {'mean IoU':<26}{with_interval(metrics['iou'], 'mean'):<24}{baseline['iou_mean']:.3f}"
    )
    print(f"  {'median IoU':<26}{metrics['iou']['median']:.3f}")
    for threshold, count in metrics["iou_above"].items():
        by_baseline = baseline["iou_above"][threshold]
        print(
            f"  {'IoU over ' + threshold:<26}{f'{count} of ' + str(metrics['n']):<24}{by_baseline}"
        )
    unit = "mm" if "edge_error_mm" in metrics else "px"
    errors = metrics[f"edge_error_{unit}"]
    by_edge = ", ".join(f"{edge} {errors[edge]:.1f}" for edge in ("left", "top", "right", "bottom"))
    print(f"  {'mean error of an edge':<26}{errors['mean']:.1f} {unit} ({by_edge})")


if __name__ == "__main__":
    run_script(main)
