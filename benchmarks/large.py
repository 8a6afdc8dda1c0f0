"""Sets of 1,000, 5,000 and 26,684 films: whether time is linear and memory flat; with ``--large``.

For each set: prepare_data.py, with its processes, and then two epochs of what train.py reads,
without a network.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import datasets
from benchmarks.measuring import Options, Row
from common.base.backend import start_tensorflow
from common.base.files import ROOT
from common.datasets.splits import training_splits
from common.records.prepared import open_prepared
from pneumonia_classification.config import PROJECT, TrainSettings

COUNTS = (1000, 5000, 26_684)
MAX_GIB = 2.0
EPOCHS = 2


def rows(options: Options) -> Iterator[Row]:
    """Seconds per thousand films and GiB at the peak, next to those of the smallest set."""
    counts = (100, 200, 300) if options.quick else COUNTS
    smallest, *larger = ((count, _measured(options, count)) for count in counts)
    for count, stages in larger:
        for stage, (seconds, memory) in stages.items():
            small_seconds, small_memory = smallest[1][stage]
            ratio, target = small_seconds / seconds, "linear: ratio 0.9"
            duration = seconds, small_seconds, "s", ratio, target, ratio >= 0.9
            ratio, target = small_memory / memory, f"under {MAX_GIB:g} GiB"
            space = memory, small_memory, "GiB", ratio, target, memory < MAX_GIB
            for name, figures in (("a thousand", duration), ("memory", space)):
                against = f"{smallest[0]} films, {name}"
                yield Row(f"{stage}, {count} films, {name}", *figures, against)


def _measured(options: Options, count: int) -> dict[str, tuple[float, float]]:
    """By stage: the seconds per thousand films, and the GiB of all its processes at once."""
    folder, prepared = make_set(options, count), options.work / f"large-{count}-prepared"
    shutil.rmtree(prepared, ignore_errors=True)
    prepare = [*datasets.prepare_command(PROJECT.name, folder, prepared), "--copies", "0"]
    read = [sys.executable, "-m", "benchmarks.large", str(prepared)]
    figures = {}
    for stage, command in {"prepare_data.py": prepare, "tf.data": read}.items():
        seconds, memory, _ = run(command)
        figures[stage] = seconds / count * 1000, memory
        print(f"   {count} films, {stage}: {seconds:.1f} s, {memory:.2f} GiB", flush=True)
    shutil.rmtree(folder)
    shutil.rmtree(prepared)
    return figures


def make_set(options: Options, count: int) -> Path:
    """A folder of so many films and their table; the films are links to few files."""
    folder = options.work / f"large-{count}"
    shutil.rmtree(folder, ignore_errors=True)
    images = datasets.linked(datasets.films(options), folder / "stage_2_train_images", count)
    with open(folder / "stage_2_train_labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["patientId", "Target"])
        # Several cases share a file: they have the same label.
        table.writerows([image.stem, int(n % 48 % 4 == 0)] for n, image in enumerate(images))
    return folder


def run(command: Sequence[str]) -> tuple[float, float, float]:
    """A program's seconds, and the GiB of all its processes at once, and of the first."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = own = 0.0
    while process.poll() is None:
        peak, own = max(peak, _gib(process.pid)), max(own, _own_gib(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    seconds = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, peak, own


def read_epochs(folder: Path) -> None:
    """Read every batch that train.py --preset cpu reads in some epochs."""
    start_tensorflow()
    from pneumonia_classification.dataset import training_data

    settings = dataclasses.replace(PROJECT.presets["cpu"].train, epochs=EPOCHS)
    assert isinstance(settings, TrainSettings)
    prepared = open_prepared(folder, PROJECT.name)
    train, _ = training_splits(prepared.splits)
    size, batch = settings.image_size, settings.batch_size
    for _ in training_data(prepared, train, size, batch, settings).batches():
        pass


def _gib(pid: int) -> float:
    """The memory of a process and its descendants, without what each shares."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [(thread / "children").read_text().split() for thread in threads]
    except OSError:
        return 0.0
    return _own_gib(pid) + sum(_gib(int(child)) for child in itertools.chain(*children))


def _own_gib(pid: int) -> float:
    """The memory of a process, without what it shares."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**30


if __name__ == "__main__":
    read_epochs(Path(sys.argv[1]))
