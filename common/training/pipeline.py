"""Prepared records to batches: read in any order, shuffled and augmented, with tf.data.

The order and the augmentation of an epoch depend on (seed, epoch) alone: training can start
at any step of any epoch and see what an unbroken run would have seen there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.base import hosts
from common.base.settings import SharedTrain
from common.records.mapped import MappedRecords
from common.records.prepared import Prepared
from common.records.stored_images import decode_image
from common.training.augment import Draws, Ranges, draw, mix
from common.training.order import BLOCK, WINDOW, epoch_order
from common.training.precision import device_count

KEPT_BYTES = 1 << 30
"""Decoded samples of up to 1 GiB are kept in memory."""

Batch = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Samples:
    """Samples that are read by their numbers, in any order.

    Attributes:
        count: How many there are.
        read: Numbers (batch,) int64 and an int64 seed, the batch's (2,) or one for each (batch, 2),
            to a dictionary of tensors (batch, ...), of static shapes but for the batch.
        block: How many neighbours are read together where single ones are slow to find, or the size
            of every block (`epoch_order`).
        window: How many blocks are kept.
        times: (count,), how often each comes in an epoch, on average; None for once.
        in_blocks: Whether single ones are slow to find.
    """

    count: int
    read: Callable[[tf.Tensor, tf.Tensor], Batch]
    block: int | Sequence[int] = 1
    window: int = WINDOW
    times: np.ndarray | None = None
    in_blocks: bool = False

    @property
    def drawn(self) -> int:
        """How many an epoch needs to give each as often as it is to come."""
        return self.count if self.times is None else math.ceil(self.times.sum() - 1e-6)


def in_memory(columns: Mapping[str, Any]) -> Samples:
    """Samples out of arrays (count, ...), by name."""
    tensors = {name: tf.constant(column) for name, column in columns.items()}
    count = len(next(iter(tensors.values())))

    def read(numbers: tf.Tensor, seed: tf.Tensor) -> Batch:
        return {name: tf.gather(column, numbers) for name, column in tensors.items()}

    return Samples(count, read)


def in_records(
    prepared: Prepared, splits: Sequence[str], decode: Callable[[tf.Tensor], Batch]
) -> Samples:
    """Samples out of the records of some splits, one of each; decoded once where they are few.

    Args:
        prepared: Where they are.
        splits: Which.
        decode: A serialised ``tf.train.Example`` to a dictionary of tensors of static shapes.
    """
    records = MappedRecords(prepared.shards(splits))
    first = {name: value.numpy() for name, value in decode(tf.constant(records[0])).items()}
    size = sum(value.nbytes for value in first.values() if isinstance(value, np.ndarray))
    if len(records) * size <= KEPT_BYTES:
        batches = decoded(prepared, splits, decode).batch(256).as_numpy_iterator()
        columns = zip(*(batch.values() for batch in batches), strict=True)
        return in_memory(dict(zip(first, map(np.concatenate, columns), strict=True)))
    is_quick = records.are_quick_to_find

    @functools.lru_cache(WINDOW)
    def announce(block: int) -> None:
        records.announce(block * BLOCK, min((block + 1) * BLOCK, len(records)))

    def stored(numbers: np.ndarray) -> np.ndarray:
        for block in [] if is_quick else np.unique(numbers // BLOCK):
            announce(int(block))
        return np.array([records[number] for number in numbers], object)

    specs = {name: tf.type_spec_from_value(value) for name, value in first.items()}

    def read(numbers: tf.Tensor, seed: tf.Tensor) -> Batch:
        serialised = tf.numpy_function(stored, [numbers], tf.string, stateful=False)
        serialised.set_shape(numbers.shape)
        return tf.map_fn(decode, serialised, fn_output_signature=specs)

    return Samples(len(records), read, BLOCK, in_blocks=not is_quick)


@dataclass(frozen=True)
class Training:
    """What a training sees: shuffled, augmented batches, the same wherever it starts.

    Every sample comes once an epoch, or as often as it is to (`Samples.times`). The last batch is
    filled up with the epoch's first samples, so that all have one shape.

    Attributes:
        samples: What is trained on.
        batch_size: Samples in a batch.
        seed: With the epoch, decides order and augmentation.
        epochs: The epoch to end before.
        to_inputs: A batch of samples and a (2,) int64 seed to ``(images, targets)``: augments.
        rows: Those of every batch that are read here (`common.base.hosts.own_rows`); None for all.
        on_device: Where the device augments, what it does with what ``to_inputs`` gives, to come to
            ``(images, targets)``. The seed is then (batch, 2), one for each sample by its place in
            the epoch, so that the size of the batch changes no draw.
    """

    samples: Samples
    batch_size: int
    seed: int
    epochs: int
    to_inputs: Callable[[Any, tf.Tensor], Any]
    rows: slice | None = None
    on_device: Callable[[Any], Any] | None = None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-self.samples.drawn // self.batch_size)

    def batches(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """All batches from a step of an epoch on, both from 0, one epoch after the other."""

        def of_epoch(number: tf.Tensor) -> tf.data.Dataset:
            numbers = tf.numpy_function(self.numbers, [number], tf.int64, stateful=False)
            numbers.set_shape((self.steps, self.batch_size))
            if self.rows is not None:
                numbers = numbers[:, self.rows]
            steps_done = tf.where(number == epoch, tf.constant(step, tf.int64), 0)
            epoch_seed = number + self.seed * 1_000_003
            return (
                tf.data.Dataset.from_tensor_slices(numbers)
                .enumerate()
                .skip(steps_done)
                .map(lambda index, batch: (batch, tf.stack([epoch_seed, index])))
            )

        def read(numbers: tf.Tensor, seed: tf.Tensor) -> Any:
            if self.on_device is not None:
                places = seed[1] * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
                places = places if self.rows is None else places[self.rows]
                seed = tf.stack([tf.fill(places.shape, seed[0]), places], 1)
            return self.to_inputs(self.samples.read(numbers, seed), seed)

        # Read and augmented over the end of an epoch on.
        epochs = tf.data.Dataset.range(epoch, self.epochs).flat_map(of_epoch)
        return epochs.map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def inputs(self, batch: Any) -> Any:
        """One of `batches` as the network is trained on it, where the device augments too."""
        if self.on_device is None:
            return batch
        inputs = self.on_device(keras.tree.map_structure(np.asarray, batch))
        return keras.tree.map_structure(
            lambda values: tf.constant(keras.ops.convert_to_numpy(values)), inputs
        )

    def numbers(self, epoch: int) -> np.ndarray:
        """The samples of an epoch's batches, (steps, batch_size) int64."""
        samples = self.samples
        block = samples.block if samples.in_blocks else 1
        order = epoch_order(
            self.seed, int(epoch), samples.count, block, samples.window, samples.times
        )
        return np.resize(order, (self.steps, self.batch_size))

    def ordered(self, in_blocks: bool) -> Training:
        """The same, whatever is slow to find here and now: blocks decide the order of an epoch."""
        samples = dataclasses.replace(self.samples, in_blocks=in_blocks)
        return dataclasses.replace(self, samples=samples)

    def cases(self, epoch: int, step: int) -> list[str]:
        """The cases in one batch, each once; of samples that have a ``case``."""
        batch = self.samples.read(tf.constant(self.numbers(epoch)[step]), tf.zeros(2, tf.int64))
        return [case.decode() for case in dict.fromkeys(batch["case"].numpy())]


