"""Ctrl-C and SIGTERM: a script that is stopped saves first and prints how to go on."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from common.base.environment import BACKENDS, RANK

# The signals that stop a script.
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1


class Stopped(BaseException):
    """Ctrl-C or SIGTERM stops the script; `run_script` prints how to go on.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class HeldSignals:
    """Signals that stop a script, held back until its work is saved.

    Attributes:
        received: The number of the signal that came, 0 if none did.
    """

    def __init__(self) -> None:
        self.received = 0

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal; a second one stops the script at once."""
        if self.received:
            _leave_at_once(number)
            return
        self.received = number
        # Not printed: the signal may have come while something was.
        os.write(2, b"\nstopping after this step; once more to leave at once\n")


@contextmanager
def held_signals() -> Iterator[HeldSignals]:
    """Hold back Ctrl-C and SIGTERM: the block looks at `HeldSignals.received`, and saves first.

    Raises:
        Stopped: At the end, where a signal came after the block's last look.
    """
    held = HeldSignals()
    with handle_signals(held.note):
        yield held
    if held.received:
        raise Stopped(held.received)


@contextmanager
def handle_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a handler take the signals that stop a script, except those that are ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _STOPPING:
            # A shell starts background processes with Ctrl-C ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class StopHandler:
    """The handler that raises `Stopped`, once no code of TensorFlow is running.

    C++ code that calls Python may lose an exception that is raised there, or crash. It is therefore
    raised in the next line of the code that called TensorFlow or Keras.
    """

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            _leave_at_once(number)
            return
        self.received = True
        caller = _caller_of_tensorflow(frame)
        if caller is None:
            raise Stopped(number)

        def stop(*_: Any) -> None:
            sys.settrace(None)
            raise Stopped(number)

        caller.f_trace = stop
        # A frame's trace function runs only while its thread is traced.
        sys.settrace(lambda *_: None)


def _caller_of_tensorflow(frame: FrameType | None) -> FrameType | None:
    """The outermost frame that called Keras or a backend of it; None where none is running."""
    caller = None
    while frame is not None and frame.f_back is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in ("keras", *BACKENDS):
            caller = frame.f_back
        frame = frame.f_back
    return caller


def _leave_at_once(number: int) -> None:
    """Leave as if killed, which written files survive.

    A rank does not: a launcher sends a signal to all of its processes, and its parent hands the
    same one on. The parent is what ends it.
    """
    if RANK in os.environ:
        return
    os.write(2, f"{stop_message(number)}\n".encode())
    os._exit(128 + number)


def stop_message(number: int) -> str:
    """What a script prints when a signal stops it."""
    by = "" if number == signal.SIGINT else " by SIGTERM"
    return f"\nstopped{by}; the same command goes on from here"


def end_with_parent() -> Any:
    """What a process calls first that the system is to end with its parent (prctl(2)), on Linux.

    Else it would go on, and be in the way of whoever takes over its work.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def end() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return end
