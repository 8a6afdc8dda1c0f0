"""Sets of 1,000 and 5,000 films: whether time is linear and memory flat; with ``--large``."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import datasets
from benchmarks.measuring import Options, Row
from common.artefacts import ROOT

COUNTS = (1000, 5000)
MOST_GIB = 2.0


def rows(options: Options) -> Iterator[Row]:
    """Seconds a thousand films, and the most memory of prepare_data.py and its workers."""
    counts = (100, 300) if options.quick else COUNTS
    measured = [_prepare(options, count) for count in counts]
    a_thousand = [
        seconds / count * 1000 for count, (seconds, _) in zip(counts, measured, strict=True)
    ]
    ratio = a_thousand[0] / a_thousand[1]
    yield Row(
        f"prepare_data.py, {counts[1]} films, a thousand",
        a_thousand[1],
        a_thousand[0],
        "s",
        ratio,
        "linear: ratio 0.9",
        ratio >= 0.9,
        f"{counts[0]} films, a thousand",
    )
    most = [memory for _, memory in measured]
    yield Row(
        f"prepare_data.py, {counts[1]} films, memory",
        most[1],
        most[0],
        "GiB",
        most[0] / most[1],
        f"under {MOST_GIB:g} GiB",
        most[1] < MOST_GIB,
        f"{counts[0]} films, memory",
    )


def _prepare(options: Options, count: int) -> tuple[float, float]:
    """Seconds, and GiB of all its processes at once."""
    folder, prepared = options.work / f"large-{count}", options.work / f"large-{count}-prepared"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(prepared, ignore_errors=True)
    images = datasets.linked(datasets.films(options), folder / "stage_2_train_images", count)
    with open(folder / "stage_2_train_labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["patientId", "Target"])
        # A film's label is that of its file, which several cases share.
        table.writerows([image.stem, int(n % 48 % 4 == 0)] for n, image in enumerate(images))
    command = [sys.executable, "-m", "pneumonia_classification.prepare_data", "--preset", "cpu"]
    command += ["--source", str(folder), "--prepared", str(prepared), "--copies", "0"]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    most = [0.0]
    watch = threading.Thread(target=_watch, args=(process, most))
    watch.start()
    status = process.wait()
    seconds = time.monotonic() - began
    watch.join()
    if status:
        raise RuntimeError(f"prepare_data.py ended with {status}")
    shutil.rmtree(folder)
    shutil.rmtree(prepared)
    print(f"   {count} films: {seconds:.1f} s, {most[0]:.2f} GiB", flush=True)
    return seconds, most[0]


def _watch(process: subprocess.Popen, most: list[float]) -> None:
    while process.poll() is None:
        most[0] = max(most[0], sum(map(_gib, _family(process.pid))))
        time.sleep(0.2)


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _gib(pid: int) -> float:
    """Memory of its own, without what it shares."""
    try:
        pages = (Path("/proc") / str(pid) / "statm").read_text().split()
    except OSError:
        return 0.0
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**30
