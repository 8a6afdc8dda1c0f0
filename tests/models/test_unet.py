"""U-Net, and what it shares with FCN-8."""

import keras
import numpy as np
import pytest

from common.models.unet import build_unet
from common.training.loss_names import segmentation_loss
from tests.helpers.model_checks import dtype_policy, model_faults, output


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("classes", [1, 3])
def test_unet_is_a_sound_model(tmp_path, classes, residual):
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, 16, 24, 2)).astype("float32")
    target = rng.integers(0, max(2, classes), (3, 16, 24, 1))
    faults = model_faults(
        lambda: build_unet(2, classes, width=4, depth=2, dropout=0.2, residual=residual),
        batch,
        target,
        segmentation_loss("crossentropy"),
        tmp_path,
    )
    assert faults == []


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("flat_levels, depth", [(0, 12), (1, 6)])
def test_a_unet_of_volumes_is_a_sound_model(tmp_path, classes, flat_levels, depth):
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, depth, 8, 12, 1)).astype("float32")
    target = rng.integers(0, max(2, classes), (3, depth, 8, 12, 1))
    options = {"width": 4, "depth": 2, "residual": True, "dimensions": 3}
    faults = model_faults(
        lambda: build_unet(1, classes, flat_levels=flat_levels, **options),
        batch,
        target,
        segmentation_loss("crossentropy"),
        tmp_path,
    )
    assert faults == []


@pytest.mark.parametrize("flat_levels", [0, 1, 2])
def test_a_flat_level_neither_looks_nor_halves_across_slices(flat_levels):
    options = {"width": 2, "depth": 2, "deep_supervision": 1, "dimensions": 3}
    model = build_unet(flat_levels=flat_levels, **options)
    kernels = {name: model.get_layer(f"{name}_conv1").kernel.shape[:3] for name in ("down0", "up1")}
    assert kernels["down0"] == ((1, 3, 3) if flat_levels else (3, 3, 3))
    assert kernels["up1"] == ((1, 3, 3) if flat_levels == 2 else (3, 3, 3))
    slices = 2 ** (2 - flat_levels)
    image = np.random.default_rng(0).normal(size=(1, slices, 8, 8, 1)).astype("float32")
    said = [keras.ops.convert_to_numpy(values) for values in model(image)]
    assert [values.shape for values in said] == [(1, slices, 8, 8, 1)] * 2
    if flat_levels == 2:
        # The deepest level alone looks across slices.
        alone = keras.Model(model.input, model.get_layer("down1_relu2").output)
        both = np.concatenate([image, image * 2], 1)
        np.testing.assert_array_equal(alone(both)[:, :1], alone(image))


@pytest.mark.parametrize("options", [
    {"dimensions": 4}, {"flat_levels": 1}, {"dimensions": 3, "depth": 2, "flat_levels": 3},
])  # fmt: skip
def test_dimensions_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match=r"must be .* Received: "):
        build_unet(width=2, **options)


def test_a_residual_level_adds_to_what_comes_in():
    model = build_unet(width=2, depth=1, residual=True)
    # A second convolution of zeros leaves the shortcut alone.
    model.get_layer("down0_bn2").gamma.assign(np.zeros(2))
    level = keras.Model(
        model.input, [model.get_layer(f"down0_{name}").output for name in ("bn0", "relu2")]
    )
    shortcut, found = level(np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32"))
    np.testing.assert_array_equal(found, np.maximum(shortcut, 0))
    extra = model.count_params() - build_unet(width=2, depth=1).count_params()
    # A 1 x 1 convolution and four numbers of normalisation a channel, where the width changes.
    assert extra == (1 * 2 + 4 * 2) + (2 * 4 + 4 * 4) + (4 * 2 + 4 * 2)


def test_the_papers_unet_has_its_parameters():
    # Ronneberger's figure 1 with biases, two classes, worked out level by level.
    levels = [64, 128, 256, 512, 1024]
    expected, before = 0, 1
    for width in levels:
        expected += (9 * before + 1) * width + (9 * width + 1) * width
        before = width
    for width in reversed(levels[:-1]):
        expected += (4 * 2 * width + 1) * width
        expected += (9 * 2 * width + 1) * width + (9 * width + 1) * width
    expected += (64 + 1) * 2
    model = build_unet(classes=2, width=64, batch_normalization=False)
    assert model.count_params() == expected


def test_the_output_has_the_size_of_the_input_and_is_a_probability():
    model = build_unet(channels=1, classes=3, width=2, depth=3)
    for height, width in [(8, 8), (24, 40)]:
        found = output(model, np.random.default_rng(1).normal(size=(2, height, width, 1)))
        assert found.shape == (2, height, width, 3)
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_deep_supervision_adds_coarser_masks_of_full_size(classes):
    plain = build_unet(classes=classes, width=2, depth=3)
    model = build_unet(classes=classes, width=2, depth=3, deep_supervision=2)
    image = np.random.default_rng(1).normal(size=(2, 16, 24, 1)).astype("float32")
    said = [keras.ops.convert_to_numpy(one) for one in model(image)]
    assert [one.shape for one in said] == [(2, 16, 24, classes)] * 3
    assert all(one.min() >= 0 and one.max() <= 1 for one in said)
    # Each further output is the coarser: enlarged from 2, then 4 pixels.
    roughness = [np.abs(np.diff(one, n=2, axis=1)).mean() for one in said]
    assert roughness[0] > roughness[1] > roughness[2]
    # The first is the plain network's: the same weights say the same.
    shared = {weight.path: weight for weight in model.weights}
    for weight in plain.weights:
        weight.assign(shared[weight.path])
    np.testing.assert_allclose(output(plain, image), said[0], atol=1e-6)


@pytest.mark.slow
def test_deep_supervision_trains_by_xla_in_mixed_precision():
    with dtype_policy("mixed_bfloat16"):
        model = build_unet(width=2, depth=2, deep_supervision=1)
    model.compile("sgd", ["mse"] * 2, jit_compile=True)
    image = np.random.default_rng(1).uniform(size=(2, 16, 24, 1)).astype("float32")
    assert np.isfinite(model.train_on_batch(image, [image > 0.5] * 2)).all()


@pytest.mark.parametrize("count", [-1, 3])
def test_deep_supervision_is_of_coarser_levels(count):
    with pytest.raises(ValueError, match=f"deep_supervision must be 0 to depth - 1, 2.*{count}"):
        build_unet(depth=3, deep_supervision=count)


def test_the_momentum_of_the_averages_is_saved():
    model = build_unet(width=2, depth=1)
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("down0_bn1").momentum == 0.9


@pytest.mark.parametrize(
    ("argument", "value"),
    [("channels", 0), ("classes", 0), ("width", 0), ("depth", 0), ("dropout", 1.0)],
)
def test_a_bad_argument_is_repeated(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* Received: {value}"):
        build_unet(**{argument: value})
