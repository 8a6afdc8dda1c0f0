"""What TensorBoard shows of a training: the same cases after every epoch, and curves."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import ImageColor

from common.reporting.mark import MARGIN
from common.reporting.palette import PREDICTION, TRUTH
from tests.helpers import events
from tests.helpers.scripts import CHEST, PROJECTS

NETWORKS = {name: ["."] if name in CHEST else ["unet", "fcn8"] for name in PROJECTS}


def coloured(picture, colour):
    """Where a picture has a colour, nearly: (height, width)."""
    return np.abs(picture.astype(int) - ImageColor.getrgb(colour)).max(-1) < 40


@pytest.mark.parametrize("project", PROJECTS)
def test_the_same_cases_are_drawn_after_every_epoch(whole, project):
    for network in NETWORKS[project]:
        found = events.read(whole(project).run / network / "tensorboard")
        steps = events.steps(found)
        assert steps["validation"] == [0, 1] and steps["augmented"] == [0]
        drawn = events.pictures(found, "validation")
        (samples,) = events.pictures(found, "augmented")
        # Six films of 2.2 x 2.4 inches, at 100 pixels an inch, under the mark.
        assert {picture.shape for picture in (*drawn, samples)} == {(480 + MARGIN, 660, 3)}
        truths, predictions = (
            [coloured(picture, colour) for picture in drawn] for colour in (TRUTH, PREDICTION)
        )
        # Where neither epoch drew a prediction over it, the truth is in the same places.
        free = ~(predictions[0] | predictions[1])
        assert (truths[0] & free).sum() > 100
        if project == "pneumonia_classification":
            assert (truths[0] == truths[1]).mean() > 0.998
            continue
        assert (truths[0] ^ truths[1])[free].mean() < 0.001
        assert predictions[1].sum() > 20 and coloured(samples, TRUTH).sum() > 100
        # The films themselves: what is grey in both is the same, but for the scores above it.
        grey = [np.ptp(picture.astype(int), axis=-1) < 3 for picture in drawn]
        differs = np.abs(drawn[0].astype(int) - drawn[1]).max(-1) > 8
        assert (differs & grey[0] & grey[1]).mean() < 0.02


def test_precision_and_recall_are_those_of_the_kept_model(whole):
    from sklearn.metrics import precision_score, recall_score
    from tensorboard.util.tensor_util import make_ndarray

    run = whole("pneumonia_classification").run
    with open(run / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["label"]) for row in rows])
    said = np.array([float(row["probability"]) for row in rows])
    with open(run / "history.csv", newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    curves = events.read(run / "tensorboard").Tensors("validation/pr_curves")
    assert [one.step for one in curves] == [0, 1]
    counts = make_ndarray(curves[int(np.argmin(losses))].tensor_proto)
    thresholds = np.linspace(0, 1, counts.shape[1])
    # The two ways to the same model's answers may differ in the last digits.
    near = np.abs(said - thresholds[:, None]).min(1) < 1e-5
    for place in np.flatnonzero(~near):
        called = said > thresholds[place]
        assert counts[4, place] == pytest.approx(precision_score(labels, called, zero_division=0))
        assert counts[5, place] == pytest.approx(recall_score(labels, called))
    assert (~near).sum() > 150


@pytest.mark.parametrize("project", PROJECTS)
def test_the_learning_rate_is_a_curve(whole, project):
    for network in NETWORKS[project]:
        folder = whole(project).run / network
        with open(folder / "history.csv", newline="") as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
        found = events.read(folder / "tensorboard" / "train")
        assert events.steps(found)["epoch_learning_rate"] == [0, 1]
        assert events.numbers(found, "epoch_learning_rate") == pytest.approx(rates, rel=1e-6)


def test_films_of_both_labels_are_chosen_in_turn(whole):
    from common.records.prepared import open_prepared
    from pneumonia_classification.training_pictures import first_of_each_label

    project = "pneumonia_classification"
    prepared = open_prepared(whole(project).prepared, project)
    cases = first_of_each_label(prepared, ["validation"], 4)
    assert [case["label"] for case in cases] == [0, 1, 0, 1]
    assert {case["split"] for case in cases} == {"validation"}
    everyone = first_of_each_label(prepared, ["validation"], 1000)
    assert everyone[:4] == cases
    assert len({case["case"] for case in everyone}) == prepared.count(["validation"])


@pytest.mark.parametrize("count", [1, 5, 6])
def test_slices_through_the_atrium_are_chosen_from_every_volume(whole, count):
    from atrium_segmentation import slices
    from atrium_segmentation.config import TrainSettings
    from common.records.prepared import open_prepared

    project = "atrium_segmentation"
    prepared = open_prepared(whole(project).prepared, project)
    volumes = prepared.count(["train"])
    assert 1 < volumes <= 5
    chosen = slices.some_with_structure(prepared, ["train"], 32, TrainSettings(), count)
    assert chosen["image"].shape == (count, 32, 32, 3) and chosen["mask"].shape[0] == count
    assert chosen["mask"].any((1, 2)).all() and len(set(chosen["title"])) == count
    assert len({title.split(",")[0] for title in chosen["title"]}) == min(count, volumes)
    again = slices.some_with_structure(prepared, ["train"], 32, TrainSettings(), count)
    np.testing.assert_array_equal(again["image"], chosen["image"])
