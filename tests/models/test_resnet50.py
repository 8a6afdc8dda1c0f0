"""ResNet50, its heads and its starting weights."""

import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from common.base.errors import UserError
from common.models import starting_weights
from common.models.resnet50 import (
    GRADCAM_LAYER,
    HEAD_LAYERS,
    PYRAMID,
    build_box_resnet50,
    build_resnet50,
    with_places,
)
from common.models.starting_weights import take_weights
from tests.helpers.model_checks import (
    check_model,
    dtype_policy,
    output,
    save_as_applications,
    shake,
)

SIZE = 32


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 1)).astype("uint8")


@pytest.fixture(scope="module")
def trained():
    """A classifier whose every weight differs from a fresh one's."""
    model = build_resnet50(SIZE, weights="none")
    shake(model)
    return model


@pytest.fixture(scope="module")
def run_folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained.save(folder / "model.keras")
    yield folder
    (folder / "model.keras").unlink()


def features(model, batch):
    until = keras.Model(model.input, model.get_layer(GRADCAM_LAYER).output)
    return output(until, batch)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["flatten", "extremes"])
def test_box_resnet50_is_a_sound_model(tmp_path, batch, pooling):
    def build():
        return build_box_resnet50(SIZE, "none", pooling=pooling)

    target = np.tile(np.array([0.2, 0.3, 0.6, 0.8], "float32"), (3, 1))
    loss = keras.losses.MeanSquaredError()
    check_model(build, batch, target, loss, tmp_path)

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
        model = build_resnet50(SIZE, weights="none", standardise=False)
        inside = keras.Model(model.input, model.get_layer("subtract_means").output)
        np.testing.assert_array_equal(output(inside, grey), expected)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_exposure_and_contrast_do_not_count(batch, policy):
    with dtype_policy(policy):
        model = build_resnet50(SIZE, weights="none")
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
    assert trained.get_layer(GRADCAM_LAYER).output.shape[1:] == (1, 1, 2048)
    assert trained.output_shape == (None, 1)


def test_logits_classes_and_dropout(batch):
    model = build_resnet50(SIZE, 3, None, "none", dropout=0.5, pooling="flatten")
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
    model = build_box_resnet50(SIZE, "none")
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


def save_as(model, kind, folder):
    """The model's weights in one of the ways that people have them."""
    path = folder / {"run": "model.keras", "applications": "notop.h5"}.get(kind, f"some{kind}")
    if kind == "applications":
        save_as_applications([one for one in model.layers if one.name not in HEAD_LAYERS], path)
    elif kind == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    return folder if kind == "run" else path


@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".h5", "run", "applications"])
def test_what_is_loaded_is_what_is_used(trained, batch, tmp_path, capsys, kind):
    source = save_as(trained, kind, tmp_path)
    model = build_resnet50(SIZE, weights=str(source))
    np.testing.assert_array_equal(features(model, batch), features(trained, batch))
    printed = capsys.readouterr().out
    if kind == "applications":
        assert "106 layers" in printed and "started anew: predictions" in printed
    else:
        assert "107 layers" in printed and "started anew: none" in printed
        np.testing.assert_array_equal(output(model, batch), output(trained, batch))
    for path in tmp_path.iterdir():
        path.unlink()


def test_a_classifiers_run_starts_a_box_network_of_another_size(trained, run_folder, capsys):
    model = build_box_resnet50(64, str(run_folder))
    image = np.full((1, 64, 64, 1), 90, "uint8")
    larger = build_resnet50(64, weights=str(run_folder))
    np.testing.assert_array_equal(features(model, image), features(larger, image))
    assert "started anew: head_conv, head_bn, box_centre_size" in capsys.readouterr().out


def test_weights_of_another_standardisation_are_refused(run_folder, tmp_path):
    means = tmp_path / "means.keras"
    build_resnet50(SIZE, weights="none", standardise=False).save(means)
    for build in (build_resnet50, build_box_resnet50):
        with pytest.raises(UserError, match=r"trained with --standardise.*; give --standardise"):
            build(SIZE, weights=str(run_folder), standardise=False)
        with pytest.raises(UserError, match=r"means\.keras: was trained with --no-standardise"):
            build(SIZE, weights=str(means))
    build_resnet50(SIZE, weights=str(means), standardise=False)
    means.unlink()


def test_imagenet_weights_come_from_keras_own_file(trained, batch, tmp_path, monkeypatch):
    path = save_as(trained, "applications", tmp_path)
    asked = {}

    def get_file(name, origin, **options):
        asked.update(options, name=name, origin=origin)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    model = build_resnet50(SIZE)
    np.testing.assert_array_equal(features(model, batch), features(trained, batch))
    assert asked["origin"].endswith(asked["name"])
    assert asked["name"] == "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert asked["cache_dir"] == tmp_path / "home" and asked["cache_subdir"] == "models"
    path.unlink()


