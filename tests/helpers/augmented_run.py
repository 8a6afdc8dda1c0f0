"""A training of a moment that augments, as a script: FOLDER; prints its losses by how it was done.

On TensorFlow on the host and on the device, by XLA, and by two devices; elsewhere on the device.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

SIDE, COUNT, BATCH = 32, 20, 8
WAYS = {
    "host": ("host", "off", 1),
    "device": ("device", "off", 1),
    "xla": ("device", "on", 1),
    "two devices": ("device", "off", 2),
}


def losses(folder, place, xla, devices):
    """The losses of two epochs of three steps, from the same weights on any backend."""
    import keras
    from keras import layers

    from common.base.settings import SharedTrain
    from common.training import augment, fitting, on_device, pipeline
    from tests.helpers.fixtures import soft_image

    settings = SharedTrain(
        epochs=2, batch_size=BATCH, augment="device", xla=xla, learning_rate=0.05, seed=3
    )
    kernels = on_device.HOST if place == "host" else on_device.DEVICE
    ranges = augment.Ranges(25, 0.2, 0.2, 0.08, 0.2, 0.3, 0.3, 0.05, True, 0.03, 0.3)
    films = [np.roll(soft_image(SIDE, SIDE), 5 * n, 1) for n in range(COUNT)]
    films = np.stack(films)[..., None].astype(np.uint8)
    samples = pipeline.in_memory({"image": films, "label": np.arange(COUNT, dtype="f4") % 2})

    def drawn(batch, draws):
        return {**batch, "draws": draws}

    def augmented(inputs):
        images = kernels.transform_images(inputs["image"], inputs["draws"])
        return kernels.change_intensities(images, inputs["draws"]), inputs["label"]

    training = pipeline.augmented_training(samples, BATCH, settings, ranges, drawn, augmented)
    if place == "host":
        # By what is drawn for the device, before the step.
        inputs = training.to_inputs
        training = dataclasses.replace(
            training,
            to_inputs=lambda batch, seed: augmented(inputs(batch, seed)),
            on_device=lambda inputs: inputs,
        )

    def build():
        image = keras.Input((SIDE, SIDE, 1))
        x = layers.AveragePooling2D(4)(layers.Rescaling(1 / 255)(image))
        out = layers.Dense(1, "sigmoid", kernel_initializer="zeros", name="out")
        return keras.Model(image, out(layers.Flatten()(x)))

    held_out = pipeline.validation(samples, BATCH, lambda batch: (batch["image"], batch["label"]))
    if devices > 1:
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        fitting.on_all_devices = strategy.scope
    folder.mkdir()
    task = fitting.Task(training, held_out, keras.losses.BinaryCrossentropy())
    state = fitting.fit(folder, build, task, settings)
    return [row[name] for row in state.history for name in ("loss", "val_loss")]


def main():
    """Train in every way that the backend has."""
    import keras

    from tools.guard import two_logical_devices

    two_logical_devices()
    ways = WAYS if keras.backend.backend() == "tensorflow" else {"device": ("device", "auto", 1)}
    done = {
        name: losses(Path(sys.argv[1]) / f"{keras.backend.backend()} {name}", *way)
        for name, way in ways.items()
    }
    print("LOSSES", json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
