"""Models, losses and a training over tf.data on Keras's JAX backend, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from common.base.files import ROOT
from tests.helpers import needs

PROGRAM = """
import keras
import numpy as np
import tensorflow as tf

from common.training.loss_names import box_loss, segmentation_loss
from common.models.fcn8 import build_fcn8
from common.models.film_networks import build_box_network, build_classifier
from common.models.unet import build_unet

assert keras.backend.backend() == "jax"
rng = np.random.default_rng(0)


def learns(model, targets, loss):
    side = 32
    images = rng.uniform(0, 255, (4, side, side, model.input_shape[-1])).astype("float32")
    data = tf.data.Dataset.from_tensors((images, targets.astype("float32"))).repeat()
    model.compile(keras.optimizers.Adam(1e-3), loss=loss)
    history = model.fit(data, steps_per_epoch=3, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[1] < history[0], history
    assert np.isfinite(model.predict_on_batch(images)).all()


masks = rng.integers(0, 2, (4, 32, 32, 1))
corners = rng.uniform(0.1, 0.4, (4, 2))
learns(build_unet(1, 1, width=4, depth=2), masks, segmentation_loss("dice+crossentropy"))
learns(build_fcn8(1, 1, width=4), masks, segmentation_loss("crossentropy"))
learns(build_classifier(32, weights="none"), rng.integers(0, 2, (4, 1)), "binary_crossentropy")
boxes = np.concatenate([corners, corners + 0.4], 1)
learns(build_box_network(32, weights="none"), boxes, box_loss("iou+l1"))
print("learned on jax")
"""


@pytest.mark.slow
def test_models_losses_and_fit_work_on_jax():
    needs.package("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "learned on jax" in done.stdout
