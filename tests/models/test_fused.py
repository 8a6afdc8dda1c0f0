"""Batch normalisation by one kernel, beside Keras's own."""

import keras
import numpy as np
import pytest
from keras import layers

from common.models.fused import fuse_batch_normalization


def network(**options):
    image = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(image)
    x = layers.BatchNormalization(momentum=0.8, name="of_images", **options)(x)
    x = layers.Activation("relu")(x)
    x = layers.BatchNormalization(name="of_features")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1)(x))


def batch(seed, size=8):
    rng = np.random.default_rng(seed)
    return rng.normal(3, 2, (size, 6, 5, 3)).astype("float32"), rng.random((size, 1))


def trained(model, steps=4, size=8):
    model.compile(keras.optimizers.SGD(0.05), "mse")
    losses = [float(model.train_on_batch(*batch(step, size))) for step in range(steps)]
    return losses, model.get_weights()


def pair(**options):
    """The same network and weights twice: as Keras has it, and fused."""
    keras.utils.set_random_seed(1)
    plain, fused = network(**options), network(**options)
    fused.set_weights(plain.get_weights())
    return plain, fuse_batch_normalization(fused)


def fused_kernels(model):
    """How many of TensorFlow's fused kernels a training step of a model has."""
    import tensorflow as tf

    step = tf.function(lambda x: model(x, training=True))
    operations = step.get_concrete_function(tf.TensorSpec((4, 6, 5, 3))).graph.get_operations()
    return sum(operation.type == "FusedBatchNormV3" for operation in operations)


@pytest.mark.parametrize("size", [1, 8])
def test_a_training_is_the_same(size):
    plain, fused = pair()
    assert (fused_kernels(plain), fused_kernels(fused)) == (0, 1)
    (losses, weights), (its_losses, its_weights) = (
        trained(plain, size=size),
        trained(fused, size=size),
    )
    np.testing.assert_allclose(its_losses, losses, rtol=1e-4)
    # The moving mean and variance are among them.
    for own, its in zip(weights, its_weights, strict=True):
        np.testing.assert_allclose(its, own, rtol=1e-3, atol=1e-5)
    images, _ = batch(99)
    np.testing.assert_allclose(fused.predict(images), plain.predict(images), rtol=1e-3, atol=1e-4)


def test_a_training_of_volumes_is_the_same():
    def volumes():
        image = keras.Input((4, 6, 5, 2))
        x = layers.Conv3D(3, 3, use_bias=False)(image)
        x = layers.BatchNormalization(momentum=0.8)(x)
        return keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))

    keras.utils.set_random_seed(1)
    plain, fused = volumes(), volumes()
    fused.set_weights(plain.get_weights())
    fuse_batch_normalization(fused)
    rng = np.random.default_rng(0)
    images, targets = rng.normal(3, 2, (8, 4, 6, 5, 2)).astype("float32"), rng.random((8, 1))
    for model in (plain, fused):
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(images, targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for own, its in zip(plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(its, own, rtol=1e-3, atol=1e-5)


def test_a_frozen_layer_keeps_its_averages_and_uses_them():
    _, fused = pair()
    layer = fused.get_layer("of_images")
    layer.trainable = False
    before = layer.get_weights()
    assert fused_kernels(fused) == 0
    trained(fused)
    for own, its in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(own, its)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_what_the_kernel_does_not_compute_stays_as_it_is(options):
    plain, fused = pair(**options)
    assert fused_kernels(fused) == 0
    for own, its in zip(trained(plain)[1], trained(fused)[1], strict=True):
        np.testing.assert_array_equal(own, its)


def test_what_is_saved_is_kerass_own(tmp_path):
    _, fused = pair()
    fused.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.get_layer("of_images")) is layers.BatchNormalization
    images, _ = batch(3)
    np.testing.assert_array_equal(loaded.predict(images), fused.predict(images))


def test_half_precision_keeps_its_statistics_in_full():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain, fused = pair()
    finally:
        keras.config.set_dtype_policy("float32")
    assert fused_kernels(fused) == 1
    trained(plain, 1), trained(fused, 1)
    both = [model.get_layer("of_images").get_weights() for model in (plain, fused)]
    for own, its in zip(*both, strict=True):
        assert its.dtype == np.float32
        np.testing.assert_allclose(its, own, rtol=0.02, atol=0.02)
