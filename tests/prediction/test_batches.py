"""In which batches files are predicted, also by a command that goes on after a kill."""

from itertools import islice

import pytest

from common.base.errors import UserError
from common.prediction.inputs import Input
from common.prediction.predictions import Predictions

BAD = (3, 6, 7)


def read(path):
    number = int(path.name)
    if number in BAD:
        raise UserError("bad")
    return number


def begun(folder, rows=()):
    folder.mkdir(exist_ok=True)
    names = [f"{number}" for number in range(12)]
    inputs = [Input(n, folder / name, name, name, name) for n, name in enumerate(names)]
    return Predictions(folder, inputs, {}, "", dict(rows))


def batches(predictions, count=None):
    """The numbers of some batches, each of which gets its rows before the next is read."""
    made = predictions.read(read, 4, 1, lambda content: "")
    found = []
    for batch in islice(made, count):
        predictions.add([{"file": file.file} for file, _ in batch])
        found.append([content for _, content in batch])
    made.close()
    return found


@pytest.mark.slow
def test_a_command_that_goes_on_has_the_batches_of_an_unbroken_one(tmp_path):
    unbroken = [[0, 1, 2], [4, 5], [8, 9, 10, 11]]
    assert batches(begun(tmp_path / "whole")) == unbroken
    killed = begun(tmp_path / "killed")
    assert batches(killed, 1) == unbroken[:1]
    # While a batch is predicted, the rows of later files that cannot be read are written.
    rows = killed.rows | {name: {"file": name, "error": "bad"} for name in "67"}
    assert batches(begun(tmp_path / "killed", rows)) == unbroken[1:]
