"""Score a heart run on cases that it never saw, and draw the boxes.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (boxes in each image's own pixels),
iou_histogram.png and pictures with the truth in blue and the prediction in red, the worst first.
Prints the counts over and under IoU 0.5, then all scores beside those of the mean box of the
training split, which looks at no image, and the scores of each view and sex.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
    python evaluate.py --run runs/my-run --flip --name flipped
"""

from __future__ import annotations

from collections.abc import Iterable
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
    from common.artefacts import write_csv, write_json
    from common.letterbox import Letterbox
    from common.pipeline import stored_films
    from common.preparing import print_written
    from common.scores.boxes import box_scores, iou, scores_by_group
    from heart_detection.inference import predict_boxes
    from heart_detection.train import images_and_boxes

    with runs.new_evaluation(folder, "boxes") as new:
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
        fractions = predict_boxes(model, images, settings.batch_size, settings.flip, settings.moves)
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
        patients = cases["patient"].to_numpy()
        metrics = {
            "flip": settings.flip,
            "moves": settings.moves,
            **box_scores(truth, predicted, patients, mean_box, spacing_mm, settings.seed),
        }
        for group in ("view", "sex"):
            metrics[f"per_{group}"] = scores_by_group(
                cases[group], truth, predicted, patients, mean_box, settings.seed
            )

        # -- Write.
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
                names, patients, truth, predicted, ious, strict=True
            )
        ]
        write_csv(new / "predictions.csv", rows[0], rows)
        synthetic = run.config["synthetic"]
        pictures = [
            figures.histogram_picture(
                new / "iou_histogram.png",
                ious,
                iou(truth, mean_box),
                "IoU with the true box; the baseline is the mean box of training",
                synthetic,
            )
        ]
        worst = np.argsort(ious)[: settings.pictures]
        films = stored_films(prepared, splits, "box", 4, [names[i] for i in worst])
        for rank, i in enumerate(worst, start=1):
            # The film is drawn at the size it was stored in; its boxes come along.
            square = squares[i]
            pictures.append(
                figures.box_picture(
                    new / "boxes" / f"{rank:02d}-{names[i]}.png",
                    square.cut_out(films[names[i]]),
                    square.to_cut_out(truth[i]),
                    square.to_cut_out(predicted[i]),
                    f"{names[i][:36]}\nIoU {ious[i]:.2f}",
                    synthetic,
                )
            )
        write_json(
            new / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
    _print(metrics)
    written = [new / "metrics.json", new / "predictions.csv", *pictures]
    print_written([folder / path.relative_to(new) for path in written])


def _prepare_all(run: Any, settings: EvaluateSettings, into: Path) -> Path:
    """Another dataset through the same door, every case a test case."""
    from heart_detection.prepare_data import prepare

    kept = ("image_size", "label", "seed")
    data = {name: run.config["data"]["settings"][name] for name in kept}
    return prepare(
        PrepareSettings(**data, source=settings.source, prepared=into, overwrite=True),
        all_test=True,
    )


def _print(metrics: dict[str, Any]) -> None:
    from common.results import with_interval
    from common.scores.boxes import EDGES

    over, under = metrics["iou_above"]["0.5"], metrics["iou_below"]["0.5"]
    print(f"\nNumber of predictions where iou > threshold(0.5): {over}")
    print(f"Number of predictions where iou < threshold(0.5): {under}\n")
    both = (metrics, metrics["baselines"]["mean_box"])

    def row(name: str, cells: Iterable[str]) -> None:
        print(f"  {name:<26}{''.join(f'{cell:<24}' for cell in cells)}".rstrip())

    row("", ("model", "mean box of training"))
    row("mean IoU", (with_interval(of["iou"], "mean") for of in both))
    medians = ({**of["iou"], "ci95": of["iou"]["median_ci95"]} for of in both)
    row("median IoU", (with_interval(median, "median") for median in medians))
    for threshold in metrics["iou_above"]:
        counts = (of["iou_above"][threshold] for of in both)
        row(f"IoU over {threshold}", (f"{count} of {metrics['n']}" for count in counts))
    for threshold in metrics["average_precision"]:
        row(f"AP at {threshold}", (f"{of['average_precision'][threshold]:.3f}" for of in both))
    for unit in ("px", "mm"):
        if f"edge_error_{unit}" not in metrics:
            continue
        n = metrics[f"edge_error_{unit}"].get("n", metrics["n"])
        print(
            f"\n  error of an edge in {unit}, {n} cases: mean absolute (mean; + is right or down)"
        )
        for edge in EDGES:
            errors = (
                (of[f"edge_error_{unit}"][edge], of[f"edge_bias_{unit}"][edge]) for of in both
            )
            row(edge, (f"{absolute:.1f} ({bias:+.1f})" for absolute, bias in errors))
        row("all four", (f"{of[f'edge_error_{unit}']['mean']:.1f}" for of in both))
    for group in ("view", "sex"):
        if metrics[f"per_{group}"]:
            over = "".join(f"{'over ' + threshold:<11}" for threshold in metrics["iou_above"])
            print(f"\n  {group:<8}{'cases':<7}{'mean IoU':<24}{over}mean box's mean IoU")
        for name, of in metrics[f"per_{group}"].items():
            counts = "".join(f"{count:<11}" for count in of["iou_above"].values())
            model, baseline = (
                with_interval(one["iou"], "mean") for one in (of, of["baselines"]["mean_box"])
            )
            print(f"  {name:<8}{of['n']:<7}{model:<24}{counts}{baseline}")


if __name__ == "__main__":
    run_script(main)
