"""Score a pneumonia run on unseen cases, and show where it looked.

Reads a finished run. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): report.html, metrics.json, predictions.csv, confusion_matrix.png,
curves.png, surest.png (the surest right and wrong cases), training.png and Grad-CAM pictures.
Prints the confusion matrix, the classification report and the scores next to their baselines.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from common.base.command_line import parse
from common.base.errors import run_script
from common.base.printing import print_paths, print_settings
from pneumonia_classification.config import PROJECT, EvaluateSettings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate a pneumonia classifier", settings)

    from common.base.backend import start_tensorflow
    from common.training import runs

    run = runs.open_run(PROJECT, settings)
    name, folder = runs.evaluation_folder(run, settings)
    start_tensorflow()

    from common.base.files import write_csv, write_json
    from common.scores import classification
    from common.training.pipeline import stored_films
    from pneumonia_classification import inference, score_tables
    from pneumonia_classification.dataset import prepare_as_run
    from pneumonia_classification.report import write_page

    with runs.new_evaluation(folder, "gradcam", "surest.png") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, partial(prepare_as_run, run, settings.source)
        )
        side = run.fitted["image_size"]
        decision = inference.decision(run, settings)

        # -- Predict.
        model = inference.open_model(run, settings)
        said = inference.predict_cases(model, prepared, splits, side, settings.batch_size)
        cases = prepared.cases().set_index("case").loc[said["case"]].reset_index()
        cases["age"] = age_groups(cases["age_years"])
        cases["boxes"] = [
            score_tables.boxes_in_square(case, prepared, side) for case in cases.to_dict("records")
        ]
        cases["probability"] = inference.averaged(said, settings.flip)
        cases["calibrated"] = classification.with_temperature(
            cases["probability"], decision.temperature
        )
        cases["predicted"] = (cases["probability"] >= decision.threshold).astype(int)
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)

        # -- Score, next to the baselines, which need no pixel.
        scored = [cases[column] for column in ("label", "probability", "patient")]
        metrics = classification.classification_scores(*scored, decision.threshold, settings.seed)
        details = {"threshold_from": decision.source, "flip": settings.flip}
        metrics |= {**details, "evaluation_settings": details}
        metrics["calibration"] = classification.calibration(
            *scored, decision.temperature, settings.seed
        )
        metrics["baselines"] = _baselines(run, cases, settings)
        for key, column in score_tables.GROUPS.items():
            metrics[key] = classification.scores_by_group(
                cases[column], *scored, decision.threshold, settings.seed
            )

        # -- Explain: the map of every case with a radiologist's box, and of those drawn.
        films_of = partial(stored_films, prepared, splits, "label", 1)
        drawn = score_tables.to_draw(cases, settings.pictures)
        looked = sorted({i for i, boxes in enumerate(cases["boxes"]) if len(boxes)} | set(drawn))
        maps, metrics["gradcam"] = _explain(model, cases.iloc[looked], films_of, side, settings)

        # -- Write.
        columns = ["case", "patient", "label", "probability", "calibrated", "predicted"]
        rows = cases[columns].round({"probability": 6, "calibrated": 6}).to_dict("records")
        write_csv(new / "predictions.csv", columns, rows)
        synthetic = run.config["synthetic"]
        heats = dict(zip(looked, maps, strict=True))
        score_tables.draw_scores(new, cases, metrics, synthetic)
        examples = score_tables.draw_cases(new, cases, drawn, heats, films_of, synthetic)
        metrics["examples"] = [vars(example) for example in examples]
        metrics |= score_tables.main_scores(metrics)
        write_json(
            new / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
        page = write_page(run, new)
    score_tables.print_scores(cases, metrics)
    print_paths(
        [
            folder / page.name,
            *(folder / name for name in ("metrics.json", "predictions.csv")),
            *sorted(folder.glob("*.png")),
            *(folder / file for one in examples for file in one.files),
        ]
    )


def age_groups(years: Any) -> Any:
    """Ages (n,) in years to "0-17", "18-39", "40-64" and "65+"; "" where there is none."""
    import pandas as pd

    names = ["0-17", "18-39", "40-64", "65+"]
    groups = pd.cut(years, [0, 18, 40, 65, 200], right=False, labels=names)
    return groups.astype(object).where(groups.notna(), "")


def _baselines(run: Any, cases: Any, settings: EvaluateSettings) -> dict[str, Any]:
    """What always the majority scores, and what view, sex and age do; both fitted in training."""
    from common.scores.classification import classification_scores
    from common.scores.intervals import ci95_of_share
    from common.scores.metadata import predict_metadata

    probabilities = predict_metadata(
        run.fitted["metadata"], cases["view"], cases["sex"], cases["age_years"]
    )
    by_metadata = classification_scores(
        cases["label"], probabilities, cases["patient"], 0.5, settings.seed
    )
    says = run.fitted["majority"]
    right = cases["label"] == says
    limits = {"accuracy": ci95_of_share(right, cases["patient"], settings.seed)}
    return {
        "majority": {
            "says": says, "accuracy": float(right.mean()), "auroc": 0.5, "ci95": limits,
        },
        "metadata": {name: by_metadata[name] for name in ("auroc", "accuracy", "ci95")},
    }  # fmt: skip


def _explain(
    model: Any, cases: Any, films_of: Callable[..., Any], side: int, settings: EvaluateSettings
) -> tuple[Any, dict[str, Any]]:
    """Grad-CAM of some cases, (cases, side, side), and what it scores against their boxes."""
    import numpy as np

    from common.explaining.gradcam import gradcam, with_shuffled_weights
    from common.scores.pointing_game import pointing_game, rank_correlation

    maps = shuffled = np.zeros((0, side, side), np.float32)
    if len(cases):
        films = films_of(list(cases["case"]), side)
        images = np.stack([films[case] for case in cases["case"]])[..., None]
        maps = gradcam(model, images, settings.gradcam_layer)
        shuffled = gradcam(with_shuffled_weights(model), images, settings.gradcam_layer)
    game = pointing_game(maps, list(cases["boxes"]), list(cases["patient"]), settings.seed)
    return maps, {**game, "likeness_to_random_weights": rank_correlation(maps, shuffled)}


if __name__ == "__main__":
    run_script(main)
