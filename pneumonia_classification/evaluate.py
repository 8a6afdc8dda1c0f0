"""Score a pneumonia run on cases that it never saw, and show where it looked.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv, confusion_matrix.png, curves.png and
Grad-CAM pictures. Prints the confusion matrix, the classification report and the scores beside
their baselines.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from common.errors import run_script
from common.settings import parse, show
from pneumonia_classification.config import PROJECT, EvaluateSettings, PrepareSettings

IN_A_GROUP = ("n", "positives", "auroc", "accuracy", "recall", "specificity")


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "evaluate", __doc__)
    show("Evaluate a pneumonia classifier", settings)

    from common import runs
    from common.backend import start_tensorflow

    run = runs.open_run(PROJECT, settings)
    name, folder = runs.evaluation_folder(run, settings)
    start_tensorflow()

    import numpy as np

    from common import explain, figures, fitting
    from common.artefacts import only_one, write_csv, write_json
    from common.models.resnet50 import GRADCAM_LAYER
    from common.pipeline import stored_films
    from common.preparing import print_written
    from common.scores import classification
    from pneumonia_classification.train import images_and_labels

    with only_one(folder):
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, lambda into: _prepare_all(run, settings, into)
        )
        side = run.fitted["image_size"]
        records = list(images_and_labels(prepared, splits, side).as_numpy_iterator())
        images = np.stack([record["image"] for record in records])
        names = [record["case"].decode() for record in records]
        cases = prepared.cases().set_index("case").loc[names].reset_index()
        labels = cases["label"].to_numpy(int)

        # -- Predict.
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)
        model = fitting.load_model(run.folder / "model.keras")
        scores = model.predict(images, settings.batch_size, verbose=0)[:, 0]
        threshold = run.fitted["threshold"] if settings.threshold == "run" else 0.5
        decisions = (scores >= threshold).astype(int)

        # -- Score, beside what needs no pixel.
        patients = cases["patient"].to_numpy()
        metrics = classification.classification_scores(
            labels, scores, patients, threshold, settings.seed
        )
        metrics["threshold_from"] = run.fitted["threshold_from"]
        if settings.threshold != "run":
            metrics["threshold_from"] = "given"
        metrics["baselines"] = _baselines(run, cases, labels, settings)
        metrics["per_view"] = {
            view: {name: by_view[name] for name in IN_A_GROUP}
            for view in sorted(set(cases["view"]) - {""})
            for of in [(cases["view"] == view).to_numpy()]
            for by_view in [
                classification.classification_scores(
                    labels[of], scores[of], patients[of], threshold, settings.seed
                )
            ]
        }

        # -- Explain: the map of every case with a radiologist's box, and of those drawn.
        boxes = [boxes_in_square(case, side) for case in cases.to_dict("records")]
        drawn = _to_draw(labels, scores, settings.pictures)
        looked = sorted({i for i, of in enumerate(boxes) if len(of)} | set(drawn))
        maps = explain.gradcam(model, images[looked], GRADCAM_LAYER)
        metrics["gradcam"] = explain.pointing_game(maps, [boxes[i] for i in looked])

        # -- Write; pictures of an earlier evaluation would stand among these.
        shutil.rmtree(folder / "gradcam", ignore_errors=True)
        rows = [
            {
                "case": case,
                "patient": patient,
                "label": label,
                "probability": f"{score:.6f}",
                "predicted": decision,
            }
            for case, patient, label, score, decision in zip(
                names, patients, labels, scores, decisions, strict=True
            )
        ]
        write_csv(folder / "predictions.csv", rows[0], rows)
        pictures = _draw_scores(folder, run, labels, scores, metrics)
        films = stored_films(prepared, splits, "label", 1, [names[i] for i in drawn])
        heats = dict(zip(looked, maps, strict=True))
        for rank, i in enumerate(drawn, start=1):
            right = "right" if decisions[i] == labels[i] else "WRONG"
            truth = "pneumonia" if labels[i] else "none"
            pictures.append(
                figures.gradcam_picture(
                    folder / "gradcam" / f"{rank:02d}-{names[i]}.png",
                    films[names[i]],
                    heats[i],
                    boxes[i],
                    f"{names[i][:36]}\ntruth: {truth}, score {scores[i]:.2f}, {right}",
                    run.config["synthetic"],
                )
            )
        write_json(
            folder / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
    _print(metrics, labels, decisions)
    print_written([folder / "metrics.json", folder / "predictions.csv", *pictures])


def _baselines(run: Any, cases: Any, labels: Any, settings: EvaluateSettings) -> dict[str, Any]:
    import numpy as np

    from common.scores import classification

    guess = np.full(len(labels), run.fitted["majority"])
    probabilities = classification.predict_metadata(
        run.fitted["metadata"], cases["view"], cases["sex"], cases["age_years"]
    )
    by_metadata = classification.classification_scores(
        labels, probabilities, cases["patient"].to_numpy(), 0.5, settings.seed
    )
    return {
        "majority": {
            "says": run.fitted["majority"],
            "accuracy": float((guess == labels).mean()),
            "auroc": 0.5,
        },
        "metadata": {name: by_metadata[name] for name in ("auroc", "accuracy")},
    }


def _prepare_all(run: Any, settings: EvaluateSettings, into: Path) -> Path:
    """Another dataset through the same door, every case a test case."""
    from pneumonia_classification.prepare_data import prepare

    kept = ("image_size", "seed")
    data = {name: run.config["data"]["settings"][name] for name in kept}
    return prepare(
        PrepareSettings(**data, source=settings.source, prepared=into, overwrite=True),
        all_test=True,
    )


def boxes_in_square(case: dict[str, Any], side: int) -> Any:
    """A case's opacity boxes (n, 4) in fractions of the square that the model sees."""
    import numpy as np

    from common.letterbox import Letterbox

    text = case["boxes"] if isinstance(case["boxes"], str) else ""
    boxes = [[float(edge) for edge in box.split()] for box in text.split(";") if box]
    square = Letterbox(int(case["rows"]), int(case["columns"]), side)
    return square.to_fractions(np.array(boxes).reshape(-1, 4))


