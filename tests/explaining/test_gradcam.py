"""Where a classifier looked."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from common.explaining.gradcam import (
    finer_layer,
    gradcam,
    gradient_maps,
    layer_cam,
    layer_to_explain,
    saliency_maps,
    with_shuffled_weights,
)
from common.explaining.heatmaps import FINER, GRADCAM
from common.models.backbones import block_ends
from common.models.film_networks import build_classifier
from common.scores.pointing_game import rank_correlations
from tests.helpers.fixtures import soft_image
from tests.helpers.model_checks import dtype_policy
from tests.helpers.scripts import FIRST_BACKBONE_FAST

SIDE, LAST = 64, "conv5_block3_out"


def tiny(kernel=None):
    """A network whose map is known: one channel, weighted by its mean gradient."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(1, 1, use_bias=False, name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(1, name="out")(x))
    model.set_weights([np.ones((1, 1, 1, 1)), np.full((1, 1), kernel or 2.0), np.zeros(1)])
    return model


def bright_corner():
    image = np.full((1, 8, 8, 1), 10.0, np.float32)
    image[0, :2, 6:] = 50
    return image


@pytest.mark.parametrize("backbone", FIRST_BACKBONE_FAST)
def test_tf_explain_and_our_own_formula_give_the_same_map(backbone):
    keras.utils.set_random_seed(0)
    model = build_classifier(SIDE, weights="none", backbone=backbone)
    for layer in block_ends(model):  # Open the residual branches.
        layer.gamma.assign(np.ones_like(layer.gamma))
    images = np.stack([soft_image(SIDE, SIDE), soft_image(SIDE, SIDE).T]).astype(np.float32)
    images = images[..., None]
    last = layer_to_explain(model)
    found = gradcam(model, images, last)
    own = np.maximum(gradient_maps(model, images, last), 0)
    assert own.max() > 0
    for one, of_own in zip(found, own, strict=True):
        scaled = Image.fromarray(of_own).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        expected = np.asarray(scaled) / max(np.asarray(scaled).max(), 1e-30)
        np.testing.assert_allclose(one, expected, atol=1e-5)


@pytest.mark.parametrize("backbone", FIRST_BACKBONE_FAST)
def test_a_frozen_backbone_is_explained_by_the_same_layer(backbone):
    # As in the epochs of --head-epochs.
    model = build_classifier(SIDE, weights="none", backbone=backbone)
    last = layer_to_explain(model)
    for layer in model.layers:
        layer.trainable = isinstance(layer, layers.Dense)
    assert layer_to_explain(model) == last


def test_the_formula_by_hand():
    # The mean over 64 places, times 2: the gradient at each place is 2 / 64.
    own = gradient_maps(tiny(), bright_corner(), "conv")
    np.testing.assert_allclose(own[0], bright_corner()[0, ..., 0] * 2 / 64, rtol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_of_several_outputs_each_image_has_the_map_of_its_own(activation):
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(image)
    x = layers.Dense(3, name="predictions")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Activation(activation, name="probability")(x))
    # The first and the second class each see a channel, the third neither; all are sure.
    weights = np.array([[9.0, 0, 0], [0, 9.0, 0]])
    model.set_weights([np.eye(2)[None, None], weights, np.zeros(3)])
    images = np.zeros((3, 8, 8, 2), np.float32)
    images[:, :2, 6:, 0] = images[:, 6:, :2, 1] = 50
    first, second, third = gradcam(model, images, "conv", np.array([0, 1, 2]))
    assert first[0, 7] == second[7, 0] == 1 and first[7, 0] == second[0, 7] == 0
    assert (third == 0).all()


def test_a_sure_answer_has_the_map_of_an_unsure_one():
    # A sigmoid of 60 has no gradient in float32; its logit has.
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(1, 1, use_bias=False, name="conv")(image)
    logit = layers.Dense(1, name="predictions")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Activation("sigmoid", name="probability")(logit))
    model.set_weights([np.ones((1, 1, 1, 1)), np.ones((1, 1)), np.zeros(1)])
    unsure = gradcam(model, bright_corner(), "conv")
    model.layers[-2].set_weights([np.full((1, 1), 40.0), np.zeros(1)])
    assert model.predict_on_batch(bright_corner())[0, 0] == 1
    np.testing.assert_allclose(gradcam(model, bright_corner(), "conv"), unsure, rtol=1e-6)
    assert unsure.max() == 1


