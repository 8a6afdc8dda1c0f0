"""A pneumonia run's baselines, its positives against each kind of negative, and its maps."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from common.scores.formatting import with_interval
from tests.test_pneumonia import PROJECT, column, rows_of


@pytest.fixture(scope="module")
def thumbnails(whole):
    """The stored films as 16 x 16 thumbnails and the labels, by split."""
    import cv2

    from common.records.prepared import open_prepared
    from common.training.pipeline import stored_films

    prepared = open_prepared(whole(PROJECT).prepared, PROJECT)
    by_split = {}
    for split in ("train", "test"):
        cases = prepared.cases().query("split == @split")
        films = dict(stored_films(prepared, [split], cases["case"]))
        pixels = [
            cv2.resize(films[case].astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
            for case in cases["case"]
        ]
        by_split[split] = np.reshape(pixels, (-1, 256)), cases["label"].to_numpy()
    return by_split


def test_the_thumbnail_baseline_is_fitted_in_training_alone_and_stands_everywhere(
    whole, thumbnails
):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    once = whole(PROJECT)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(*thumbnails["train"])
    pixels, labels = thumbnails["test"]
    expected = roc_auc_score(labels, model.predict_proba(pixels)[:, 1])
    found = once.metrics["baselines"]["thumbnail"]
    assert found["auroc"]["value"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(model.score(pixels, labels))
    gap = once.metrics["auroc"]["value"] - expected
    assert found["differences"]["auroc"]["value"] == pytest.approx(gap)

    cell = with_interval(found["auroc"])
    assert cell.startswith(f"{expected:.3f} [")
    assert cell in once.said["evaluate"] and "16 x 16 thumbnail" in once.said["evaluate"]
    page = (once.evaluation / "report.html").read_text()
    assert cell in page and "16 x 16 thumbnail" in page
    baselines = once.metrics["baselines"].values()
    strongest = max(0.5, *(part["auroc"]["value"] for part in baselines if part["auroc"] != 0.5))
    main = once.metrics["main_scores"][0]
    assert main["baseline"] == strongest
    assert main["difference"]["value"] == pytest.approx(main["value"] - strongest)


def test_the_positives_stand_against_the_normal_and_the_otherwise_sick(whole):
    from sklearn.metrics import roc_auc_score

    once = whole(PROJECT)
    findings = {case["case"]: case["finding"] for case in rows_of(once.prepared / "cases.csv")}
    labels, scores = column(once.predictions, "label"), column(once.predictions, "probability")
    finding = np.array([findings[row["case"]] for row in once.predictions])
    assert set(once.metrics["per_finding"]) == {"Normal", "No Lung Opacity / Not Normal"}
    in_groups = {entry["group"]: entry["value"] for entry in once.metrics["main_scores_of_groups"]}
    for name, scored in once.metrics["per_finding"].items():
        rows = (labels == 1) | (finding == name)
        assert (scored["n"], scored["positives"]) == (rows.sum(), labels.sum())
        value = scored["auroc"]["value"]
        assert value == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-4)
        assert with_interval(scored["auroc"]) in once.said["evaluate"]
        assert in_groups[f"positives against {name}"] == value
    assert "positives against" in (once.evaluation / "report.html").read_text()


@pytest.fixture
def rescored(whole):
    """The tables and main scores of an evaluation whose run has other fitted baselines."""
    import pandas as pd

    from common.datasets.classes import Classes
    from common.training.runs import Run
    from pneumonia_classification.score_tables import main_scores, tables
    from pneumonia_classification.scores import baselines, metadata_answers
    from tests.helpers.formats_checked import ROOT, faults_of

    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    cases = pd.DataFrame({
        "label": labels, "patient": np.arange(40), "thumbnail": 0.5,
        "probability": labels * 0.2 + 0.7 * rng.random(40),
        "view": np.where(labels, "PA", "AP"), "sex": "F", "age_years": 50.0,
    })  # fmt: skip
    cases["predicted"] = cases["probability"] >= 0.5

    def of(fitted):
        fitted = {"majority": 1, "metadata": None, **fitted}
        run = Run(None, {}, fitted)
        found = baselines(run, cases.assign(**metadata_answers(run, cases, Classes())))
        metrics = {**whole(PROJECT).metrics, "baselines": found}
        assert faults_of(ROOT / PROJECT / "metrics.schema.json", metrics) == []
        table = tables(metrics)[0]
        cells = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
        return cells, main_scores(metrics)

    return of


def test_without_metadata_or_thumbnail_the_tables_say_so(rescored):
    cells, scores = rescored({})
    assert cells["AUROC"]["view, sex and age"] == "no metadata"
    assert cells["accuracy"]["view, sex and age"] == "no metadata"
    # A run of before the thumbnail lacks its column.
    assert "16 x 16 thumbnail" not in cells["AUROC"]
    main = scores["main_scores"][0]
    assert (main["baseline"], main["baseline_name"]) == (
        0.5,
        "always positive, training's majority",
    )
    assert main["difference"]["ci95"][0] < main["difference"]["value"]


def test_a_baseline_below_chance_says_so_and_is_not_the_strongest(rescored):
    metadata = {"intercept": 0.0, "coefficients": {"view=AP": 1.0, "view=PA": -1.0},
                "age_median": 50, "age_mean": 50, "age_deviation": 1.0}  # fmt: skip
    cells, scores = rescored({"metadata": metadata, "thumbnail": {}})
    assert cells["AUROC"]["view, sex and age"] == (
        "0.000 [0.000, 0.049], below chance: it ranks more pairs wrongly than rightly"
    )
    assert "below chance" not in cells["AUROC"]["16 x 16 thumbnail"]
    assert scores["main_scores"][0]["baseline_name"] == "always positive, training's majority"


def test_the_majority_of_the_scored_films_is_named_where_it_is_another(whole):
    from pneumonia_classification.score_tables import tables

    metrics = whole(PROJECT).metrics
    majority = {**metrics["baselines"]["majority"], "says": 1}
    metrics = {**metrics, "baselines": {**metrics["baselines"], "majority": majority}}

    def own_rows(matrix):
        table = tables({**metrics, "confusion_matrix": matrix})[0]
        assert table.head[-1] == "always positive, training's majority"
        return [(row[0], row[-1]) for row in table.rows if "here" in row[0]]

    expected = [("accuracy of always negative, the majority here", "0.700")]
    assert own_rows([[6, 1], [1, 2]]) == expected
    assert own_rows([[2, 1], [1, 6]]) == own_rows([[2, 1], [1, 2]]) == []


@pytest.mark.slow
def test_maps_of_many_films_are_held_a_few_at_a_time(whole, monkeypatch):
    import pandas as pd

    from common.training.runs import read_run
    from pneumonia_classification import inference, scores
    from pneumonia_classification.config import EvaluateSettings

    settings = EvaluateSettings()
    model = inference.open_model(read_run(whole(PROJECT).run), settings)
    side, draws = model.input_shape[1], np.random.default_rng(0)
    pixels = draws.integers(0, 255, (48, side, side), dtype=np.uint8)
    names = [f"c{number}" for number in range(48)]
    boxes = pd.Series([np.array([[0.1, 0.2, 0.6, 0.7]])] * 48)
    cases = pd.DataFrame({"case": names, "patient": names, "boxes": boxes})
    shown, most = [], []

    def films():
        for name, values in zip(names, pixels, strict=True):
            image = values.copy()
            shown.append(weakref.ref(image))
            most.append(sum(reference() is not None for reference in shown))
            yield name, image
            del image

    monkeypatch.setattr(scores, "_MOST_CHECKED", 3)
    whole_maps, at_once = scores.explain(model, cases, films(), settings, {"c5"})
    most.clear()
    monkeypatch.setattr(scores, "_FILMS_AT_ONCE", 16)
    maps, in_parts = scores.explain(model, cases, films(), settings, {"c5"})
    assert in_parts == at_once and set(maps) == set(whole_maps) == {"c0", "c5", "c23", "c47"}
    assert all(heat.base is None for each in maps.values() for heat in each.values())
    # Two parts, and those that are checked.
    assert max(most) <= 2 * 16 + 3
