"""What the pneumonia project's settings change, and that its numbers are those of its files."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.helpers.film_folders import film
from tests.helpers.scripts import TINY, TINY_DATA, copy_run, refused, run

PROJECT = "pneumonia_classification"


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


# ---- Scores


def test_the_threshold_and_the_rescaling_come_from_validation_alone(whole):
    from sklearn.metrics import log_loss, roc_curve

    from common.scores.calibration import Rescaling, choose_rescaling

    once = whole(PROJECT)
    held_out = rows_of(once.run / "validation.csv")
    splits = {case["case"]: case["split"] for case in rows_of(once.prepared / "cases.csv")}
    assert {splits[row["case"]] for row in held_out} == {"validation"}
    assert len(held_out) == sum(split == "validation" for split in splits.values())

    labels, scores = column(held_out, "label"), column(held_out, "probability")
    false_rate, true_rate, _ = roc_curve(labels, scores)
    said = scores >= once.metrics["threshold"]
    youden = said[labels == 1].mean() - said[labels == 0].mean()
    assert youden == pytest.approx((true_rate - false_rate).max())

    patients = {row["case"]: row["patient"] for row in rows_of(once.prepared / "cases.csv")}
    same = [[a == b for b in column(held_out, "patient")] for a in column(held_out, "patient")]
    names = [patients[row["case"]] for row in held_out]
    assert same == [[a == b for b in names] for a in names]

    scored, tested = once.metrics["calibration"], once.predictions
    rescaling = Rescaling(*(scored[name] for name in ("method", "temperature", "shift")))
    assert rescaling == choose_rescaling(labels, scores, names)
    rescaled, truth = rescaling.apply(column(tested, "probability")), column(tested, "label")
    if rescaling.column:
        np.testing.assert_allclose(column(tested, rescaling.column), rescaled, atol=2e-5)
    assert scored["brier_after"] == pytest.approx(np.mean((rescaled - truth) ** 2), abs=1e-4)
    assert scored["log_loss_after"] == pytest.approx(log_loss(truth, rescaled), abs=1e-4)


def test_a_threshold_of_ones_own_decides(whole):
    from common.training.runs import open_run
    from pneumonia_classification.config import PROJECT as SETTINGS
    from pneumonia_classification.config import EvaluateSettings
    from pneumonia_classification.inference import decision

    settings = EvaluateSettings(run=whole(PROJECT).run, threshold=0.9)
    found = decision(open_run(SETTINGS, settings), settings)
    assert (found.threshold, found.source) == (0.9, "given")


def test_groups_are_those_of_the_header(whole):
    from sklearn.metrics import roc_auc_score

    once = whole(PROJECT)
    cases = {case["case"]: case for case in rows_of(once.prepared / "cases.csv")}
    ages = np.array([float(cases[row["case"]]["age_years"]) for row in once.predictions])
    sexes = np.array([cases[row["case"]]["sex"] for row in once.predictions])
    labels, scores = column(once.predictions, "label"), column(once.predictions, "probability")
    assert set(once.metrics["per_sex"]) == set(sexes)
    for groups, of in (
        (once.metrics["per_sex"], {sex: sexes == sex for sex in set(sexes)}),
        (once.metrics["per_age"], {"18-39": (ages >= 18) & (ages < 40), "65+": ages >= 65}),
    ):
        for name, mine in of.items():
            if not mine.any():
                assert name not in groups
                continue
            assert groups[name]["n"] == mine.sum()
            if 0 < labels[mine].mean() < 1:
                expected = roc_auc_score(labels[mine], scores[mine])
                assert groups[name]["auroc"]["value"] == pytest.approx(expected, abs=1e-4)
    assert sum(group["n"] for group in once.metrics["per_age"].values()) == len(ages)


def test_the_map_is_held_against_chance_and_against_random_weights(whole):
    once = whole(PROJECT)
    game = once.metrics["gradcam"]
    # A map of one place says nothing, and gets a finer one.
    assert game["layer"] == "conv5_block3_out" and game["finer"]["layer"] != game["layer"]
    for scores in (game, game["finer"]):
        assert 0 < scores["chance"] < 0.5 and 0 <= scores["pointing_game"] <= 1
        assert set(scores["centred_blob"]) == {"pointing_game", "weight_inside"}
        likeness = scores["likeness_to_random_weights"]
        assert likeness is None or (
            -1 <= likeness <= 1
            and len(scores["likeness_by_draw"]) <= 3
            and scores["likeness_n"] <= scores["n"] + len(once.metrics["examples"])
        )
    assert game["finer"]["ceiling"] >= game["ceiling"]
    assert (once.evaluation / "surest.png").is_file()


@pytest.mark.slow
def test_what_an_evaluation_lacks_is_named(whole, tmp_path):

    layer = refused(PROJECT, "evaluate", "--run", whole(PROJECT).run, "--gradcam-layer", "last")
    assert "conv5_block3_out" in layer
    copy_run(whole(PROJECT).run, tmp_path / "run")
    (tmp_path / "run" / "validation.csv").write_text("case,label\na,1\n")
    assert "validation.csv" in refused(PROJECT, "evaluate", "--run", tmp_path / "run")


# ---- Training


@pytest.fixture
def training(whole):
    """What a training would be given, from settings."""
    from common.records.prepared import open_prepared
    from pneumonia_classification.config import TrainSettings
    from pneumonia_classification.dataset import training_data

    prepared = open_prepared(whole(PROJECT).prepared, PROJECT)

    def batches(**given):
        settings = TrainSettings(epochs=1, batch_size=8, image_size=32, **given)
        data = training_data(prepared, ["train"], 32, 8, settings).batches()
        return list(data.as_numpy_iterator())

    return prepared, batches


def test_oversampling_brings_both_labels_as_often(training):
    prepared, batches = training
    share = prepared.cases().query("split == 'train'")["label"].mean()
    labels = np.concatenate([labels for _, labels in batches(balance="oversampling")])
    as_they_are = np.concatenate([labels for _, labels in batches()])
    assert as_they_are.mean() == pytest.approx(share, abs=0.05)
    assert abs(share - 0.5) > 0.1
    assert labels.mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("box_weight", [0.0, 0.5])
def test_class_weights_are_scikit_learns(training, box_weight):
    from sklearn.utils.class_weight import compute_class_weight

    prepared, batches = training
    labels = prepared.cases().query("split == 'train'")["label"].astype(int).to_numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    for _, targets, weights in batches(balance="weights", box_weight=box_weight):
        if box_weight:
            targets, (weights, of_boxes) = targets[0], weights
            assert (of_boxes == 1).all()
        np.testing.assert_allclose(weights, expected[targets.astype(int)], rtol=1e-6)


def test_mixup_mixes_films_labels_regions_and_weights_by_the_same_shares(training):
    import keras

    _, batches = training
    given = {"balance": "weights", "box_weight": 0.5}
    for plain, mixed in zip(batches(**given), batches(mixup=0.4, **given), strict=True):
        films = plain[0].reshape(8, -1).astype(float)
        shares = np.linalg.lstsq(films.T, mixed[0].reshape(8, -1).T.astype(float))[0].T
        shares[abs(shares) < 1e-3] = 0
        assert ((shares > 0).sum(axis=1) <= 2).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-3)
        for own, other in zip(*map(keras.tree.flatten, (plain[1:], mixed[1:])), strict=True):
            expected = shares @ own.reshape(8, -1)
            np.testing.assert_allclose(other.reshape(8, -1), expected, atol=5e-3)


def test_augmentors_copies_count_as_positives(training):
    from pneumonia_classification.dataset import _labels

    prepared, _ = training
    labels = prepared.cases().query("split == 'train'")["label"].astype(int)
    copies = prepared.count(["train-copies"])
    found = np.bincount(_labels(prepared, ["train", "train-copies"]))
    assert list(found) == [sum(labels == 0), sum(labels == 1) + copies] and copies > 0


def test_the_focal_loss_is_that_of_the_paper():
    from pneumonia_classification.config import TrainSettings
    from pneumonia_classification.networks import losses

    labels, said = np.array([[1.0], [0.0]]), np.array([[0.7], [0.4]])
    expected = np.mean([0.3**2 * -np.log(0.7), 0.4**2 * -np.log(0.6)])
    found = float(losses(TrainSettings(loss="focal"))["loss"](labels, said))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_radiologists_boxes_move_with_their_films(training):
    from common.imaging.letterbox import Letterbox

    prepared, batches = training
    cases = prepared.cases().query("split == 'train' and boxes != ''")
    assert len(cases) > 3
    shares = []
    for case in cases.dropna(subset="boxes").to_dict("records"):
        boxes = np.array([box.split() for box in case["boxes"].split(";")], float)
        square = Letterbox(int(case["rows"]), int(case["columns"]), 32).to_fractions(boxes)
        shares.append(np.prod(square[:, 2:] - square[:, :2], axis=1).sum())
    still = {"rotation_degrees": 0.0, "scale": 0.0, "shift": 0.0, "contrast": 0.0}
    for given, slack in ((still, 0.1), ({"scale": 0.0}, 0.15)):
        seen = []
        for _, (labels, region) in batches(box_weight=1.0, **given):
            assert region.shape == (8, 1, 1, 1) and region.min() >= 0 and region.max() <= 1
            assert (region[labels[:, 0] == 0] == 0).all()
            seen += list(region[:, 0, 0, 0][region[:, 0, 0, 0] > 0])
        assert np.mean(seen) == pytest.approx(np.mean(shares), rel=slack)


@pytest.mark.slow
def test_a_run_that_starts_from_another_trains_its_head_first(whole, tmp_path):
    import keras

    once = whole(PROJECT)
    said = run(
        PROJECT, "train", "--preset", "cpu", "--prepared", once.prepared, "--run",
        tmp_path / "run", "--epochs", 1, "--head-epochs", 1, "--box-weight", 0.5,
        "--ema-momentum", 0.9, "--precision", "float32", "--weights", once.run, *TINY[PROJECT],
    )  # fmt: skip
    assert said.index("the head alone:") < said.index("everything:")
    start, head, end = (
        keras.saving.load_model(folder / "model.keras", compile=False)
        for folder in (once.run, tmp_path / "run" / "head", tmp_path / "run")
    )
    for layer in start.layers:
        mine = head.get_layer(layer.name).get_weights()
        same = [np.array_equal(*pair) for pair in zip(layer.get_weights(), mine, strict=True)]
        # Batch statistics too: they are among a layer's weights.
        assert all(same) if layer.name != "predictions" else not any(same), layer.name
    conv = "conv1_conv"
    assert not np.array_equal(end.get_layer(conv).kernel, head.get_layer(conv).kernel)


@pytest.mark.slow
def test_folds_are_kept_trained_and_summed_up(whole, tmp_path):
    once = whole(PROJECT)
    run(
        PROJECT, "prepare_data", "--source", once.sample, "--prepared", tmp_path / "folds",
        "--folds", 3, "--test-share", 0.2, *TINY_DATA[PROJECT],
    )  # fmt: skip
    cases = rows_of(tmp_path / "folds" / "cases.csv")
    assert {case["split"] for case in cases} == {"fold-0", "fold-1", "fold-2", "test"}
    for fold in (0, 2):
        folder = tmp_path / "cv" / str(fold)
        run(
            PROJECT, "train", "--preset", "cpu", "--prepared", tmp_path / "folds", "--run", folder,
            "--fold", fold, "--nested", "--epochs", 1, "--precision", "float32", *TINY[PROJECT],
        )  # fmt: skip
        run(PROJECT, "evaluate", "--run", folder, "--split", "fold", "--pictures", 0)
        tested = {row["case"] for row in rows_of(folder / "evaluation/fold/predictions.csv")}
        assert tested == {case["case"] for case in cases if case["split"] == f"fold-{fold}"}
        validated = {row["case"] for row in rows_of(folder / "validation.csv")}
        of_next = f"fold-{(fold + 1) % 3}"
        assert validated == {case["case"] for case in cases if case["split"] == of_next}
        seen = {row["case"] for row in rows_of(folder / "seen.csv")}
        assert not tested & seen and validated < seen
    import subprocess
    import sys

    from tests.helpers.scripts import ROOT

    said = subprocess.run(
        [sys.executable, "-m", "common.results", str(tmp_path / "cv")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "fold: folds 0, 2 of 3" in said
    assert "pooled: one score of the out-of-fold predictions" in said and "too good" not in said


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics_twice(whole, tmp_path):
    # Its own data: other tests score runs on that of all.
    prepared = shutil.copytree(whole(PROJECT).prepared, tmp_path / "prepared")
    found, scored_before = [], []
    for name in ("one", "other"):
        run(
            PROJECT, "train", "--preset", "cpu", "--prepared", prepared, "--run",
            tmp_path / name, "--epochs", 2, *TINY[PROJECT],
        )  # fmt: skip
        run(PROJECT, "evaluate", "--run", tmp_path / name, "--pictures", 0)
        metrics = json.loads((tmp_path / name / "evaluation/test/metrics.json").read_text())
        assert metrics.pop("created")
        scored_before.append(metrics.pop("scored_before"))
        found.append(metrics)
    # The other run, on the same data, was scored too.
    assert scored_before[1] == scored_before[0] + 1
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_positive_class_of_another_dataset_can_be_named(whole, tmp_path):
    once, source = whole(PROJECT), tmp_path / "data"
    for number in range(6):
        film(source / "A" / f"film-{number}.png", number)
        film(source / "B" / f"film-{10 + number}.png", 10 + number, True)
    auroc = {}
    for positive in "AB":
        run(PROJECT, "evaluate", "--run", once.run, "--source", source, "--name", positive,
            "--positive-class", positive, "--pictures", 0)  # fmt: skip
        folder = once.run / "evaluation" / positive
        labels = {row["case"]: row["label"] for row in rows_of(folder / "predictions.csv")}
        assert labels["film-0"] == str(int(positive == "A")) != labels["film-10"]
        auroc[positive] = json.loads((folder / "metrics.json").read_text())["auroc"]["value"]
    assert auroc["A"] == pytest.approx(1 - auroc["B"])


@pytest.mark.parametrize("share", [0.0002, 0.002, 0.05, 0.5])
def test_the_auroc_of_rare_findings_in_training_is_scikit_learns(share):
    from pneumonia_classification.config import TrainSettings
    from pneumonia_classification.networks import losses

    # Of a finding on 2 films in 1,000, by probabilities that hold.
    draws = np.random.default_rng(1)
    logits = np.log(share / (1 - share)) + draws.normal(-0.6, 1.1, (20000, 1))
    said = (1 / (1 + np.exp(-logits))).astype(np.float32)
    truth = (draws.random(said.shape) < said).astype(np.float32)
    auroc = losses(TrainSettings(box_weight=0))["metrics"][0]
    auroc.update_state(truth, said)
    assert float(auroc.result()) == pytest.approx(roc_auc_score(truth, said), abs=0.002)
