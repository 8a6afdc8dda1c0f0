"""TFRecord shards to batches, with tf.data.

The order and the augmentation of an epoch depend on (seed, epoch) alone: training can start
at any step of any epoch and see what an unbroken run would have seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.records.prepared import Prepared
from common.records.stored_images import decode_image

CACHED_BYTES = 1 << 30
"""Records of up to 1 GiB are read once and kept in memory."""

# Records are shuffled within so many.
_SHUFFLE_BUFFER = 4096


def decoded(
    prepared: Prepared,
    splits: Sequence[str],
    decode: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
) -> tf.data.Dataset:
    """The records of some splits, decoded, in order.

    Args:
        prepared: Where they are.
        splits: Which.
        decode: A serialised ``tf.train.Example`` to a dictionary of tensors.
    """
    files = prepared.shards(splits)
    records = tf.data.TFRecordDataset([str(file) for file in files])
    records = records.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    # Keras warns of data that runs out where it does not know how much there is.
    records = records.apply(tf.data.experimental.assert_cardinality(prepared.count(splits)))
    small = sum(file.stat().st_size for file in files) <= CACHED_BYTES
    return records.cache() if small else records


@dataclass(frozen=True)
class Training:
    """What a training sees: shuffled, augmented batches, the same wherever it starts.

    Attributes:
        records: Decoded records.
        steps: Batches in an epoch; exactly so many are given.
        batch_size: Samples in a batch.
        seed: With the epoch, decides order and augmentation.
        epochs: The epoch to end before.
        to_inputs: A batch of samples and a (2,) int64 seed to ``(images, targets)``: decodes,
            augments.
        to_samples: Records of an epoch and its seed to samples, where one record holds many.
    """

    records: tf.data.Dataset
    steps: int
    batch_size: int
    seed: int
    epochs: int
    to_inputs: Callable[[Any, tf.Tensor], Any]
    to_samples: Callable[[tf.data.Dataset, tf.Tensor], tf.data.Dataset] | None = None

    def batches(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """All batches from a step of an epoch on, both from 0, one epoch after the other."""

        def epoch_batches(number: tf.Tensor) -> tf.data.Dataset:
            seed = self._epoch_seed(number)
            steps_done = tf.where(number == epoch, tf.constant(step, tf.int64), 0)
            batches = self._samples(number).enumerate().skip(steps_done)
            return batches.map(
                lambda index, batch: self.to_inputs(batch, tf.stack([seed, index])),
                num_parallel_calls=tf.data.AUTOTUNE,
            )

        epochs = tf.data.Dataset.range(epoch, self.epochs)
        return epochs.flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)

    def cases(self, epoch: int, step: int) -> list[str]:
        """The cases in one batch, each once; of samples that have a ``case``."""
        samples = tf.data.Dataset.range(epoch, epoch + 1).flat_map(self._samples)
        batch = next(samples.skip(step).take(1).as_numpy_iterator())
        return [case.decode() for case in dict.fromkeys(batch["case"])]

    def _samples(self, epoch: tf.Tensor) -> tf.data.Dataset:
        """The batches of one epoch; called by `flat_map`, so in a graph of its own."""
        # For that graph alone. TensorFlow mixes the program's seed into the order, and a program's
        # seed of 0 with a seed that is a tensor is an error (tensorflow/python/framework/
        # random_seed.py, get_seed).
        tf.random.set_seed(1)
        seed = self._epoch_seed(epoch)
        samples = self.records.shuffle(_SHUFFLE_BUFFER, seed=seed)
        if self.to_samples is not None:
            samples = self.to_samples(samples, seed).shuffle(_SHUFFLE_BUFFER, seed=seed + 1)
        return samples.repeat().batch(self.batch_size, drop_remainder=True).take(self.steps)

    def _epoch_seed(self, epoch: tf.Tensor) -> tf.Tensor:
        return tf.cast(epoch, tf.int64) + self.seed * 1_000_003


def repeated(
    records: tf.data.Dataset, times: Callable[[Any], tf.Tensor], seed: tf.Tensor
) -> tf.data.Dataset:
    """Every record several times; where the number has a fraction, the seed draws who is once more.

    Args:
        records: Records.
        times: From a record to how often, a () float32, 0 or more.
        seed: () int64; the same seed and records give the same.
    """

    def copies(number: tf.Tensor, record: Any) -> tf.data.Dataset:
        uniform = tf.random.stateless_uniform((), tf.stack([seed, number]))
        count = tf.floor(times(record) + uniform)
        return tf.data.Dataset.from_tensors(record).repeat(tf.cast(count, tf.int64))

    return records.enumerate().flat_map(copies)


def radiographs(
    prepared: Prepared,
    splits: Sequence[str],
    image_size: int,
    target: str,
    numbers: int,
    with_region: bool = False,
) -> tf.data.Dataset:
    """The radiographs of some splits, in order.

    Args:
        prepared: Written with a stored ``image``, a ``case`` and a target.
        splits: Which.
        image_size: Side of the images wanted, in pixels.
        target: The target's feature.
        numbers: How many numbers it has.
        with_region: Whether the boxes stored as ``boxes``, in fractions of the side, are drawn.

    Returns:
        ``image`` (image_size, image_size, 1) uint8, ``case`` () string, and the target (numbers,)
        float32; with a region ``region``, in the image's shape, uint8, 255 where a box is.
    """
    stored_size = prepared.manifest["settings"]["image_size"]
    features = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "case": tf.io.FixedLenFeature((), tf.string),
        target: tf.io.FixedLenFeature((numbers,), tf.float32),
    }
    if with_region:
        features["boxes"] = tf.io.FixedLenSequenceFeature((4,), tf.float32, allow_missing=True)

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        example = tf.io.parse_single_example(record, features)
        if with_region:
            example["region"] = _boxes_mask(example.pop("boxes"), image_size)
        return {**example, "image": decode_image(example["image"], stored_size, image_size)}

    return decoded(prepared, splits, decode)


def stored_films(
    prepared: Prepared,
    splits: Sequence[str],
    target: str,
    numbers: int,
    cases: Sequence[str],
    image_size: int | None = None,
) -> dict[str, np.ndarray]:
    """Some cases' images, (image_size, image_size) uint8, by case; as stored without a size."""
    image_size = image_size or prepared.manifest["settings"]["image_size"]
    names = {case.encode() for case in cases}
    records = radiographs(prepared, splits, image_size, target, numbers)
    return {
        record["case"].decode(): record["image"][..., 0]
        for record in records.as_numpy_iterator()
        if record["case"] in names
    }


def _boxes_mask(boxes: tf.Tensor, image_size: int) -> tf.Tensor:
    """255 where a pixel's centre lies in any of the boxes (n, 4), else 0, with one channel."""
    centres = (tf.range(image_size, dtype=tf.float32) + 0.5) / image_size
    columns = (centres >= boxes[:, 0:1]) & (centres < boxes[:, 2:3])
    rows = (centres >= boxes[:, 1:2]) & (centres < boxes[:, 3:4])
    inside = tf.reduce_any(rows[:, :, None] & columns[:, None, :], 0)
    return tf.cast(inside, tf.uint8)[..., None] * 255
