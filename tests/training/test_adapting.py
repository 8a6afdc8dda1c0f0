"""Which weights a training starts from, where that is left to it, and what else hangs on them."""

import dataclasses
import json

import keras
import pytest

from atrium_segmentation.config import CPU as OF_ATRIUM
from common.training.adapting import adapted, weights_changes
from heart_detection.config import GPU as OF_HEART
from pneumonia_classification.config import CPU, GPU

FROM_SCRATCH = {"weights": "none", "head_epochs": 0, "learning_rate": 1e-3, "standardise": True}


def becomes(settings, given=()):
    return dataclasses.asdict(adapted(settings, weights_changes(settings), given)[0])


@pytest.fixture
def online(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(tmp_path / "notop.h5"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def get_file(*_, **__):
        raise Exception("URL fetch failure: no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.utils, "get_file", get_file)


@pytest.mark.parametrize("preset", [GPU, OF_HEART])
def test_imagenets_weights_where_they_can_be_had(preset, online, capsys):
    expected = {**dataclasses.asdict(preset.train), "weights": "imagenet"}
    assert preset.train.weights == "auto" and becomes(preset.train) == expected
    assert "weights" in capsys.readouterr().out


def test_imagenets_weights_see_films_as_they_were_trained(online):
    settings = dataclasses.replace(CPU.train, weights="auto")
    expected = {**dataclasses.asdict(settings), "weights": "imagenet", "standardise": False}
    assert becomes(settings) == expected


@pytest.mark.parametrize("preset", [GPU, OF_HEART])
def test_from_scratch_what_serves_imagenets_weights_goes_with_them(preset, offline, capsys):
    assert becomes(preset.train) == {**dataclasses.asdict(preset.train), **FROM_SCRATCH}
    printed = capsys.readouterr().out
    assert "ImageNet's are not in Keras's cache and can't be downloaded" in printed
    kept = becomes(preset.train, given={"weights", "standardise", "head_epochs"})
    assert (kept["weights"], kept["standardise"]) == ("none", False)
    assert kept["head_epochs"] == preset.train.head_epochs


def test_weights_that_are_named_stay(offline):
    for weights in ("none", "imagenet", "runs/mine"):
        settings = dataclasses.replace(GPU.train, weights=weights)
        assert weights_changes(settings) == []
    assert weights_changes(CPU.train) == []


def test_slices_have_no_imagenet_weights(online):
    settings = dataclasses.replace(OF_ATRIUM.train, weights="auto")
    assert becomes(settings) == {**dataclasses.asdict(settings), "weights": "none"}


@pytest.mark.parametrize("begun", ["none", "imagenet"])
def test_a_run_goes_on_with_what_it_began_with(begun, tmp_path, request):
    # Whatever can be had by now.
    request.getfixturevalue({"none": "online", "imagenet": "offline"}[begun])
    content = {"settings": {"weights": begun}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    settings = dataclasses.replace(GPU.train, run=tmp_path)
    expected = FROM_SCRATCH if begun == "none" else {"weights": "imagenet"}
    assert becomes(settings) == {**dataclasses.asdict(settings), **expected}
