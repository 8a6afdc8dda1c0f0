"""Single records of shards."""

import numpy as np
import pytest
import tensorflow as tf

from common.records import mapped
from common.records.mapped import MappedRecords


@pytest.fixture
def shards(tmp_path):
    """Three shards, one of them empty, and their records."""
    random = np.random.default_rng(0)
    records = [random.bytes(int(size)) for size in random.integers(0, 5000, 30)]
    files = [tmp_path / name for name in "abc"]
    for file, part in zip(files, (records[:13], [], records[13:]), strict=True):
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in part:
                writer.write(record)
    return files, records


def test_any_record_is_that_of_tensorflow(shards):
    files, records = shards
    found = MappedRecords(files)
    assert len(found) == 30
    for number in np.random.default_rng(1).permutation(30):
        assert found[number] == records[number]
    assert list(tf.data.TFRecordDataset([str(f) for f in files]).as_numpy_iterator()) == [*found]


def test_there_is_none_beyond_the_last(shards):
    with pytest.raises(IndexError):
        MappedRecords(shards[0])[30]


@pytest.mark.parametrize("size", [3, 15, -1])
def test_a_file_of_something_else(tmp_path, size):
    file = tmp_path / "a"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"1234")
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match="a: is no TFRecord file"):
        MappedRecords([file])


@pytest.mark.parametrize(("first", "last"), [(0, 30), (12, 14), (29, 30), (0, 13)])
def test_records_are_announced_over_the_ends_of_files(shards, first, last):
    found = MappedRecords(shards[0])
    # A file that notes what it is asked for, and does it.
    noted = {}

    class Noting:
        def __init__(self, view):
            self.view = view

        def madvise(self, option, start, size):
            noted[self.view] = (start, start + size)
            self.view.madvise(option, start, size)

    maps = list(found._maps)
    found._maps = [Noting(view) for view in maps]
    found.announce(first, last)
    for number in range(first, last):
        view = maps[0 if number < 13 else 1]
        start, end = noted[view]
        assert view[start:end].count(shards[1][number])


def test_records_that_fit_into_memory_are_quick_to_find(shards, monkeypatch):
    found = MappedRecords(shards[0])
    assert found.are_quick_to_find
    monkeypatch.setattr(mapped, "free_memory", lambda: 1000)
    for turns in (True, False):
        monkeypatch.setattr(mapped, "_turns", lambda file, turns=turns: turns)
        assert found.are_quick_to_find != turns
