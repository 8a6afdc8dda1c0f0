"""A model on disk is float32 and says what was trained, whatever precision trained it."""

import os
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from common import export
from common.base.errors import UserError
from common.base.film_settings import BACKBONES
from common.explaining.gradcam import gradcam, gradient_maps
from common.models.fcn8 import build_fcn8
from common.models.film_networks import build_box_network, build_classifier
from common.models.stored import in_float32, load_model, save_model
from common.models.unet import build_unet
from tests.helpers import needs
from tests.helpers.fit_run import fit, points, settings
from tests.helpers.model_checks import dtype_policy, output, shake

MIXED = ("mixed_bfloat16", "mixed_float16")


def precisions_in(path):
    """The formats that a model's configuration names."""
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    return set(re.findall(r"b?float\d+", config))


def small():
    """A network with a convolution that Grad-CAM sees, and one number."""
    image = keras.Input((16, 16, 1), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image / 255.0)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(1, "sigmoid", dtype="float32", name="out")(x))


@pytest.mark.parametrize("precision", ["float32", "onednn_bfloat16", *MIXED])
def test_what_a_training_saves_is_float32(tmp_path, precision):
    before = keras.config.dtype_policy()
    try:
        state = fit(tmp_path, settings(epochs=2, precision=precision, ema_momentum=0.5))
    finally:
        keras.config.set_dtype_policy(before)
    assert precisions_in(tmp_path / "model.keras") == {"float32"}
    model = load_model(tmp_path / "model.keras")
    x, y = points(1.0, 12, 1)
    assert np.mean((output(model, x) - y) ** 2) == pytest.approx(state.best, rel=0.03)


OPENED = """
import sys
import keras, numpy as np
assert keras.__version__ == sys.argv[1], keras.__version__
data = np.load(sys.argv[3])
model = keras.saving.load_model(sys.argv[2], compile=False)
outputs = keras.tree.flatten(model.predict(data["images"], verbose=0))
for number, values in enumerate(outputs):
    np.testing.assert_allclose(values, data[str(number)], atol=1e-6)
"""


def saved_networks(folder):
    """Each kind of network with drawn weights, saved with what it answers to some images."""
    networks = [
        *(
            (build_classifier(64, weights="none", backbone=name), (2, 64, 64, 1))
            for name in BACKBONES
        ),
        (build_unet(3, 1, width=4, depth=2), (2, 32, 32, 3)),
        (build_fcn8(3, 1, width=4), (2, 32, 32, 3)),
    ]
    for number, (model, shape) in enumerate(networks):
        shake(model)
        images = np.random.default_rng(number).uniform(0, 255, shape).astype("float32")
        save_model(model, folder / f"{number}.keras")
        outputs = keras.tree.flatten(model.predict(images, verbose=0))
        answers = {str(place): values for place, values in enumerate(outputs)}
        np.savez(folder / f"{number}.npz", images=images, **answers)
    return len(networks)


def test_a_saved_model_is_as_it_was_and_names_no_argument_that_older_keras_lacks(tmp_path):
    model = build_box_network(64, weights="none")
    shake(model)
    save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert archive.testzip() is None
        config = archive.read("config.json").decode()
    assert "BatchNormalization" in config
    assert not re.search("renorm|quantization_config|input_axes|output_axes", config)
    loaded = load_model(tmp_path / "model.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype("float32")
    np.testing.assert_array_equal(output(loaded, images), output(model, images))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12.4", "3.13.2", "3.14.1"])
def test_a_saved_model_opens_in_the_keras_of_three_minor_versions_before(version, tmp_path):
    count = saved_networks(tmp_path)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*install, "--target", tmp_path / "older", f"keras=={version}"], check=True)
    for number in range(count):
        files = (tmp_path / f"{number}.keras", tmp_path / f"{number}.npz")
        done = subprocess.run(
            [sys.executable, "-c", OPENED, version, *map(str, files)],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "older")},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("policy", MIXED)
def test_an_older_file_that_is_mixed_is_loaded_as_float32(tmp_path, policy):
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype("float32")
    with dtype_policy(policy):
        mixed = small()
        shake(mixed)
        mixed.save(tmp_path / "model.keras")
    assert precisions_in(tmp_path / "model.keras") != {"float32"}
    model = load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    plain = small()
    plain.set_weights(mixed.get_weights())
    np.testing.assert_array_equal(output(model, images), output(plain, images))
    np.testing.assert_allclose(output(model, images), output(mixed, images), atol=0.02)
    maps = gradcam(model, images, "conv")
    np.testing.assert_allclose(maps, gradcam(plain, images, "conv"), atol=1e-5)
    assert maps.max() == 1 or gradient_maps(plain, images, "conv").max() <= 0


@pytest.mark.slow
@pytest.mark.parametrize("name", export.FORMATS)
def test_an_older_file_that_is_mixed_is_exported(tmp_path, name):
    needs.package(*export._NEEDED[name])
    with dtype_policy("mixed_bfloat16"):
        build_unet(width=2, depth=2).save(tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    assert export.export(model, tmp_path / export._NAMES[name], name) <= export.TOLERANCE


@pytest.mark.slow
def test_every_network_is_copied_with_its_operations():
    boxes = np.random.default_rng(0).uniform(0, 255, (2, 33, 33, 1)).astype("float32")
    slices = boxes[:, :32, :32]
    for build, images in (
        (lambda: build_box_network(33, "none", pooling="extremes"), boxes),
        (lambda: build_unet(width=2, depth=3, deep_supervision=2), slices),
    ):
        with dtype_policy("mixed_bfloat16"):
            mixed = build()
            copy = in_float32(mixed)
        assert copy.name == mixed.name
        plain = build()
        assert in_float32(plain) is plain
        plain.set_weights(mixed.get_weights())
        found = keras.tree.flatten(copy(images, training=False))
        for mine, its in zip(found, keras.tree.flatten(plain(images, training=False)), strict=True):
            np.testing.assert_allclose(mine, its, atol=1e-6)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"model\.keras: there is no such model"):
        load_model(tmp_path / "model.keras")


def test_a_model_that_is_damaged(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    for content in (b"", b"no model", path.read_bytes()[:-50]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.keras: cannot be loaded"):
            load_model(path)


def test_a_model_that_would_run_code_is_not_loaded(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path / "model.keras")
