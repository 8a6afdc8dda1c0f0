"""A checkpoint that cannot be gone on from is named."""

import numpy as np
import pytest

from common.base.errors import UserError
from tests.helpers.fit_run import assert_same, fit, history, settings
from tests.helpers.fixtures import names


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    fit(run, settings())
    return run / "checkpoint.npz"


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def altered(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def other(path):
    path.write_bytes(b"of another kind")


def of_another_model(path):
    with np.load(path) as saved:
        kept = {name: saved[name] for name in saved.files}
    kept["v0"] = np.zeros((7, 7))
    np.savez(path, **kept)


def with_too_few(path):
    with np.load(path) as saved:
        kept = {name: saved[name] for name in saved.files if name != "v1"}
    np.savez(path, **kept)


@pytest.mark.damaged
@pytest.mark.parametrize("damage", [cut, altered, empty, other, of_another_model, with_too_few])
def test_a_damaged_checkpoint_is_named(checkpoint, tmp_path, damage):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(checkpoint.read_bytes())
    damage(path)
    with pytest.raises(UserError, match=r"checkpoint\.npz: is damaged or of another model; remove"):
        fit(tmp_path, settings())
    assert names(tmp_path) == ["checkpoint.npz"]


@pytest.mark.slow
def test_the_order_is_that_of_the_beginning_whatever_has_become_slow_to_find(tmp_path):
    import tensorflow as tf

    few = settings(epochs=2)
    fit(tmp_path / "unbroken", few, in_blocks=True)
    fit(tmp_path / "other", few)
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path / "broken", few, in_blocks=True, fault_in=0, fault_step=3)
    fit(tmp_path / "broken", few, in_blocks=False)
    assert_same(tmp_path / "unbroken", tmp_path / "broken")
    assert history(tmp_path / "unbroken") != history(tmp_path / "other")
