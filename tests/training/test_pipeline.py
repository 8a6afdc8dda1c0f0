"""Shards to batches."""

import numpy as np
import pytest
import tensorflow as tf

from common.base.files import sha256
from common.records.prepared import Prepared
from common.records.stored_images import png
from common.training import pipeline

COUNT = 24
BATCH = 4


def batches(
    first_epoch=0, epochs=3, first_step=0, steps=COUNT // BATCH, seed=5, count=COUNT, **options
):
    """What each step is given: a list of samples, and the seed."""
    given = pipeline.Training(
        tf.data.Dataset.range(count), steps, BATCH, seed, epochs,
        to_inputs=lambda samples, drawn: (samples, drawn), **options,
    ).batches(first_epoch, first_step)  # fmt: skip
    return [(list(samples), tuple(drawn)) for samples, drawn in given.as_numpy_iterator()]


def test_an_epoch_is_the_same_wherever_training_started():
    whole = batches(0, 4)
    assert batches(2, 4) == whole[12:]
    assert batches(3, 4) == whole[18:]
    assert batches(1, 4, first_step=4) == whole[10:]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_epoch_is_the_same_whatever_was_drawn_before(seed):
    tf.random.set_seed(1)
    first = batches()
    tf.random.set_seed(seed)
    drawn = float(tf.random.uniform(()))
    list(tf.data.Dataset.range(9).shuffle(9))
    assert batches() == first
    tf.random.set_seed(seed)
    batches()
    assert float(tf.random.uniform(())) == drawn


@pytest.mark.parametrize("steps", [1, 5, 6, 15])
def test_as_many_steps_as_asked_for(steps):
    assert len(batches(1, 4, steps=steps)) == 3 * steps
    assert all(len(samples) == BATCH for samples, _ in batches(0, 1, steps=steps))


def test_every_record_is_seen_once_an_epoch():
    found = batches(0, 3)
    orders = [[one for samples, _ in found[6 * k : 6 * k + 6] for one in samples] for k in range(3)]
    for order in orders:
        assert sorted(order) == list(range(COUNT))
    assert len({tuple(order) for order in orders}) == 3


def test_more_steps_than_records_repeat_them_evenly():
    found = [one for samples, _ in batches(0, 1, steps=12) for one in samples]
    assert sorted(found) == sorted([*range(COUNT)] * 2)


def test_repeated_records_come_as_often_as_asked():
    records = tf.data.Dataset.range(400)

    def often(epoch):
        given = pipeline.repeated(
            records, lambda one: tf.where(one < 200, 1.0, 2.5), tf.constant(epoch, tf.int64)
        )
        return np.bincount(list(given.as_numpy_iterator()), minlength=400)

    one, other = often(1), often(2)
    for found in (one, other):
        assert (found[:200] == 1).all() and set(found[200:]) == {2, 3}
        assert found[200:].mean() == pytest.approx(2.5, abs=0.15)
    assert (one != other).any()
    np.testing.assert_array_equal(often(1), one)


def test_another_seed_gives_another_order_and_other_draws():
    one, other = batches(seed=5), batches(seed=6)
    assert one[0] != other[0]
    assert not {drawn for _, drawn in one} & {drawn for _, drawn in other}


def test_no_two_steps_draw_alike():
    drawn = [drawn for _, drawn in batches(0, 5)]
    assert len(set(drawn)) == len(drawn) == 30


def test_one_record_of_many_samples():
    def slices(records, seed):
        return records.flat_map(
            lambda record: tf.data.Dataset.range(3).map(lambda s: record * 3 + s)
        )

    found = batches(0, 2, count=8, to_samples=slices)
    orders = [[one for samples, _ in found[6 * k : 6 * k + 6] for one in samples] for k in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(24))
    assert orders[0] != orders[1]
    # The samples of one record do not stay side by side.
    assert sum(a // 3 == b // 3 for a, b in zip(orders[0], orders[0][1:], strict=False)) < 8
    assert batches(1, 2, count=8, to_samples=slices) == found[6:]


SIDE = 16
FILMS = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), np.uint8)


def example(number):
    features = tf.train.Features(
        feature={
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(FILMS[number])])),
            "case": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"c%d" % number])),
            "box": tf.train.Feature(float_list=tf.train.FloatList(value=[number, 1, 2, 3])),
        }
    )
    return tf.train.Example(features=features).SerializeToString()


@pytest.fixture
def prepared(tmp_path):
    """Two shards that train and one that tests."""
    (tmp_path / "records").mkdir()
    shards = {}
    for split, name, numbers in (
        ("train", "a", (0, 1)),
        ("train", "b", (2,)),
        ("test", "c", (3, 4)),
    ):
        path = tmp_path / "records" / name
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in numbers:
                writer.write(example(number))
        about = {"file": name, "records": len(numbers), "bytes": path.stat().st_size}
        shards.setdefault(split, []).append({**about, "sha256": sha256(path)})
    return Prepared(tmp_path, {"shards": shards, "settings": {"image_size": SIDE}})


def test_radiographs_come_in_order_with_their_targets(prepared):
    found = pipeline.radiographs(prepared, ["train", "test"], SIDE, "box", 4)
    assert int(found.cardinality()) == 5
    for number, one in enumerate(found.as_numpy_iterator()):
        assert one["case"] == b"c%d" % number
        np.testing.assert_array_equal(one["image"][..., 0], FILMS[number])
        np.testing.assert_array_equal(one["box"], [number, 1, 2, 3])
    assert number == 4


def test_radiographs_of_one_split_at_another_side(prepared):
    found = list(pipeline.radiographs(prepared, ["test"], 8, "box", 4).as_numpy_iterator())
    assert [one["case"] for one in found] == [b"c3", b"c4"]
    assert found[0]["image"].shape == (8, 8, 1)


def test_records_too_large_for_memory_are_read_again(prepared, monkeypatch):
    monkeypatch.setattr(pipeline, "CACHED_BYTES", 10)
    found = pipeline.radiographs(prepared, ["train"], SIDE, "box", 4)
    for _ in range(2):
        assert [one["case"] for one in found.as_numpy_iterator()] == [b"c0", b"c1", b"c2"]


def test_films_of_some_cases(prepared):
    found = pipeline.stored_films(prepared, ["train", "test"], "box", 4, ["c3", "c1", "none"])
    assert sorted(found) == ["c1", "c3"]
    np.testing.assert_array_equal(found["c3"], FILMS[3])
