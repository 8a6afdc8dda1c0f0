"""What TensorBoard reads of a training, and that showing it changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from common.training import fitting, pipeline, tensorboard
from tests.helpers import events
from tests.helpers.fit_run import (
    assert_same,
    build,
    fit,
    history,
    points,
    settings,
    training,
    validation,
)

ROOT_TAGS = {"_hparams_/session_start_info", "best_epoch/val_loss", "best_epoch/val_mae"}


def picture(numbers):
    """Numbers painted: 8 x 5 pixels, each of the first ones a column."""
    painted = np.zeros((5, 8, 3), np.uint8)
    flat = np.ravel(numbers)[:8]
    painted[:, : len(flat)] = np.round(flat * 50 + 128).clip(0, 255)[None, :, None]
    return painted


class Watcher:
    """A project's drawing, which remembers the weights that it was shown."""

    def __init__(self):
        self.weights, self.batches = [], []

    @property
    def pictures(self):
        return tensorboard.TrainingPictures(self.validation, self.augmented)

    def validation(self, model):
        self.weights.append(model.get_weights())
        return picture(tensorboard.first_output(model, points(1.0, 12, 1)[0]))

    def augmented(self, images, targets):
        self.batches.append(images.numpy())
        return picture(images)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run of five epochs of which nothing is drawn."""
    run = tmp_path_factory.mktemp("plain")
    return run, fit(run, settings())


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The same run with pictures."""
    run, watcher = tmp_path_factory.mktemp("shown"), Watcher()
    fit(run, settings(), pictures=watcher.pictures)
    return run, watcher


def assert_shown_alike(run, other):
    """Two runs ended alike, and TensorBoard shows the same of both."""
    assert_same(run, other)
    for part in ("", "train", "validation"):
        mine, its = (events.read(of / "tensorboard" / part) for of in (run, other))
        assert events.steps(mine) == events.steps(its)
        for tag in events.steps(its):
            if tag in ("validation", "augmented"):
                np.testing.assert_array_equal(events.pictures(mine, tag), events.pictures(its, tag))
            elif not tag.startswith("_hparams_"):
                assert events.numbers(mine, tag) == events.numbers(its, tag)


def test_pictures_change_nothing(plain, shown):
    assert_same(shown[0], plain[0])


def test_the_curves_are_the_history(plain):
    run, _ = plain
    rows = history(run)
    for part, prefix in (("train", ""), ("validation", "val_")):
        found = events.read(run / "tensorboard" / part)
        expected = ["loss", "mae"] + ["learning_rate"] * (part == "train")
        assert events.steps(found) == {f"epoch_{name}": [0, 1, 2, 3, 4] for name in expected}
        for name in expected:
            of_history = [float(row[prefix + name]) for row in rows]
            assert events.numbers(found, f"epoch_{name}") == pytest.approx(of_history, rel=1e-6)
    best = events.numbers(events.read(run / "tensorboard"), "best_epoch/val_loss")
    losses = [float(row["val_loss"]) for row in rows]
    assert best == pytest.approx(np.minimum.accumulate(losses), rel=1e-6)


@pytest.mark.slow
def test_the_pictures_are_of_every_epoch_and_the_first_batch(shown):
    run, watcher = shown
    found = events.read(run / "tensorboard")
    steps = events.steps(found)
    assert set(steps) == {*ROOT_TAGS, "validation", "augmented"}
    assert steps["validation"] == [0, 1, 2, 3, 4] and steps["augmented"] == [0]
    model = build()
    for drawn, of_epoch in zip(events.pictures(found, "validation"), watcher.weights, strict=True):
        model.set_weights(of_epoch)
        expected = picture(tensorboard.first_output(model, points(1.0, 12, 1)[0]))
        np.testing.assert_array_equal(drawn, expected)
    (batch,) = watcher.batches
    np.testing.assert_array_equal(batch, next(iter(training(settings()).batches()))[0])
    np.testing.assert_array_equal(events.pictures(found, "augmented")[0], picture(batch))


def test_the_average_of_the_weights_is_what_is_drawn(tmp_path):
    watcher = Watcher()
    state = fit(tmp_path, settings(ema_momentum=0.8), pictures=watcher.pictures)
    kept = keras.saving.load_model(tmp_path / "model.keras").get_weights()
    for mine, its in zip(watcher.weights[state.best_epoch - 1], kept, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    ("seconds", "broken_off"),
    [
        pytest.param(0.0, [(0, 4), (1, 2), (4, 5)], id="within epochs", marks=pytest.mark.slow),
        pytest.param(1e9, [(3, 0)], id="with no checkpoint"),
    ],
)
def test_a_run_that_goes_on_has_every_epoch_once(shown, tmp_path, seconds, broken_off):
    given = settings(checkpoint_seconds=seconds)
    for epoch, step in broken_off:
        with pytest.raises(tf.errors.InvalidArgumentError):
            fit(tmp_path, given, pictures=Watcher().pictures, fault_in=epoch, fault_step=step)
    fit(tmp_path, given, pictures=Watcher().pictures)
    assert_shown_alike(tmp_path, shown[0])


