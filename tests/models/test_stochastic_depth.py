"""Blocks that are left out in training, and in training alone."""

import keras
import numpy as np
import pytest
from keras import layers

from common.models.stochastic_depth import drop_blocks
from common.training import checkpoints


def small(blocks=4):
    """A network with blocks named as those of keras.applications, whose sums show who was left out.

    The block n, from 0, adds 10 ** n to every place where it is not left out.
    """
    x = image = keras.Input((4, 4, 1), name="image")
    for number in range(blocks):
        branch = layers.Conv2D(1, 1, name=f"conv{number}_3_conv")(x)
        norm = layers.BatchNormalization(name=f"conv{number}_3_bn")
        branch = norm(branch)
        norm.gamma.assign([0.0])
        norm.beta.assign([10.0**number])
        x = layers.Add(name=f"conv{number}_add")([x, branch])
    return keras.Model(image, x)


def test_blocks_are_left_out_image_by_image_and_later_ones_more_often():
    model = drop_blocks(small(), 0.8)
    sums = np.asarray(model(np.zeros((4000, 4, 4, 1), "float32"), training=True))
    assert np.ptp(sums, axis=(1, 2, 3)).max() == 0
    rest, shares = sums[:, 0, 0, 0].astype(float), []
    for number in (3, 2, 1, 0):
        stays = 1 - 0.2 * (number + 1)
        kept = rest > 10.0**number / stays * 0.999
        rest = rest - kept * 10.0**number / stays
        shares.append(kept.mean())
    np.testing.assert_allclose(rest, 0, atol=0.01)
    np.testing.assert_allclose(shares, [0.2, 0.4, 0.6, 0.8], atol=0.03)
    # On average as much as without.
    assert sums.mean() == pytest.approx(1111, rel=0.1)


def test_what_is_saved_and_predicts_is_the_same(tmp_path):
    plain, model = small(), small()
    model.set_weights(plain.get_weights())
    drop_blocks(model, 0.5)
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype("float32")
    np.testing.assert_array_equal(model(x, training=False), plain(x, training=False))
    bare = keras.Model(model.input, model.outputs[0], name=plain.name)
    assert [layer.name for layer in bare.layers] == [layer.name for layer in plain.layers]
    bare.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x, training=True), plain(x, training=True))


def test_frozen_blocks_and_a_rate_of_0_stay_whole():
    x = np.zeros((50, 4, 4, 1), "float32")
    frozen = drop_blocks(small(), 0.9)
    frozen.trainable = False
    for model in (frozen, drop_blocks(small(), 0.0)):
        np.testing.assert_allclose(model(x, training=True), 1111)


def test_a_training_that_goes_on_draws_on(tmp_path):
    x = np.zeros((64, 4, 4, 1), "float32")
    model, other = drop_blocks(small(), 0.5), drop_blocks(small(), 0.5)
    for each in (model, other):
        each.compile("adam", "mse")
        each.optimizer.build(each.trainable_variables)
    model(x, training=True)
    checkpoints.save(tmp_path / "checkpoint.npz", model, checkpoints.State())
    checkpoints.restore(tmp_path / "checkpoint.npz", other)
    np.testing.assert_array_equal(model(x, training=True), other(x, training=True))
