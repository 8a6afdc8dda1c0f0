"""TFRecord files of ``tf.train.Example``, written and read without TensorFlow.

TensorFlow takes seconds to load, in every process that writes. What stands in the files is the
same, byte by byte: messages as tensorflow/core/example/feature.proto and example.proto declare
them, by the same library (protobuf), each after its length, and both with their masked CRC-32C
(tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
# By field of a feature, in the order of their numbers: its message, and the type of what it lists.
_KINDS = {
    "bytes_list": ("BytesList", _FIELD.TYPE_BYTES),
    "float_list": ("FloatList", _FIELD.TYPE_FLOAT),
    "int64_list": ("Int64List", _FIELD.TYPE_INT64),
}


def write_records(path: Path, records: Iterable[bytes]) -> int:
    """Write a TFRecord file; gives the number of its records."""
    count = 0
    with open(path, "wb") as file:
        for record in records:
            _write(file, record)
            count += 1
    return count


def as_example(features: Mapping[str, Any]) -> bytes:
    """A serialised ``tf.train.Example``, in the order of the features' names.

    Args:
        features: Name to bytes, str, int, float, or an array of floats or ints.
    """
    example = _example_class()()
    example.features.SetInParent()  # without a feature too
    for name in sorted(features):
        value, feature = features[name], example.features.feature[name]
        if isinstance(value, str):
            value = value.encode("utf-8")
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
            continue
        array = np.asarray(value).ravel()
        if array.dtype.kind in "iub":
            feature.int64_list.value.extend(array.astype(np.int64).tolist())
            feature.int64_list.SetInParent()  # of an empty array too
        else:
            feature.float_list.value.extend(array.astype(np.float32).tolist())
            feature.float_list.SetInParent()
    # Protobuf promises no order of a map unless it is deterministic.
    return bytes(example.SerializeToString(deterministic=True))


def texts_of(record: bytes, names: Iterable[str]) -> list[str]:
    """The text features of a serialised ``tf.train.Example``, "" where it lacks one."""
    features = _example_class().FromString(record).features.feature
    return [
        features[name].bytes_list.value[0].decode()
        if name in features and features[name].bytes_list.value
        else ""
        for name in names
    ]


def _write(file: BinaryIO, record: bytes) -> None:
    length = struct.pack("<Q", len(record))
    file.write(length + _checksum(length) + record + _checksum(record))


def _checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _example_class() -> Any:
    """The message ``tensorflow.Example``, in a pool beside the one that TensorFlow has it in."""
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (kind, listed)) in enumerate(_KINDS.items(), 1):
        _add(file.message_type.add(name=kind), "value", 1, listed, repeats=True)
        _add(feature, name, number, _FIELD.TYPE_MESSAGE, kind=kind).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add(entry, "key", 1, _FIELD.TYPE_STRING)
    _add(entry, "value", 2, _FIELD.TYPE_MESSAGE, kind="Feature")
    _add(features, "feature", 1, _FIELD.TYPE_MESSAGE, True, "Features.FeatureEntry")
    _add(file.message_type.add(name="Example"), "features", 1, _FIELD.TYPE_MESSAGE, kind="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _add(
    message: Any, name: str, number: int, type_: Any, repeats: bool = False, kind: str = ""
) -> Any:
    label = _FIELD.LABEL_REPEATED if repeats else _FIELD.LABEL_OPTIONAL
    message_type = {"type_name": f".tensorflow.{kind}"} if kind else {}
    return message.field.add(name=name, number=number, type=type_, label=label, **message_type)
