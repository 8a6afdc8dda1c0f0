"""The models of a run for programs without Keras: SavedModel, ONNX, LiteRT.

Writes RUN/export/: model/ (SavedModel), model.onnx, model.tflite, for each network of a run that
has several in a folder of its name. What was written is opened again and must say what the model
says, to TOLERANCE, of images of the run's own data, or of noise where that is not there any more.
What goes in and comes out is the same as with model.keras: films or slices (n, side, side,
channels) as float32 of 0 to 255, prepared as predict.py prepares them.

    python -m common.export runs/my-run --format saved_model onnx litert

ONNX and LiteRT need further packages: pip install -e ".[export]" in this repository.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.errors import UserError, run_script
from common.base.files import atomic_write

if TYPE_CHECKING:
    import keras
    import numpy as np

    from common.training.runs import Run

FORMATS = ("saved_model", "onnx", "litert")

TOLERANCE = 1e-4
"""The most that an output, a share of 0 to 1, may differ from the model's own."""

COUNT = 3
"""Images that both are asked of."""

FREE_SIDE = 64
"""Side of what is compared where the network takes any."""

_NEEDED = {"saved_model": (), "onnx": ("tf2onnx", "onnx", "onnxruntime")}
_NEEDED["litert"] = ("ai_edge_litert",)
_NAMES = {"saved_model": "model", "onnx": "model.onnx", "litert": "model.tflite"}


def main() -> None:
    """Export the models of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run that ended")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=["saved_model"])
    asked = parser.parse_args()

    from common.base.backend import start_tensorflow
    from common.reporting.model_card import model_hashes
    from common.training.runs import read_run

    run = read_run(asked.run)
    for name in asked.format:
        if missing := [package for package in _NEEDED[name] if find_spec(package) is None]:
            packages = " ".join(package.replace("_", "-") for package in missing)
            raise UserError(f"--format {name}: needs another package: pip install {packages}")
    start_tensorflow()

    from common.models.stored import load_model

    images, source = check_images(run)
    for file in model_hashes(run.folder):
        model = load_model(run.folder / file)
        for name in asked.format:
            path = run.folder / "export" / Path(file).parent / _NAMES[name]
            print(f"{file} as {name} ...", flush=True)
            apart = export(model, path, name, images)
            print(f"  {path}: differs from the model by {apart:.1e} at most ({source})", flush=True)


def check_images(run: Run) -> tuple[np.ndarray | None, str]:
    """Images (n, side, side, channels) float32 of a run's own data, and in words whence."""
    from common.records.shards import open_prepared

    project = run.config["project"]
    try:
        prepared = open_prepared(Path(run.config["prepared"]), project)
        images = import_module(f"{project}.predict").model_images(run, prepared, COUNT)
    except UserError:
        return None, "noise; the run's data is not there any more"
    return images.astype("float32"), f"{len(images)} images of {prepared.folder}"


def export(model: keras.Model, path: Path, name: str, images: np.ndarray | None = None) -> float:
    """Write a model in another format, and hold what it says against the model.

    Args:
        model: Of one input (n, height, width, channels) and one output.
        path: Where to; what is there is replaced.
        name: Of `FORMATS`.
        images: What both are asked of, (n, height, width, channels) float32; noise if not given.

    Returns:
        The greatest difference of an output.

    Raises:
        UserError: It differs by more than `TOLERANCE`; nothing is left of it then.
    """
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    if images is None:
        sides = [side or FREE_SIDE for side in model.input_shape[1:3]]
        shape = (COUNT, *sides, model.input_shape[-1])
        images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    wanted = model.predict_on_batch(images)

    def checked(written: Path) -> float:
        said = open_exported(written, name)(images)
        if said.shape != wanted.shape:
            raise UserError(f"{path}: gives {said.shape}, where the model gives {wanted.shape}")
        apart = float(np.abs(said - wanted).max())
        # Not "above": the difference from what is not a number is neither.
        if not apart <= TOLERANCE:
            raise UserError(f"{path}: says something else than the model, by {apart:.1e}")
        return apart

    if name == "saved_model":
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            model.export(beside, format="tf_saved_model", verbose=False)
            apart = checked(beside)
            shutil.rmtree(path, ignore_errors=True)
            beside.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return apart
    with atomic_write(path) as beside, _sound_optimizers(name):
        model.export(str(beside), format=name, verbose=False, **_options(name))
        return checked(beside)


def open_exported(path: Path, name: str) -> Callable[[np.ndarray], Any]:
    """What `export` wrote as a function of images (n, height, width, channels) float32."""
    if name == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        return lambda images: loaded.serve(images).numpy()
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    [seen], [said] = interpreter.get_input_details(), interpreter.get_output_details()

    def ask(images: np.ndarray) -> Any:
        interpreter.resize_tensor_input(seen["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(seen["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(said["index"])

    return ask


@contextmanager
def _sound_optimizers(name: str) -> Iterator[None]:
    """ONNX without tf2onnx's optimizer of reshapes, which by chance leaves an axis too many.

    What it rewrites where there is one channel depends on the order of a set of objects.
    """
    if name != "onnx":
        yield
        return
    from tf2onnx import optimizer

    every = optimizer._optimizers
    optimizer._optimizers = {name: one for name, one in every.items() if "reshape" not in name}
    try:
        yield
    finally:
        optimizer._optimizers = every


def _options(name: str) -> dict[str, Any]:
    if name != "litert":
        return {}
    import tensorflow as tf

    # LiteRT's own operations alone, so that its small runtime is enough.
    return {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}


if __name__ == "__main__":
    run_script(main)
