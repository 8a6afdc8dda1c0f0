"""A training that stops, keeps the best, and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.base.errors import UserError
from common.base.files import ROOT
from common.base.signals import Stopped
from common.models.stored import load_model
from common.training import checkpoints, fitting, pipeline
from common.training.callbacks import Unread, leave_losses_on_device
from common.training.precision import set_precision
from tests.helpers.fit_run import (
    assert_same,
    build,
    fit,
    history,
    last_weights,
    points,
    settings,
    training,
    validation,
    weights,
)
from tests.helpers.fixtures import names


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder and state of a run of five epochs."""
    run = tmp_path_factory.mktemp("unbroken")
    return run, fit(run, settings())


def test_a_run_writes_what_it_says(unbroken):
    run, state = unbroken
    assert {"model.keras", "history.csv", "checkpoint.npz", "tensorboard"} <= set(names(run))
    rows = history(run, ())
    assert [row["epoch"] for row in rows] == list("12345")
    assert set(rows[0]) == {
        "epoch", "seconds", "loss", "mae", "val_loss", "val_mae", "learning_rate",
    }  # fmt: skip
    losses = [float(row["val_loss"]) for row in rows]
    assert state.ended and state.epoch == 5
    assert state.best == min(losses) and state.best_epoch == 1 + losses.index(min(losses))
    assert losses[-1] < losses[0]
    assert not list(run.glob(".*"))


def test_the_model_kept_is_the_best_epochs(unbroken):
    run, state = unbroken
    model = load_model(run / "model.keras")
    x, y = points(1.0, 12, 1)
    assert np.mean((model.predict(x, verbose=0) - y) ** 2) == pytest.approx(state.best, rel=1e-4)


def test_the_learning_rate_warms_up_and_falls(unbroken):
    rates = [float(row["learning_rate"]) for row in history(unbroken[0])]
    # 3 of 30 steps warm up; the cosine ends at a hundredth.
    assert 0.045 < rates[0] < 0.05
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0005, rel=0.1)


@pytest.mark.parametrize(
    "epochs_done", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))]
)
def test_a_run_that_was_broken_off_ends_as_an_unbroken_one(unbroken, tmp_path, epochs_done, capsys):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(), fault_in=epochs_done)
    assert len(history(tmp_path)) == epochs_done
    # What another process would not have: the streams stand elsewhere.
    keras.utils.set_random_seed(99)
    state = fit(tmp_path, settings())
    assert f"goes on after epoch {epochs_done}\n" in capsys.readouterr().out
    assert (state.best, state.best_epoch) == (unbroken[1].best, unbroken[1].best_epoch)
    assert_same(tmp_path, unbroken[0])


