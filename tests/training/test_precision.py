"""The number format is what was asked for, or what the processor is good at."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from common.base.files import ROOT
from common.training import precision
from tests.helpers.fit_run import build


def test_precision():
    before = keras.config.dtype_policy()
    try:
        assert precision.set_precision("mixed_bfloat16") == "mixed_bfloat16"
        assert build().get_layer("hidden").compute_dtype == "bfloat16"
        assert precision.set_precision("float32") == "float32"
        assert build().get_layer("hidden").compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_validation_computes_as_a_prediction_does_whatever_trains():
    import numpy as np

    inputs = np.random.default_rng(0).normal(size=(64, 256)).astype("float32")
    truth = (inputs[:, :1] > 0).astype("float32")
    model = keras.Sequential([keras.Input((256,)), *[keras.layers.Dense(256) for _ in range(3)]])
    model.add(keras.layers.Dense(1, "sigmoid"))
    model.compile(loss="binary_crossentropy")
    validates = [precision.ValidateInFloat32()]
    try:
        precision.set_precision("onednn_bfloat16")
        validated = model.evaluate(inputs, truth, verbose=0, callbacks=validates)
        as_trained = model.evaluate(inputs, truth, verbose=0)
        precision.set_precision("float32")
        assert validated == model.evaluate(inputs, truth, verbose=0)
        # Where the processor has bfloat16 what trains is another number, before and after.
        if precision._best_precision() == "onednn_bfloat16":
            assert as_trained != validated
    finally:
        precision.set_precision("float32")


@pytest.mark.parametrize("asked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_a_training_computes_with(asked):
    """TensorFlow reads the environment when it starts."""
    script = (
        "from common.training.precision import computed_with, set_precision;"
        "print('USED', computed_with(set_precision('mixed_bfloat16')))"
    )
    environment = {**os.environ, "TF_DETERMINISTIC_OPS": str(int(asked))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = {"precision": "mixed_bfloat16", "devices": 1, "deterministic_ops": asked}
    assert ast.literal_eval(done.stdout.split("USED ")[1]) == expected


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512_bf16", "onednn_bfloat16"), ("avx2", "float32")]
)
def test_precision_by_the_processor(monkeypatch, flags, expected):
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path: flags)
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", lambda options: None)
    before = keras.config.dtype_policy()
    try:
        assert precision.set_precision("auto") == expected
    finally:
        keras.config.set_dtype_policy(before)