def _to_draw(labels: Any, scores: Any, count: int) -> list[int]:
    """The surest right and the surest wrong cases, of both labels in turn."""
    import numpy as np

    order = np.argsort(scores)
    groups = [
        [i for i in order[::-1] if labels[i] == 1],  # found
        [i for i in order if labels[i] == 1],  # missed
        [i for i in order[::-1] if labels[i] == 0],  # false alarms
        [i for i in order if labels[i] == 0],  # cleared
    ]
    chosen: list[int] = []
    for place in range(len(order)):
        for group in groups:
            if place < len(group) and len(chosen) < count and group[place] not in chosen:
                chosen.append(int(group[place]))
    return chosen


def _draw_scores(
    folder: Path, run: Any, labels: Any, scores: Any, metrics: dict[str, Any]
) -> list[Path]:
    from common import figures

    synthetic = run.config["synthetic"]
    names = ("no pneumonia", "pneumonia")
    matrix = figures.confusion_picture(
        folder / "confusion_matrix.png", metrics["confusion_matrix"], names, synthetic
    )
    if not 0 < labels.mean() < 1:
        return [matrix]
    return [
        matrix,
        figures.curves_picture(
            folder / "curves.png", labels, scores, metrics["threshold"], synthetic
        ),
    ]


def _print(metrics: dict[str, Any], labels: Any, decisions: Any) -> None:
    from sklearn.metrics import classification_report

    from common.results import with_interval

    (tn, fp), (fn, tp) = metrics["confusion_matrix"]
    print("\nconfusion matrix        predicted")
    print(f"  {'':<20}{'none':>8}{'pneumonia':>12}")
    print(f"  {'true none':<20}{tn:>8}{fp:>12}")
    print(f"  {'true pneumonia':<20}{fn:>8}{tp:>12}\n")
    names = ["no pneumonia", "pneumonia"]
    print(
        classification_report(
            labels, decisions, labels=[0, 1], target_names=names, digits=3, zero_division=0
        )
    )
    baselines = metrics["baselines"]
    print(f"  {'':<26}{'model':<24}{'metadata':<24}majority")
    print(
        f"  {'AUROC':<26}{with_interval(metrics['auroc']):<24}"
        f"{with_interval(baselines['metadata']['auroc']):<24}0.500"
    )
    print(
        f"  {'accuracy':<26}{metrics['accuracy']:<24.3f}"
        f"{baselines['metadata']['accuracy']:<24.3f}{baselines['majority']['accuracy']:.3f}"
    )
    print(f"  {'average precision':<26}{with_interval(metrics['average_precision'])}")
    print(f"  {'specificity':<26}{metrics['specificity']:.3f}")
    print(f"  {'Brier score':<26}{metrics['brier']:.3f}")
    print(f"  {'calibration error':<26}{metrics['expected_calibration_error']:.3f}")
    print(f"  threshold {metrics['threshold']:.3f}, from {metrics['threshold_from']}")
    game = metrics["gradcam"]
    if game["n"]:
        print(
            f"  Grad-CAM's peak in a radiologist's box: {game['pointing_game']:.2f} of {game['n']} "
            f"cases, chance {game['chance']:.2f}"
        )


if __name__ == "__main__":
    run_script(main)