@pytest.mark.parametrize("averaging", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_a_run_that_was_broken_off_within_an_epoch_goes_on_at_that_step(
    unbroken, averaged, tmp_path, averaging, capsys
):
    given = settings(ema_momentum=averaging)
    for epoch, step in ((0, 4), (1, 2), (4, 5)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            fit(tmp_path, given, fault_in=epoch, fault_step=step)
        keras.utils.set_random_seed(99)
    fit(tmp_path, given)
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "goes on" in line] == [
        "  goes on after step 4 of epoch 1",
        "  goes on after step 2 of epoch 2",
        "  goes on after step 5 of epoch 5",
    ]
    assert_same(tmp_path, (averaged if averaging else unbroken)[0])


def test_a_signal_saves_the_present_step_and_loses_nothing(unbroken, tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    # Without it nothing would have been saved for a long time.
    rarely = settings(checkpoint_seconds=1e9)
    with pytest.raises(Stopped) as stopped:
        fit(tmp_path, rarely, fault_in=1, fault_step=3, kind="signal")
    assert stopped.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    saved = re.search(r"saved after (.*epoch \d)\n", capsys.readouterr().out)
    fit(tmp_path, rarely)
    assert f"goes on after {saved[1]}\n" in capsys.readouterr().out
    assert_same(tmp_path, unbroken[0])


@pytest.mark.slow
def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    took = []

    def slow(path, model, state):
        took.append(state.step)
        time.sleep(0.1)

    monkeypatch.setattr(checkpoints, "save", slow)
    # 6 steps of 0.1 s, and the first of all many times as long.
    fit(tmp_path, settings(epochs=1, checkpoint_seconds=0.01), pause=0.1)
    assert took[:1] == [1] and len(took) == 2


def test_a_run_without_a_checkpoint_yet_begins_anew(unbroken, tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(checkpoint_seconds=1e9), fault_in=3)
    assert not (tmp_path / "checkpoint.npz").exists()
    fit(tmp_path, settings())
    assert_same(tmp_path, unbroken[0])


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_an_unbroken_one(unbroken, tmp_path):
    run = tmp_path / "run"
    script = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "fit_run.py"), str(run)]
    process = subprocess.Popen(
        [*script, "0.2"], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("  epoch 2/5"):
            break
    process.kill()
    process.wait()
    assert len(history(run)) < 5
    subprocess.run([*script, "0"], cwd=ROOT, check=True, capture_output=True)
    assert_same(run, unbroken[0])


def test_a_run_that_ended_is_not_trained_again(unbroken):
    before = {path.name: path.stat().st_mtime_ns for path in unbroken[0].iterdir()}
    again = fit(unbroken[0], settings(), fault_in=0)
    assert again == unbroken[1]
    assert {path.name: path.stat().st_mtime_ns for path in unbroken[0].iterdir()} == before


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A run that learns the opposite of what is held out, and so soon gets worse."""
    patient = settings(epochs=12, patience=2)
    run = tmp_path_factory.mktemp("impatient")
    return run, patient, fit(run, patient, sign=-1.0)


def test_patience_ends_a_run(impatient):
    run, _, state = impatient
    assert state.ended and state.epoch == state.best_epoch + 2 < 12
    assert len(history(run)) == state.epoch


@pytest.mark.slow
def test_patience_outlives_a_restart(impatient, tmp_path):
    run, patient, state = impatient
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, patient, sign=-1.0, fault_in=state.epoch - 1)
    again = fit(tmp_path, patient, sign=-1.0)
    assert (again.best_epoch, again.epoch) == (state.best_epoch, state.epoch)
    assert_same(tmp_path, run)


@pytest.mark.slow
def test_killed_between_its_last_epoch_and_its_end_a_run_does_not_go_on(
    impatient, tmp_path, monkeypatch
):
    run, patient, state = impatient
    save = checkpoints.save

    def killed(path, model, state):
        if state.ended:
            raise KeyboardInterrupt
        save(path, model, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, patient, sign=-1.0)
    again = fit(tmp_path, patient, sign=-1.0)
    assert again.ended and again.epoch == state.epoch
    assert_same(tmp_path, run)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run that keeps a running average of its weights."""
    run = tmp_path_factory.mktemp("averaged")
    return run, fit(run, settings(ema_momentum=0.8))


def test_the_average_of_the_weights_is_what_is_validated_and_kept(averaged, unbroken):
    run, state = averaged
    # The weights of the last step are those of the run without an average; what is kept is not.
    assert [row["loss"] for row in history(run)] == [row["loss"] for row in history(unbroken[0])]
    kept, other = weights(run), weights(unbroken[0])
    assert any(not np.array_equal(mine, its) for mine, its in zip(kept, other, strict=True))
    x, y = points(1.0, 12, 1)
    said = load_model(run / "model.keras").predict(x, verbose=0)
    assert np.mean((said - y) ** 2) == pytest.approx(state.best, rel=1e-4)


def test_the_average_is_that_of_the_formula(tmp_path):
    fit(tmp_path, settings(ema_momentum=0.8, epochs=2))
    with np.load(tmp_path / "checkpoint.npz") as saved:
        arrays = [saved[name] for name in saved.files if name != "state"]
    # The last epoch was the best: what was kept is one of the optimizer's last arrays.
    hidden = weights(tmp_path)[0]
    assert [np.array_equal(hidden, other) for other in arrays].count(True) == 1
    assert not np.array_equal(hidden, arrays[0])


@pytest.mark.slow
def test_an_averaging_run_that_was_broken_off_ends_as_an_unbroken_one(averaged, tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(ema_momentum=0.8), fault_in=2)
    fit(tmp_path, settings(ema_momentum=0.8))
    assert_same(tmp_path, averaged[0])


def staged(run, head_epochs=2, fault_in=None):
    """A training whose layer "out" learns first, from weights made on the spot."""
    start = build()
    for layer in start.layers:
        layer.set_weights([value + 0.25 for value in layer.get_weights()])
    seen = []

    def build_from(name):
        model = build()
        if name == "none":
            model.set_weights(start.get_weights())
        else:
            model.load_weights(Path(name) / "model.keras")
        seen.append(name)
        return model

    given = settings(head_epochs=head_epochs, head_learning_rate=0.02)
    set_precision("float32")
    held_out = tf.data.Dataset.from_tensor_slices(points(1.0, 12, 1)).batch(4)
    task = fitting.Task(training(given, fault_in), held_out, "mse", ["mae"])
    fitting.fit_in_stages(run, build_from, ("out",), task, given)
    return start, seen


@pytest.mark.slow
def test_the_head_learns_first_on_a_frozen_backbone(tmp_path):
    keras.utils.set_random_seed(3)
    start, seen = staged(tmp_path)
    assert seen == ["none", str(tmp_path / "head")]
    head = load_model(tmp_path / "head" / "model.keras")
    for layer in start.layers:
        before, after = layer.get_weights(), head.get_layer(layer.name).get_weights()
        same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
        # The moving mean and variance of "norm" are among its weights.
        assert all(same) != (layer.name == "out") or not before, layer.name
    both = load_model(tmp_path / "model.keras")
    assert not np.array_equal(both.get_layer("hidden").kernel, head.get_layer("hidden").kernel)
    assert len(history(tmp_path / "head")) == 2 and len(history(tmp_path)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("fault_in", [1, 3])
def test_stages_that_were_broken_off_end_as_unbroken_ones(tmp_path, fault_in):
    for name, fault in (("whole", None), ("broken", fault_in)):
        keras.utils.set_random_seed(3)
        (tmp_path / name).mkdir()
        if fault is not None:
            with pytest.raises(tf.errors.InvalidArgumentError):
                staged(tmp_path / name, fault_in=fault)
            keras.utils.set_random_seed(3)
        staged(tmp_path / name)
    assert_same(tmp_path / "broken", tmp_path / "whole")
    assert_same(tmp_path / "broken" / "head", tmp_path / "whole" / "head")


def test_without_head_epochs_there_is_one_stage(tmp_path):
    _, seen = staged(tmp_path, head_epochs=0)
    assert seen == ["none"] and not (tmp_path / "head").exists()


@pytest.mark.slow
def test_xla_trains_as_without_it(tmp_path):
    def without_dropout():
        model = build()  # XLA draws from another stream.
        return keras.Model(model.input, model.layers[-1](model.get_layer("norm").output))

    held_out = tf.data.Dataset.from_tensor_slices(points(1.0, 12, 1)).batch(4)
    rows = []
    for xla in ("on", "off"):
        given = settings(xla=xla, epochs=2)
        (tmp_path / xla).mkdir()
        task = fitting.Task(training(given), held_out, "mse", ["mae"])
        fitting.fit(tmp_path / xla, without_dropout, task, given)
        rows += [[float(value) for value in row.values()] for row in history(tmp_path / xla)]
    np.testing.assert_allclose(rows[:2], rows[2:], rtol=1e-3)


def test_xla_on_several_devices_is_refused(tmp_path, monkeypatch):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    monkeypatch.setattr(fitting, "on_all_devices", strategy.scope)
    with pytest.raises(UserError, match=r"^--xla on: .* several devices; give --xla auto, or"):
        fit(tmp_path, settings(xla="on"))
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_sample_that_weighs_nothing_is_not_learned(tmp_path):
    image = keras.Input((3,))
    model = keras.Model(image, keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")(image))
    x, y = np.eye(3, dtype=np.float32)[[0, 1]], np.array([[0.0], [1.0]], np.float32)
    weights = np.array([[1.0], [0.0]], np.float32)
    samples = pipeline.in_memory({"x": x, "y": y, "weight": weights})
    batches = pipeline.Training(samples, 2, 0, 1, lambda batch, _: tuple(batch.values()))
    task = fitting.Task(batches, validation(x, y, 2), "binary_crossentropy")
    fitting.fit(tmp_path, lambda: model, task, settings(epochs=1))
    of_zero, of_one, _ = model.layers[-1].kernel.numpy()[:, 0]
    assert of_zero < 0 and of_one == 0


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(tmp_path):
    with pytest.raises(UserError, match=r"^epoch 3: a loss became NaN.*--learning-rate") as said:
        fit(tmp_path, settings(), fault_in=2, fault_step=1, kind="nan")
    assert len(history(tmp_path)) == 2
    # The four of the batch, as they stand in its order.
    own = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    batch = list(training(settings()).batches().as_numpy_iterator())[2 * 6 + 1][0]
    cases = [f"c{np.flatnonzero((own == x).all(1))[0]}" for x in batch]
    assert f"in step 2, on the cases {', '.join(cases)};" in str(said.value)
    with np.load(tmp_path / "checkpoint.npz") as saved:
        assert json.loads(bytes(saved["state"]))["step"] == 1
    assert all(np.isfinite(array).all() for array in last_weights(tmp_path))
    assert all(np.isfinite(weight).all() for weight in weights(tmp_path))


def test_a_loss_that_is_no_number_is_named_by_its_batch_though_it_is_read_later(tmp_path):
    # Nothing is saved before the epoch ends, which is when its six losses are read.
    rarely = settings(checkpoint_seconds=1e9)
    with pytest.raises(UserError, match=r"^epoch 2: .* in step 3, on the cases c\d+, c\d+, c\d+"):
        fit(tmp_path, rarely, fault_in=1, fault_step=2, kind="nan")
    assert len(history(tmp_path)) == 1


def test_losses_stay_on_the_device_until_they_are_looked_at(tmp_path):
    x, y = points()
    model = build()
    model.compile("adam", "mse", metrics=["mae"])
    leave_losses_on_device(model)
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(dict(logs))
    )
    for _ in range(2):
        fitted = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    assert len(seen) == 2 * 2 * 6
    for logs in seen:
        assert set(logs) == {"loss", "mae"} and {type(value) for value in logs.values()} == {Unread}
        assert np.isfinite(float(logs["loss"].value))
    assert all(isinstance(value, float) for value in fitted.history["loss"])


def test_a_validation_loss_that_is_no_number_stops(tmp_path):
    with pytest.raises(UserError, match=r"^epoch 1: a loss .* in the validation; the best epoch"):
        fit(tmp_path, settings(), sign=np.nan)
    assert not (tmp_path / "model.keras").exists()
