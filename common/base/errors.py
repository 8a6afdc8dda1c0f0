"""The one error that a user can fix, and the exit statuses of the scripts.

Exit status: 0 done; 2 a problem that the user can fix (one clear line on standard error, no
traceback); 1 a bug (a traceback); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from common.base.environment import backend_fault, shield_from_environment
from common.base.signals import StopHandler, Stopped, handle_signals, stop_message


class UserError(Exception):
    """A problem that the user can fix. The message names the file and what to do.

    The message is one line and never quotes an identifying DICOM element.
    """


class NotInstalledError(UserError):
    """A package is not installed that a file needs: no fault of the file, which is not left out."""


class UnusableError(UserError):
    """A case that can be read but not used.

    Attributes:
        check: The name of the check that it fails, from `common.records.findings`.
    """

    def __init__(self, message: str, check: str) -> None:
        super().__init__(message)
        self.check = check


# Of what may not be read as of what may not be written.
_PERMIT = "change its permissions, or choose a folder that you may write to"
# What to do about a disk fault, by its errno.
REMEDIES = {
    errno.ENOSPC: "no space is left on the device: free some and start the same command again",
    errno.EDQUOT: "the disk quota is used up: free some and start the same command again",
    errno.EFBIG: "no file may be so large here (ulimit -f, or the file system): choose another "
    "folder, or raise the limit, and start the same command again",
    errno.EACCES: f"permission is denied: {_PERMIT}",
    errno.EPERM: f"the operation is not permitted: {_PERMIT}",
    errno.EROFS: "the file system is read-only: choose a folder that you may write to",
    errno.EIO: "the disk could not be read or written: check it, then start the same command again",
}


NO_MEMORY = (
    "out of memory: this needs more than the machine or its card has free; give a smaller "
    "--batch-size or --image-size (prepare_data.py, predict.py: fewer --workers), or end what else "
    "runs there"
)


def disk_fault(error: BaseException) -> int | None:
    """The errno of a disk fault that the user can fix, None for any other error.

    TensorFlow and HDF5 raise types of their own, with the system's words in the message.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in REMEDIES else None
    return next((code for code in REMEDIES if os.strerror(code) in str(error)), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, that of a graphics card or of the machine.

    TensorFlow and XLA raise types of their own, and TensorFlow is not imported for their sake.
    """
    name = type(error).__name__
    named = name in ("ResourceExhaustedError", "OutOfMemoryError")
    text = str(error) if name in ("InternalError", "XlaRuntimeError", "JaxRuntimeError") else ""
    return (
        isinstance(error, MemoryError)
        or named
        or any(words in text for words in ("RESOURCE_EXHAUSTED", "ut of memory", "OOM"))
    )


def run_script(main: Callable[[], None]) -> None:
    """Run a script's ``main`` and leave with the exit status of the contract.

    Args:
        main: The script's story; takes nothing, returns nothing, raises `UserError`
            for what the user can fix.
    """
    shield_from_environment()
    # A log that is read through a pipe shows every line when it is written; a terminal without
    # Unicode shows the code of a letter that it lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        if fault := backend_fault():
            raise UserError(fault)
        with handle_signals(StopHandler()):
            main()
    except UserError as error:
        _let_go(error)
        _leave(str(error))
    except BrokenPipeError:
        # The reader of the output, such as head, has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except Exception as error:
        code = disk_fault(error)
        if code is None and is_out_of_memory(error):
            _leave(NO_MEMORY)
        if code is None:
            raise
        _let_go(error)
        _leave(f"{getattr(error, 'filename', None) or 'a file'}: {REMEDIES[code]}")
    except Stopped as stopped:
        _let_go(stopped)
        print(stop_message(stopped.number), file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None


def _let_go(error: BaseException) -> None:
    """End what an error's frames hold, such as a reader of tf.data.

    One that ends with Python would wait for ever for a call of Python that it has begun.
    """
    traceback.clear_frames(error.__traceback__)
    gc.collect()


def _leave(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None
