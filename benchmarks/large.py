"""Sets of 1,000, 5,000 and 26,684 films: whether time is linear and memory flat; with ``--large``.

For each set: prepare_data.py, with its processes, and then two epochs of what train.py reads,
without a network.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import datasets
from benchmarks.measuring import Options, Row
from common.base.backend import start_tensorflow
from common.base.files import ROOT
from common.datasets.splits import training_splits
from common.records.shards import open_prepared
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
            yield Row(
                f"{stage}, {count} films, a thousand",
                seconds,
                small_seconds,
                "s",
                small_seconds / seconds,
                "linear: ratio 0.9",
                small_seconds / seconds >= 0.9,
                f"{smallest[0]} films, a thousand",
            )
            yield Row(
                f"{stage}, {count} films, memory",
                memory,
                small_memory,
                "GiB",
                small_memory / memory,
                f"under {MAX_GIB:g} GiB",
                memory < MAX_GIB,
                f"{smallest[0]} films, memory",
            )


def _measured(options: Options, count: int) -> dict[str, tuple[float, float]]:
    """By stage: the seconds per thousand films, and the GiB of all its processes at once."""
    folder, prepared = options.work / f"large-{count}", options.work / f"large-{count}-prepared"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(prepared, ignore_errors=True)
    images = datasets.linked(datasets.films(options), folder / "stage_2_train_images", count)
    with open(folder / "stage_2_train_labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["patientId", "Target"])
        # Several cases share a file: they have the same label.
        table.writerows([image.stem, int(n % 48 % 4 == 0)] for n, image in enumerate(images))
    prepare = ["-m", "pneumonia_classification.prepare_data", "--preset", "cpu"]
    prepare += ["--source", str(folder), "--prepared", str(prepared), "--copies", "0"]
    commands = {"prepare_data.py": prepare, "tf.data": ["-m", "benchmarks.large", str(prepared)]}
    figures = {}
    for stage, command in commands.items():
        seconds, memory = _run(command)
        figures[stage] = seconds / count * 1000, memory
        print(f"   {count} films, {stage}: {seconds:.1f} s, {memory:.2f} GiB", flush=True)
    shutil.rmtree(folder)
    shutil.rmtree(prepared)
    return figures


def _run(arguments: Sequence[str]) -> tuple[float, float]:
    """A program's seconds, and the GiB of all its processes at once."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = [0.0]
    watch = threading.Thread(target=_watch, args=(process, peak))
    watch.start()
    status = process.wait()
    watch.join()
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with {status}")
    return time.monotonic() - began, peak[0]


def read_epochs(folder: Path) -> None:
    """Read every batch that train.py --preset cpu reads in some epochs."""
    start_tensorflow()
    from pneumonia_classification.dataset import training_data

    settings = dataclasses.replace(PROJECT.presets["cpu"].train, epochs=EPOCHS)
    assert isinstance(settings, TrainSettings)
    prepared = open_prepared(folder, PROJECT.name)
    train, _ = training_splits(prepared.splits, 0)
    size = settings.batch_size
    steps = prepared.count(train) // size
    for _ in training_data(prepared, train, settings.image_size, steps, size, settings).batches():
        pass


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(_gib, _family(process.pid))))
        time.sleep(0.2)


def _family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    family, waiting = [], [pid]
    while waiting:
        family.append(waiting.pop())
        waiting += children.get(family[-1], [])
    return family


def _gib(pid: int) -> float:
    """A process's memory without what it shares."""
    try:
        pages = (Path("/proc") / str(pid) / "statm").read_text().split()
    except OSError:
        return 0.0
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**30


if __name__ == "__main__":
    read_epochs(Path(sys.argv[1]))
