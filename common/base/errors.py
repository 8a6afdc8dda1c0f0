"""The one error that a user can mend, and the exit codes of the scripts.

Exit status: 0 done; 2 the user can mend it (one clear line on standard error, no
traceback); 1 a defect of ours (a traceback); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


class UserError(Exception):
    """Something that the user can mend. The message names the file and the mend.

    The message is one line and never quotes an identifying DICOM element.
    """


class UnusableError(UserError):
    """A case that can be read and not used.

    Attributes:
        check: The name of the check that it fails, from `common.records.findings`.
    """

    def __init__(self, message: str, check: str) -> None:
        super().__init__(message)
        self.check = check


class Stopped(BaseException):
    """Ctrl-C or SIGTERM asked the script to leave; `run_script` says how to go on.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Held:
    """Signals that ask to stop, held back until what is at work has been saved.

    Attributes:
        asked: The signal that came, 0 if none did.
    """

    def __init__(self) -> None:
        self.asked = 0

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Take note of a signal; the second one is not held."""
        if self.asked:
            _leave_at_once(number)
        self.asked = number
        # Not printed: the signal may have come while something was.
        os.write(2, b"\nstopping after this step; once more to leave at once\n")


_STOPPING = (signal.SIGINT, signal.SIGTERM)
_MENDS = {
    errno.ENOSPC: "no space is left on the device: free some and start the same command again",
    errno.EDQUOT: "the disk quota is used up: free some and start the same command again",
    errno.EFBIG: "no file may be so large here (ulimit -f, or the file system): choose another "
    "folder, or raise the limit, and start the same command again",
    errno.EACCES: "permission is denied: choose a folder that you may write to",
    errno.EPERM: "the operation is not permitted: choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose a folder that you may write to",
    errno.EIO: "the disk could not be read or written: check it, then start the same command again",
}


def disk_fault(error: BaseException) -> int | None:
    """The errno of a fault of the disk that the user can mend, None for any other error.

    TensorFlow and HDF5 tell of it in types of their own, with the system's words in the message.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _MENDS else None
    return next((code for code in _MENDS if os.strerror(code) in str(error)), None)


@contextmanager
def held_signals() -> Iterator[Held]:
    """Hold back Ctrl-C and SIGTERM; whoever is at work looks at `Held.asked` and saves first.

    Raises:
        Stopped: At the end, where one came that nobody looked at any more.
    """
    held = Held()
    with _handled_by(held.note):
        yield held
    if held.asked:
        raise Stopped(held.asked)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's ``main`` and leave with the exit status of the contract.

    Args:
        main: The script's story; takes nothing, returns nothing, raises `UserError`
            for what the user can mend.
    """
    # A log that is read through a pipe shows every line when it is written.
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with _handled_by(_Stopping()):
            main()
    except UserError as error:
        _leave(str(error))
    except BrokenPipeError:
        # Whoever read what is printed, such as head, has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except Exception as error:
        code = disk_fault(error)
        if code is None:
            raise
        _leave(f"{getattr(error, 'filename', None) or 'a file'}: {_MENDS[code]}")
    except Stopped as stopped:
        print(_stopped(stopped.number), file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give the signals that ask to stop to a handler, but for those that are ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _STOPPING:
            # A shell starts what runs in its background deaf to Ctrl-C.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class _Stopping:
    """The handler that raises `Stopped`, once nothing of TensorFlow's is at work.

    Code in C++ that calls Python may lose what is raised there, or crash: it is raised in the next
    line of whoever called TensorFlow or Keras instead.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            _leave_at_once(number)
        self.asked = True
        caller = _caller_of_tensorflow(frame)
        if caller is None:
            raise Stopped(number)

        def stop(*_: Any) -> None:
            sys.settrace(None)
            raise Stopped(number)

        caller.f_trace = stop
        # Where it is to go on, a frame is traced if its thread is.
        sys.settrace(lambda *_: None)


def _caller_of_tensorflow(frame: FrameType | None) -> FrameType | None:
    """The outermost frame that called TensorFlow or Keras; None where neither is at work."""
    caller = None
    while frame is not None and frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in ("tensorflow", "keras"):
            caller = frame.f_back
        frame = frame.f_back
    return caller


def _leave_at_once(number: int) -> NoReturn:
    """Leave as a kill does, which all that is written survives."""
    os.write(2, f"{_stopped(number)}\n".encode())
    os._exit(128 + number)


def _stopped(number: int) -> str:
    by = "" if number == signal.SIGINT else " by SIGTERM"
    return f"\nstopped{by}; the same command goes on from here"


def _leave(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None
