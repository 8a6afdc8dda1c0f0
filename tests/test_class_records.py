"""Several classes and labels in records, batches, losses, decisions and tables: no training."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from common.base.errors import UserError
from common.datasets.classes import Classes
from common.records.prepared import Prepared, open_prepared
from pneumonia_classification.config import (
    PROJECT,
    EvaluateSettings,
    PrepareSettings,
    TrainSettings,
)
from tests.test_several_classes import picture

COUNTS = {"basophil": 4, "monocyte": 9, "platelet": 18}
CELLS = Classes(tuple(COUNTS))
LABELS = Classes(("effusion", "mass"), exclusive=False)


def prepared_from(source, folder, **given):
    from pneumonia_classification.dataset import prepare

    shares = {"validation_share": 0.2, "test_share": 0.2, "workers": 1, "image_size": 32}
    prepare(PrepareSettings(source=source, prepared=folder, **{**shares, **given}))
    return open_prepared(folder, PROJECT.name)


@pytest.fixture(scope="module")
def cell_source(tmp_path_factory):
    """Three classes by folder, the first one rare."""
    rng, source = np.random.default_rng(1), tmp_path_factory.mktemp("cells")
    for kind, (name, count) in enumerate(COUNTS.items()):
        for number in range(count):
            picture(source / name / f"{name}-{number}.png", [kind], rng)
    return source


@pytest.fixture(scope="module")
def cells(cell_source, tmp_path_factory):
    return prepared_from(cell_source, tmp_path_factory.mktemp("made") / "cells")


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Two labels that come together, or not at all, by a table."""
    rng, source = np.random.default_rng(1), tmp_path_factory.mktemp("labels")
    rows = ["image_path,label"]
    for number, names in enumerate([["effusion"]] * 12 + [[]] * 8 + [["effusion", "mass"]] * 5):
        kinds = [LABELS.names.index(name) for name in names]
        picture(source / f"film-{number}.png", kinds, rng)
        rows.append(f"film-{number}.png,{'|'.join(names)}")
    (source / "images.csv").write_text("\n".join(rows) + "\n")
    return prepared_from(source, tmp_path_factory.mktemp("made") / "labels")


@pytest.fixture(params=["cells", "labels"])
def prepared(request):
    return request.getfixturevalue(request.param)


def records(prepared, splits):
    from pneumonia_classification.dataset import images_and_labels

    rows = list(images_and_labels(prepared, splits, 32).as_numpy_iterator())
    return [row["case"].decode() for row in rows], np.stack([row["label"] for row in rows])


def test_a_record_holds_a_number_for_every_class(prepared):
    classes = Classes.described(prepared.manifest)
    assert prepared.manifest["exclusive"] is classes.exclusive
    cases = prepared.cases().set_index("case")
    names, truth = records(prepared, ["train", "validation", "test"])
    assert len(names) == len(cases) and truth.shape[1] == len(classes.names)
    np.testing.assert_array_equal(truth, classes.truth(cases.loc[names, "label"]))
    if classes.exclusive:
        ids = pd.read_csv(prepared.folder.parent / "id-map.csv").set_index("id")["name"]
        assert classes.in_words(truth) == [ids[name].split("-")[0] for name in names]


def test_rare_classes_are_in_every_split_and_copied(prepared):
    splits = ("train", "validation", "test")
    counts = {split: records(prepared, [split])[1].sum(axis=0) for split in splits}
    assert all((part > 0).all() for part in counts.values())
    train = counts["train"]
    number = np.clip(np.rint(train.max() / train) - 1, 0, 3)
    assert number.max() > 0
    names, truth = records(prepared, ["train-copies"])
    # A film with several labels counts as its rarest.
    rarest = np.where(truth > 0, train, np.inf).argmin(axis=1)
    copied = pd.Series(names).groupby(names).size()
    for name, label in zip(names, rarest, strict=True):
        assert copied[name] == number[label]
    assert len(copied) == sum(train[number > 0])


def batches(prepared, **given):
    from pneumonia_classification.dataset import training_data

    settings = TrainSettings(epochs=1, batch_size=8, image_size=32, **given)
    return list(training_data(prepared, ["train"], 32, 8, settings).batches().as_numpy_iterator())


def test_class_weights_are_scikit_learns_and_mixed_labels_sum_to_one(cells):
    from sklearn.utils.class_weight import compute_class_weight

    numbers = records(cells, ["train"])[1].argmax(axis=1)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=numbers)
    for _, truth, weights in batches(cells, balance="weights"):
        np.testing.assert_allclose(weights[:, 0], expected[truth.argmax(axis=1)], rtol=1e-6)
    (_, mixed), *_ = batches(cells, mixup=0.4)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    assert ((mixed > 0.01) & (mixed < 0.99)).any()


