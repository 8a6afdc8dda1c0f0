"""Shards to batches."""

import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.base.errors import UserError
from common.base.files import sha256
from common.records.mapped import MappedRecords
from common.records.prepared import Prepared
from common.records.stored_images import png
from common.training import fitting, pipeline
from tests.helpers.fit_run import points, settings, validation

COUNT = 24
BATCH = 4


def numbered(count):
    return pipeline.in_memory({"number": np.arange(count)})


def batches(first_epoch=0, epochs=3, first_step=0, seed=5, samples=None):
    """What each step is given: a list of samples, and the seed."""
    given = pipeline.Training(
        numbered(COUNT) if samples is None else samples, BATCH, seed, epochs,
        to_inputs=lambda batch, drawn: (batch["number"], drawn),
    ).batches(first_epoch, first_step)  # fmt: skip
    return [(list(numbers), tuple(drawn)) for numbers, drawn in given.as_numpy_iterator()]


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


@pytest.mark.parametrize("count", [1, 3, 4, 5, 24, 26])
def test_an_epoch_has_all_samples_in_batches_of_one_size(count):
    found = batches(1, 4, samples=numbered(count))
    steps = -(-count // BATCH)
    assert len(found) == 3 * steps
    for epoch in range(3):
        of_epoch = [numbers for numbers, _ in found[epoch * steps : (epoch + 1) * steps]]
        assert {len(numbers) for numbers in of_epoch} == {BATCH}
        counts = np.bincount(np.concatenate(of_epoch), minlength=count)
        assert counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_every_epoch_has_an_order_of_its_own():
    found = batches(0, 3)
    orders = [[one for numbers, _ in found[6 * k : 6 * k + 6] for one in numbers] for k in range(3)]
    assert len({tuple(order) for order in orders}) == 3


def test_samples_that_are_to_come_more_often_do():
    times = np.where(np.arange(COUNT) < 6, 2.5, 1.0)
    samples = dataclasses.replace(numbered(COUNT), times=times)
    found = batches(0, 2, samples=samples)
    # 33 samples, filled up.
    assert len(found) == 2 * 9
    counts = np.bincount(np.concatenate([numbers for numbers, _ in found[:9]]), minlength=COUNT)
    assert counts.min() >= 1 and counts[:6].min() >= 2


def test_the_next_epoch_is_read_before_one_ends():
    read = []

    def note(numbers):
        read.append(len(numbers))
        return numbers

    samples = pipeline.Samples(
        COUNT, lambda numbers, seed: {"n": tf.numpy_function(note, [numbers], tf.int64)}
    )
    training = pipeline.Training(samples, BATCH, 0, 9, lambda batch, _: batch["n"])
    batches = iter(training.batches())
    for _ in range(training.steps):
        next(batches)
    end = time.monotonic() + 20
    while len(read) <= training.steps and time.monotonic() < end:
        time.sleep(0.01)
    assert len(read) > training.steps


def test_another_seed_gives_another_order_and_other_draws():
    one, other = batches(seed=5), batches(seed=6)
    assert one[0] != other[0]
    assert not {drawn for _, drawn in one} & {drawn for _, drawn in other}


def test_no_two_steps_draw_alike():
    drawn = [drawn for _, drawn in batches(0, 5)]
    assert len(set(drawn)) == len(drawn) == 30


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
    found = pipeline.radiographs(prepared, ["train", "test"], SIDE, {"box": 4})
    assert int(found.cardinality()) == 5
    for number, one in enumerate(found.as_numpy_iterator()):
        assert one["case"] == b"c%d" % number
        np.testing.assert_array_equal(one["image"][..., 0], FILMS[number])
        np.testing.assert_array_equal(one["box"], [number, 1, 2, 3])
    assert number == 4


def test_some_radiographs_are_read_from_the_files_that_hold_them_alone(prepared):
    def cases(records):
        found = pipeline.radiographs(prepared, ["train", "test"], SIDE, {"box": 4}, records)
        assert int(found.cardinality()) == len(records)
        return [one["case"].decode() for one in found.as_numpy_iterator()]

    for start in range(5):
        for stop in range(start + 1, 6):
            assert cases(range(start, stop)) == [f"c{n}" for n in range(start, stop)]
    # Two before them: not decoded, and in files of their own not even there.
    (prepared.folder / "records" / "a").unlink()
    assert cases(range(2, 4)) == ["c2", "c3"]
    with pytest.raises(UserError, match="a: is missing"):
        cases(range(1, 4))


def test_radiographs_of_one_split_at_another_side(prepared):
    found = list(pipeline.radiographs(prepared, ["test"], 8, {"box": 4}).as_numpy_iterator())
    assert [one["case"] for one in found] == [b"c3", b"c4"]
    assert found[0]["image"].shape == (8, 8, 1)


@pytest.mark.parametrize("kept_bytes", [1 << 30, 10])
@pytest.mark.parametrize("is_quick", [True, False])
def test_records_are_read_in_any_order(prepared, monkeypatch, kept_bytes, is_quick):
    # Decoded once, or too large for that; on a disk that turns, or not.
    monkeypatch.setattr(pipeline, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(MappedRecords, "are_quick_to_find", is_quick)
    decode = pipeline.film_decoder(prepared, SIDE, {"box": 4})
    samples = pipeline.in_records(prepared, ["train", "test"], decode)
    assert samples.count == 5 and samples.in_blocks == (not is_quick and kept_bytes <= 10)
    training = pipeline.Training(samples, 2, 0, 2, lambda batch, _: batch)
    found = [*training.batches().as_numpy_iterator()]
    assert len(found) == 6
    for batch in found:
        assert batch["image"].shape == (2, SIDE, SIDE, 1)
        for case, image, box in zip(batch["case"], batch["image"], batch["box"], strict=True):
            number = int(case[1:])
            np.testing.assert_array_equal(image[..., 0], FILMS[number])
            np.testing.assert_array_equal(box, [number, 1, 2, 3])
    cases = training.cases(1, 2)
    assert cases == [case.decode() for case in dict.fromkeys(found[5]["case"])]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 8])