def test_layer_cam_by_hand():
    # Only where the gradient is positive: of two channels the second speaks against the output.
    image = keras.Input((4, 4, 2), name="image")
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(image)
    model = keras.Model(image, layers.Dense(1, name="out")(layers.GlobalAveragePooling2D()(x)))
    model.set_weights([np.eye(2)[None, None], np.array([[16.0], [-16.0]]), np.zeros(1)])
    images = np.random.default_rng(0).uniform(0, 9, (2, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(layer_cam(model, images, "conv"), images[..., 0], rtol=1e-6)


@pytest.mark.slow
def test_few_places_get_a_finer_map_which_comes_first():
    keras.utils.set_random_seed(0)
    model = build_classifier(SIDE, weights="none")
    images = np.stack([soft_image(SIDE, SIDE), soft_image(SIDE, SIDE).T])[..., None]
    # 64 pixels end in 2 x 2 places, and have 4 x 4 and 8 x 8 before them.
    assert finer_layer(model, LAST) == "conv3_block4_out"
    assert not finer_layer(model, "conv3_block4_out")
    maps = saliency_maps(model, images, LAST)
    assert list(maps) == [FINER, GRADCAM]
    np.testing.assert_array_equal(maps[GRADCAM], gradcam(model, images, LAST))
    fine = gradient_free(layer_cam(model, images, "conv3_block4_out"))
    expected = maps[GRADCAM] * np.sqrt(fine)
    expected /= expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(maps[FINER], expected, atol=1e-5)
    assert list(saliency_maps(model, images, "conv3_block4_out")) == [GRADCAM]
    assert [each.shape for each in saliency_maps(model, images[:0], LAST).values()] == [
        (0, SIDE, SIDE)
    ] * 2


def gradient_free(heats):
    """Enlarged as tests expect it, by Pillow, 0 to 1."""
    images = [Image.fromarray(np.maximum(heat, 0).astype(np.float32)) for heat in heats]
    large = np.stack(
        [np.asarray(i.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for i in images]
    )
    return large / large.max((1, 2), keepdims=True)


def test_a_map_reaches_one_and_stands_where_it_should():
    (one,) = gradcam(tiny(), bright_corner(), "conv")
    assert one.max() == 1 and one.argmax() in (6, 7, 14, 15)
    assert one[5, 2] == pytest.approx(0.2, abs=1e-6)


def test_a_map_of_nothing_is_zero_and_no_nan():
    for model, images in (
        (tiny(), np.zeros((2, 8, 8, 1), np.float32)),
        # All speaks against the output.
        (tiny(-1.0), np.ones((2, 8, 8, 1), np.float32)),
    ):
        found = gradcam(model, images, "conv")
        assert found.shape == (2, 8, 8)
        assert (found == 0).all()


def test_more_images_than_are_taken_at_once(monkeypatch):
    images = np.random.default_rng(0).uniform(0, 9, (5, 8, 8, 1)).astype(np.float32)
    whole = gradcam(tiny(), images, "conv")
    monkeypatch.setattr("common.explaining.gradcam._BATCH_SIZE", 2)
    np.testing.assert_array_equal(gradcam(tiny(), images, "conv"), whole)


def test_in_mixed_precision_our_own_formula_is_used():
    with dtype_policy("mixed_bfloat16"):
        (one,) = gradcam(tiny(), bright_corner(), "conv")
    assert one.dtype == np.float32 and one.max() == 1
    assert one[5, 2] == pytest.approx(0.2, abs=0.01)


@pytest.mark.slow
def test_the_map_changes_when_the_weights_are_drawn_anew():
    keras.utils.set_random_seed(0)
    model = build_classifier(SIDE, weights="none")
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):  # A residual branch that starts closed says nothing.
            layer.gamma.assign(np.ones_like(layer.gamma))
    images = np.stack([soft_image(SIDE, SIDE), soft_image(SIDE, SIDE).T]).astype(np.float32)
    before = [weight.copy() for weight in model.get_weights()]
    [anew] = with_shuffled_weights(model, [0])
    for mine, others, then in zip(model.get_weights(), anew.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, then)
        if mine.ndim > 1:
            # Drawn from the same spread, in another order.
            assert (mine != others).any()
            np.testing.assert_array_equal(np.sort(mine, None), np.sort(others, None))
    layer = "conv4_block6_out"
    maps = gradcam(model, images[..., None], layer)
    assert rank_correlations(maps, maps) == pytest.approx([1, 1])
    assert rank_correlations(maps, gradcam(anew, images[..., None], layer)).mean() < 0.9
    np.testing.assert_array_equal(
        gradcam(anew, images[..., None], layer),
        gradcam(next(with_shuffled_weights(model, [0])), images[..., None], layer),
    )
