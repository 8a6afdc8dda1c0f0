"""Several devices: the same training mirrored over two logical ones gives the same loss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import contextlib, sys
from pathlib import Path
from common.base.backend import start_tensorflow
start_tensorflow()
import tensorflow as tf, keras, numpy as np
from common.training import fitting, pipeline, tensorboard
from common.base.settings import SharedTrain

devices = int(sys.argv[1])
if devices == 2:
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    fitting._on_all_gpus = strategy.scope

def build():
    image = keras.Input((8,))
    hidden = keras.layers.Dense(16, "relu", name="hidden")(image)
    return keras.Model(image, keras.layers.Dense(1, "sigmoid", name="out")(hidden))

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 8)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
samples = pipeline.in_memory({"x": x, "y": y})

def pair(batch, _=None):
    return batch["x"], batch["y"]
settings = SharedTrain(epochs=3, batch_size=16)
drawn = []
pictures = tensorboard.TrainingPictures(
    lambda model: drawn.append(tensorboard.first_output(model, x)) or np.zeros((4, 4, 3), np.uint8),
    lambda images, labels: np.zeros((4, 4, 3), np.uint8),
)
task = fitting.Task(
    pipeline.Training(samples, 16, 0, 3, pair), pipeline.validation(samples, 16, pair),
    keras.losses.BinaryCrossentropy(), [keras.metrics.AUC(name="auroc")], pictures=pictures,
)
state = fitting.fit(Path(sys.argv[2]), build, task, settings)
said = keras.losses.binary_crossentropy(y, drawn[-1])
assert abs(float(np.mean(said)) - state.history[-1]["val_loss"]) < 1e-4
print("LOSS", state.history[-1]["val_loss"], flush=True)
"""
TWO_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    losses = []
    for devices in (1, 2):
        run = tmp_path / str(devices)
        run.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", TWO_CPUS + TRAIN, str(devices), str(run)],
            capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert (run / "model.keras").is_file()
        losses.append(float(done.stdout.split("LOSS")[1].split()[0]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
