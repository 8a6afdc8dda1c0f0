"""The score that chooses the best epoch: by --monitor, in its direction, everywhere alike."""

import dataclasses
import importlib
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.models.stored import load_model
from common.training.best_epoch import best_epoch, epoch_line, monitored
from tests.helpers import events
from tests.helpers.fit_run import assert_same, fit, history, points, settings
from tests.helpers.scripts import PROJECTS


def test_a_loss_is_best_where_it_is_lowest_and_a_score_where_it_is_highest():
    rows = [{"val_loss": loss, "val_dice": loss / 10} for loss in (3.0, 1.0, 4.0, 1.0, 4.0)]
    assert best_epoch(rows, "val_loss") == 2
    assert best_epoch(rows, "val_dice") == 3


def test_of_several_outputs_the_one_with_the_metric_is_meant():
    scores = {"auroc": 1, "val_places_loss": 2, "val_probability_auroc": 3, "val_loss": 4}
    assert monitored(scores, "val_auroc") == 3
    assert monitored(scores, "val_loss") == 4


def test_an_epoch_in_a_line_by_hand():
    first = {
        "epoch": 1, "seconds": 90.0, "learning_rate": 1e-3, "loss": 0.86371, "predictions_loss": 0,
        "probability_accuracy": 0.9, "probability_auroc": 0.97, "val_loss": 0.96451,
        "val_probability_accuracy": 0.8, "val_probability_auroc": 0.91,
    }  # fmt: skip
    assert epoch_line([first], 20, "val_loss") == (
        "epoch  1/20   90.0 s  loss 0.8637, val 0.9645; accuracy 0.9, val 0.8; the best so far; "
        "28 min left"
    )
    worse = first | {"seconds": 10.0, "val_probability_auroc": 0.5, "val_loss": 2}
    line = epoch_line([first, worse], 2, "val_auroc")
    assert line == "epoch 2/2   10.0 s  loss 0.8637, val 2; auroc 0.97, val 0.5; best is epoch 1"
    assert epoch_line([first, worse, worse], 5, "val_loss").endswith("; best is epoch 1; 20 s left")
    longest = {name: value * 1.23456 for name, value in worse.items()} | {"seconds": 1234.5}
    assert len("  " + epoch_line([longest, longest], 100, "val_accuracy")) <= 110


@pytest.mark.parametrize("project", PROJECTS)
def test_what_a_project_monitors_is_a_score_of_its_training(project):
    given = importlib.import_module(f"{project}.config").TrainSettings()
    [field] = [field for field in dataclasses.fields(given) if field.name == "monitor"]
    assert given.monitor == "val_loss" and len(field.metadata["choices"]) == 2
    losses = importlib.import_module(f"{project}.networks").losses
    mask, image = np.ones((2, 4, 4, 1), np.float32), keras.Input((4, 4, 1))
    number = keras.layers.Dense(1, "sigmoid", name="number")(keras.layers.Flatten()(image))
    pixels = keras.layers.Dense(1, "sigmoid", name="pixels")(image)
    if project == "heart_detection":
        outputs, targets, arguments = keras.layers.Flatten()(image)[:, :4], mask[:, 0, :, 0], ()
    elif project == "atrium_segmentation":
        outputs, targets, arguments = [pixels, pixels], (mask, mask), (1, 2)
    else:
        outputs, targets, arguments = [number, pixels], (mask[:, 0, 0], mask), ()
        given = dataclasses.replace(given, box_weight=0.3)
    model = keras.Model(image, outputs)
    compiled = losses(given, *arguments)
    model.compile(weighted_metrics=compiled.pop("metrics"), **compiled)
    data = tf.data.Dataset.from_tensors((mask, targets))
    scores = model.evaluate(data, verbose=0, return_dict=True)
    for monitor in field.metadata["choices"]:
        assert math.isfinite(monitored({f"val_{k}": v for k, v in scores.items()}, monitor))


@pytest.fixture(scope="module")
def rising(tmp_path_factory):
    """A run that learns the opposite of what is held out, of which the greatest error is kept."""
    run = tmp_path_factory.mktemp("rising")
    return run, fit(run, settings(monitor="val_mae", patience=2), sign=-1.0)


def test_the_monitored_score_chooses_what_is_kept_and_said(rising, tmp_path, capsys):
    run, state = rising
    rows = history(run)
    errors = [float(row["val_mae"]) for row in rows]
    best = errors.index(max(errors))
    assert best > np.argmin([float(row["val_loss"]) for row in rows])
    assert (state.best, state.best_epoch) == (max(errors), best + 1)
    x, y = points(-1.0, 12, 1)
    said = load_model(run / "model.keras").predict(x, verbose=0)
    assert np.mean(np.abs(said - y)) == pytest.approx(state.best, rel=1e-4)
    shown = events.numbers(events.read(run / "tensorboard"), "best_epoch/val_loss")
    assert shown[-1] == pytest.approx(float(rows[best]["val_loss"]))
    fit(tmp_path, settings(monitor="val_mae", epochs=2, patience=2), sign=-1.0)
    stars = re.findall(r"epoch +\d+/2 .*( \*)?$", capsys.readouterr().out, re.MULTILINE)
    assert len(stars) == 2


def test_patience_waits_for_the_monitored_score(tmp_path):
    # The error falls, so that of the highest the first is the best.
    state = fit(tmp_path, settings(monitor="val_mae", epochs=9, patience=2))
    assert state.best_epoch < 4 and state.ended and state.epoch == state.best_epoch + 2


def test_a_run_that_monitors_a_score_goes_on_as_an_unbroken_one(rising, tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(monitor="val_mae", patience=2), sign=-1.0, fault_in=3)
    state = fit(tmp_path, settings(monitor="val_mae", patience=2), sign=-1.0)
    assert dataclasses.replace(state, peak_memory_mib=0, history=[]) == dataclasses.replace(
        rising[1], peak_memory_mib=0, history=[]
    )
    assert_same(tmp_path, rising[0])


@pytest.mark.parametrize("project", PROJECTS)
def test_early_stopping_can_end_a_training_of_every_preset(project):
    for preset in importlib.import_module(f"{project}.config").PROJECT.presets.values():
        assert preset.train.patience < preset.train.epochs
        assert preset.train.monitor == "val_loss"
