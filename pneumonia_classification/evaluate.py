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
from common.base.errors import UserError, run_script
from common.base.files import write_csv, write_json
from common.base.parts import part_folder
from common.base.printing import print_paths, print_settings
from common.datasets.classes import Classes
from common.scores.formatting import significant
from common.training import evaluations, runs
from common.training.trained import picture_mark
from pneumonia_classification.config import PROJECT, EvaluateSettings


def main() -> None:
    """Evaluate a run."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate a pneumonia classifier", settings, PROJECT)
    run = runs.open_run(PROJECT, settings)
    name, folder = evaluations.evaluation_folder(run, settings)
    start_tensorflow()

    import pandas as pd

    from common.reporting.examples import evaluation_files
    from common.scores.shortcuts import UNKNOWN
    from common.training.evaluation_parts import Parts
    from common.training.film_detector import doubted_films
    from common.training.pipeline import stored_films
    from common.training.seen import cases_to_score, note_scoring, scored_before
    from pneumonia_classification import inference, score_pictures, score_tables
    from pneumonia_classification.dataset import boxes_in_square, classes_of
    from pneumonia_classification.report import write_page
    from pneumonia_classification.scores import (
        age_groups,
        baselines,
        explain,
        metadata_answers,
        score,
    )

    place = part_folder(folder, settings.part)
    with evaluations.new_evaluation(place, "gradcam", "surest.png") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        image_size, classes = run.fitted["image_size"], inference.classes_of_run(run)
        accept = partial(_accept, classes, settings)
        prepared, splits = evaluations.evaluation_data(
            run, settings, folder, partial(PROJECT.prepare_to_test, accept=accept)
        )
        decision, of_data = inference.decision(run, settings), classes_of(prepared)
        # The positive one was named, and any other two are these two.
        of_data = Classes() if settings.positive_class else of_data

        # -- Predict.
        model = inference.open_model(run, settings)
        batch_size, thumbnails = settings.batch_size, run.fitted.get("thumbnail")
        predict = partial(
            inference.predict_cases,
            *(model, prepared, splits, image_size, batch_size, thumbnails, classes),
        )
        parts = Parts(new, [run], prepared, splits, settings, batch_size)
        if settings.part:
            parts.write(predict)
            return
        cases, seen = cases_to_score([run], prepared, splits, name, settings.score_seen, new)
        cases = inference.labelled(cases, of_data, classes, str(settings.source or prepared.folder))
        predictions = pd.DataFrame(parts.columns(predict))
        predictions = predictions[predictions["case"].isin(cases["case"])].reset_index(drop=True)
        cases = cases.set_index("case").loc[predictions["case"]].reset_index()
        cases["age"] = age_groups(cases["age_years"])
        # A box of several classes does not say of which, and none is scored.
        boxed = cases.assign(boxes=cases["boxes"] if classes.are_two else "").to_dict("records")
        boxes = [boxes_in_square(case, prepared, image_size) for case in boxed]
        cases["boxes"] = pd.Series(boxes, dtype=object)
        probabilities = inference.averaged(predictions, settings.flip, classes)
        evaluations.refuse_nan(run, cases["case"], probabilities)
        cases = cases.assign(
            **predictions.filter(regex="^thumbnail"),
            **metadata_answers(run, cases, classes),
            **inference.answers_table(probabilities, decision, classes),
        )

        # -- Score, next to the baselines.
        metrics = score(cases, decision, classes, score_tables.GROUPS, settings.prevalence)
        details = {"threshold_from": decision.source, "flip": settings.flip}
        metrics |= {**details, "evaluation_settings": details, "seen": seen}
        metrics |= {**classes.description, "scored_before": scored_before(run, prepared, splits)}
        doubts = doubted_films(run, prepared, splits, cases["case"])
        metrics["doubted"] = evaluations.doubted(doubts)
        metrics["baselines"] = baselines(run, cases, classes)
        metrics["shortcuts"] = prepared.manifest.get("shortcuts", UNKNOWN)

        # -- Explain: the map of every case with a radiologist's box, and of those drawn.
        read_films = partial(stored_films, prepared, splits)
        drawn = score_pictures.to_draw(cases, settings.pictures)
        with_map = sorted({i for i in range(len(cases)) if len(boxes[i])} | set(drawn))
        films = read_films(cases["case"].iloc[with_map], image_size)
        kept = set(cases["case"].iloc[list(drawn)])
        maps, metrics["gradcam"] = explain(model, cases.iloc[with_map], films, settings, kept)

        # -- Write.
        rescaled = decision.rescaling.column
        columns = ["case", "patient", "label", "probability", rescaled, "predicted", "decided"]
        columns += [] if classes.are_two else classes.columns("probability")
        columns += [*classes.columns("metadata"), *classes.columns("thumbnail")]
        columns = [name for name in columns if name in cases]
        rows = cases[columns].map(significant).to_dict("records")
        write_csv(new / "predictions.csv", columns, rows)
        synthetic = picture_mark(run.config, prepared.manifest["synthetic"])
        score_pictures.draw_scores(new, cases, metrics, synthetic)
        examples = score_pictures.draw_cases(
            new, cases, drawn, maps, read_films, synthetic, classes
        )
        metrics["examples"] = [vars(example) for example in examples]
        metrics |= score_tables.main_scores(metrics)
        metrics = evaluations.metrics_of(run, prepared, cases, name, settings, metrics)
        write_json(new / "metrics.json", metrics)
        write_page(run, new)
    evaluations.print_participants(metrics)
    score_tables.print_scores(cases, metrics)
    note_scoring(run, prepared, splits)
    print_paths(evaluation_files(folder, examples))


def _accept(classes: Classes, settings: EvaluateSettings, of_data: Classes) -> None:
    """Refuse another dataset whose classes are not those of the run."""
    if not settings.positive_class:
        classes.known_places(of_data, str(settings.source), "the run")
    elif not (classes.are_two and of_data.are_two):
        raise UserError(
            f"--positive-class {settings.positive_class}: is for two classes; {settings.source} "
            f"has the {of_data}, and the run the {classes}"
        )


if __name__ == "__main__":
    run_script(main)
