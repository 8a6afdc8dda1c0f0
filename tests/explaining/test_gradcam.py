"""Where a classifier looked."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from common.explaining.gradcam import (
    boxes_mask,
    centred_blob,
    gradcam,
    likeness,
    own_maps,
    pointing_game,
    randomised,
)
from common.models.resnet50 import GRADCAM_LAYER, build_resnet50
from tests.helpers.fixtures import soft_image
from tests.helpers.model_checks import dtype_policy

SIDE = 64


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


def test_tf_explain_and_our_own_formula_give_the_same_map():
    keras.utils.set_random_seed(0)
    model = build_resnet50(SIDE, weights="none")
    images = np.stack([soft_image(SIDE, SIDE), soft_image(SIDE, SIDE).T]).astype(np.float32)
    images = images[..., None]
    found = gradcam(model, images, GRADCAM_LAYER)
    own = np.maximum(own_maps(model, images, GRADCAM_LAYER), 0)
    assert own.max() > 0
    for one, of_own in zip(found, own, strict=True):
        scaled = Image.fromarray(of_own).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        expected = np.asarray(scaled) / max(np.asarray(scaled).max(), 1e-30)
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_the_formula_by_hand():
    # The mean over 64 places, times 2: the gradient at each place is 2 / 64.
    own = own_maps(tiny(), bright_corner(), "conv")
    np.testing.assert_allclose(own[0], bright_corner()[0, ..., 0] * 2 / 64, rtol=1e-6)


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
    monkeypatch.setattr("common.explaining.gradcam._AT_ONCE", 2)
    np.testing.assert_array_equal(gradcam(tiny(), images, "conv"), whole)


def test_in_mixed_precision_our_own_formula_is_used():
    with dtype_policy("mixed_bfloat16"):
        (one,) = gradcam(tiny(), bright_corner(), "conv")
    assert one.dtype == np.float32 and one.max() == 1
    assert one[5, 2] == pytest.approx(0.2, abs=0.01)


BOX = np.array([[0.0, 0.0, 0.5, 0.5]])


def peak_at(row, column):
    one = np.zeros((4, 4))
    one[row, column] = 3
    one[3, 3] += 1
    return one


def test_pointing_game_by_hand():
    maps = np.stack([peak_at(1, 1), peak_at(2, 1), peak_at(0, 0), np.zeros((4, 4))])
    two = np.array([[0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]])
    found = pointing_game(maps, [BOX, two, np.zeros((0, 4)), BOX], list("abcd"))
    low, high = found.pop("ci95")
    assert 0 <= low < 2 / 3 < high <= 1
    assert found.pop("weight_inside_ci95") == [0, 1]
    blob = found.pop("centred_blob")
    # The first of four equal middle pixels, (1, 1), is in the quarter and not in the lower half.
    assert blob["pointing_game"] == pytest.approx(2 / 3)
    assert blob["weight_inside"] == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert found == {
        # Inside, inside, does not count, and an empty map that points nowhere.
        "pointing_game": pytest.approx(2 / 3),
        "chance": pytest.approx((0.25 + 0.5 + 0.25) / 3),
        "weight_inside": pytest.approx((0.75 + 1 + 0) / 3),
        "n": 3,
    }


def test_pointing_game_without_a_box():
    found = pointing_game(np.ones((1, 4, 4)), [np.zeros((0, 4))], ["a"])
    assert found.pop("n") == 0
    assert set(found.values()) == {None}
    names = {"pointing_game", "ci95", "chance", "centred_blob"}
    assert set(found) == {*names, "weight_inside", "weight_inside_ci95"}


def test_the_centred_blob_is_a_gaussian_of_a_quarter_of_the_side():
    blob = centred_blob(101)
    assert blob[50, 50] == 1 and blob.argmax() == 50 * 101 + 50
    # Two standard deviations to the side, at the film's edge.
    assert blob[50, 0] == pytest.approx(np.exp(-2), rel=0.05)
    np.testing.assert_allclose(blob, blob[::-1].T)


def test_the_map_changes_when_the_weights_are_drawn_anew():
    keras.utils.set_random_seed(0)
    model = build_resnet50(SIDE, weights="none")
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):  # A residual branch that starts closed says nothing.
            layer.gamma.assign(np.ones_like(layer.gamma))
    images = np.stack([soft_image(SIDE, SIDE), soft_image(SIDE, SIDE).T]).astype(np.float32)
    before = [weight.copy() for weight in model.get_weights()]
    anew = randomised(model)
    for mine, others, then in zip(model.get_weights(), anew.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, then)
        if mine.ndim > 1:
            # Drawn from the same spread, in another order.
            assert (mine != others).any()
            np.testing.assert_array_equal(np.sort(mine, None), np.sort(others, None))
    layer = "conv4_block6_out"
    maps = gradcam(model, images[..., None], layer)
    assert likeness(maps, maps) == pytest.approx(1)
    assert likeness(maps, gradcam(anew, images[..., None], layer)) < 0.9
    np.testing.assert_array_equal(
        gradcam(anew, images[..., None], layer),
        gradcam(randomised(model), images[..., None], layer),
    )


def test_likeness_by_hand():
    one = np.arange(9.0).reshape(1, 3, 3)
    assert likeness(one, one**2) == pytest.approx(1)
    assert likeness(one, -one) == pytest.approx(-1)
    # A map of one value ranks nothing.
    assert likeness(one, np.ones((1, 3, 3))) is None


def test_boxes_mask_by_hand():
    mask = boxes_mask(np.array([[0.0, 0.25, 0.5, 0.5], [0.7, 0.0, 1.0, 0.2]]), 4)
    assert mask.astype(int).tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # Neighbours that share an edge share no pixel.
    left, right = boxes_mask([[0, 0, 0.5, 1]], 8), boxes_mask([[0.5, 0, 1, 1]], 8)
    assert not (left & right).any() and (left | right).all()
    assert not boxes_mask(np.zeros((0, 4)), 4).any()
