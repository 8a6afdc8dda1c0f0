"""A training that ended goes on where more epochs are asked for."""

import pytest

from tests.helpers.fit_run import assert_same, fit, history, settings


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [0.0, 0.8])
def test_a_training_that_ended_goes_on(tmp_path, averaging, capsys):
    few, all_of_them = tmp_path / "few", tmp_path / "all"
    assert fit(few, settings(ema_momentum=averaging, epochs=2)).ended
    before = history(few, ())
    fit(all_of_them, settings(ema_momentum=averaging))
    state = fit(few, settings(ema_momentum=averaging))
    assert "goes on after epoch 2\n" in capsys.readouterr().out
    assert state.ended and state.epoch == 5
    rows, unbroken = history(few, ()), history(all_of_them)
    assert rows[:2] == before
    # The learning rate is that of five epochs, but not what two of them led to.
    for row, other in zip(rows[2:], unbroken[2:], strict=True):
        assert row["learning_rate"] == other["learning_rate"]
        assert row["loss"] != other["loss"]
    # What is validated is averaged; what is trained on is the last step's weights all the same.
    if averaging:
        fit(plain := tmp_path / "plain", settings(epochs=2))
        fit(plain, settings())
        assert [row["loss"] for row in history(plain)] == [row["loss"] for row in rows]
    # As often as it is asked for, once.
    kept = (few / "checkpoint.npz").read_bytes()
    fit(few, settings(ema_momentum=averaging))
    assert (few / "checkpoint.npz").read_bytes() == kept


@pytest.mark.slow
def test_it_goes_on_as_well_where_it_had_not_ended(tmp_path):
    import tensorflow as tf

    for name in ("killed", "ended"):
        fit(tmp_path / name, settings(epochs=2))
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(tmp_path / "killed", settings(), fault_in=3, fault_step=2)
    for name in ("killed", "ended"):
        fit(tmp_path / name, settings())
    assert_same(tmp_path / "killed", tmp_path / "ended")


def test_early_stopping_stays_the_end(tmp_path, capsys):
    given = {"monitor": "val_mae", "patience": 2}
    state = fit(tmp_path, settings(epochs=9, **given))
    assert state.epoch < 9
    rows = history(tmp_path)
    assert fit(tmp_path, settings(epochs=12, **given)) == state
    assert f"ended by early stopping after epoch {state.epoch}\n" in capsys.readouterr().out
    assert history(tmp_path) == rows
