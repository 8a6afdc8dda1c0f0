"""Twenty steps of each project's network from stored weights, as a script: FOLDER [PROJECT...].

What Keras's backend comes to is written into FOLDER/BACKEND-PROJECT.npz. The first backend stores
the weights that it begins with, and the others begin with the same.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

STEPS, BATCH, SIDE = 20, 8, 64


def drawn(project):
    """Images (samples, SIDE, SIDE, channels) of 0 to 255, and what a network is to say of them."""
    # Where some unit stands within rounding of its ReLU's kink, float32 decides: of four seeds one
    # (3) has losses that differ by 7e-4 from those in float64, the others by less than 4e-6.
    rng = np.random.default_rng(4)
    samples, channels = STEPS * BATCH, 3 if project == "atrium_segmentation" else 1
    places = np.arange(SIDE)
    centres, radii = rng.uniform(20, 44, (2, samples, 1)), rng.uniform(6, 16, (samples, 1))
    inside = [np.abs(places - centre) < radii for centre in centres]
    masks = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    images = rng.uniform(0, 80, (samples, SIDE, SIDE, channels)) + 120 * masks
    x, y = centres
    boxes = np.concatenate([x - radii, y - radii, x + radii, y + radii], 1) / SIDE
    targets = {
        "pneumonia_classification": radii > 11,
        "heart_detection": boxes[:, [1, 0, 3, 2]],
        "atrium_segmentation": masks,
    }
    return images.astype("float32"), targets[project].astype("float32")


def network(project):
    """A project's network without dropout, and what it minimises."""
    from importlib import import_module

    networks = import_module(f"{project}.networks")
    settings = import_module(f"{project}.config").TrainSettings()
    if project == "atrium_segmentation":
        settings = replace(settings, unet_width=4, unet_depth=2)
        return networks.build("unet", 1, settings), networks.losses(settings, 1, 1)
    return networks.build(SIDE, "none", settings), networks.losses(settings)


def steps(project, folder):
    """Train by a script's own means, an epoch a step, and write what comes out."""
    import keras

    from common.base.settings import SharedTrain
    from common.explaining import gradcam
    from common.training import fitting, pipeline
    from common.training.precision import set_precision
    from common.training.tensorboard import TrainingPictures

    images, targets = drawn(project)
    settings = SharedTrain(
        epochs=STEPS, batch_size=BATCH, tensorboard_images=0, patience=STEPS, learning_rate=1e-4
    )
    set_precision("float32")
    keras.utils.set_random_seed(0)
    model, losses = network(project)
    weights, out = folder / f"{project}.weights.h5", {}
    if not weights.exists():
        model.save_weights(weights)
    model.load_weights(weights)
    if project == "pneumonia_classification":
        # Far enough from the end that a place has neighbours.
        layer = "conv4_block6_out"
        out["gradcam"] = gradcam.gradcam(model, images[:4], layer)
        out["layer_cam"] = gradcam.layer_cam(model, images[:4], layer)
    out["output"] = model.predict(images[:BATCH], verbose=0)

    # Step k of the training is epoch k of one batch, and so has a row of its own in the history.
    samples = pipeline.in_memory({"number": np.arange(BATCH)})

    def batch(_, seed):
        import tensorflow as tf

        start = (seed[0] - settings.seed * 1_000_003) * BATCH
        return (tf.constant(images)[start : start + BATCH],
                tf.constant(targets)[start : start + BATCH])  # fmt: skip

    held_out = pipeline.validation(
        pipeline.in_memory({"x": images[:BATCH], "y": targets[:BATCH]}),
        BATCH, lambda some: (some["x"], some["y"]),
    )  # fmt: skip

    def keep_first_gradient(model):
        if "gradient" not in out:
            # Adam's first moments, a tenth of it.
            moments = (v for v in model.optimizer.variables if "momentum" in v.path)
            flat = [keras.ops.convert_to_numpy(moment).ravel() for moment in moments]
            out["gradient"] = np.concatenate(flat) * 10
        return np.zeros((4, 4, 3), np.uint8)

    pictures = TrainingPictures(keep_first_gradient, lambda *_: np.zeros((4, 4, 3), np.uint8))
    task = fitting.Task(
        pipeline.Training(samples, BATCH, settings.seed, STEPS, batch), held_out, **losses,
        pictures=pictures,
    )  # fmt: skip
    run = folder / f"{keras.backend.backend()}-{project}"
    run.mkdir()
    state = fitting.fit(run, lambda: model, task, settings)
    out["losses"] = np.array([row["loss"] for row in state.history])
    out["exact_gradient"] = gradient(project, weights)
    np.savez(run.with_suffix(".npz"), **out)


def gradient(project, weights):
    """Of the first output's loss of the first batch, flat, in float64."""
    import keras

    def loss(outputs):
        first = keras.tree.flatten(losses["loss"])[0]
        return keras.ops.mean(first(targets, keras.tree.flatten(outputs)[0]))

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    try:
        images, targets = (array[:BATCH].astype("float64") for array in drawn(project))
        model, losses = network(project)
        model.load_weights(weights)
        if keras.backend.backend() == "jax":
            fixed = [variable.value for variable in model.non_trainable_variables]
            of_free = jax.grad(
                lambda free: loss(model.stateless_call(free, fixed, images, training=True)[0])
            )
            parts = jax.jit(of_free)([variable.value for variable in model.trainable_variables])
        elif keras.backend.backend() == "torch":
            model.zero_grad()
            loss(model(images, training=True)).backward()
            parts = [variable.value.grad.numpy() for variable in model.trainable_variables]
        else:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                value = loss(model(images, training=True))
            parts = tape.gradient(value, [v.value for v in model.trainable_variables])
        return np.concatenate([np.asarray(part).ravel() for part in parts])
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        if keras.backend.backend() == "jax":
            jax.config.update("jax_enable_x64", False)


if __name__ == "__main__":
    from common.base.backend import start_tensorflow

    start_tensorflow()
    for name in sys.argv[2:]:
        steps(name, Path(sys.argv[1]))
