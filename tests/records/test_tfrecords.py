"""TFRecord files that are written without TensorFlow, against TensorFlow's own, byte by byte."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from common.base.files import ROOT
from common.records.mapped import MappedRecords
from common.records.tfrecords import as_example, texts_of, write_records

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda values: np.array(values, np.int64))
FLOATS = st.lists(st.floats(width=32)).map(lambda values: np.array(values, np.float32))
FEATURES = st.dictionaries(
    st.text(max_size=8), st.binary(max_size=300) | st.text() | st.integers(-9, 9) | NUMBERS | FLOATS
)


def tensorflows(features) -> bytes:
    """The example that TensorFlow makes of features."""

    def feature(value):
        if isinstance(value, (str, bytes)):
            content = value.encode() if isinstance(value, str) else value
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
        array = np.asarray(value)
        if array.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=array.ravel()))
        return tf.train.Feature(float_list=tf.train.FloatList(value=array.ravel()))

    named = {name: feature(value) for name, value in features.items()}
    example = tf.train.Example(features=tf.train.Features(feature=named))
    return example.SerializeToString(deterministic=True)


@given(FEATURES)
def test_an_example_is_tensorflows(features):
    assert as_example(features) == tensorflows(features)
    assert as_example(dict(reversed(features.items()))) == as_example(features)


def test_arrays_of_any_shape_and_type_are_lists_of_numbers():
    boxes = np.arange(8, dtype=np.float64).reshape(2, 4) / 3
    for value in (
        boxes,
        boxes[:0],
        np.float32(0.1),
        7,
        0.1,
        True,
        np.array([1, 2], np.uint8),
        [1, 2],
    ):
        own = np.asarray(value).astype(
            np.int64 if np.asarray(value).dtype.kind in "iub" else np.float32
        )
        assert as_example({"x": value}) == tensorflows({"x": own})


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_a_file_is_tensorflows(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("records")
    with tf.io.TFRecordWriter(str(folder / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert write_records(folder / "ours", iter(records)) == len(records)
    assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()
    assert list(MappedRecords([folder / "ours"])) == records


def test_texts_are_read_and_are_empty_where_there_is_none():
    record = as_example({"case": "ä", "image": b"\xff", "label": 1.0, "other": np.zeros(0)})
    assert texts_of(record, ["case", "missing", "label", "other"]) == ["ä", "", "", ""]
    with pytest.raises(UnicodeDecodeError):
        texts_of(record, ["image"])


def test_preparing_does_not_load_tensorflow():
    modules = "common.records.preparing", "common.records.shards", "common.records.tfrecords"
    code = f"import sys, {', '.join(modules)}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
