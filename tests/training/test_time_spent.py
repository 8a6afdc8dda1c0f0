"""train.py --profile: where the time of the first epoch went."""

import re

import pytest

from tests.helpers.fit_run import assert_same, fit, settings

PART = re.compile(r"^    (\w.*?) +(\d+\.\d\d) s +(\d+)%$", re.MULTILINE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    run = tmp_path_factory.mktemp("plain")
    fit(run, settings(epochs=2))
    return run


@pytest.mark.slow
def test_the_parts_make_up_the_epoch_and_nothing_changes(plain, tmp_path, capsys):
    fit(tmp_path, settings(epochs=2, profile=2))
    assert_same(tmp_path, plain)
    said = capsys.readouterr().out
    (total,) = re.findall(r"where the (\d+\.\d) seconds of epoch 1 went", said)
    parts = {name: float(seconds) for name, seconds, _ in PART.findall(said)}
    assert list(parts) == [
        "first step, traced and compiled",
        "waiting for input",
        "steps",
        "validation",
        "saving the model and where it stands",
        "TensorBoard and the rest",
    ]
    assert sum(parts.values()) == pytest.approx(float(total), abs=0.1)
    assert min(parts.values()) >= 0


def test_a_reader_that_is_waited_for_is_named(tmp_path, capsys):
    fit(tmp_path, settings(epochs=1, profile=2), pause=1.0)
    said = capsys.readouterr().out
    # Batches are read ahead while the first step is traced, but not all: no step takes a second.
    waited = next(float(s) for name, s, _ in PART.findall(said) if name == "waiting for input")
    assert waited > 0.8
    assert "the device waits for its input" in said


def test_without_it_nothing_is_said(tmp_path, capsys):
    fit(tmp_path, settings(epochs=1))
    said = capsys.readouterr().out
    assert "epoch 1/1" in said and "went:" not in said
