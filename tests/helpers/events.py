"""What TensorBoard itself reads from a run's event files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator


def read(folder: Path) -> EventAccumulator:
    """All events of a folder, none left out."""
    return EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()


def steps(events: EventAccumulator) -> dict[str, list[int]]:
    """The steps of every tag."""
    return {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def numbers(events: EventAccumulator, tag: str) -> list[float]:
    """The values of a curve."""
    from tensorboard.util.tensor_util import make_ndarray

    return [float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def pictures(events: EventAccumulator, tag: str) -> list[np.ndarray]:
    """The pictures of a tag, (height, width, 3) uint8 each."""
    images = []
    for event in events.Tensors(tag):
        width, height, *encoded = event.tensor_proto.string_val
        assert len(encoded) == 1
        with Image.open(io.BytesIO(encoded[0])) as image:
            assert image.size == (int(width), int(height))
            images.append(np.asarray(image.convert("RGB")))
    return images
