"""Work for all cores, a result at a time."""

import os
import time

import pytest

from common.base.processes import stream


def square(number):
    return number * number


def note(item):
    folder, number = item
    (folder / str(number)).touch()
    return number


def die(number):
    if number == 5 and os.environ.get("PARENT") != str(os.getpid()):
        os._exit(1)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers):
    assert list(stream(square, range(50), 1, workers)) == [number**2 for number in range(50)]
    assert list(stream(square, [], 1, workers)) == []


def test_few_are_done_ahead_of_what_is_taken(tmp_path):
    results = stream(note, [(tmp_path, number) for number in range(60)], 1, 2)
    assert next(results) == 0
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 10
    assert list(results) == list(range(1, 60))


def test_a_worker_that_dies_loses_nothing(monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    assert list(stream(die, range(30), 1, 2)) == list(range(30))
