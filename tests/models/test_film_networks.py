"""The networks for films: their backbones and heads."""

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

from common import export
from common.base.errors import UserError
from common.base.film_settings import BACKBONES as NAMES
from common.models.backbones import BACKBONES, block_ends, build_backbone
from common.models.film_networks import build_box_network, build_classifier, with_places
from tests.helpers import needs
from tests.helpers.model_checks import dtype_policy, model_faults, output, shake
from tests.helpers.scripts import FIRST_BACKBONE_FAST

SIZE = 32


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["flatten", "extremes"])
def test_box_resnet50_is_a_sound_model(tmp_path, batch, pooling):
    def build():
        return build_box_network(SIZE, "none", pooling=pooling)

    target = np.tile(np.array([0.2, 0.3, 0.6, 0.8], "float32"), (3, 1))
    loss = keras.losses.MeanSquaredError()
    assert model_faults(build, batch, target, loss, tmp_path) == []

    # Where nothing of this repository can be imported. With the weights of a start: those that the
    # check left say numbers so large that a softmax of them turns on the last digit.
    model = build()
    model.save(tmp_path / "saved.keras")
    np.save(tmp_path / "batch.npy", batch)
    program = (
        "import keras, numpy as np; m = keras.models.load_model('saved.keras', compile=False);"
        "np.save('found.npy', m(np.load('batch.npy')))"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), output(model, batch), atol=1e-5)
    (tmp_path / "saved.keras").unlink()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_preprocessing_is_that_of_keras_applications(batch, policy):
    grey = batch + np.float32(0.3)
    expected = keras.applications.resnet.preprocess_input(np.repeat(grey, 3, axis=-1))
    with dtype_policy(policy):
        model = build_classifier(SIZE, weights="none", standardise=False)
        inside = keras.Model(model.input, model.get_layer("subtract_means").output)
        np.testing.assert_array_equal(output(inside, grey), expected)


def of_efficientnet(images):
    network = keras.applications.EfficientNetV2B0(include_top=False, weights=None)
    first = network.get_layer("stem_conv").input
    return output(keras.Model(network.input, first), images)