def test_oversampling_brings_rare_classes_as_often(prepared):
    classes = Classes.described(prepared.manifest)
    truth = np.concatenate([part[1] for part in batches(prepared, balance="oversampling")])
    # The last batch is filled up.
    counts = np.bincount(classes.strata(truth))
    assert counts.max() - counts.min() <= 8


@pytest.mark.parametrize(
    ("settings", "classes", "expected"),
    [
        ({}, CELLS, -np.log(0.7)),
        ({"loss": "focal"}, CELLS, 0.3**2 * -np.log(0.7)),
        ({"label_smoothing": 0.3}, CELLS, -np.log([0.7, 0.2, 0.1]) @ [0.8, 0.1, 0.1]),
        ({}, LABELS, -np.mean(np.log([0.7, 0.8]))),
        ({"loss": "focal"}, LABELS, np.mean([0.3**2 * -np.log(0.7), 0.2**2 * -np.log(0.8)])),
    ],
)
def test_the_losses_are_those_of_the_papers(settings, classes, expected):
    from pneumonia_classification.networks import losses

    truth, said = ([1, 0, 0], [0.7, 0.2, 0.1]) if classes is CELLS else ([1, 0], [0.7, 0.2])
    found = losses(TrainSettings(**settings), classes)["loss"](np.array([truth]), np.array([said]))
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("classes", [CELLS, LABELS])
def test_the_monitored_auroc_is_the_mean_over_classes(classes):
    from sklearn.metrics import roc_auc_score

    from pneumonia_classification.networks import losses

    rng = np.random.default_rng(0)
    truth = np.eye(classes.outputs)[rng.integers(0, classes.outputs, 200)]
    scores = np.clip(truth * 0.2 + 0.7 * rng.random(truth.shape), 0, 1)
    metric = losses(TrainSettings(), classes)["metrics"][0]
    metric.update_state(truth, scores)
    assert metric.name == "auroc"
    assert float(metric.result()) == pytest.approx(roc_auc_score(truth, scores), abs=5e-3)


