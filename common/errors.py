"""The one error that a user can mend, and the exit codes of the scripts.

Exit status: 0 done; 2 the user can mend it (one clear line on standard error, no
traceback); 1 a defect of ours (a traceback); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something that the user can mend. The message names the file and the mend.

    The message is one line and never quotes an identifying DICOM element.
    """


_MENDS = {
    errno.ENOSPC: "no space is left on the device: free some and start the same command again",
    errno.EDQUOT: "the disk quota is used up: free some and start the same command again",
    errno.EACCES: "permission is denied: choose a folder that you may write to",
    errno.EPERM: "the operation is not permitted: choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose a folder that you may write to",
}


def run_script(main: Callable[[], None]) -> None:
    """Run a script's ``main`` and leave with the exit status of the contract.

    Args:
        main: The script's story; takes nothing, returns nothing, raises `UserError`
            for what the user can mend.
    """
    signal.signal(signal.SIGTERM, _stop_by_sigterm)
    # A log that is read through a pipe shows every line when it is written.
    sys.stdout.reconfigure(line_buffering=True)
    try:
        main()
    except UserError as error:
        _leave(str(error))
    except BrokenPipeError:
        # Whoever read what is printed, such as head, has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        if error.errno not in _MENDS:
            raise
        _leave(f"{error.filename or 'a file'}: {_MENDS[error.errno]}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def _leave(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None


def _stop_by_sigterm(*_: object) -> None:
    print("\nstopped by SIGTERM; the same command goes on from here", file=sys.stderr)
    raise SystemExit(143)
