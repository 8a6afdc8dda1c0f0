"""Exported models say what the models say, on films and slices."""

import numpy as np
import pytest

from common import export
from common.errors import UserError
from tests.common.fixtures import soft_image


def network(channels=1):
    import keras

    keras.utils.set_random_seed(0)
    seen = keras.Input((None, None, channels))
    hidden = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(seen / 255.0)
    return keras.Model(seen, keras.layers.Conv2D(1, 1, activation="sigmoid")(hidden))


@pytest.mark.parametrize("name", export.FORMATS)
def test_what_is_opened_again_says_the_same_on_a_film_of_another_size(name, tmp_path):
    for package in export._NEEDED[name]:
        pytest.importorskip(package)
    model, path = network(), tmp_path / export._NAMES[name]
    assert export.export(model, path, name) <= export.TOLERANCE
    film = soft_image(96, 128)[None, ..., None].astype(np.float32)
    said = export.open_exported(path, name)(film)
    np.testing.assert_allclose(said, model.predict_on_batch(film), atol=export.TOLERANCE)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_says_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="says something else"):
        export.export(network(), tmp_path / "model", "saved_model")
    assert not list(tmp_path.iterdir())
