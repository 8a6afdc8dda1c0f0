"""What a ``.keras`` file declares, held against its bytes before memory is taken for it."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

_BYTES_A_WEIGHT = 2
"""The fewest: float16."""


def check_declared(path: Path) -> None:
    """Refuse a model whose configuration asks for more weights than the file has bytes.

    The model is built without memory for its weights, in safe mode: nothing in the file runs.

    Raises:
        ValueError: It declares more than it holds. Keras raises many other types for a file that
            is damaged, and whatever else is no model.
    """
    import keras

    held = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        # Keras stores and does not compress; what unpacks to more was not written by it.
        if sum(entry.file_size for entry in archive.infolist()) > held:
            raise ValueError("unpacks to more bytes than it has")
        config = json.loads(archive.read("config.json"))
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if sum(math.prod(weight.shape) for weight in model.weights) * _BYTES_A_WEIGHT > held:
        raise ValueError("declares more weights than it has bytes")
