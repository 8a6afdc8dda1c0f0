"""Networks with weights that were trained elsewhere, next to those that they were trained in."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.applications.imagenet_utils import preprocess_input

from common import convert_weights
from common.base.errors import UserError
from common.models.backbones import BACKBONES, build_backbone
from common.models.converted_weights import LAYOUTS, convert
from common.models.film_networks import build_box_network, build_classifier
from tests.helpers import torch_writer
from tests.helpers.model_checks import save_as_applications, shake
from tests.helpers.scripts import ROOT, printed

SIDE = 64


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, SIDE, SIDE, 1)).astype(np.float32)


def same(network, films, expected):
    here = build_backbone(network.name, SIDE, standardise=False)
    here.set_weights(network.get_weights())
    found = here.predict_on_batch(films)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet50", "densenet121"])
def test_radimagenets_network_gives_here_what_it_gave_there(backbone, films, tmp_path):
    official = BACKBONES[backbone].build(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    shake(official)
    path = save_as_applications(official.layers, tmp_path / "notop.h5")
    there = preprocess_input(np.repeat(films, 3, axis=-1)) / 255
    same(convert(path, "radimagenet", backbone), films, official.predict_on_batch(there))
    path.unlink()


def drawn_densenet(channels=1):
    """The arrays of torchvision's DenseNet121, by their names."""
    rng = np.random.default_rng(0)
    arrays = {}

    def conv(name, filters, width, side):
        size = (filters, width, side, side)
        arrays[f"{name}.weight"] = rng.normal(0, (2 / width) ** 0.5 / side, size)

    def norm(name, width):
        arrays[f"{name}.weight"] = rng.uniform(0.8, 1.2, width)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, width)
        arrays[f"{name}.running_mean"] = rng.normal(0, 0.1, width)
        arrays[f"{name}.running_var"] = rng.uniform(0.8, 1.2, width)

    conv("features.conv0", 64, channels, 7)
    arrays["features.conv0.weight"] /= 1000
    norm("features.norm0", 64)
    width = 64
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, layers + 1):
            place = f"features.denseblock{block}.denselayer{layer}"
            norm(f"{place}.norm1", width)
            conv(f"{place}.conv1", 128, width, 1)
            norm(f"{place}.norm2", 128)
            conv(f"{place}.conv2", 32, 128, 3)
            width += 32
        if block < 4:
            norm(f"features.transition{block}.norm", width)
            conv(f"features.transition{block}.conv", width // 2, width, 1)
            width //= 2
    norm("features.norm5", width)
    arrays["classifier.weight"], arrays["classifier.bias"] = np.zeros((18, width)), np.zeros(18)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def torch_densenet(arrays, images):
    """torchvision's DenseNet121 until its last ReLU, by TensorFlow's operations."""

    def conv(x, name, step=1):
        kernel = arrays[f"features.{name}.weight"].transpose(2, 3, 1, 0)
        pad = kernel.shape[0] // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return tf.nn.conv2d(x, kernel, step, "VALID")

    def norm_relu(x, name):
        weight, bias, mean, variance = (
            arrays[f"features.{name}.{kind}"]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return tf.nn.relu((x - mean) / np.sqrt(variance + 1e-5) * weight + bias)

    x = norm_relu(conv(images, "conv0", 2), "norm0")
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, layers + 1):
            place = f"denseblock{block}.denselayer{layer}"
            new = conv(norm_relu(x, f"{place}.norm1"), f"{place}.conv1")
            new = conv(norm_relu(new, f"{place}.norm2"), f"{place}.conv2")
            x = tf.concat([x, new], -1)
        if block < 4:
            x = conv(norm_relu(x, f"transition{block}.norm"), f"transition{block}.conv")
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    return norm_relu(x, "norm5").numpy()


def as_module(arrays):
    """The arrays as a module within modules."""
    within = {}
    for name, array in arrays.items():
        first, _, rest = name.partition(".")
        if rest:
            within.setdefault(first, {})[rest] = array
    own = {name: array for name, array in arrays.items() if "." not in name}
    return torch_writer.Module(own, {name: as_module(part) for name, part in within.items()})


@pytest.fixture(scope="module")
def densenet():
    return drawn_densenet()


@pytest.mark.slow
@pytest.mark.parametrize(("is_whole", "is_old"), [(True, True), (False, False)])
def test_torchxrayvisions_network_gives_here_what_it_gave_there(
    is_whole, is_old, densenet, films, tmp_path
):
    saved = as_module(densenet) if is_whole else {"state_dict": densenet}
    path = torch_writer.save(saved, tmp_path / "best.pt", is_old)
    # As torchxrayvision.datasets.normalize has it.
    there = (2 * (films / 255) - 1) * 1024
    network = convert(path, "torchxrayvision", "densenet121")
    same(network, films, torch_densenet(densenet, there))
    path.unlink()


def converted(*line, code=0):
    command = [sys.executable, "-m", "common.convert_weights", *map(str, line)]
    return printed(subprocess.run(command, cwd=ROOT, capture_output=True, text=True), code)


@pytest.mark.slow
def test_what_is_written_starts_a_training(densenet, films, tmp_path, capsys):
    path = torch_writer.save(densenet, tmp_path / "best.pt")
    output = tmp_path / "new" / "chex.keras"
    line = [path, "--layout", "torchxrayvision", "--output", output]
    said = converted(*line)
    assert f"--backbone densenet121 --no-standardise --weights {output}" in said
    model = build_classifier(SIDE, weights=str(output), backbone="densenet121", standardise=False)
    assert "241 layers" in capsys.readouterr().out
    body = keras.Model(model.input, model.get_layer("pool").input, name="densenet121")
    same(body, films, torch_densenet(densenet, (2 * (films / 255) - 1) * 1024))
    with pytest.raises(UserError, match="--no-standardise"):
        build_box_network(SIDE, weights=str(output), backbone="densenet121")
    assert "is there already" in converted(*line, code=2)
    output.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: arrays.pop("features.norm5.bias"),
            r"best\.pt: lacks features\.norm5\.b",
        ),
        (
            lambda arrays: arrays.pop("features.denseblock2.denselayer3.conv1.weight"),
            r"best\.pt: is no densenet121 .*: conv3_block3_1_conv is nothing in it",
        ),
        (
            lambda arrays: arrays.update({"features.conv0.weight": np.zeros((64, 3, 7, 7), "f4")}),
            r"best\.pt: is no densenet121 of --layout torchxrayvision: conv1_conv",
        ),
    ],
)
def test_a_network_that_is_another_is_refused(change, message, densenet, tmp_path):
    arrays = dict(densenet)
    change(arrays)
    path = torch_writer.save(arrays, tmp_path / "best.pt")
    with pytest.raises(UserError, match=message):
        convert(path, "torchxrayvision", "densenet121")
    path.unlink()


def test_the_command_takes_every_layout():
    assert set(convert_weights._LAYOUTS) == set(LAYOUTS)


def test_a_file_of_another_layout_is_refused(tmp_path):
    (tmp_path / "notop.h5").write_bytes(b"text")
    with pytest.raises(UserError, match=r"notop\.h5: not readable as the weights of resnet50"):
        convert(tmp_path / "notop.h5", "radimagenet", "resnet50")
