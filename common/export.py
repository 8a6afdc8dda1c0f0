"""Export the models of a run for programs without Keras: SavedModel, ONNX, LiteRT.

Writes RUN/export/: model/ (SavedModel), model.onnx, model.tflite, in one folder per network where
a run has several. Every copy is opened again, and its outputs must equal the model's, to TOLERANCE,
on images of the run's own data, or on noise where that data no longer exists. Inputs and outputs
are those of model.keras: films or slices (n, side, side, channels), or patches, as float32 of 0 to
255, prepared as predict.py prepares them.

    python -m common.export runs/my-run --format saved_model onnx litert

ONNX and LiteRT need further packages: pip install -e ".[export]" in this repository.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.arguments import Parser
from common.base.backend import start_tensorflow
from common.base.environment import TENSORFLOW, backend
from common.base.errors import UserError, run_script
from common.base.files import atomic_write
from common.records.prepared import open_prepared
from common.reporting.model_card import model_hashes
from common.training.runs import Run, read_run

if TYPE_CHECKING:
    import keras

FORMATS = ("saved_model", "onnx", "litert")

TOLERANCE = 1e-4
"""The most that an output, a share of 0 to 1, may differ from the model's own."""

COUNT = 3
"""Images that both are asked of."""

_ONNX = ("tf2onnx", "onnx", "onnxruntime")
_NEEDED = {"saved_model": (), "onnx": _ONNX, "litert": ("ai_edge_litert",)}
_NAMES = {"saved_model": "model", "onnx": "model.onnx", "litert": "model.tflite"}


def main() -> None:
    """Export the models of a run."""
    parser = Parser("common.export", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["saved_model"],
        help="what to write (saved_model)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if backend() != TENSORFLOW:
        raise UserError(
            f"KERAS_BACKEND={backend()}: TensorFlow writes the copies, of a run of any backend; "
            "start this without KERAS_BACKEND"
        )
    run = read_run(arguments.run)
    for name in arguments.format:
        if missing := [package for package in _NEEDED[name] if find_spec(package) is None]:
            packages = " ".join(package.replace("_", "-") for package in missing)
            raise UserError(f"--format {name}: needs another package: pip install {packages}")
    start_tensorflow()

    from common.models.stored import load_model

    for file in model_hashes(run.folder):
        images, source = check_images(run, Path(file).parent.name)
        model = load_model(run.folder / file)
        for name in arguments.format:
            path = run.folder / "export" / Path(file).parent / _NAMES[name]
            print(f"{file} as {name} ...", flush=True)
            difference = export(model, path, name, images)
            words = f"differs from the model by {difference:.1e} at most ({source})"
            print(f"  {path}: {words}", flush=True)


def check_images(run: Run, network: str = "") -> tuple[np.ndarray | None, str]:
    """What a network of a run sees of the run's own data, float32, and in words whence.

    The run names the function that gives it ("module:function"), since a network's inputs are its
    project's: an array (n, ..., channels), or one for each network, by the name of its folder.

    Args:
        run: The run.
        network: The name of the network's folder; "" for the run's own.
    """
    project = run.config["project"]
    # A run of an earlier version does not name it; all projects call it the same.
    place = run.config.get("model_inputs") or f"{project}.inference:model_inputs"
    module, _, function = place.partition(":")
    try:
        model_inputs = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        return None, f"noise; {place} is not there"
    try:
        prepared = open_prepared(Path(run.config["prepared"]), project)
        images = model_inputs(run, prepared, COUNT)
    except UserError:
        return None, "noise; the run's data is not there any more"
    if isinstance(images, dict):
        images = images[network]
    return images.astype("float32"), f"{len(images)} images of {prepared.folder}"


def export(model: keras.Model, path: Path, name: str, images: np.ndarray | None = None) -> float:
    """Write a model in another format, and hold what it says against the model.

    Args:
        model: Of one input (n, height, width, channels) or (n, depth, height, width, channels) and
            one output.
        path: Where to; what is there is replaced.
        name: Of `FORMATS`.
        images: What both are asked of, float32 in the input's shape; noise if not given.

    Returns:
        The greatest difference of an output.

    Raises:
        UserError: It differs by more than `TOLERANCE`, and nothing is left of it then; or LiteRT
            lacks what a network of volumes needs.
    """
    if name == "litert" and len(model.input_shape) == 5:
        raise UserError(
            f"{path}: LiteRT has no pooling of volumes; give --format onnx or saved_model"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if images is None:
        # 64 pixels where the network takes any size.
        sides = [side or 64 for side in model.input_shape[1:-1]]
        shape = (COUNT, *sides, model.input_shape[-1])
        images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    expected = model.predict_on_batch(images)

    def checked(written: Path) -> float:
        outputs = open_exported(written, name)(images)
        if outputs.shape != expected.shape:
            raise UserError(
                f"{path}: gives {outputs.shape}, where the model gives {expected.shape}"
            )
        difference = float(np.abs(outputs - expected).max())
        # Not "above": the difference from what is not a number is neither.
        if not difference <= TOLERANCE:
            raise UserError(f"{path}: says something else than the model, by {difference:.1e}")
        return difference

    if name == "saved_model":
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            model.export(partial, format="tf_saved_model", verbose=False)
            difference = checked(partial)
            shutil.rmtree(path, ignore_errors=True)
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return difference
    options: dict[str, Any] = {}
    if name == "litert":
        import tensorflow as tf

        # LiteRT's own operations alone, so that its small runtime is enough.
        options = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    sound = _sound_optimizers() if name == "onnx" else nullcontext()
    with atomic_write(path) as partial, sound:
        model.export(str(partial), format=name, verbose=False, **options)
        return checked(partial)


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
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()

    def ask(images: np.ndarray) -> Any:
        interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return ask


@contextmanager
def _sound_optimizers() -> Iterator[None]:
    """ONNX without tf2onnx's optimizer of reshapes, which by chance leaves an axis too many.

    What it rewrites where there is one channel depends on the order of a set of objects.
    """
    from tf2onnx import optimizer

    optimizers = optimizer._optimizers
    sound = {name: step for name, step in optimizers.items() if "reshape" not in name}
    optimizer._optimizers = sound
    try:
        yield
    finally:
        optimizer._optimizers = optimizers


if __name__ == "__main__":
    run_script(main)