@pytest.mark.slow
def test_epochs_that_a_kill_took_back_are_shown_once(shown, tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    for epochs_done in (2, 4):
        with pytest.raises(tf.errors.InvalidArgumentError):
            fit(tmp_path, settings(), pictures=Watcher().pictures, fault_in=epochs_done)
        if epochs_done == 2:
            of_two_epochs = checkpoint.read_bytes()
    # As if nothing had been saved since; the last event was being written.
    checkpoint.write_bytes(of_two_epochs)
    for part in ("", "train", "validation"):
        file = max((tmp_path / "tensorboard" / part).glob("events.*"))
        file.write_bytes(file.read_bytes()[:-5])
    fit(tmp_path, settings(), pictures=Watcher().pictures)
    assert_shown_alike(tmp_path, shown[0])


@pytest.mark.slow
def test_precision_and_recall_are_those_of_scikit_learn(tmp_path):
    from sklearn.metrics import precision_score, recall_score

    x = np.random.default_rng(3).normal(size=(64, 3)).astype(np.float32)
    y = (x[:, :1] + np.random.default_rng(4).normal(size=(64, 1)) > 0).astype(np.float32)
    samples = pipeline.in_memory({"x": x, "y": y})
    image = keras.Input((3,))
    model = keras.Model(image, keras.layers.Dense(1, "sigmoid")(image))
    batches = pipeline.Training(samples, 16, 0, 2, lambda batch, _: (batch["x"], batch["y"]))
    auroc = keras.metrics.AUC(name="auroc")
    task = fitting.Task(batches, validation(x, y, 16), "binary_crossentropy", [auroc])
    fitting.fit(tmp_path, lambda: model, task, settings(epochs=2))
    found = events.read(tmp_path / "tensorboard")
    assert events.steps(found)["validation/pr_curves"] == [0, 1]
    last = tf.make_ndarray(found.Tensors("validation/pr_curves")[-1].tensor_proto)
    assert last.shape == (6, 200)
    said = model.predict(x, verbose=0)[:, 0]
    for place, threshold in enumerate(np.linspace(0, 1, 200)):
        called = said > threshold
        assert last[4, place] == pytest.approx(precision_score(y, called, zero_division=0))
        assert last[5, place] == pytest.approx(recall_score(y, called))


def test_hparams_compares_runs_by_their_settings_and_best_epoch(plain, tmp_path):
    other = tmp_path / "b"
    fit(other, settings(learning_rate=0.01, epochs=2))
    # As the HParams tab asks for it.
    runs = plugin_event_multiplexer.EventMultiplexer()
    for name, run in (("a", plain[0]), ("b", other)):
        runs.AddRunsFromDirectory(str(run), name)
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(tmp_path))
    context = backend_context.Context(TBContext(data_provider=provider))
    statuses = [api_pb2.STATUS_UNKNOWN]
    request = api_pb2.ListSessionGroupsRequest(slice_size=10, allowed_statuses=statuses)
    answer = list_session_groups.Handler(RequestContext(), context, "", request).run()
    found = {group.sessions[0].name: group for group in answer.session_groups}
    assert set(found) == {"a/tensorboard", "b/tensorboard"}
    for name, run, rate, epochs in (("a", plain[0], 0.05, 5), ("b", other, 0.01, 2)):
        group = found[f"{name}/tensorboard"]
        assert group.hparams["learning_rate"].number_value == rate
        assert group.hparams["epochs"].number_value == epochs
        assert group.hparams["precision"].string_value == "float32"
        assert not set(group.hparams) & {"run", "prepared", "profile"}
        values = {(one.name.group, one.name.tag): one.value for one in group.metric_values}
        best = min(float(row["val_loss"]) for row in history(run))
        assert values["", "best_epoch/val_loss"] == pytest.approx(best, rel=1e-6)
        assert ("validation", "epoch_loss") in values


def test_the_profiler_writes_a_trace_and_changes_nothing(plain, tmp_path):
    fit(tmp_path, settings(profile=3))
    assert_same(tmp_path, plain[0])
    (trace,) = (tmp_path / "tensorboard").rglob("*.xplane.pb")
    assert b"Profiled batch" in trace.read_bytes()
    assert not list((plain[0] / "tensorboard").rglob("*.xplane.pb"))
