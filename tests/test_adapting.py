"""What the pneumonia presets make of the data and the weights."""

import dataclasses
import json

import pytest

from common.base.command_line import given_settings
from common.training.adapting import adapted
from pneumonia_classification.adapting import Data, changes
from pneumonia_classification.config import CPU, GPU, TrainSettings
from tests.helpers.scripts import run

SETTINGS = dataclasses.replace(CPU.train, preset="cpu")


def changed(films, have_boxes=True, side=224, from_run=False, settings=SETTINGS):
    return {c.name: c.value for c in changes(settings, Data(films, have_boxes, side, from_run))}


def test_films_without_boxes_have_no_box_loss():
    assert changed(2060, have_boxes=False)["box_weight"] == 0
    assert "box_weight" not in changed(2060)
    gpu = dataclasses.replace(GPU.train, preset="gpu")
    assert changed(2060, have_boxes=False, settings=gpu) == {"box_weight": 0.0}
    assert changed(2060, settings=gpu) == {}


def test_trained_weights_are_changed_slowly():
    assert changed(240, from_run=True)["learning_rate"] == pytest.approx(3e-4)
    assert changed(240, from_run=True)["stretch"] == 0
    assert not {"learning_rate", "stretch"} & set(changed(240))


def test_few_films_are_seen_larger_and_many_less_often():
    assert changed(240) == {"image_size": 128}
    assert changed(240, side=112) == {}
    assert changed(2060) == {}
    many = {films: changed(films) for films in (4000, 20_000, 30_000)}
    assert [set(change) for change in many.values()] == [{"epochs"}] * 3
    epochs = [change["epochs"] for change in many.values()]
    assert 8 <= epochs[0] < 20 and epochs[1:] == [2, 2]


def test_what_is_given_stays(capsys):
    data = Data(240, False, 224, True)
    settings, reasons = adapted(SETTINGS, changes(SETTINGS, data), {"image_size", "epochs"})
    rate = 0.3 * SETTINGS.learning_rate
    expected = dataclasses.replace(SETTINGS, box_weight=0.0, learning_rate=rate, stretch=0.0)
    assert settings == expected
    assert set(reasons) == {"box_weight", "learning_rate", "stretch"}
    printed = capsys.readouterr().out
    assert "no film that trains has a box" in printed and "image_size" not in printed


def test_a_flag_is_given_in_each_of_its_forms():
    line = ["--image-size", "96", "--learning_rate=1e-3", "--no-standardise", "--averaging", "0.9"]
    assert given_settings(TrainSettings, line) == {
        *("image_size", "learning_rate", "standardise", "ema_momentum"),
    }
    assert given_settings(TrainSettings, []) == set()


@pytest.mark.slow
def test_a_training_says_what_it_changed_keeps_it_and_goes_on_with_it(whole, tmp_path):
    once = whole("pneumonia_classification")
    line = [*once.training(1), "--box-weight", 0.3, "--weights", once.run, "--run", tmp_path / "r"]
    said = run("pneumonia_classification", "train", *line)
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["settings"]["box_weight"] == 0.3
    given = given_settings(TrainSettings, list(map(str, line)))
    assert set(config["adapted"]) == {"learning_rate", "stretch"} - given
    for name, reason in config["adapted"].items():
        assert name in said and reason in said
    assert "ended already" in run("pneumonia_classification", "train", *line)
