"""A metrics.json of every project, as far as results and compare read it."""

from atrium_segmentation.scores import main_scores as atrium_scores
from heart_detection.score_tables import main_scores as heart_scores
from pneumonia_classification.score_tables import main_scores as pneumonia_scores

METRICS = {
    "pneumonia": {
        "project": "pneumonia_classification", "synthetic": True, "split": "test", "n": 40,
        "folds": {"of": 0, "fold": 0, "data": "a"},
        "auroc": {"value": 0.8714, "ci95": [0.8, 0.93]}, "accuracy": 0.75,
        "average_precision": {"value": 0.5}, "recall": 0.7, "specificity": None, "brier": 0.2,
        "gradcam": {"pointing_game": None, "chance": None},
        "ci95": {"accuracy": [0.62, 0.875]},
        "baselines": {
            "majority": {"auroc": 0.5, "accuracy": 0.6, "ci95": {"accuracy": [0.45, 0.75]}},
            "metadata": {"auroc": {"value": 0.61, "ci95": None}, "accuracy": 0.6},
        },
    },
    "heart": {
        "project": "heart_detection", "synthetic": False, "split": "clinic", "n": 20,
        "folds": {"of": 0, "fold": 0, "data": "b"},
        "iou": {"mean": 0.8, "ci95": [0.75, 0.85]}, "iou_above": {"0.5": 19},
        "ci95": {"iou_above": {"0.5": [0.84, 1.0]}},
        "baselines": {
            "mean_box": {
                "n": 20, "iou": {"mean": 0.6, "ci95": [0.51, 0.69]}, "iou_mean": 0.6,
                "iou_above": {"0.5": 12}, "ci95": {"iou_above": {"0.5": None}},
            },
        },
    },
    "atrium": {
        "project": "atrium_segmentation", "synthetic": False, "split": "test", "cases": [{}, {}],
        "n": 2, "labels": ["atrium"],
        "folds": {"of": 0, "fold": 0, "data": "c"},
        "models": {
            "unet": {"dice": {"mean": 0.9, "ci95": [0.88, 0.92]}},
            "fcn8": {"dice": {"mean": 0.7, "ci95": None}},
        },
        "baselines": {
            "mean_shape": {"dice": 0.3, "scores": {"dice": {"mean": 0.3, "ci95": [0.2, 0.4]}}},
        },
    },
}  # fmt: skip


TRAINED = {"synthetic": False, "seed": 1, "data_sha256": "s", "settings_key": "k"}


def with_main_scores(metrics):
    """The metrics with the lists that its project adds to them."""
    metrics = {"trained": TRAINED, **metrics}
    if "auroc" in metrics:
        return {**metrics, **pneumonia_scores(metrics)}
    if "iou" in metrics:
        return {**metrics, **heart_scores(metrics)}
    return {**metrics, **atrium_scores(metrics)}


METRICS = {name: with_main_scores(metrics) for name, metrics in METRICS.items()}
