"""Train two steps in every pair of project, network, preset, precision, XLA and devices.

    python tools/guard.py [PREPARED]

A covering array: any two values of any two columns meet in one of its rows. Each row trains two
steps, validates, saves, loads and predicts on the SYNTHETIC sample, and is held against the row of
its project, network and preset in float32 on one device without XLA. Writes the table of
docs/reliability.md; PREPARED is a folder to keep the prepared sample in.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from common.base.backend import start_tensorflow
from common.base.errors import UserError
from common.base.files import ROOT, versions
from common.base.film_settings import BACKBONES
from common.base.tables import Table
from common.datasets.splits import training_splits
from common.records.prepared import Prepared, open_prepared
from tools.make_tables import markdown

PROJECTS = ("pneumonia_classification", "heart_detection", "atrium_segmentation")
NETWORKS = {"atrium_segmentation": ("unet", "fcn8", "residual_unet", "unet3d")} | dict.fromkeys(
    PROJECTS[:2], tuple(BACKBONES)
)
"""Those of each project: backbones of the films, networks of the volumes."""
PRESETS = ("demo", "cpu", "gpu")
PRECISIONS = ("float32", "onednn_bfloat16", "mixed_bfloat16", "mixed_float16")
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- guard -->\n", "<!-- end of guard -->"

# Images in a batch, their side in pixels, and the slices of patches.
_BATCH, _SIDE, _SLICES = 4, 64, 32


@dataclasses.dataclass(frozen=True)
class Cell:
    """A row of the table."""

    project: str
    network: str
    preset: str
    precision: str = "float32"
    xla: str = "off"
    devices: int = 1

    @property
    def reference(self) -> Cell:
        """What it is held against."""
        return Cell(self.project, self.network, self.preset)

    @property
    def tolerance(self) -> float:
        """How far, as a share, its val_loss may be from that of its reference.

        Two devices normalise half a batch each; bfloat16 has three digits, float16 four, and
        there a step whose gradient is beyond them is left out.
        """
        by_precision = {"float32": 0.001, "onednn_bfloat16": 0.05}.get(self.precision, 0.1)
        return max(by_precision, 0.2 if self.devices > 1 else 0.0)

    @property
    def rounding(self) -> float:
        """How far, as a share, it may be from that of what was saved, in float32."""
        return 0.001 if self.precision == "float32" else 0.01


def _cells() -> tuple[Cell, ...]:
    """Of each network the presets in float32, then the precisions, each in one of three ways.

    Neighbouring networks begin at another place, so that all meet; a backbone's presets are of the
    two projects in turn.
    """
    cells, further = [], []
    networks = [*BACKBONES, *NETWORKS[PROJECTS[2]]]
    for number, network in enumerate(networks):
        films = [project for project in PROJECTS if network in NETWORKS[project]]
        references = [
            Cell(films[(number + place) % len(films)], network, preset)
            for place, preset in enumerate(PRESETS)
        ]
        cells += references
        for place, precision in enumerate(PRECISIONS[1:]):
            way = (("on", 1), ("off", 2), ("off", 1))[(number + place) % 3]
            reference = references[(number // 2 + place) % 3]
            further.append(dataclasses.replace(
                reference, precision=precision, xla=way[0], devices=way[1]
            ))  # fmt: skip
    heart, atrium = Cell(PROJECTS[1], "resnet50", "cpu"), Cell(PROJECTS[2], "unet", "demo")
    further.append(dataclasses.replace(heart, xla="on"))
    further.append(dataclasses.replace(atrium, devices=2))
    return *cells, *further


CELLS = _cells()
"""The rows."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a cell gave.

    Attributes:
        val_loss: After two steps; NaN where the training stopped with a fault.
        loaded: The same of what was saved, loaded and predicted, in float32.
        seconds: How long it took.
    """

    val_loss: float
    loaded: float
    seconds: float


def two_logical_devices() -> None:
    """Divide the CPU into two devices, before TensorFlow uses it."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    start_tensorflow()


