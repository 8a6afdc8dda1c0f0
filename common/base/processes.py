"""A function over many items, in as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from common.base.errors import UserError

# Items that a process takes at once.
_CHUNK = 16
# Items per process that `stream` computes ahead.
_AHEAD = 4
# The environment of the processes, where it is not set.
_WORKER_ENVIRONMENT = {
    # The threads of several workers would only wait for each other.
    "OPENBLAS_NUM_THREADS": "1",
    # The C library (glibc) would return the memory of every image to the system and clear it again
    # for the next one, which takes a fifth of the time: a worker keeps up to 128 MiB.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


def each(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    pool_from: int,
    workers: int = 0,
    **bar: Any,
) -> list[Any]:
    """Call a function on every item.

    Args:
        function: An importable function whose results are small, since all are held.
        items: Its arguments.
        pool_from: The least number of items that is worth starting processes, a second or two each.
        workers: Number of processes; 0: one per core.
        **bar: Options of tqdm's progress bar, which appears after two seconds: ``desc``, ``unit``.

    Returns:
        The results, in the order of ``items``.
    """
    bar = {"total": len(items), "delay": 2, "file": sys.stdout, **bar}
    workers = min(workers or _cores(), len(items))
    if len(items) < pool_from or workers <= 1:
        return list(tqdm(map(function, items), **bar))
    chunk = max(1, min(_CHUNK, len(items) // (4 * workers)))
    with pool(workers) as processes:
        try:
            return list(tqdm(processes.map(function, items, chunksize=chunk), **bar))
        except BrokenProcessPool:  # the caller's main module cannot be imported, as in a notebook
            pass
    return list(tqdm(map(function, items), **bar))


def stream(
    function: Callable[[Any], Any], items: Sequence[Any], pool_from: int, workers: int = 0
) -> Iterator[Any]:
    """Call a function on every item and yield its results in order, holding only a few at once.

    Args:
        function: As for `each`.
        items: As for `each`.
        pool_from: As for `each`.
        workers: As for `each`.
    """
    workers = min(workers or _cores(), len(items))
    done = 0
    if len(items) >= pool_from and workers > 1:
        waiting: deque[Future[Any]] = deque()
        with pool(workers) as processes:
            try:
                for item in items:
                    waiting.append(processes.submit(function, item))
                    if len(waiting) > _AHEAD * workers:
                        yield waiting.popleft().result()
                        done += 1
                while waiting:
                    yield waiting.popleft().result()
                    done += 1
            except BrokenProcessPool:  # as above
                pass
    yield from map(function, items[done:])


@contextmanager
def pool(workers: int = 0) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, also if it is killed or the block raises.

    Args:
        workers: Number of processes; 0: one per core.

    Raises:
        UserError: One of them was killed.
    """
    # Not forked: the caller may have threads of TensorFlow.
    spawn = multiprocessing.get_context("spawn")
    executor = _Pool(workers or _cores(), spawn, initializer=_end_with_parent)
    try:
        yield executor
    except BaseException as error:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a process that worked for this one was killed, perhaps for its memory: start the "
                "same command again, it goes on from here; fewer --workers take less memory"
            ) from None
        raise
    executor.shutdown()


class _Pool(ProcessPoolExecutor):
    """A pool whose processes ignore Ctrl-C, which a terminal sends to all of them."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        # A process starts in here, and inherits the blocked signals and the environment.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        missing = {
            name: _WORKER_ENVIRONMENT[name]
            for name in _WORKER_ENVIRONMENT.keys() - os.environ.keys()
        }
        os.environ.update(missing)
        try:
            return super().submit(*arguments, **options)
        finally:
            for name in missing:
                del os.environ[name]
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cores() -> int:
    """The cores that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _end_with_parent() -> None:
    """Initialise a worker to exit with its parent: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
