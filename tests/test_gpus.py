"""Several devices: a training that is mirrored over logical ones is that of one device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.base.settings import SharedTrain
from common.training import fitting

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
    fitting.on_all_devices = strategy.scope

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
FOUR_CPUS = TWO_CPUS.replace("* 2", "* 4")
# A network with an output for each loss. The last batch has 6 cases, none for the fourth device.
EVERY_LOSS = """
import json
import keras, numpy as np
from keras import layers, ops
from common.base.settings import SharedTrain
from common.training import losses
from common.training.optimizers import optimizer
from common.training.loss_names import BOX_LOSSES, SEGMENTATION_LOSSES, box_loss, segmentation_loss

rng = np.random.default_rng(0)
images = rng.normal(size=(22, 8, 8, 1)).astype("float32")
masks = {classes: rng.integers(0, max(classes, 2), (22, 8, 8, 1)) for classes in (1, 3)}
masks[1][:6] = 0
corners = np.sort(rng.uniform(size=(22, 2, 2)), axis=1).reshape(22, 4).astype("float32")
kinds = {f"box_{name.replace('+', '_')}": (box_loss(name), corners) for name in BOX_LOSSES}
for classes, mask in masks.items():
    for name in SEGMENTATION_LOSSES:
        loss = segmentation_loss(name)
        kinds[f"mask{classes}_{name.replace('+', '_')}"] = loss, mask.astype("float32")
kinds["places"] = losses.InsideRegion(), masks[1].astype("float32")
labels = rng.integers(0, 2, (22, 1)).astype("float32")
kinds["label"] = keras.losses.BinaryCrossentropy(label_smoothing=0.1), labels

def build():
    image = keras.Input((8, 8, 1))
    x = layers.Dense(4, "relu")(image)
    outputs = {}
    for name in kinds:
        named = layers.Identity(name=name)
        if name.startswith("box"):
            box = layers.Dense(4, "sigmoid")(layers.Flatten()(x))
            centre, size = box[:, :2], box[:, 2:]
            outputs[name] = named(ops.concatenate([centre - size / 2, centre + size / 2], axis=-1))
        elif name == "label":
            outputs[name] = named(layers.Dense(1, "sigmoid")(layers.Flatten()(x)))
        else:
            last = {"mask1": "sigmoid", "mask3": "softmax"}.get(name.split("_")[0])
            outputs[name] = named(layers.Dense(3 if "3" in name else 1, last)(x))
    return keras.Model(image, outputs)

def scores(devices):
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.MirroredStrategy(
        [f"/cpu:{n}" for n in range(devices)],
        # Collective operations wait for each other: more of them than threads wait for ever.
        tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        model = build()
        means = {
            name: [keras.metrics.MeanMetricWrapper(loss.call, name="mean")]
            for name, (loss, _) in kinds.items()
        }
        for classes in (1, 3):
            means[f"mask{classes}_dice"].append(losses.Dice(classes))
        model.compile(
            loss={name: loss for name, (loss, _) in kinds.items()},
            loss_weights=dict.fromkeys(kinds, 1 / len(kinds)),
            metrics=means,
        )
    targets = {name: target for name, (_, target) in kinds.items()}
    data = tf.data.Dataset.from_tensor_slices((images, targets))
    scores = model.evaluate(data.batch(8), verbose=0, return_dict=True)
    # Keras weighs a batch by its cases in the loss of all outputs, but in no output's own.
    scores = {name: score for name, score in scores.items() if not name.endswith("_loss")}
    with strategy.scope():
        short = keras.Sequential([layers.Flatten(), layers.Dense(1)])
        short.build((None, 8, 8, 1))
        adam = optimizer(SharedTrain(clip_norm=0.01), 1, short.trainable_variables)
        short.compile(adam, "mse")
    short.fit(tf.data.Dataset.from_tensors((images[:16], labels[:16])), shuffle=False, verbose=0)
    # The name under which Keras has Adam's first moments, a tenth of the clipped gradient.
    moments = [np.asarray(variable) for variable in adam.variables if "momentum" in variable.path]
    return {**scores, "clipped": float(np.sqrt(sum((moment**2).sum() for moment in moments)))}

print("SCORES", json.dumps([scores(devices) for devices in (1, 2, 4)]), flush=True)
"""


OVERFLOW = """
import json
import keras
import numpy as np
from common.base.settings import SharedTrain
from common.training.optimizers import optimizer

keras.config.set_dtype_policy("mixed_float16")
strategy = tf.distribute.MirroredStrategy(
    ["/cpu:0", "/cpu:1"], tf.distribute.ReductionToOneDevice()
)
with strategy.scope():
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(image))
    model.compile(optimizer(SharedTrain(learning_rate=0.1), 8, model.trainable_variables), "mse")
    model.optimizer.build(model.trainable_variables)
before = model.get_weights()[0].item()

def fitted(first, second):
    # A step whose first half is the first device's.
    inputs = np.repeat([[first], [second]], 4, 0).astype("float32")
    batch = tf.data.Dataset.from_tensors((inputs, 0 * inputs))
    model.fit(batch, verbose=0)
    return [model.get_weights()[0].item(), float(np.asarray(model.optimizer.dynamic_scale))]

# 200 squared times a scale of 32768 is more than float16 holds, whichever device has it.
steps = [fitted(0.01, 200.0), fitted(200.0, 0.01), *[fitted(0.01, 0.01)] * 2]
print("STEPS", json.dumps([before, *steps]), flush=True)
"""


def printed(word, script, *arguments):
    """What a script prints after a word."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split(word)[1].splitlines()[0]


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    losses = []
    for devices in (1, 2):
        run = tmp_path / str(devices)
        run.mkdir()
        losses.append(float(printed("LOSS", TWO_CPUS + TRAIN, devices, run)))
        assert (run / "model.keras").is_file()
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.slow
def test_a_step_that_float16_cannot_hold_on_any_device_is_left_out():
    before, *steps = json.loads(printed("STEPS", TWO_CPUS + OVERFLOW))
    weights, scales = zip(*steps, strict=True)
    assert weights[:2] == (before, before)
    assert scales[:2] == (2.0**14, 2.0**13)
    assert weights[2] != before and scales[2] == 2.0**13


@pytest.mark.slow
def test_every_loss_is_the_same_on_one_two_and_four_devices():
    one, *others = json.loads(printed("SCORES", FOUR_CPUS + EVERY_LOSS))
    assert len(one) == 1 + 16 + 2 + 1
    means = [score for name, score in one.items() if name.endswith("mean")]
    assert one["loss"] == pytest.approx(sum(means) / 16, abs=1e-5)
    assert one["clipped"] == pytest.approx(0.001, rel=1e-3)
    for several in others:
        assert several == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "devices", "size"), [(100, 3, 15), (100, 4, 16), (100, 1, 16), (3, 4, 4)]
)
def test_every_device_takes_an_equal_part_of_a_batch(samples, devices, size, capsys):
    assert fitting.even_batch_size(samples, SharedTrain(batch_size=16), devices) == size
    line = f"  {devices} devices: {size} images a step, not 16\n"
    assert capsys.readouterr().out == ("" if size == 16 else line)
