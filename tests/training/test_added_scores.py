"""A training that an earlier version began, which measured fewer scores."""

import pytest
import tensorflow as tf

from tests.helpers.fit_run import fit, history, settings


def test_between_epochs_it_goes_on_and_measures_from_there(tmp_path):
    fit(tmp_path, settings(epochs=2))
    fit(tmp_path, settings(epochs=3), metrics=("mae", "mape"))
    rows = history(tmp_path)
    assert [bool(row["val_mape"]) for row in rows] == [False, False, True]
    assert all(row["val_mae"] for row in rows)


def test_within_an_epoch_it_goes_on_and_says_what_is_not_measured(tmp_path, capsys):
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(), fault_in=1, fault_step=2)
    fit(tmp_path, settings(), metrics=("mae", "mape"))
    assert "this epoch's training scores are of the steps since" in capsys.readouterr().out
    first, second = history(tmp_path)[:2]
    assert not first["val_mape"] and second["val_mape"] and second["mape"]