def augmented_training(
    samples: Samples,
    batch_size: int,
    settings: SharedTrain,
    ranges: Ranges,
    drawn: Callable[[Any, Draws], Any],
    augmented: Callable[[Any], Any],
    mixup: float = 0.0,
) -> Training:
    """A training whose samples are augmented where ``--augment`` says.

    Args:
        samples: What is trained on.
        batch_size: Samples in a batch.
        settings: With ``seed``, ``epochs`` and ``augment``.
        ranges: How far they are changed.
        drawn: The host's part: a batch of samples and what was drawn for it, to tensors (batch,
            ...).
        augmented: The rest, by `on_device.kernels`: that to ``(images, targets)``.
        mixup: Alpha of `augment.mix`, on the host; 0 for none.
    """
    is_on_device = settings.augment == "device"
    own = hosts.own_rows(batch_size)
    # What is mixed may be anywhere in the batch.
    rows = slice(None) if mixup else own

    def to_inputs(batch: Batch, seed: tf.Tensor) -> Any:
        inputs = drawn(batch, draw(ranges, batch_size, seed, rows))
        if is_on_device:
            return inputs
        inputs = augmented(inputs)
        if not mixup:
            return inputs
        return tf.nest.map_structure(lambda values: values[own], mix(inputs, mixup, seed))

    return Training(
        samples, batch_size, settings.seed, settings.epochs, to_inputs,
        rows, augmented if is_on_device else None,
    )  # fmt: skip