def test_a_mean_over_batches_is_the_mean_over_samples(batch_size):
    # Keras has the mean loss of a batch, and weighs batches by their size.
    x, y = np.arange(5, dtype=np.float32)[:, None], np.zeros((5, 1), np.float32)
    data = pipeline.validation(
        pipeline.in_memory({"x": x, "y": y}), batch_size, lambda batch: (batch["x"], batch["y"])
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model.compile(loss="mse", weighted_metrics=["mae", keras.metrics.AUC(name="auc")])
    found = model.evaluate(data, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(np.mean(x**2), rel=1e-6)
    assert found["mae"] == pytest.approx(np.mean(x), rel=1e-6)
    assert len({len(batch) for batch, *_ in data.as_numpy_iterator()}) == 1


def test_every_device_has_a_part_of_a_validation_batch(monkeypatch):
    monkeypatch.setattr(pipeline, "device_count", lambda: 2)
    three = pipeline.in_memory({"image": np.arange(3.0)})
    [(images, targets, weights)] = pipeline.validation(
        three, 8, lambda batch: (batch["image"], batch["image"])
    ).as_numpy_iterator()
    assert images.tolist() == targets.tolist() == [0, 1, 2, 0]
    assert weights[3] == 0 and np.average(images, weights=weights) == 1
    # Keras takes the mean over the batch.
    assert (images * weights).mean() == pytest.approx(1)


def test_validation_weighs_each_of_several_targets():
    samples = pipeline.in_memory({"x": np.zeros((3, 1)), "y": np.zeros(3)})
    data = pipeline.validation(samples, 2, lambda batch: (batch["x"], (batch["y"], batch["y"])))
    weights = [weights for *_, weights in data.as_numpy_iterator()]
    np.testing.assert_allclose(weights, [[[4 / 3] * 2] * 2, [[4 / 3, 0]] * 2])


def test_films_of_some_cases(prepared):
    found = dict(pipeline.stored_films(prepared, ["train", "test"], ["c3", "c1", "none"]))
    assert sorted(found) == ["c1", "c3"]
    np.testing.assert_array_equal(found["c3"], FILMS[3])


def test_a_side_above_the_stored_one_is_told(prepared, capsys):
    assert pipeline.film_size(prepared, 0) == pipeline.film_size(prepared, SIDE) == SIDE
    assert capsys.readouterr().out == ""
    assert pipeline.film_size(prepared, 2 * SIDE) == 2 * SIDE
    told = (
        f"--image-size {2 * SIDE} is above the {SIDE} pixels that were prepared: films are enlarged"
    )
    assert told in capsys.readouterr().out
    film = next(pipeline.radiographs(prepared, ["test"], 2 * SIDE, {"box": 4}).as_numpy_iterator())
    assert film["image"].shape == (2 * SIDE, 2 * SIDE, 1)


def test_no_epoch_is_compiled_anew(tmp_path):
    # Of 26 samples in batches of 4 the last is filled up, and so is that of 10 which validate.
    traced = []

    class Traced(keras.Model):
        def train_step(self, data):
            traced.append("train")
            return super().train_step(data)

        def test_step(self, data):
            traced.append("test")
            return super().test_step(data)

    image = keras.Input((3,))
    model = Traced(image, keras.layers.Dense(1)(image))
    x, y = points(count=26)
    samples = pipeline.in_memory({"x": x, "y": y})
    batches = pipeline.Training(samples, 4, 0, 3, lambda batch, _: (batch["x"], batch["y"]))
    task = fitting.Task(batches, validation(*points(count=10), 4), "mse", ["mae"])
    fitting.fit(tmp_path, lambda: model, task, settings(epochs=3))
    # Keras traces once to build its metrics.
    assert traced == ["test", "test", "train"]
