"""What a search varies, from words and files, held against train.py's settings."""

from __future__ import annotations

import re

import pytest

from common.base.errors import UserError
from common.training.search_space import read_space, varied
from pneumonia_classification.config import TrainSettings


def test_words_and_a_file_say_the_same_and_words_win(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text(
        'learning_rate = "1e-5:1e-2:log"\nbatch-size = "8:32"\nstandardise = [true, false]\n'
        'loss = ["focal", "crossentropy"]\nimage_size = [64, 96]\n'
    )
    words = [
        "learning-rate=0.00001:0.01:log", "batch_size=8:32", "standardise=true,false",
        "loss=focal,crossentropy", "image_size=64,96",
    ]  # fmt: skip
    space = read_space(file, [], TrainSettings)
    assert space == read_space(None, words, TrainSettings)
    assert [entry.name for entry in space] == [
        "batch_size", "image_size", "learning_rate", "loss", "standardise"
    ]  # fmt: skip
    [size, *_] = read_space(file, ["batch_size=4:8"], TrainSettings)
    assert (size.low, size.high, size.is_whole) == (4, 8, True)
    # As written, so that what search.json has is what --over takes.
    for entry in space:
        assert varied(entry.name, entry.text, TrainSettings) == entry


@pytest.mark.parametrize(
    ("text", "value", "words"),
    [
        ("learning_rate=1e-5:1e-2", 0.001, ["--learning-rate", "0.001"]),
        ("standardise=true,false", False, ["--no-standardise"]),
        ("weights=none,my weights/a b", "my weights/a b", ["--weights", "my weights/a b"]),
        ("averaging=0,0.9", 0.9, ["--ema-momentum", "0.9"]),
    ],
)
def test_a_value_is_given_as_train_takes_it(text, value, words):
    [entry] = read_space(None, [text], TrainSettings)
    assert entry.words(value) == words


def test_of_a_setting_that_takes_a_list_a_value_is_its_only_entry():
    from atrium_segmentation.config import TrainSettings as Atrium

    [entry] = read_space(None, ["models=unet,fcn8"], Atrium)
    assert entry.words("unet") == ["--models", "unet"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("learning_rates=1:2", "there is no such setting; did you mean learning_rate?"),
        ("xyzzy=1:2", "there is no such setting; train.py --help-all shows every setting"),
        ("seed=1:9", "its values give the same training, or scores that do not compare"),
        ("monitor=val_loss,val_auroc", "scores that do not compare"),
        ("run=a,b", "its values give the same training"),
        ("learning_rate", "give NAME=LOW:HIGH or NAME=A,B"),
        ("learning_rate=0.1", "give LOW:HIGH or LOW:HIGH:log for a number, or two and more"),
        ("learning_rate=0:1:log", "give LOW above 0, and HIGH above LOW"),
        ("learning_rate=2:1", "give HIGH above LOW"),
        ("learning_rate=nan:1", "give HIGH above LOW"),
        ("learning_rate=1:inf", "give HIGH above LOW"),
        ("learning_rate=1:2:3", "after LOW:HIGH comes :log or nothing"),
        ("batch_size=1.5:8", "takes a whole number on each side of :"),
        ("batch_size=8,many", "takes numbers. Received: many"),
        ("standardise=yes,no", "takes true and false. Received: yes"),
        ("loss=focal,focal", "has a value twice"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_the_reason(text, why):
    with pytest.raises(UserError, match=re.escape(why)):
        read_space(None, [text], TrainSettings)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("loss = ", "not readable as TOML"),
        ("learning_rate = 0.1", "give LOW:HIGH"),
        ("[loss]\na = 1", "give LOW:HIGH"),
        ("", "nothing is varied: give --over"),
    ],
)
def test_a_file_that_is_none_of_a_space_is_refused(tmp_path, text, why):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(why)):
        read_space(file, [], TrainSettings)
    with pytest.raises(UserError, match="there is no such file"):
        read_space(tmp_path / "absent.toml", [], TrainSettings)