def validation(
    samples: Samples, batch_size: int, to_inputs: Callable[[Any], Any]
) -> tf.data.Dataset:
    """Batches of all samples in order, of one shape, with weights.

    The last batch is filled up with samples of weight 0. The others weigh as much more than 1 as
    these weigh less, so that a mean over batches of their mean loss, as Keras has it, is the mean
    over samples, whatever the size of the batches.

    Args:
        samples: What to validate on.
        batch_size: Samples in a batch, at most; those of all hosts, each of which gives its own.
        to_inputs: A batch to ``(images, targets)``.

    Returns:
        ``(images, targets, weights)``; for several targets as many times the weights (batch,).
    """
    # Keras reduces the first batch over the devices, each of which needs as much of it.
    devices = max(hosts.device_count(), device_count())
    batch_size = -(-min(batch_size, samples.count) // devices) * devices
    shape = (-(-samples.count // batch_size), batch_size)
    numbers = np.resize(np.arange(samples.count), shape)
    weights = np.zeros(shape, np.float32)
    weights.flat[: samples.count] = numbers.size / samples.count
    rows = hosts.own_rows(batch_size)

    def read(numbers: tf.Tensor, weights: tf.Tensor) -> Any:
        images, targets = to_inputs(samples.read(numbers, tf.zeros(2, tf.int64)))
        return images, targets, keras.tree.map_structure(lambda _: weights, targets)

    batches = tf.data.Dataset.from_tensor_slices((numbers[:, rows], weights[:, rows]))
    return batches.map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def decoded(
    prepared: Prepared,
    splits: Sequence[str],
    decode: Callable[[tf.Tensor], Batch],
    records: range | None = None,
) -> tf.data.Dataset:
    """Records of some splits, decoded, in order.

    Args:
        prepared: Where they are.
        splits: Which.
        decode: As of `in_records`.
        records: Their numbers in the order of the splits, one or more; None for all.
    """
    files, places = prepared.holding(splits, records)
    stored = tf.data.TFRecordDataset([str(file) for file in files])
    stored = stored.skip(places.start).take(len(places))
    films = stored.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    return films.apply(tf.data.experimental.assert_cardinality(len(places)))


def radiographs(
    prepared: Prepared,
    splits: Sequence[str],
    image_size: int,
    targets: Mapping[str, int],
    records: range | None = None,
) -> tf.data.Dataset:
    """Radiographs of some splits, in order, as `film_decoder` gives them; ``records`` says which.

    The arguments are those of `film_decoder` and `decoded`.
    """
    decode = film_decoder(prepared, image_size, targets)
    return decoded(prepared, splits, decode, records)


def film_size(prepared: Prepared, image_size: int) -> int:
    """Side of the films that a network is trained on, in pixels: as chosen, or 0: as prepared.

    Prints a line where that is more than was prepared, so that films are enlarged.
    """
    stored_size = int(prepared.manifest["settings"]["image_size"])
    if image_size > stored_size:
        print(
            f"  --image-size {image_size} is above the {stored_size} pixels that were prepared: "
            "films are enlarged, and show no more; prepare them again at that size"
        )
    return image_size or stored_size


def film_decoder(
    prepared: Prepared, image_size: int, targets: Mapping[str, int], with_region: bool = False
) -> Callable[[tf.Tensor], Batch]:
    """What makes a radiograph of a serialised record.

    Args:
        prepared: Written with a stored ``image``, a ``case`` and targets.
        image_size: Side of the images wanted, in pixels.
        targets: The features of targets, and how many numbers each has.
        with_region: Whether the boxes stored as ``boxes``, in fractions of the side, are drawn.

    Returns:
        A function of a () string to ``image`` (image_size, image_size, 1) uint8, ``case`` () string
        and each target (numbers,) float32; with a region ``region``, in the image's shape, uint8,
        255 where a box is.
    """
    stored_size = prepared.manifest["settings"]["image_size"]
    features = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "case": tf.io.FixedLenFeature((), tf.string),
        **{name: tf.io.FixedLenFeature((n,), tf.float32) for name, n in targets.items()},
    }
    if with_region:
        features["boxes"] = tf.io.FixedLenSequenceFeature((4,), tf.float32, allow_missing=True)

    def decode(record: tf.Tensor) -> Batch:
        example = tf.io.parse_single_example(record, features)
        if with_region:
            example["region"] = _boxes_mask(example.pop("boxes"), image_size)
        return {**example, "image": decode_image(example["image"], stored_size, image_size)}

    return decode


def stored_films(
    prepared: Prepared,
    splits: Sequence[str],
    cases: Iterable[str],
    image_size: int | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Some cases and their images, (image_size, image_size) uint8, in the order of the records.

    Without a size an image is as stored.
    """
    image_size = image_size or prepared.manifest["settings"]["image_size"]
    names = {case.encode() for case in cases}
    for record in radiographs(prepared, splits, image_size, {}).as_numpy_iterator():
        if record["case"] in names:
            yield record["case"].decode(), record["image"][..., 0]


def _boxes_mask(boxes: tf.Tensor, image_size: int) -> tf.Tensor:
    """255 where a pixel's centre lies in any of the boxes (n, 4), else 0, with one channel."""
    centres = (tf.range(image_size, dtype=tf.float32) + 0.5) / image_size
    columns = (centres >= boxes[:, 0:1]) & (centres < boxes[:, 2:3])
    rows = (centres >= boxes[:, 1:2]) & (centres < boxes[:, 3:4])
    inside = tf.reduce_any(rows[:, :, None] & columns[:, None, :], 0)
    return tf.cast(inside, tf.uint8)[..., None] * 255
