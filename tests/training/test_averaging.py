"""The running average of the weights, and the batch statistics that belong to it."""

import keras
import numpy as np
import pytest

from common.models.fused import fuse_batch_normalization
from common.training import averaging, fitting, pipeline
from common.training.precision import set_precision
from tests.helpers.fit_run import settings, validation

SIDE = 8


@pytest.fixture
def float32():
    yield
    set_precision("float32")


def images(count, seed):
    random = np.random.default_rng(seed)
    x = random.normal(2.0, 3.0, (count, SIDE, SIDE, 2)).astype(np.float32)
    return x, (x[:, :4].mean((1, 2, 3)) > 2)[:, None].astype(np.float32)


def build():
    x = image = keras.Input((SIDE, SIDE, 2), name="image")
    for number in range(2):
        x = keras.layers.Conv2D(6, 3, name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.99, name=f"norm_{number}")(x)
        x = keras.layers.Activation("relu", name=f"relu_{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(1, "sigmoid", dtype="float32", name="out")(x))


def fit(run, precision="float32", model=None, **given):
    set_precision(precision)
    x, y = images(40, 0)
    samples = pipeline.in_memory({"x": x, "y": y})
    given = settings(**{"epochs": 2, "batch_size": 8, **given})
    training = pipeline.Training(
        samples, 8, given.seed, given.epochs, lambda batch, _: (batch["x"], batch["y"])
    )
    task = fitting.Task(training, validation(*images(20, 1), 8), "binary_crossentropy")
    run.mkdir(exist_ok=True)
    state = fitting.fit(run, build if model is None else lambda: model, task, given)
    return training, state


@pytest.mark.slow
def test_batch_statistics_are_those_of_the_averaged_weights(tmp_path):
    training, state = fit(tmp_path, ema_momentum=0.9)
    saved = keras.saving.load_model(tmp_path / "model.keras")
    expected = keras.saving.load_model(tmp_path / "model.keras")
    norms = [layer for layer in expected.layers if hasattr(layer, "moving_mean")]
    for layer in norms:
        layer.momentum = 0.0
    found = []
    epoch = state.best_epoch - 1
    batches = list(training.batches(epoch).take(training.steps).as_numpy_iterator())
    for x, _ in batches:
        expected(x, training=True)
        found.append(
            [
                keras.ops.convert_to_numpy(v)
                for n in norms
                for v in (n.moving_mean, n.moving_variance)
            ]
        )
    assert len(found) == 5
    names = [layer.name for layer in norms]
    stored = [
        keras.ops.convert_to_numpy(variable)
        for name in names
        for variable in (saved.get_layer(name).moving_mean, saved.get_layer(name).moving_variance)
    ]
    for number, value in enumerate(stored):
        np.testing.assert_allclose(value, np.mean([f[number] for f in found], axis=0), atol=1e-5)


@pytest.mark.slow
def test_an_average_early_in_a_training_predicts_what_was_validated(tmp_path):
    # Of the last step's statistics, which lag hundreds of steps behind, nothing is left.
    _, state = fit(tmp_path, ema_momentum=0.5)
    x, y = images(20, 1)
    model = keras.saving.load_model(tmp_path / "model.keras")
    model.compile(loss="binary_crossentropy")
    assert model.evaluate(x, y, verbose=0) == pytest.approx(state.best, abs=1e-5)
    plain, _ = tmp_path / "plain", fit(tmp_path / "plain")
    last = keras.saving.load_model(plain / "model.keras")
    assert (
        np.abs(last.get_layer("norm_0").moving_mean - model.get_layer("norm_0").moving_mean).max()
        > 0.5
    )


def test_a_layer_that_does_not_learn_keeps_its_statistics(tmp_path):
    model = build()
    model.get_layer("norm_0").trainable = False
    averaging.BatchStatistics(fuse_batch_normalization(model)).set([images(8, 0)[0]])
    np.testing.assert_array_equal(model.get_layer("norm_0").moving_mean, np.zeros(6))
    assert np.abs(model.get_layer("norm_1").moving_mean).min() > 0
    assert model.get_layer("norm_1").momentum == 0.99


@pytest.mark.slow
def test_in_half_floats_the_average_is_kept_too(tmp_path, float32):
    _, half = fit(tmp_path / "half", "mixed_float16", ema_momentum=0.9)
    _, full = fit(tmp_path / "full", "float32", ema_momentum=0.9)
    _, plain = fit(tmp_path / "plain", "mixed_float16")
    assert half.best == pytest.approx(full.best, abs=0.1)
    # The last step's statistics lag behind.
    assert plain.best > full.best + 1


@pytest.mark.slow
def test_no_epoch_traces_the_batch_statistics_anew(tmp_path):
    counts = []
    for epochs in (2, 4):
        traced = []

        class Traced(keras.Model):
            def call(self, *args, traced=traced, **options):
                traced.append(1)
                return super().call(*args, **options)

        model = build()
        fit(
            tmp_path / str(epochs),
            model=Traced(model.input, model.output),
            epochs=epochs,
            ema_momentum=0.9,
        )
        counts.append(len(traced))
    assert counts[0] == counts[1]
