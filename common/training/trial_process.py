"""A trial's training in a process of its own: it ends with its worker, and says why in a line."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from common.base.signals import HeldSignals
from common.training.leases import Lease

# Seconds between two looks at a training.
_LOOK_S = 1.0


def watch(process: subprocess.Popen[bytes], lease: Lease, held: HeldSignals) -> bool:
    """Wait for a training, hand a signal on to it and renew the lease.

    Returns:
        Whether the lease is still this worker's; else the training was stopped.
    """
    is_asked_to_stop = is_lost = False
    while True:
        try:
            process.wait(_LOOK_S)
            return not is_lost
        except subprocess.TimeoutExpired:
            is_lost = is_lost or not lease.renew()
            if (held.received or is_lost) and not is_asked_to_stop:
                process.send_signal(held.received or signal.SIGTERM)
                is_asked_to_stop = True


def last_line(log: Path, start: int) -> str:
    """The line of an error in what was printed since; else the last line."""
    with open(log, "rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    line = (errors or lines or ["it printed nothing"])[-1]
    return f"{line} ({os.path.relpath(log)})"
