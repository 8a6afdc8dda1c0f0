"""A ResNet50 with weights of its own, and images for it."""

import numpy as np
import pytest

from common.models.film_networks import build_classifier
from tests.helpers.model_checks import shake

SIZE = 32


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 1)).astype("uint8")


@pytest.fixture(scope="module")
def trained():
    """A classifier whose every weight differs from a fresh one's."""
    model = build_classifier(SIZE, weights="none")
    shake(model)
    return model


@pytest.fixture(scope="module")
def run_folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained.save(folder / "model.keras")
    yield folder
    (folder / "model.keras").unlink()
