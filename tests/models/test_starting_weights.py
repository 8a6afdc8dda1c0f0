"""The weights that a ResNet50 starts from."""

import zipfile

import h5py
import keras
import numpy as np
import pytest

from common.base.errors import UserError
from common.models import starting_weights
from common.models.backbones import BACKBONES
from common.models.film_networks import HEAD_LAYERS, build_box_network, build_classifier
from common.models.starting_weights import take_weights
from tests.helpers.model_checks import output, save_as_applications, shake
from tests.helpers.scripts import FIRST_BACKBONE_FAST

SIZE = 32


def features(model, batch):
    until = keras.Model(model.input, model.get_layer("conv5_block3_out").output)
    return output(until, batch)


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


@pytest.mark.parametrize(
    "kind",
    [
        ".weights.h5",
        "run",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (".keras", ".h5", "applications")),
    ],
)
def test_what_is_loaded_is_what_is_used(trained, batch, tmp_path, capsys, kind):
    source = save_as(trained, kind, tmp_path)
    model = build_classifier(SIZE, weights=str(source))
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
    model = build_box_network(64, str(run_folder))
    image = np.full((1, 64, 64, 1), 90, "uint8")
    larger = build_classifier(64, weights=str(run_folder))
    np.testing.assert_array_equal(features(model, image), features(larger, image))
    assert "started anew: head_conv, head_bn, box_centre_size" in capsys.readouterr().out


@pytest.mark.slow
def test_weights_of_another_standardisation_are_refused(run_folder, tmp_path):
    means = tmp_path / "means.keras"
    build_classifier(SIZE, weights="none", standardise=False).save(means)
    for build in (build_classifier, build_box_network):
        with pytest.raises(UserError, match=r"trained with --standardise.*; give --standardise"):
            build(SIZE, weights=str(run_folder), standardise=False)
        with pytest.raises(UserError, match=r"means\.keras: was trained with --no-standardise"):
            build(SIZE, weights=str(means))
    build_classifier(SIZE, weights=str(means), standardise=False)
    means.unlink()


@pytest.mark.parametrize("backbone", FIRST_BACKBONE_FAST)
def test_imagenet_weights_come_from_keras_own_file(backbone, tmp_path, monkeypatch, capsys):
    known = BACKBONES[backbone]
    options = {"include_top": False, "weights": None, "input_shape": (64, 64, 3)}
    official = known.build(**options, **known.options)
    shake(official)
    # Layers had other names when the files were written.
    path = save_as_applications(official.layers, tmp_path / "notop.h5", renamed=("_", "-"))
    asked = {}

    def get_file(name, origin, **options):
        asked.update(options, name=name, origin=origin)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    model = build_classifier(SIZE, backbone=backbone)
    with_weights = [layer for layer in official.layers if layer.weights]
    for layer in with_weights:
        for mine, its in zip(model.get_layer(layer.name).weights, layer.weights, strict=True):
            np.testing.assert_array_equal(mine, its)
    printed = capsys.readouterr().out
    assert f"{len(with_weights)} layers from imagenet; started anew: predictions\n" in printed
    assert asked["origin"] == known.file[0] + known.file[1]
    assert (asked["name"], asked["file_hash"]) == known.file[1:]
    assert asked["cache_dir"] == tmp_path / "home" and asked["cache_subdir"] == "models"

    other = next(name for name in BACKBONES if name != backbone)
    with pytest.raises(UserError, match=rf"notop\.h5: not readable as the weights of {other} "):
        starting_weights.take_imagenet(model, other)
    path.unlink()


@pytest.mark.slow
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
        model = networks.build(64, "imagenet", preset.train)
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
        starting_weights.imagenet_file("resnet50")
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