@pytest.mark.parametrize(
    ("backbone", "prepared"),
    [
        pytest.param(
            "densenet121",
            keras.applications.densenet.preprocess_input,
            marks=pytest.mark.slow,
        ),
        ("efficientnetv2b0", of_efficientnet),
        ("mobilenetv3large", lambda images: images / 127.5 - 1),
    ],
)
def test_other_backbones_get_what_their_weights_were_trained_on(batch, backbone, prepared):
    grey = batch + np.float32(0.3)
    network = build_backbone(backbone, SIZE, standardise=False)
    inside = keras.Model(network.input, network.get_layer("subtract_means").output)
    expected = prepared(np.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(output(inside, grey), expected, atol=1e-5)
    standardised = build_backbone(backbone, SIZE)
    inside = keras.Model(standardised.input, standardised.get_layer("grey_to_three").output)
    spread = BACKBONES[backbone].greys.spread
    np.testing.assert_allclose(output(inside, batch).std((1, 2, 3)), spread, rtol=1e-3)


def test_the_backbones_are_those_that_settings_name():
    assert list(BACKBONES) == list(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_is_the_same_whatever_was_built_before(backbone):
    first, second = (build_backbone(backbone, 64) for _ in range(2))
    names = [[layer.name for layer in network.layers] for network in (first, second)]
    assert names[0] == names[1] and len(set(names[0])) == len(names[0])
    for name, pixels in BACKBONES[backbone].sums.items():
        assert first.get_layer(name).output.shape[1:3] == (64 // pixels, 64 // pixels)
    assert first.output_shape[1:3] == (2, 2)
    assert {of.momentum for of in first.layers if hasattr(of, "momentum")} == {0.9}
    assert not any(of.rate for of in first.layers if isinstance(of, keras.layers.Dropout))
    assert bool(block_ends(first)) == (backbone != "densenet121")


@pytest.mark.parametrize("backbone", FIRST_BACKBONE_FAST)
@pytest.mark.parametrize(
    "build", [build_classifier, pytest.param(build_box_network, marks=pytest.mark.slow)]
)
def test_any_backbone_starts_as_its_shortcuts_is_saved_and_loaded(batch, tmp_path, build, backbone):
    model = build(SIZE, weights="none", pooling="flatten", backbone=backbone)
    assert not any(np.any(layer.gamma) for layer in block_ends(model))
    shake(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(output(loaded, batch), output(model, batch))
    other = next(name for name in BACKBONES if name != backbone)
    with pytest.raises(UserError, match=rf"is of a {backbone}; give --backbone {backbone} too"):
        build(SIZE, weights=str(tmp_path / "model.keras"), backbone=other)
    copy = build(SIZE, weights=str(tmp_path / "model.keras"), pooling="flatten", backbone=backbone)
    np.testing.assert_array_equal(output(copy, batch), output(model, batch))
    (tmp_path / "model.keras").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_backbone_is_exported(tmp_path, backbone):
    keras.utils.set_random_seed(0)
    films = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 1)).astype(np.float32)
    boxes = [partial(build_box_network, pooling="extremes")] if backbone == "resnet50" else []
    for build in (build_classifier, *boxes):
        model = build(64, weights="none", backbone=backbone)
        for layer in block_ends(model):  # Open the residual branches.
            layer.gamma.assign(np.ones_like(layer.gamma))
        for _ in range(30):  # The statistics of normalisation become those of films.
            model(films, training=True)
        said = output(model, films)
        assert said.min() > 0.01 and said.max() < 0.99
        for name, needed in export._NEEDED.items():
            needs.package(*needed)
            assert export.export(model, tmp_path / export._NAMES[name], name) <= export.TOLERANCE


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_exposure_and_contrast_do_not_count(batch, policy):
    with dtype_policy(policy):
        model = build_classifier(SIZE, weights="none")
        inside = keras.Model(model.input, model.get_layer("grey_to_three").output)
        found = output(inside, batch)
        other = output(inside, batch * np.float32(0.5) + np.float32(31))
    assert found.shape == (*batch.shape[:3], 3)
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(found.std((1, 2, 3)), 58, rtol=1e-3)
    np.testing.assert_allclose(other, found, atol=0.05)
    blank = np.full_like(batch, 77)
    np.testing.assert_array_equal(output(inside, blank), 0)


def test_bytes_and_floats_are_the_same_image(trained, batch):
    np.testing.assert_array_equal(output(trained, batch), output(trained, batch.astype("float32")))


def test_the_graph_is_flat_and_ends_as_grad_cam_wants_it(trained):
    assert not any(isinstance(layer, keras.Model) for layer in trained.layers)
    assert trained.get_layer("conv5_block3_out").output.shape[1:] == (1, 1, 2048)
    assert trained.output_shape == (None, 1)


def test_logits_classes_and_dropout(batch):
    model = build_classifier(SIZE, 3, None, "none", dropout=0.5, pooling="flatten")
    found = output(model, batch)
    assert found.shape == (3, 3)
    assert model.get_layer("predictions").activation is keras.activations.linear
    assert model.get_layer("head_dropout").rate == 0.5


def test_the_momentum_of_the_averages_is_set_and_saved(trained, run_folder):
    loaded = keras.models.load_model(run_folder / "model.keras")
    for model in (trained, loaded):
        averages = [
            layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert len(averages) == 53
        assert {layer.momentum for layer in averages} == {0.9}


def test_a_box_is_never_inverted_nor_outside(batch):
    model = build_box_network(SIZE, "none")
    head = model.get_layer("box_centre_size")
    corners = keras.Model(head.output, model.output)
    rng = np.random.default_rng(0)
    centre_size = np.concatenate(
        [rng.uniform(0, 1, (500, 4)), np.array([[0, 0, 1, 1], [1, 1, 1e-3, 1e-3], [1, 0, 1, 1]])]
    ).astype("float32")
    x0, y0, x1, y1 = output(corners, centre_size).T
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= 1).all() and (y1 <= 1).all()
    assert (x0 < x1).all() and (y0 < y1).all()
    inner = output(corners, np.array([[0.5, 0.4, 0.6, 0.2]], "float32"))
    np.testing.assert_allclose(inner, [[0.2, 0.3, 0.8, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("backbone", "vgg16"),
        ("image_size", 31),
        ("outputs", 0),
        ("batch_norm_momentum", 1.0),
        ("dropout", -0.1),
        ("pooling", "max"),
    ],
)
def test_a_bad_argument_is_repeated(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* Received: '?{value}"):
        build_classifier(**{"image_size": SIZE, "weights": "none", argument: value})


@pytest.mark.slow
def test_the_places_average_to_what_the_classifier_says(batch, tmp_path):
    model = build_classifier(64, weights="none")
    model.get_layer("predictions").bias.assign([0.3])
    for layer in model.layers:  # Open the residual branches, so that places differ.
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(np.ones_like(layer.gamma))
    both = with_places(model)
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 1)).astype("float32")
    said, places = (np.asarray(one, float) for one in both(images))
    assert places.shape == (3, 2, 2, 1)
    assert np.ptp(places) > 1e-3
    np.testing.assert_allclose(1 / (1 + np.exp(-places.mean((1, 2)))), said, rtol=1e-4)
    np.testing.assert_allclose(said, output(model, images), rtol=1e-5)
    # What is kept is the classifier alone.
    keras.Model(both.input, both.outputs[0]).save(tmp_path / "model.keras")
    kept = keras.models.load_model(tmp_path / "model.keras")
    assert len(kept.outputs) == 1 and len(kept.weights) == len(model.weights)
    np.testing.assert_allclose(output(kept, images), said, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", NAMES)
def test_the_places_are_a_32nd_of_the_side_rounded_up(backbone):
    for size, side in ((64, 2), (100, 4)):
        both = with_places(build_classifier(size, weights="none", backbone=backbone))
        assert both.output_shape == [(None, 1), (None, side, side, 1)]


def test_each_edge_is_the_mean_place_of_its_map():
    model = build_box_network(64, "none", pooling="extremes")
    maps = model.get_layer("extreme_points")
    assert maps.output.shape[1:] == (8, 8, 4)
    drawn = np.full((1, 8, 8, 4), -50.0, "float32")
    # (row, column) of the left, top, right and bottom extreme; the last lies between two places.
    for edge, (row, column) in enumerate([(3, 1), (2, 4), (5, 6), (7, 2)]):
        drawn[0, row, column, edge] = 0
    drawn[0, 6, 2, 3] = 0
    after = keras.Model(maps.output, model.output)
    expected = np.array([1, 2, 6, 6.5]) / 7
    np.testing.assert_allclose(output(after, drawn)[0], expected, atol=1e-3)
    # Edges in the wrong order make a box of nearly nothing, and a gradient still.
    wrong = output(after, drawn[..., [2, 3, 0, 1]])[0]
    assert (wrong[2:] > wrong[:2]).all() and (wrong[2:] - wrong[:2] < 0.01).all()


@pytest.mark.parametrize("side", [33, 100, 128])
def test_the_pyramid_takes_any_size(side):
    model = build_box_network(side, "none", pooling="extremes")
    found = output(model, np.zeros((2, side, side, 1), "float32"))
    assert found.shape == (2, 4) and (found[:, 2:] > found[:, :2]).all()


@pytest.mark.slow
def test_the_pyramid_trains_by_xla_in_mixed_precision_as_in_float32():
    changes = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        with dtype_policy(policy):
            # Places of 13, 7 and 4 to a side.
            model = build_box_network(100, "none", pooling="extremes")
        inputs = [model.get_layer(name).output for name in BACKBONES["resnet50"].sums]
        head = keras.Model(inputs, model.output)
        rng = np.random.default_rng(0)
        features = [np.abs(rng.normal(size=(2, *x.shape[1:]))).astype("float32") for x in inputs]
        kernel = head.get_layer("head_conv_32").kernel
        before = keras.ops.convert_to_numpy(kernel)
        head.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=True)
        assert np.isfinite(head.train_on_batch(features, np.tile([0.1, 0.2, 0.6, 0.9], (2, 1))))
        changes.append(keras.ops.convert_to_numpy(kernel) - before)
    # bfloat16 has 8 bits.
    assert np.corrcoef(*(change.ravel() for change in changes))[0, 1] > 0.98
