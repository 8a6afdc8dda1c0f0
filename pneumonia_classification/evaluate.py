"""Score a pneumonia run on unseen cases, and show where it looked.

Reads a finished run. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): report.html, metrics.json, predictions.csv, confusion_matrix.png,
curves.png, surest.png (the surest right and wrong cases), training.png and Grad-CAM pictures.
Prints the confusion matrix, the classification report and the scores next to their baselines.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
"""

from __future__ import annotations

from functools import partial

from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import write_csv, write_json
from common.base.printing import print_paths, print_settings
from common.training import evaluations, runs
from common.training.trained import picture_mark
from pneumonia_classification.config import PROJECT


def main() -> None:
    """Evaluate a run."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate a pneumonia classifier", settings)
    run = runs.open_run(PROJECT, settings)
    name, folder = evaluations.evaluation_folder(run, settings)
    start_tensorflow()

    import pandas as pd

    from common.reporting.examples import evaluation_files
    from common.scores import classification
    from common.training.pipeline import stored_films
    from common.training.seen import cases_to_score, note_scoring
    from pneumonia_classification import inference, score_tables
    from pneumonia_classification.dataset import boxes_in_square
    from pneumonia_classification.report import write_page
    from pneumonia_classification.scores import age_groups, baselines, explain, scores_by_finding

    with evaluations.new_evaluation(folder, "gradcam", "surest.png") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = evaluations.evaluation_data(
            run, settings, folder, PROJECT.prepare_to_test
        )
        image_size = run.fitted["image_size"]
        decision = inference.decision(run, settings)
        cases, seen = cases_to_score([run], prepared, splits, name, settings.score_seen, new)

        # -- Predict.
        model = inference.open_model(run, settings)
        predictions = inference.predict_cases(
            model, prepared, splits, image_size, settings.batch_size, run.fitted.get("thumbnail")
        )
        predictions = predictions[predictions["case"].isin(cases["case"])].reset_index(drop=True)
        cases = cases.set_index("case").loc[predictions["case"]].reset_index()
        cases["age"] = age_groups(cases["age_years"])
        boxes = [boxes_in_square(case, prepared, image_size) for case in cases.to_dict("records")]
        cases["boxes"] = pd.Series(boxes, dtype=object)
        cases["probability"] = inference.averaged(predictions, settings.flip)
        evaluations.refuse_nan(run, cases["case"], cases["probability"])
        cases["thumbnail"] = predictions.get("thumbnail")
        cases["calibrated"] = classification.with_temperature(
            cases["probability"], decision.temperature
        )
        cases["predicted"] = (cases["probability"] >= decision.threshold).astype(int)

        # -- Score, next to the baselines.
        scored = (cases["label"], cases["probability"], cases["patient"])
        metrics = classification.classification_scores(*scored, decision.threshold, settings.seed)
        details = {"threshold_from": decision.source, "flip": settings.flip}
        metrics |= {**details, "evaluation_settings": details, "seen": seen}
        metrics["calibration"] = classification.calibration(
            *scored, decision.temperature, settings.seed
        )
        metrics["baselines"] = baselines(run, cases, settings.seed)
        for key, column in score_tables.GROUPS.items():
            metrics[key] = classification.scores_by_group(
                cases[column], *scored, decision.threshold, settings.seed
            )
        metrics["per_finding"] = scores_by_finding(cases, decision.threshold, settings.seed)

        # -- Explain: the map of every case with a radiologist's box, and of those drawn.
        read_films = partial(stored_films, prepared, splits, "label", 1)
        drawn = score_tables.to_draw(cases, settings.pictures)
        with_map = sorted({i for i in range(len(cases)) if len(boxes[i])} | set(drawn))
        films = read_films(list(cases["case"].iloc[with_map]), image_size)
        maps, metrics["gradcam"] = explain(model, cases.iloc[with_map], films, settings)

        # -- Write.
        columns = ["case", "patient", "label", "probability", "calibrated", "predicted"]
        rows = cases[columns].round({"probability": 6, "calibrated": 6}).to_dict("records")
        write_csv(new / "predictions.csv", columns, rows)
        synthetic = picture_mark(run.config, prepared.manifest["synthetic"])
        heats = dict(zip(with_map, maps, strict=True))
        score_tables.draw_scores(new, cases, metrics, synthetic)
        examples = score_tables.draw_cases(new, cases, drawn, heats, read_films, synthetic)
        metrics["examples"] = [vars(example) for example in examples]
        metrics |= score_tables.main_scores(metrics)
        metrics = evaluations.metrics_of(run, prepared, cases, name, settings, metrics)
        write_json(new / "metrics.json", metrics)
        write_page(run, new)
    score_tables.print_scores(cases, metrics)
    note_scoring(run, prepared, splits)
    print_paths(evaluation_files(folder, examples))


if __name__ == "__main__":
    run_script(main)