def run_cell(cell: Cell, prepared: Prepared, run: Path) -> Outcome:
    """Train two steps, validate, save, load and predict.

    Args:
        cell: Which.
        prepared: Data of its project.
        run: An empty folder.

    Raises:
        FloatingPointError: What it gave is not finite.
    """
    import keras

    from common.models.film_networks import HEAD_LAYERS
    from common.models.stored import load_model
    from common.training import fitting, pipeline
    from common.training.precision import set_precision

    began = time.monotonic()
    keras.backend.clear_session()
    preset = import_module(f"{cell.project}.config").PROJECT.presets[cell.preset].train
    settings = dataclasses.replace(
        preset, precision=cell.precision, xla=cell.xla, epochs=1, batch_size=_BATCH,
        image_size=_SIDE, weights="none", head_epochs=min(preset.head_epochs, 1),
        tensorboard_images=0, **_narrow(preset), **_backbone(cell),
    )  # fmt: skip
    set_precision(cell.precision)
    whole, count = fitting.on_all_devices, pipeline.device_count
    try:
        if cell.devices > 1:
            fitting.on_all_devices = _mirrored(cell.devices).scope
            pipeline.device_count = lambda: cell.devices
        task, build = _task(cell, prepared, settings)
        state = fitting.fit_in_stages(run, build, HEAD_LAYERS, task, settings)
    finally:
        fitting.on_all_devices, pipeline.device_count = whole, count
    model = load_model(run / "model.keras")
    first = task.loss[0] if isinstance(task.loss, list | tuple) else task.loss
    losses, weights = [], []
    for images, targets, of_samples in task.validation.as_numpy_iterator():
        target = targets[0] if isinstance(targets, tuple) else targets
        weight = of_samples[0] if isinstance(of_samples, tuple) else of_samples
        values = keras.ops.convert_to_numpy(first.call(target, model(images, training=False)))
        losses.append(values.reshape(len(weight), -1).mean(1))
        weights.append(weight)
    loaded = float(np.average(np.concatenate(losses), weights=np.concatenate(weights)))
    row = state.history[-1]
    # Of several outputs the first is what is saved.
    val_loss = row.get(f"val_{model.output_names[0]}_loss", row["val_loss"])
    if not np.isfinite([val_loss, loaded]).all():
        raise FloatingPointError(f"{cell}: val_loss {val_loss}, loaded {loaded}")
    return Outcome(val_loss, loaded, time.monotonic() - began)


@cache
def _mirrored(devices: int) -> Any:
    """A strategy over some logical devices: two of one number in a program mix up their sums."""
    import tensorflow as tf

    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(names[:devices])


def _narrow(preset: Any) -> dict[str, int]:
    """The least width of the networks that have one."""
    widths = ("unet_width", "fcn8_width", "unet3d_width")
    return {name: 4 for name in widths if hasattr(preset, name)}


def _backbone(cell: Cell) -> dict[str, Any]:
    """The setting of a film's network."""
    return {"backbone": cell.network} if cell.network in BACKBONES else {}


def _task(cell: Cell, prepared: Prepared, settings: Any) -> tuple[Any, Any]:
    """What a project's train.py fits, of two steps, and what builds its network."""
    from common.training.fitting import Task

    name = cell.project
    train, validation = training_splits(prepared.splits)
    networks = import_module(f"{name}.networks")
    if name == "atrium_segmentation":
        from atrium_segmentation.dataset import Volumes

        sees = networks.NETWORKS[cell.network].sees
        cut = import_module(f"{name}.{sees}")
        size = (_SLICES, _SIDE, _SIDE) if sees == "patches" else _SIDE
        outputs = len(networks.build(cell.network, 1, settings).outputs)
        given = (size, _BATCH, settings, outputs)
        training = cut.training_data(Volumes(prepared, train), *given)
        held_out = cut.validation_data(Volumes(prepared, validation), *given)
        losses = networks.losses(settings, 1, outputs)

        def build(weights: str) -> Any:
            return networks.build(cell.network, 1, settings)
    else:
        dataset = import_module(f"{name}.dataset")
        training = dataset.training_data(prepared, train, _SIDE, _BATCH, settings)
        further = (settings,) if name == "pneumonia_classification" else ()
        held_out = dataset.validation_data(prepared, validation, _SIDE, _BATCH, *further)
        losses = networks.losses(settings)

        def build(weights: str) -> Any:
            return networks.build(_SIDE, weights, settings)

    samples = dataclasses.replace(training.samples, count=2 * _BATCH, times=None)
    training = dataclasses.replace(training, samples=samples, epochs=1)
    return Task(training, held_out, **losses), build


