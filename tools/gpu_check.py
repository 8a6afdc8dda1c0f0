"""Run the three gpu presets on a card, and hold what comes out against this machine's CPU.

    python tools/gpu_check.py [--require]
    KERAS_BACKEND=jax python tools/gpu_check.py

On the SYNTHETIC sample: each project's train.py, for two epochs from no weights, in every precision
that a card has, with and without XLA where the backend of Keras leaves the choice; then
predict.py on the card and on the CPU, and python -m common.export where the backend is TensorFlow.
Prints a table: whether each row ended; training images a second (of the second epoch, without what
is compiled in the first), and those of the same network on one batch that lies in memory, next to
which reading and augmenting show; and how far the card's predictions are from the CPU's. Without a
card it says so and ends with 0, with --require with 2.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from common.base.arguments import Parser
from common.base.backend import start_tensorflow
from common.base.environment import TENSORFLOW, backend
from common.base.errors import UserError, run_script
from common.base.files import ROOT, versions
from common.base.tables import Table, print_table
from tools.guard import PROJECTS

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA = {TENSORFLOW: ("off", "on"), "jax": ("auto",), "torch": ("auto",)}
"""JAX always compiles by XLA, PyTorch never."""
TOLERANCE = 1e-3
"""Of predictions: a card multiplies float32 by TensorFloat-32, of ten bits."""

_CPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class Row:
    """What a training on the card, and what was done with it, gave.

    Attributes:
        what: Project, precision and XLA.
        rate: Training images a second, of the last epoch.
        rate_in_memory: The same of one batch, again and again.
        difference: The greatest one between the card's and the CPU's predictions.
        fault: The first error, "" for none.
    """

    what: tuple[str, str, str]
    rate: float = 0.0
    rate_in_memory: float = 0.0
    difference: float = 0.0
    fault: str = ""

    @property
    def is_right(self) -> bool:
        """Whether every step ended, and the predictions agree."""
        return not self.fault and self.difference <= TOLERANCE


def check(
    preset: str, precisions: Sequence[str], folder: Path, projects: Sequence[str] = PROJECTS
) -> Iterator[Row]:
    """Train, predict and export in every row.

    Args:
        preset: Of the settings.
        precisions: Those that are tried.
        folder: An empty one, for data and runs.
        projects: Those that are tried.

    Yields:
        The rows, as they come.
    """
    for project in projects:
        prepared = folder / project
        _script(project, "prepare_data", "--preset", "demo", "--prepared", prepared,
                "--source", _sample(project, folder))  # fmt: skip
        for precision, xla in product(precisions, XLA[backend()]):
            run = folder / f"{project}-{precision}-{xla}"
            what = (project, precision, xla)
            try:
                yield _row(what, preset, prepared, run, folder)
            except UserError as error:
                yield Row(what, fault=str(error))


def _row(what: tuple[str, str, str], preset: str, prepared: Path, run: Path, folder: Path) -> Row:
    project, precision, xla = what
    printed = _script(
        project, "train", "--preset", preset, "--prepared", prepared, "--run", run,
        "--epochs", 2, "--weights", "none", "--head-epochs", 0, "--tensorboard-images", 0,
        "--precision", precision, "--xla", xla,
    )  # fmt: skip
    [history, *_] = sorted(run.rglob("history.csv"))
    seconds = float(_read(history)[-1]["seconds"])
    images = re.findall(r"(\d+) (?:images train|slices \()", printed)[0]
    films = sorted(_sample(project, folder).glob("*mages*/*"))[:8]
    on_card, on_cpu = run / "by-card", run / "by-cpu"
    _script(project, "predict", *films, "--run", run, "--output", on_card, "--pictures", 0)
    _script(project, "predict", *films, "--run", run, "--output", on_cpu, "--pictures", 0,
            variables=_CPU)  # fmt: skip
    if backend() == TENSORFLOW:
        _run("-m", "common.export", run)
    settings = json.loads((run / "config.json").read_text())["settings"]
    in_memory = _run("-m", "tools.gpu_check", "--one-batch", history.with_name("model.keras"),
                     "--precision", precision, "--xla", xla,
                     "--batch-size", min(settings["batch_size"], int(images)),
                     "--image-size", settings["image_size"])  # fmt: skip
    rate_in_memory = float(in_memory.split()[-1])
    return Row(what, int(images) / seconds, rate_in_memory, _difference(on_card, on_cpu))


def one_batch(
    path: Path, precision: str, xla: str, batch_size: int, image_size: int, steps: int = 20
) -> float:
    """Images a second of a network that trains on one batch in memory.

    Args:
        path: A ``.keras`` file.
        precision: Of the arithmetic.
        xla: ``auto``, ``on`` or ``off``.
        batch_size: Images in the batch, which are noise.
        image_size: Their side in pixels, of a network that takes any size.
        steps: How many are timed, after as many that are not.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from common.models.fused import fuse_batch_normalization
    from common.models.stored import in_format, load_model
    from common.training.precision import set_precision

    set_precision(precision)
    model = fuse_batch_normalization(in_format(load_model(path), precision))
    model.compile("adam", "mse", jit_compile="auto" if xla == "auto" else xla == "on")
    sides = (side or image_size for side in model.input_shape[1:-1])
    shape = (batch_size, *sides, model.input_shape[-1])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    targets = np.zeros(keras.ops.shape(model(images[:1])), "float32").repeat(batch_size, 0)
    batches = tf.data.Dataset.from_tensors((images, targets)).repeat().prefetch(2)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        model.fit(batches, steps_per_epoch=steps, verbose=0)
        seconds.append(time.perf_counter() - begin)
    return batch_size * steps / seconds[-1]


