"""A function over many items, in as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

_CHUNK = 16


def each(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    pool_from: int,
    workers: int = 0,
    **bar: Any,
) -> list[Any]:
    """Call a function on every item.

    Args:
        function: Must be importable, and should give little back: all results are held.
        items: What it is called on.
        pool_from: Fewer items are not worth the second or two that a process takes to start.
        workers: Processes; 0 is one a core.
        **bar: Of tqdm's progress bar, which is shown after two seconds: ``desc``, ``unit``.

    Returns:
        The results, in the order of ``items``.
    """
    bar = {"total": len(items), "delay": 2, "file": sys.stdout, **bar}
    workers = workers or os.cpu_count() or 1
    if len(items) < pool_from or workers == 1:
        return list(tqdm(map(function, items), **bar))
    # Not forked: the caller may hold TensorFlow's threads.
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, initializer=end_with_parent) as pool:
            return list(tqdm(pool.map(function, items, chunksize=_CHUNK), **bar))
    except BrokenProcessPool:  # a caller that can't be started again, such as a notebook
        return list(tqdm(map(function, items), **bar))


def end_with_parent() -> None:
    """Initialise a worker: one whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
