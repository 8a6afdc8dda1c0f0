"""Exported models say what the models say, on films and slices."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from common import export
from common.base.errors import UserError
from common.training.runs import read_run
from tests.helpers import needs
from tests.helpers.fixtures import soft_image
from tests.helpers.scripts import CHEST, ROOT


def network(channels=1):
    import keras

    keras.utils.set_random_seed(0)
    seen = keras.Input((None, None, channels))
    hidden = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(seen / 255.0)
    return keras.Model(seen, keras.layers.Conv2D(1, 1, activation="sigmoid")(hidden))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "litert")) for name in export.FORMATS],
)
def test_what_is_opened_again_says_the_same_on_a_film_of_another_size(name, tmp_path):
    needs.package(*export._NEEDED[name])
    model, path = network(), tmp_path / export._NAMES[name]
    assert export.export(model, path, name) <= export.TOLERANCE
    film = soft_image(96, 128)[None, ..., None].astype(np.float32)
    said = export.open_exported(path, name)(film)
    np.testing.assert_allclose(said, model.predict_on_batch(film), atol=export.TOLERANCE)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_an_output_of_another_shape_is_not_kept(tmp_path, monkeypatch):
    def with_an_axis_more(path, name):
        return lambda images: network().predict_on_batch(images)[None]

    monkeypatch.setattr(export, "open_exported", with_an_axis_more)
    with pytest.raises(UserError, match=r"gives \(1, 3, 64, 64, 1\)"):
        export.export(network(), tmp_path / "model", "saved_model")
    assert not list(tmp_path.iterdir())


def test_what_says_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="says something else"):
        export.export(network(), tmp_path / "model", "saved_model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "project",
    ["atrium_segmentation", *CHEST],
)
@pytest.mark.slow
def test_the_models_of_a_run_are_held_against_its_own_images(whole, project):
    run = whole(project).run
    needs.package(*(package for packages in export._NEEDED.values() for package in packages))
    command = [sys.executable, "-m", "common.export", str(run), "--format", *export.FORMATS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    networks = [path.parent.relative_to(run) for path in run.rglob("model.keras")]
    written = [run / "export" / of / name for of in networks for name in export._NAMES.values()]
    assert all(path.exists() for path in written)
    of_data = f"at most (3 images of {whole(project).prepared})"
    assert done.stdout.count(of_data) == len(written) == 3 * len(networks)


def test_without_its_data_a_run_is_held_against_noise(whole, tmp_path):
    run = whole("atrium_segmentation").run
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["prepared"] = str(tmp_path / "nowhere")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    images, source = export.check_images(read_run(tmp_path / "run"))
    assert images is None and "noise" in source