@pytest.mark.parametrize("classes", [CELLS, LABELS])
def test_the_auroc_of_training_is_that_of_the_classes_that_validation_has(classes):
    import keras
    import tensorflow as tf
    from sklearn.metrics import roc_auc_score

    from pneumonia_classification.networks import losses

    rng = np.random.default_rng(2)
    truth = (rng.random((300, classes.outputs)) < 0.3).astype(float)
    truth[:, 0] = 0
    scores = np.clip(truth * 0.2 + 0.7 * rng.random(truth.shape), 0, 1)
    there = truth.any(axis=0)
    metric = losses(TrainSettings(), classes, there)["metrics"][0]
    # As training does: in a compiled step, whose shapes may be known.
    model = keras.Sequential([keras.Input((classes.outputs,)), keras.layers.Identity()])
    model.compile(loss="mse", weighted_metrics=[metric])
    weights = rng.integers(0, 3, (300, 1)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((scores, truth, weights))
    found = model.evaluate(batches.batch(100, drop_remainder=True), verbose=0, return_dict=True)
    assert not there.all()
    expected = roc_auc_score(truth[:, there], scores[:, there], sample_weight=weights[:, 0])
    assert found["auroc"] == pytest.approx(expected, abs=5e-3)


def test_a_class_that_validation_lacks_is_no_auroc_of_0(cells, tmp_path, capsys):
    from pneumonia_classification.adapting import measured_classes

    by_auroc, by_loss = (TrainSettings(monitor=name) for name in ("val_auroc", "val_loss"))
    assert measured_classes(by_auroc, cells, ["validation"]).all()
    assert capsys.readouterr().out == ""
    table = cells.cases()
    few = Prepared(tmp_path, {**cells.manifest, "tables": []})
    for label, expected in ((0, [False, True, True]), (1, [False, False, False])):
        table.loc[(table["label"] == label) & (table["split"] == "validation"), "label"] = 2
        table.to_csv(tmp_path / "cases.csv", index=False)
        assert measured_classes(by_loss, few, ["validation"]).tolist() == expected
    printed = capsys.readouterr().out
    assert "and without basophil: val_auroc is that of the other classes" in printed
    assert "basophil, monocyte, platelet: val_auroc is none, and printed as 0" in printed
    with pytest.raises(UserError, match="--monitor val_auroc: no class of"):
        measured_classes(by_auroc, few, ["validation"])


@pytest.mark.parametrize(
    ("given", "classes", "flag"),
    [
        ({"box_weight": 0.3}, CELLS, "--box-weight"),
        ({"box_weight": 0.3}, LABELS, "--box-weight"),
        ({"balance": "weights"}, LABELS, "--balance"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, classes, flag):
    from pneumonia_classification.adapting import refuse_senseless

    refuse_senseless(TrainSettings(), classes)
    with pytest.raises(UserError, match=flag):
        refuse_senseless(TrainSettings(**given), classes)


def test_the_head_starts_anew_on_other_classes(tmp_path, capsys):
    from pneumonia_classification.networks import _is_of_others

    for trained, expected in (
        (Classes(("basophil", "monocyte", "blast")), True),
        (Classes(("monocyte", "basophil", "platelet")), True),
        (LABELS, True),
        (CELLS, False),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"data": trained.description}))
        for weights in (tmp_path, tmp_path / "model.keras"):
            assert _is_of_others(str(weights), CELLS) is expected
            printed = capsys.readouterr().out
            assert (str(trained) in printed and "starts anew" in printed) is expected
    assert not _is_of_others("imagenet", CELLS)
    (tmp_path / "config.json").write_text(json.dumps({"data": {"key": "of before"}}))
    assert not _is_of_others(str(tmp_path), Classes(("NORMAL", "PNEUMONIA")))


def decided(tmp_path, classes, **given):
    """A decision from a validation split whose labels are the scores' own, and its run."""
    from common.training.runs import Run
    from pneumonia_classification.inference import decision

    rng = np.random.default_rng(0)
    truth = np.eye(3, dtype=int)[rng.integers(0, 3, 60)]
    if not classes.exclusive:
        truth = (rng.random((60, len(classes.names))) < 0.4).astype(int)
    scores = np.clip(truth * 0.3 + 0.6 * rng.random(truth.shape), 0.01, 0.99)
    if classes.exclusive:
        scores /= scores.sum(axis=1, keepdims=True)
    table = {"case": np.arange(60), "label": classes.in_words(truth)}
    for name in ("probability", "mirrored"):
        table |= dict(zip(classes.columns(name), scores.T, strict=True))
    pd.DataFrame(table).to_csv(tmp_path / "validation.csv", index=False)
    run = Run(tmp_path, {"data": classes.description}, {})
    return decision(run, EvaluateSettings(run=tmp_path, **given)), truth, scores


def test_every_label_has_its_own_threshold_from_validation(tmp_path):
    from sklearn.metrics import roc_curve

    found, truth, scores = decided(tmp_path, LABELS)
    for threshold, labels, ranks in zip(found.threshold, truth.T, scores.T, strict=True):
        false_rate, true_rate, _ = roc_curve(labels, ranks)
        said = ranks >= threshold
        youden = said[labels == 1].mean() - said[labels == 0].mean()
        assert youden == pytest.approx((true_rate - false_rate).max())
    sensitive, truth, scores = decided(tmp_path, LABELS, sensitivity=0.9)
    assert all(sensitive.answers(scores)[truth[:, k] == 1, k].mean() >= 0.9 for k in (0, 1))
    assert decided(tmp_path, LABELS, threshold=0.3)[0].threshold == [0.3, 0.3]


def test_a_label_whose_threshold_validation_cannot_tell_is_named(tmp_path):
    from common.training.runs import Run
    from pneumonia_classification.inference import decision

    decided(tmp_path, LABELS)
    table = pd.read_csv(tmp_path / "validation.csv", keep_default_na=False)
    run = Run(tmp_path, {"data": LABELS.description}, {})
    for words, youden, sensitivity in (
        ("effusion", "0.5 of effusion, mass, since", "0.5 of mass, since"),
        ("effusion|mass", "0.5 of effusion, mass, since", ""),
    ):
        table.assign(label=words).to_csv(tmp_path / "validation.csv", index=False)
        for given, expected in (({}, youden), ({"sensitivity": 0.9}, sensitivity)):
            found = decision(run, EvaluateSettings(run=tmp_path, **given))
            assert expected in found.source and ("0.5 of" in found.source) is bool(expected)
    decided(tmp_path, LABELS)
    assert decision(run, EvaluateSettings(run=tmp_path)).source == "validation, Youden"


def test_the_likeliest_class_is_the_answer_and_takes_no_threshold(tmp_path):
    found, _, scores = decided(tmp_path, CELLS)
    assert found.threshold is None and found.source == "the likeliest"
    assert (found.answers(scores).argmax(axis=1) == scores.argmax(axis=1)).all()
    np.testing.assert_allclose(found.rescaled(scores).sum(axis=1), 1)
    for given in ({"threshold": 0.5}, {"sensitivity": 0.9}):
        with pytest.raises(UserError, match=f"--{next(iter(given))}.*likeliest"):
            decided(tmp_path, CELLS, **given)


@pytest.mark.parametrize("classes", [CELLS, LABELS])
@pytest.mark.parametrize("flag", ["reject", "prevalence"])
def test_what_is_for_two_classes_is_refused_of_several(tmp_path, classes, flag):
    with pytest.raises(UserError, match=f"--{flag}: is for two classes"):
        decided(tmp_path, classes, **{flag: 0.2})


@pytest.mark.parametrize("classes", [CELLS, LABELS])
def test_tables_and_recipes_show_what_was_scored(tmp_path, classes, capsys):
    from common.scores.recipes import estimate, read_predictions
    from common.scores.shortcuts import UNKNOWN
    from common.training.runs import Run
    from pneumonia_classification import score_tables
    from pneumonia_classification.inference import answers_table
    from pneumonia_classification.scores import baselines, score
    from tests.helpers.formats_checked import ROOT, faults_of

    rule, truth, scores = decided(tmp_path, classes)
    cases = pd.DataFrame({
        "case": [f"c{number}" for number in range(60)], "label": classes.in_words(truth),
        "patient": np.arange(60) // 2, "view": ["PA", "AP"] * 30, "sex": "", "age": "", "part": "",
        "age_years": 50.0, **dict(zip(classes.columns("label"), truth.T, strict=True)),
        **answers_table(scores, rule, classes),
    })  # fmt: skip
    fitted = {"majority": classes.in_words(truth)[0], "metadata": None}
    metrics = {
        **score(cases, rule, classes, score_tables.GROUPS), **classes.description,
        "threshold_from": rule.source, "examples": [],
        "baselines": baselines(Run(tmp_path, {}, fitted), cases, classes),
        "gradcam": {"pointing_game": None, "chance": None, "n": 0,
                    "likeness_to_random_weights": None},
    }  # fmt: skip
    assert faults_of(ROOT / PROJECT.name / "metrics.schema.json", metrics) == []
    assert set(metrics["per_view"]) == {"AP", "PA"}
    cells = [cell for table in score_tables.tables(metrics) for row in table.rows for cell in row]
    assert set(classes.names) <= set(cells) and "no metadata" in cells
    metrics["shortcuts"] = UNKNOWN
    others = cases[cases["label"] != classes.names[0]].reset_index(drop=True)
    score_tables.print_scores(others, metrics)
    lacks = f"no AUROC of {classes.names[0]}: none of the "
    assert (lacks in capsys.readouterr().out) == classes.exclusive
    cases.to_csv(tmp_path / "predictions.csv", index=False)
    table = read_predictions(tmp_path / "predictions.csv")
    main = score_tables.main_scores(metrics)
    for entry in main["main_scores"]:
        value = estimate(table, entry["from"]).value
        assert value == pytest.approx(entry["value"]), entry["name"]
    groups = {entry["group"]: entry["value"] for entry in main["main_scores_of_groups"]}
    for name in classes.names:
        assert groups[f"class {name}"] == metrics["per_class"][name]["auroc"]["value"]


def test_shortcuts_name_the_class_that_they_tell(tmp_path):
    from common.imaging.acquisition import GROUPS
    from common.scores.shortcuts import describe_shortcuts, find_shortcuts, shortcut_table

    rng, group = np.random.default_rng(0), next(iter(GROUPS))
    label = np.repeat([0, 1, 2], 20)
    cases = pd.DataFrame({
        "case": [f"c{number}" for number in range(60)], "label": label,
        "patient": np.arange(60), "left_out": "",
    })  # fmt: skip
    statistics = pd.DataFrame({f"{group}.one": (label == 2) + 0.1 * rng.random(60)}, cases["case"])
    found = find_shortcuts(statistics, cases, 1, CELLS)
    assert found["groups"][group]["class"] == "platelet" and group in found["readable"]
    assert "platelet 1.00" in describe_shortcuts(found)
    assert "platelet" in shortcut_table(found).rows[0]
    assert set(found["per_class"]) == set(CELLS.names)


def test_a_split_by_shortcut_is_for_two_classes(cell_source, tmp_path):
    with pytest.raises(UserError, match=r"--split-by shortcut.*basophil"):
        prepared_from(cell_source, tmp_path / "prepared", split_by="shortcut")


def test_a_baseline_per_class_is_fitted_to_it_against_the_others(cells):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from common.scores.thumbnails import predict_labels, thumbnail
    from pneumonia_classification.dataset import images_and_labels
    from pneumonia_classification.scores import fit_baselines

    fitted = fit_baselines(cells, ["train"], 32)
    assert fitted["majority"] == "platelet"
    rows = list(images_and_labels(cells, ["train"], 32).as_numpy_iterator())
    pixels = np.stack([thumbnail(row["image"][..., 0]) for row in rows])
    truth = np.stack([row["label"] for row in rows])
    for column, model in zip(truth.T, fitted["thumbnail"], strict=True):
        expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        expected.fit(pixels, column)
        np.testing.assert_allclose(
            predict_labels(model, pixels), expected.predict_proba(pixels)[:, 1], atol=1e-6
        )
