"""FCN-8s."""

import keras
import numpy as np
import pytest

from common.models.fcn8 import bilinear_kernel, build_fcn8
from common.training.loss_names import segmentation_loss
from tests.helpers.model_checks import model_faults


@pytest.mark.parametrize("classes", [1, 3])
def test_fcn8_is_a_sound_model(tmp_path, classes):
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, 64, 32, 2)).astype("float32")
    target = rng.integers(0, max(2, classes), (3, 64, 32, 1))
    faults = model_faults(
        lambda: build_fcn8(channels=2, classes=classes, width=2, dropout=0.1),
        batch,
        target,
        segmentation_loss("crossentropy"),
        tmp_path,
    )
    assert faults == []


def vgg16_parameters(width, fully_connected_width, channels):
    total = 0
    for times, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(count):
            total += (9 * channels + 1) * times * width
            channels = times * width
    total += (49 * channels + 1) * fully_connected_width
    return total + (fully_connected_width + 1) * fully_connected_width


def test_the_papers_fcn8_has_its_parameters():
    # The published size of VGG16 without its 1000 classes.
    assert vgg16_parameters(64, 4096, 3) == 138_357_544 - (4096 + 1) * 1000
    scores = 21 * ((96 + 1) + (32 + 1) + (16 + 1))
    transposed = 21 * 21 * (2 * 4 * 4 + 16 * 16)
    model = build_fcn8(3, 21, 4, fully_connected_width=96, batch_normalization=False)
    assert model.count_params() == vgg16_parameters(4, 96, 3) + scores + transposed


@pytest.mark.parametrize("factor", [2, 8])
def test_the_start_is_bilinear(factor):
    small = np.random.default_rng(0).normal(size=(1, 6, 5, 2)).astype("float32")
    layer = keras.layers.Conv2DTranspose(
        2, 2 * factor, strides=factor, padding="same", use_bias=False
    )
    layer.build(small.shape)
    layer.set_weights([bilinear_kernel(factor, 2)])
    found = keras.ops.convert_to_numpy(layer(small))
    expected = keras.ops.image.resize(small, (6 * factor, 5 * factor), "bilinear")
    # At the border a transposed convolution fades to zero.
    inner = np.s_[:, factor:-factor, factor:-factor]
    np.testing.assert_allclose(found[inner], keras.ops.convert_to_numpy(expected)[inner], atol=1e-5)


def test_every_transposed_convolution_starts_bilinear():
    model = build_fcn8(width=2, classes=2)
    for name, factor in [("double_to_pool4", 2), ("double_to_pool3", 2), ("enlarge_8_times", 8)]:
        (kernel,) = model.get_layer(name).get_weights()
        np.testing.assert_array_equal(kernel, bilinear_kernel(factor, 2))


@pytest.mark.parametrize(("argument", "value"), [("width", -1), ("fully_connected_width", 0)])
def test_a_bad_argument_is_repeated(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* Received: {value}"):
        build_fcn8(**{argument: value})
