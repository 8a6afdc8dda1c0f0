"""5,000 films prepared through ``--cluster local:2``, next to ``--workers 2``; with ``--large``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import datasets, large
from benchmarks.measuring import Options, Row, compared, in_turn
from pneumonia_classification.config import PROJECT

FILMS, WORKERS = 5000, 2
MAX_RATIO, MAX_CLIENT_GIB = 1.15, 0.4
"""The time beside that of processes, and the memory of the process that hands out the shards."""


def rows(options: Options) -> Iterator[Row]:
    """Seconds by turns, and the GiB of the client, at its peak."""
    count = options.size(FILMS, 100)
    folder, prepared = large.make_set(options, count), options.work / f"large-{count}-prepared"
    command = [*datasets.prepare_command(PROJECT.name, folder, prepared), "--copies", "0"]
    client: list[float] = []

    def seconds(*by: str, note: Callable[[float], object] = bool) -> float:
        shutil.rmtree(prepared, ignore_errors=True)
        duration, _, own = large.run([*command, *by])
        note(own)
        return duration

    cluster = partial(seconds, "--cluster", f"local:{WORKERS}", note=client.append)
    processes = partial(seconds, "--workers", str(WORKERS))
    ours, other = in_turn(cluster, processes, repeats=options.size(2, 1))
    stage = f"prepare_data.py, {count} films, dask"
    against = f"--workers {WORKERS}"
    yield compared(f"{stage}, --cluster local:{WORKERS}", against, ours, other, "s", 1 / MAX_RATIO)
    target, peak = f"under {MAX_CLIENT_GIB:g} GiB", max(client)
    reached = peak < MAX_CLIENT_GIB
    yield Row(f"{stage}, the client", peak, None, "GiB", None, target, reached, "")
    shutil.rmtree(folder)
    shutil.rmtree(prepared)
