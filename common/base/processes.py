"""A function over many items, in as many processes as there are cores.

No item can end the caller. A process may end within one: a decoder crashes, the system takes the
memory, somebody kills it. Another process then tries that item again, and where this ends too, the
item is lost, with the reason; all others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from common.base.errors import UserError
from common.base.progress import progress
from common.base.worker import Worker

Lost = Callable[[Any, str], Any]
"""The result of an item that is lost, from the item and the reason in words."""

# Items that a process takes at once.
_CHUNK = 16
# Items per process that `stream` computes ahead.
_AHEAD = 4
# Tries to start a process, which may be killed meanwhile.
_STARTS = 3
# The pool of a thread that keeps one.
_LASTING = threading.local()


def _refuse(item: Any, reason: str) -> Any:
    raise UserError(f"{item}: {reason}")


def each(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    pool_from: int,
    workers: int = 0,
    lost: Lost = _refuse,
    **bar: Any,
) -> list[Any]:
    """Call a function on every item.

    Args:
        function: An importable function whose results are small, since all are held.
        items: Its arguments.
        pool_from: The least number of items that is worth starting processes, a second or two each;
            1 for a function that may end its process.
        workers: Number of processes; 0: one per core.
        lost: Gives an item's result where its process ended twice.
        **bar: Options of `common.base.progress.progress`: ``desc``, ``unit``.

    Returns:
        The results, in the order of ``items``.

    Raises:
        UserError: An item is lost, unless ``lost`` says otherwise.
    """
    bar = {"total": len(items), **bar}
    if not items or len(items) < pool_from:
        return list(progress(map(function, items), **bar))
    # A process that gets less would take longer to start than to work.
    workers = min(workers or _cores(), -(-len(items) // _CHUNK))
    chunk = max(1, min(_CHUNK, len(items) // (4 * workers)))
    with pool(function, workers, lost) as processes:
        parts = [
            processes.submit(items[start : start + chunk]) for start in range(0, len(items), chunk)
        ]
        return list(progress((result for part in parts for result in part.result()), **bar))


def stream(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int = 0,
    lost: Lost = _refuse,
    ahead: int = 0,
) -> Iterator[Any]:
    """Call a function on every item and yield its results in order, holding only a few at once.

    Args:
        function: As for `each`.
        items: As for `each`.
        workers: As for `each`.
        lost: As for `each`.
        ahead: Results to hold at most that were not asked for yet; 0: a few for each process.
    """
    workers = min(workers or _cores(), len(items), ahead or len(items))
    ahead = ahead or _AHEAD * workers
    waiting: deque[Future[list[Any]]] = deque()
    with pool(function, workers, lost) as processes:
        for item in items:
            waiting.append(processes.submit([item]))
            if len(waiting) > ahead:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


@contextmanager
def pool(function: Callable[[Any], Any], workers: int = 0, lost: Lost = _refuse) -> Iterator[Pool]:
    """Processes that end with this one, also if it is killed or the block raises.

    Args:
        function: As for `each`.
        workers: As for `each`.
        lost: As for `each`.
    """
    processes = Pool(function, workers or _cores(), lost)
    try:
        yield processes
    except BaseException:
        processes.kill()
        raise
    processes.close()


def lasting_pool(function: Callable[[Any], Any], lost: Lost) -> Pool:
    """A pool of one process that this thread keeps until its own process ends.

    For a thread that another program gives its work bit by bit, always of this one function.

    Args:
        function: As for `each`.
        lost: As for `each`.
    """
    if getattr(_LASTING, "pool", None) is None:
        # A process that multiprocessing calls a daemon may start none; `_end_with_parent` does
        # what that is for.
        multiprocessing.current_process().daemon = False
        _LASTING.pool = Pool(function, 1, lost)
    kept: Pool = _LASTING.pool
    return kept


class Pool:
    """Processes for `pool`, each held by a thread: it hands over items, and takes the results."""

    def __init__(self, function: Callable[[Any], Any], workers: int, lost: Lost) -> None:
        self._function, self._lost = function, lost
        # Ctrl-C goes to every process of a terminal. A process inherits what its thread blocks.
        self._threads = ThreadPoolExecutor(max(workers, 1), initializer=_block_ctrl_c)
        self._own = threading.local()
        self._workers: set[Worker] = set()
        self._is_killed = False

    def submit(self, items: Sequence[Any]) -> Future[list[Any]]:
        """Call the function on items, in turn, in one process; gives their results in order."""
        return self._threads.submit(self._results, items)

    def close(self) -> None:
        """Wait for all results and end the processes."""
        self._threads.shutdown()
        for worker in self._workers:
            worker.end()

    def kill(self) -> None:
        """End the processes at once, with what they do."""
        self._is_killed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.kill()

    def _results(self, items: Sequence[Any]) -> list[Any]:
        results: list[Any] = []
        tries = 2
        while len(results) < len(items):
            worker = self._worker()
            try:
                worker.send(items[len(results) :])
                while len(results) < len(items):
                    result, error, notes = worker.receive()
                    if error is not None:
                        break
                    results.append(result)
                    tries = 2
            except (EOFError, OSError) as fault:
                self._own.worker = None
                self._workers.discard(worker)
                reason = worker.reason_of_end(isinstance(fault, TimeoutError))
                tries -= 2 if isinstance(fault, TimeoutError) else 1
                if tries <= 0 and not self._is_killed:
                    results.append(self._lost(items[len(results)], reason))
                    tries = 2
                continue
            if error is not None:
                error.__notes__ = notes
                raise error
        return results

    def _worker(self) -> Worker:
        """The process of this thread, a new one where the last has ended."""
        if self._is_killed:
            raise CancelledError
        worker: Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = self._started()
        return worker

    def _started(self) -> Worker:
        reason = ""
        for _ in range(_STARTS):
            worker = Worker(self._function)
            self._workers.add(worker)
            if self._is_killed:  # meanwhile
                worker.kill()
            reason = worker.reason_of_no_start()
            if not reason:
                return worker
            self._workers.discard(worker)
        raise UserError(f"the processes that read files end as they start: {reason}")


def _block_ctrl_c() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _cores() -> int:
    """The cores that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
