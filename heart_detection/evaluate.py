"""Score a heart run on unseen cases, and draw the boxes.

Reads a finished run. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): report.html, metrics.json, predictions.csv (boxes in each image's own
pixels), iou_histogram.png, training.png and pictures with the truth in blue and the prediction in
red: the worst cases, typical ones and the best.
Prints the counts over and under IoU 0.5, then all scores next to those of the mean box of the
training split, which looks at no image, and of a ridge regression on 16 x 16 thumbnails, and the
scores per view and sex.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
    python evaluate.py --run runs/my-run --flip --name flipped
"""

from __future__ import annotations

from typing import Any

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import write_csv, write_json
from common.base.parts import part_folder
from common.base.printing import print_paths, print_settings
from common.scores.formatting import significant
from common.training import evaluations, runs
from common.training.trained import picture_mark
from heart_detection.config import PROJECT


def main() -> None:
    """Evaluate a run."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate a heart detector", settings, PROJECT)
    run = runs.open_run(PROJECT, settings)
    name, folder = evaluations.evaluation_folder(run, settings)
    start_tensorflow()

    import numpy as np

    from common.imaging.letterbox import Letterbox
    from common.models.stored import load_model
    from common.reporting.examples import evaluation_files, worst_typical_best
    from common.scores.boxes import OF_A_GROUP, box_scores, iou
    from common.scores.groups import scores_by_group
    from common.scores.thumbnails import predict_numbers
    from common.training.evaluation_parts import Columns, Parts
    from common.training.film_detector import doubted_films
    from common.training.pipeline import stored_films
    from common.training.seen import cases_to_score, note_scoring, scored_before
    from heart_detection import score_tables
    from heart_detection.dataset import BOX, images_and_boxes
    from heart_detection.inference import predict_cases
    from heart_detection.report import write_page

    place = part_folder(folder, settings.part)
    with evaluations.new_evaluation(place, "boxes") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = evaluations.evaluation_data(
            run, settings, folder, PROJECT.prepare_to_test
        )

        # -- Predict.
        def predict(records: range) -> Columns:
            model = load_model(run.folder / "model.keras")
            films = images_and_boxes(prepared, splits, run.fitted["image_size"], records)
            return predict_cases(model, films, settings, len(records))

        parts = Parts(new, [run], prepared, splits, settings, settings.batch_size)
        if settings.part:
            parts.write(predict)
            return
        cases, seen = cases_to_score([run], prepared, splits, name, settings.score_seen, new)
        columns = parts.columns(predict)

        # -- Go back to each image's own pixels.
        is_scored = np.isin(columns["case"], cases["case"].to_numpy(str))
        names = columns["case"][is_scored].tolist()
        fractions, thumbnails = columns["box"][is_scored], columns["thumbnail"][is_scored]
        cases = cases.set_index("case").loc[names].reset_index()
        evaluations.refuse_nan(run, names, fractions)
        stored_size = prepared.manifest["settings"]["image_size"]
        squares = [
            Letterbox(height, width, stored_size)
            for height, width in zip(cases["rows"], cases["columns"], strict=True)
        ]

        def in_pixels(boxes: np.ndarray) -> np.ndarray:
            pairs = zip(squares, boxes, strict=True)
            return np.stack([square.to_pixels(box) for square, box in pairs])

        truth, predicted = cases[BOX].to_numpy(float), in_pixels(fractions)
        baselines = {"mean_box": in_pixels(np.tile(run.fitted["mean_box"], (len(cases), 1)))}
        if "thumbnail" in run.fitted:
            boxes = predict_numbers(run.fitted["thumbnail"], thumbnails)
            baselines["thumbnail"] = in_pixels(boxes)

        # -- Score, next to the baselines.
        spacing_mm = cases[["row_mm", "column_mm"]].to_numpy(float)
        patients = cases["patient"].to_numpy()
        details = {
            "flip": settings.flip,
            "moves": settings.test_time_augmentation,
            "second_look": settings.second_look,
        }
        metrics = {
            **details,
            "evaluation_settings": details,
            "seen": seen,
            **box_scores(truth, predicted, patients, baselines, spacing_mm),
        }
        metrics["scored_before"] = scored_before(run, prepared, splits)
        doubts = doubted_films(run, prepared, splits, cases["case"])
        metrics["doubted"] = evaluations.doubted(doubts)

        def score_rows(rows: np.ndarray) -> dict[str, Any]:
            others = {name: boxes[rows] for name, boxes in baselines.items()}
            return box_scores(truth[rows], predicted[rows], patients[rows], others)

        for group in ("view", "sex"):
            metrics[f"per_{group}"] = scores_by_group(cases[group], score_rows, OF_A_GROUP)

        # -- Write.
        overlaps = {"iou": iou(truth, predicted)}
        overlaps |= {f"iou_{name}": iou(truth, boxes) for name, boxes in baselines.items()}
        ious = overlaps["iou"]
        edges = np.round(np.hstack([truth, predicted]), 2).tolist()
        header = ["case", "patient", *(f"true_{edge}" for edge in BOX), *BOX, *overlaps]
        numbers = np.stack([*overlaps.values()], axis=1).tolist()
        rows = [
            dict(zip(header, (case, patient, *boxes, *map(significant, of_case)), strict=True))
            for case, patient, boxes, of_case in zip(names, patients, edges, numbers, strict=True)
        ]
        write_csv(new / "predictions.csv", header, rows)
        synthetic = picture_mark(run.config, prepared.manifest["synthetic"])
        score_tables.draw_scores(new, ious, overlaps["iou_mean_box"], synthetic)
        drawn = worst_typical_best(ious.tolist(), settings.pictures)
        pixels = dict(stored_films(prepared, splits, [names[i] for i in drawn]))
        examples = score_tables.draw_cases(
            new, rows, drawn, truth, predicted, squares, pixels, synthetic
        )
        metrics["examples"] = [vars(example) for example in examples]
        metrics |= score_tables.main_scores(metrics)
        metrics = evaluations.metrics_of(run, prepared, cases, name, settings, metrics)
        write_json(new / "metrics.json", metrics)
        write_page(run, new)
    evaluations.print_participants(metrics)
    score_tables.print_scores(metrics, rows)
    note_scoring(run, prepared, splits)
    print_paths(evaluation_files(folder, examples))


if __name__ == "__main__":
    run_script(main)