def test_all_gpu_presets_start(tmp_path, monkeypatch):
    from atrium_segmentation import networks as atrium
    from atrium_segmentation.config import GPU as OF_ATRIUM
    from heart_detection import networks as heart
    from heart_detection.config import GPU as OF_HEART
    from pneumonia_classification import networks as pneumonia
    from pneumonia_classification.config import GPU as OF_PNEUMONIA

    official = keras.applications.ResNet50(include_top=False, weights=None)
    shake(official)
    save_as_applications(official.layers, tmp_path / "notop.h5")
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(tmp_path / "notop.h5"))
    for networks, preset in ((heart, OF_HEART), (pneumonia, OF_PNEUMONIA)):
        model = networks.build(64, preset.train.weights, preset.train)
        started = [layer for layer in official.layers if layer.weights]
        assert len(started) == 106
        for layer in started:
            for mine, its in zip(model.get_layer(layer.name).weights, layer.weights, strict=True):
                np.testing.assert_array_equal(mine, its)
    for name in OF_ATRIUM.train.models:
        assert atrium.build(name, 1, OF_ATRIUM.train).count_params() > 1e6
    (tmp_path / "notop.h5").unlink()


def test_imagenet_weights_that_cannot_be_downloaded(monkeypatch, tmp_path):
    def get_file(*_, **__):
        raise Exception("URL fetch failure: no network")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        starting_weights.imagenet_file()
    message = str(caught.value)
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert str(tmp_path / "models") in message and "--weights none" in message


@pytest.fixture
def small():
    image = keras.Input((4,), name="image")
    x = keras.layers.Dense(3, name="body")(image)
    return keras.Model(image, keras.layers.Dense(2, name="head")(x), name="small")


def test_weights_that_do_not_fit_change_nothing(small, tmp_path):
    image = keras.Input((5,))
    x = keras.layers.Dense(3, name="body")(image)
    other = keras.Model(image, keras.layers.Dense(2, name="head")(x))
    other.save_weights(tmp_path / "other.weights.h5")
    before = small.get_weights()
    with pytest.raises(UserError, match=r"1 of 2 layers do; .* body, with the shapes \[\(4, 3\)"):
        take_weights(small, tmp_path / "other.weights.h5", head=["head"])
    for old, new in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_head_of_another_shape_keeps_its_own(small, tmp_path):
    image = keras.Input((4,))
    x = keras.layers.Dense(3, name="body")(image)
    other = keras.Model(image, keras.layers.Dense(7, name="head")(x))
    other.save_weights(tmp_path / "other.weights.h5")
    assert take_weights(small, tmp_path / "other.weights.h5", head=["head"]) == ["body"]


@pytest.mark.parametrize("name", ["absent.keras", "text.keras", "text.h5", "empty.keras", "."])
def test_a_file_that_is_no_weights_file(small, tmp_path, name):
    for text in ("text.keras", "text.h5"):
        (tmp_path / text).write_text("not weights")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UserError, match=str(tmp_path)):
        take_weights(small, tmp_path / name)


def test_a_heap_that_never_ends_is_refused(small, tmp_path):
    """HDF5 1.14.6 reads the name of a layer in it for ever."""
    path = tmp_path / "endless.weights.h5"
    small.save_weights(path)
    take_weights(small, path)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 4096] = b"\0" * 4080
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"endless\.weights\.h5: .*heap of names in it has no end"):
        take_weights(small, path)


def test_an_altered_keras_file_is_refused(small, tmp_path):
    path = tmp_path / "small.keras"
    small.save(path)
    take_weights(small, path)
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 30] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="Bad CRC-32"):
        take_weights(small, path)


def test_a_weights_file_may_not_point_at_another_file(small, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(48))
    with h5py.File(tmp_path / "sly.weights.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "body"
        group.create_dataset("0", (4, 3), "float32", external=[(str(secret), 0, 48)])
    with pytest.raises(UserError, match="points outside the file"):
        take_weights(small, tmp_path / "sly.weights.h5")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("image_size", 31),
        ("outputs", 0),
        ("batch_norm_momentum", 1.0),
        ("dropout", -0.1),
        ("pooling", "max"),
    ],
)
def test_a_bad_argument_is_repeated(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* Received: '?{value}"):
        build_resnet50(**{"image_size": SIZE, "weights": "none", argument: value})


def test_the_places_average_to_what_the_classifier_says(batch, tmp_path):
    model = build_resnet50(64, weights="none")
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


def test_each_edge_is_the_mean_place_of_its_map():
    model = build_box_resnet50(64, "none", pooling="extremes")
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
    model = build_box_resnet50(side, "none", pooling="extremes")
    found = output(model, np.zeros((2, side, side, 1), "float32"))
    assert found.shape == (2, 4) and (found[:, 2:] > found[:, :2]).all()


def test_the_pyramid_trains_by_xla_in_mixed_precision_as_in_float32():
    changes = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        with dtype_policy(policy):
            # Places of 13, 7 and 4 to a side.
            model = build_box_resnet50(100, "none", pooling="extremes")
        inputs = [model.get_layer(name).output for name in PYRAMID]
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
