"""A training of a moment, as a script too, so that a test can kill it: RUN SECONDS."""

import csv
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


def build():
    """A network with weights, batch statistics and a random stream."""
    import keras
    from keras import layers

    x = image = keras.Input((3,), name="image")
    x = layers.Dense(6, "relu", name="hidden")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(image, layers.Dense(1, name="out")(x))


def points(sign=1.0, count=24, seed=0):
    """Points (count, 3) and a number that a network can learn from them."""
    x = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return x, sign * (x[:, :1] - 0.5 * x[:, 1:2])


def training(settings, fault_in=None, fault_step=0, kind="error", pause=0.0, in_blocks=False):
    """Batches of 6 steps an epoch; from a step of an epoch on, both from 0, with a fault."""
    import dataclasses

    import tensorflow as tf

    from common.base.hosts import own_rows
    from common.training import pipeline

    def give(batch, seed):
        x, y = batch["x"], batch["y"]
        step = (seed[0] - settings.seed * 1_000_003) * 6 + seed[1]
        fault = np.int64(10**6 if fault_in is None else fault_in * 6 + fault_step)
        if kind == "nan":
            y = tf.where(step >= fault, np.nan, y)
        elif kind == "signal":
            x = called(lambda: os.kill(os.getpid(), signal.SIGTERM), x, when=step == fault)
        else:
            with tf.control_dependencies([tf.debugging.assert_less(step, fault)]):
                x = tf.identity(x)
        if pause:
            x = called(lambda: time.sleep(pause), x)
        return x, y

    x, y = points()
    samples = pipeline.in_memory({"x": x, "y": y, "case": [f"c{k}" for k in range(len(x))]})
    samples = dataclasses.replace(samples, block=3, in_blocks=in_blocks)
    return pipeline.Training(samples, 4, settings.seed, settings.epochs, give, own_rows(4))


def validation(x, y, batch_size):
    """Batches of some points and numbers."""
    from common.training import pipeline

    samples = pipeline.in_memory({"x": x, "y": y})
    return pipeline.validation(samples, batch_size, lambda batch: (batch["x"], batch["y"]))


def called(function, x, when=True):
    """Points, and a function called when they are made."""
    import tensorflow as tf

    def call(batch, now):
        if now:
            function()
        return batch

    x = tf.numpy_function(call, [x, when], tf.float32)
    x.set_shape((None, 3))
    return x


def fit(run, settings, sign=1.0, pictures=None, metrics=("mae",), **options):
    """Train in a folder."""
    from common.training import fitting
    from common.training.precision import set_precision

    set_precision(settings.precision)
    held_out = validation(*points(sign, 12, 1), 4)
    run.mkdir(exist_ok=True)
    steps = training(settings, **options)
    task = fitting.Task(steps, held_out, "mse", list(metrics), pictures=pictures)
    return fitting.fit(run, build, task, settings)


def settings(**given):
    from common.base.settings import SharedTrain

    usual = {"epochs": 5, "batch_size": 4, "learning_rate": 0.05, "checkpoint_seconds": 0.0}
    return SharedTrain(**{**usual, "precision": "float32", **given})


def weights(run):
    import keras

    return keras.saving.load_model(run / "model.keras").get_weights()


def history(run, without=("seconds",)):
    with open(run / "history.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in without}
            for row in csv.DictReader(file)
        ]


def last_weights(run):
    """All that the checkpoint holds, but for the state."""
    with np.load(run / "checkpoint.npz") as saved:
        return [saved[name] for name in saved.files if name != "state"]


def assert_same(run, other):
    """Two runs ended alike, to the last bit."""
    assert history(run) == history(other)
    for load in (weights, last_weights):
        first, second = load(run), load(other)
        assert len(first) == len(second) > 4
        for expected, actual in zip(first, second, strict=True):
            np.testing.assert_array_equal(expected, actual)


if __name__ == "__main__":
    fit(Path(sys.argv[1]), settings(), pause=float(sys.argv[2]))