def table(outcomes: Mapping[Cell, Outcome]) -> Table:
    """The table of docs/reliability.md."""
    head = (
        *("project", "network", "preset", "precision", "XLA", "devices", "val_loss"),
        *("from float32", "within", "from what was saved", "within", "s"),
    )
    rows = []
    for cell, outcome in outcomes.items():
        away, lost = differences(outcome, outcomes[cell.reference])
        rows.append((
            cell.project, cell.network, cell.preset, cell.precision, cell.xla, str(cell.devices),
            f"{outcome.val_loss:.4f}", f"{away:.2%}", f"{cell.tolerance:.1%}",
            f"{lost:.2%}", f"{cell.rounding:.1%}", f"{outcome.seconds:.0f}",
        ))  # fmt: skip
    return Table("", head, tuple(rows))


def differences(outcome: Outcome, reference: Outcome) -> tuple[float, float]:
    """How far a val_loss is from its reference's, and from that of what was saved, as shares."""
    others = (reference.val_loss, outcome.loaded)
    away, lost = (abs(outcome.val_loss - other) / abs(other) for other in others)
    return away, lost


def prepare(folder: Path) -> dict[str, Prepared]:
    """A small SYNTHETIC sample, prepared for each project."""
    from synthetic_sample.make_sample import make_sample

    made = make_sample(folder / "synthetic", seed=7, chest_images=60, atrium_volumes=6)
    prepared = {}
    for name in PROJECTS:
        settings = dataclasses.replace(
            import_module(f"{name}.config").PROJECT.presets["demo"].prepare,
            source=made["atrium" if name == "atrium_segmentation" else "chest"],
            prepared=folder / name,
        )
        import_module(f"{name}.dataset").prepare(settings)
        prepared[name] = open_prepared(folder / name, name)
    return prepared


def run_cells(
    cells: Sequence[Cell], prepared: Mapping[str, Prepared]
) -> tuple[dict[Cell, Outcome], list[Cell]]:
    """Run cells, references before what is held against them, and print what each gave.

    Returns:
        What each gave, and those that are further than stated from their reference or from what
        was saved.
    """
    outcomes: dict[Cell, Outcome] = {}
    wrong = []
    for cell in cells:
        with tempfile.TemporaryDirectory() as run:
            try:
                outcome = run_cell(cell, prepared[cell.project], Path(run))
            except (UserError, FloatingPointError) as error:
                print(f"{cell}: {error}", flush=True)
                outcome = Outcome(math.nan, math.nan, 0.0)
        outcomes[cell] = outcome
        away, lost = differences(outcome, outcomes[cell.reference])
        # Not "above": the difference from what is not a number is neither.
        if not (away <= cell.tolerance and lost <= cell.rounding):
            wrong.append(cell)
        too_much = " TOO MUCH" * (cell in wrong)
        print(f"{cell}: {outcome}, off by {away:.2%} and {lost:.2%}{too_much}", flush=True)
    return outcomes, wrong


def run_network(network: str, folder: Path) -> tuple[dict[Cell, Outcome], list[Cell]]:
    """`run_cells` of a network's rows, on what `prepare` wrote into a folder."""
    prepared = {name: open_prepared(folder / name, name) for name in PROJECTS}
    return run_cells([cell for cell in CELLS if cell.network == network], prepared)


def main() -> None:
    """Run all cells, each network's in one of two processes, and write the table."""
    networks = list(dict.fromkeys(cell.network for cell in CELLS))
    outcomes: dict[Cell, Outcome] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        prepare(folder)
        # Compiling, most of the time of a cell, takes one core.
        with ProcessPoolExecutor(2, get_context("spawn"), two_logical_devices) as pool:
            for some, too_far in pool.map(partial(run_network, folder=folder), networks):
                outcomes |= some
                wrong += too_far
    outcomes = {cell: outcomes[cell] for cell in CELLS}
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    packages = ", ".join(f"{name} {versions()[name]}" for name in ("tensorflow", "keras"))
    date = datetime.now(UTC).date()
    rows = f"{markdown(table(outcomes))}*Printed by `make guard` on {date}, {packages}.*\n\n"
    PAGE.write_text(f"{before}{BEGIN}\n{rows}{END}{after}")
    if wrong:
        sys.exit(
            f"{len(wrong)} of {len(CELLS)} cells are further than stated from their reference or "
            "from what was saved"
        )


if __name__ == "__main__":
    main()
