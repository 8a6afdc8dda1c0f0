"""A process of `common.base.processes` that calls a function on items, and why it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from common.base.memory import ended_for_memory

# Seconds after which an item without a result is lost.
_LIMIT_S = 300.0
# Not forked: the caller may have threads of TensorFlow.
_SPAWN = multiprocessing.get_context("spawn")
# The environment of the processes: of threads where it is not set, of memory in any case, for dask
# sets its own for all that its workers start.
_THREADS = {
    # The threads of several workers would only wait for each other.
    "OPENBLAS_NUM_THREADS": "1"
}
_MEMORY = {
    # The C library (glibc) would return the memory of every image to the system and clear it again
    # for the next one, which takes a fifth of the time: a worker keeps up to 128 MiB.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
# A process starts with the caller's environment and main module, which are changed meanwhile.
_STARTING = threading.Lock()
# The status of a process that had too little memory, and why its item is lost.
_NO_MEMORY = 77
_TOO_LARGE = "takes more memory than there is"
# Which `limited` lets the system send.
_LIMIT_SIGNAL = getattr(signal, "SIGPROF", signal.SIGTERM)
_is_worker = False


class Worker:
    """A process that calls a function on items."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._out_of_memory = ended_for_memory()
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(function, theirs), daemon=True)
        with _STARTING, _start_of_process():
            self._process.start()
        theirs.close()

    def reason_of_no_start(self) -> str:
        """Why it has not started, in words; "" where it has."""
        try:
            self.receive()
        except (EOFError, OSError) as fault:
            return self.reason_of_end(isinstance(fault, TimeoutError))
        return ""

    def send(self, items: Sequence[Any]) -> None:
        self._connection.send(items)

    def receive(self) -> Any:
        """The next result and error.

        Raises:
            TimeoutError: There is none in time.
            EOFError: The process has ended.
        """
        if not self._connection.poll(_LIMIT_S):
            raise TimeoutError
        return self._connection.recv()

    def end(self) -> None:
        self._connection.close()
        self._process.join(5)
        self.kill()

    def kill(self) -> None:
        self._process.kill()

    def reason_of_end(self, is_late: bool) -> str:
        """End the process where it has not; gives the reason in words."""
        if is_late:
            self.kill()
        self.end()
        if is_late:
            return f"took longer than {_LIMIT_S:.0f} s; the process that read it was ended"
        status = self._process.exitcode or 0
        if status == _NO_MEMORY:
            return f"{_TOO_LARGE}, perhaps next to others: fewer --workers leave more to each"
        if status == -signal.SIGKILL and ended_for_memory() > self._out_of_memory:
            return f"{_TOO_LARGE}: the system ended the process that read it"
        if status == -signal.SIGKILL:
            return "the process that read it was killed, perhaps for its memory"
        if status == -_LIMIT_SIGNAL:
            return "its decoder took too long, and was ended; fetch the file again, or convert it"
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"the process that read it crashed ({name}); fetch the file again, or convert it"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process where the block takes longer, in processor time; but never the caller's own.

    For code that cannot be interrupted otherwise, such as a decoder in C.

    Args:
        seconds: Processor time, which a busy machine or a slow disk does not use up.
    """
    if not _is_worker or not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    """Be a worker: call a function on items until there are no more."""
    global _is_worker
    _is_worker = True
    _end_with_parent()
    connection.send((None, None, ()))
    while True:
        try:
            items = connection.recv()
        except EOFError:
            return
        for item in items:
            try:
                answer = _answer(function, item)
                connection.send(answer)
            except MemoryError:
                os._exit(_NO_MEMORY)  # another process tries it again
            except Exception as error:  # what can't be pickled
                answer = None, RuntimeError(repr(answer[1] or error)), answer[2]
                connection.send(answer)
            if answer[1] is not None:
                break


def _answer(
    function: Callable[[Any], Any], item: Any
) -> tuple[Any, Exception | None, Sequence[str]]:
    """The result of an item, or its error; and the error's notes, which pickling may lose."""
    try:
        return function(item), None, ()
    except MemoryError:
        raise
    except Exception as error:
        # A traceback does not come along.
        where = "".join(traceback.format_tb(error.__traceback__))
        return None, error, [*getattr(error, "__notes__", ()), where]


@contextmanager
def _start_of_process() -> Iterator[None]:
    """The environment and the main module with which a process starts."""
    changed = {name: _THREADS[name] for name in _THREADS.keys() - os.environ.keys()} | _MEMORY
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    main = sys.modules["__main__"]
    if not Path(getattr(main, "__file__", None) or __file__).is_file():
        # Of a script that came through standard input, which no other process can import.
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """Let this process exit with its parent: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
