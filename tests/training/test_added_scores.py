"""A training that an earlier version began, which measured fewer scores."""

import keras
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


@pytest.mark.slow
def test_within_an_epoch_it_goes_on_where_a_score_has_another_number_of_thresholds(
    tmp_path, capsys
):
    of_few, of_many = ([keras.metrics.AUC(number, name="auc")] for number in (200, 2001))
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path, settings(), fault_in=1, fault_step=2, metrics=of_few)
    fit(tmp_path, settings(), metrics=of_many)
    assert "this epoch's training scores are of the steps since" in capsys.readouterr().out
    assert all(row["val_auc"] for row in history(tmp_path))
