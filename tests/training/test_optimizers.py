"""The optimizer of a training, against the papers' formulas in NumPy, and on two devices."""

import keras
import numpy as np
import pytest

from common.training.optimizers import optimizer, schedule
from tests.helpers.fit_run import assert_same, fit, settings

STEPS = 12


def by_hand(given, gradients, weights):
    """Adam of gradients accumulated, clipped and decayed; the weights and their average."""
    rates = [float(schedule(given, STEPS)(step)) for step in range(len(gradients))]
    weights = [np.array(weight, float) for weight in weights]
    first = second = [np.zeros_like(weight) for weight in weights]
    average, every = None, given.accumulate
    for update in range(len(gradients) // every):
        parts = gradients[update * every : (update + 1) * every]
        mean = [np.mean(values, axis=0) for values in zip(*parts, strict=True)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in mean))
        if given.clip_norm:
            mean = [gradient * min(1, given.clip_norm / norm) for gradient in mean]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, mean, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, mean, strict=True)]
        rate, t = rates[(update + 1) * every - 1], update + 1
        for place, weight in enumerate(weights):
            if weight.ndim > 1:
                weight = weight * (1 - rate * given.weight_decay)
            m, v = first[place] / (1 - 0.9**t), second[place] / (1 - 0.999**t)
            weights[place] = weight - rate * m / (np.sqrt(v) + 1e-7)
        old = average or weights
        momentum = given.ema_momentum
        average = [momentum * a + (1 - momentum) * w for a, w in zip(old, weights, strict=True)]
    return weights, average


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.5},
        {"clip_norm": 1.5},
        {"accumulate": 3},
        {"weight_decay": 0.5, "clip_norm": 1.5, "accumulate": 3, "ema_momentum": 0.7},
    ],
)
def test_updates_by_the_formulas(options):
    given = settings(**options)
    rng = np.random.default_rng(0)
    shapes = [(3, 2), (2,), (2, 2)]
    start = [rng.normal(size=shape).astype("float32") for shape in shapes]
    gradients = [
        [rng.normal(size=shape).astype("float32") for shape in shapes] for _ in range(STEPS)
    ]
    weights = [keras.Variable(value) for value in start]
    adam = optimizer(given, STEPS, weights)
    adam.build(weights)
    for step in gradients:
        adam.apply([keras.ops.convert_to_tensor(gradient) for gradient in step])
    expected, _ = by_hand(given, gradients, start)
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-5)
    if given.ema_momentum:
        # The average of an update's weights is complete before the next update.
        short = by_hand(given, gradients[:-3], start)
        held = given.ema_momentum ** (1 / 3)
        adam.finalize_variable_values(weights)
        pairs = zip(weights, short[1], expected, strict=True)
        for weight, before, last in pairs:
            np.testing.assert_allclose(weight, held * before + (1 - held) * last, atol=1e-5)


def test_decay_spares_biases_and_batch_normalisation():
    x = image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="kernel")(x)
    x = keras.layers.BatchNormalization()(x)
    model = keras.Model(image, keras.layers.Dense(1)(x))
    model.compile(optimizer(settings(weight_decay=0.5), 4, model.trainable_variables), loss="mse")
    model.optimizer.build(model.trainable_variables)
    before = [np.array(weight) for weight in model.trainable_variables]
    model.optimizer.apply([keras.ops.zeros(weight.shape) for weight in before])
    for weight, value in zip(model.trainable_variables, before, strict=True):
        assert np.array_equal(weight, value) == (weight.name != "kernel"), weight.path


@pytest.mark.slow
def test_an_accumulating_training_that_was_broken_off_ends_as_an_unbroken_one(tmp_path):
    import tensorflow as tf

    given = settings(accumulate=4, clip_norm=0.5, weight_decay=0.1, ema_momentum=0.8, epochs=3)
    fit(tmp_path / "unbroken", given)
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path / "broken", given, fault_in=1, fault_step=1)
    fit(tmp_path / "broken", given)
    assert_same(tmp_path / "broken", tmp_path / "unbroken")


def test_all_of_it_trains_in_half_precision():
    given = settings(accumulate=2, clip_norm=0.5, weight_decay=0.1, ema_momentum=0.8)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        image = keras.Input((3,))
        model = keras.Model(image, keras.layers.Dense(1, dtype="float32")(image))
        model.compile(optimizer(given, 4, model.trainable_variables), loss="mse")
        x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
        losses = model.fit(x, x[:, :1], batch_size=8, epochs=10, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
