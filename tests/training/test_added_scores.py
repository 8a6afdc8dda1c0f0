"""A training that an earlier version began, which measured fewer scores."""

import pytest
import tensorflow as tf

from common.base.errors import UserError
from tests.helpers.fit_run import fit, history, settings


def test_between_epochs_it_goes_on_and_measures_from_there(tmp_path):
    fit(tmp_path, settings(epochs=2))
    fit(tmp_path, settings(epochs=3), metrics=("mae", "mape"))
    rows = history(tmp_path)
    assert [bool(row["val_mape"]) for row in rows] == [False, False, True]
    assert all(row["val_mae"] for row in rows)


def test_within_an_epoch_it_is_refused_and_the_remedy_named(tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(), fault_in=1, fault_step=2)
    with pytest.raises(UserError, match=r"checkpoint.npz: is of a version that measured other sc"):
        fit(tmp_path, settings(), metrics=("mae", "mape"))
    (tmp_path / "checkpoint.npz").unlink()
    fit(tmp_path, settings(epochs=1), metrics=("mae", "mape"))
    assert history(tmp_path)[0]["val_mape"]