def _sample(project: str, folder: Path) -> Path:
    from synthetic_sample.make_sample import make_sample

    made = make_sample(folder / "synthetic", chest_images=100, atrium_volumes=6)
    return made["atrium" if project == "atrium_segmentation" else "chest"]


def _difference(first: Path, second: Path) -> float:
    """The greatest difference of two predictions.csv, as a share of a column's greatest number."""
    tables = [_read(folder / "predictions.csv") for folder in (first, second)]
    rows = list(zip(*tables, strict=True))
    greatest = 0.0
    for column in tables[0][0]:
        try:
            pairs = [(float(row[column]), float(twin[column])) for row, twin in rows]
        except ValueError:
            continue
        size = max(1.0, *(abs(value) for pair in pairs for value in pair))
        greatest = max(greatest, *(abs(value - reference) / size for value, reference in pairs))
    return greatest


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _script(
    project: str, name: str, *arguments: object, variables: Mapping[str, str] | None = None
) -> str:
    return _run(ROOT / project / f"{name}.py", *arguments, variables=variables)


def _run(*arguments: object, variables: Mapping[str, str] | None = None) -> str:
    """What a command prints; a `UserError` of its last line where it does not end with 0."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **(variables or {})}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        name = arguments[1] if arguments[0] == "-m" else Path(str(arguments[0])).name
        raise UserError(f"{name}: {lines[-1]}")
    return done.stdout


def table(rows: Sequence[Row]) -> Table:
    """What is printed at the end."""
    head = ("project", "precision", "XLA", "images/s", "one batch in memory", "card less CPU", "")
    lines = [
        (
            *(*row.what, f"{row.rate:.0f}", f"{row.rate_in_memory:.0f}"),
            *(f"{row.difference:.1e}", "" if row.is_right else "WRONG"),
        )
        if not row.fault
        else (*row.what, "-", "-", "-", row.fault)
        for row in rows
    ]
    return Table("", head, tuple(lines))


def main() -> None:
    """Check the card, or say that there is none."""
    parser = Parser("tools.gpu_check", __doc__)
    parser.add_argument("--require", action="store_true", help="end with 2 where there is no card")
    # What a row calls: the rate of a saved model, in a process of its own.
    parser.add_argument(
        "--one-batch", type=Path, metavar="MODEL", help="a .keras file, timed alone"
    )
    parser.add_argument("--precision", default="float32", help="of --one-batch")
    parser.add_argument("--xla", default="auto", help="of --one-batch")
    parser.add_argument("--batch-size", type=int, default=16, help="of --one-batch")
    parser.add_argument("--image-size", type=int, default=224, help="of --one-batch, in pixels")
    arguments = parser.parse_args()
    start_tensorflow()
    if arguments.one_batch:
        rate = one_batch(
            arguments.one_batch,
            arguments.precision,
            arguments.xla,
            arguments.batch_size,
            arguments.image_size,
        )
        print(f"images a second: {rate:.1f}")
        return

    from common.models.backends import gpu_count, gpu_name

    if not gpu_count():
        print(f"not run: no card ({backend()} has found none)")
        if arguments.require:
            sys.exit(2)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in check("gpu", PRECISIONS, Path(folder)):
            rows.append(row)
            print(row, flush=True)
    packages = ", ".join(f"{name} {versions()[name]}" for name in (backend(), "keras"))
    print(f"\n{gpu_name()}, {packages}; predictions within {TOLERANCE} of the CPU's:")
    print_table(table(rows))
    if wrong := sum(not row.is_right for row in rows):
        raise UserError(f"{wrong} of {len(rows)} rows are not as on the CPU")


if __name__ == "__main__":
    run_script(main)
