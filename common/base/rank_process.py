"""A rank as the child of a light process, which says in a line how it ended.

JAX ends a rank that misses another by itself, with pages of C++ text.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType

from common.base.environment import JAX, RANK, backend
from common.base.errors import UserError
from common.base.hosts import Rank, present, rank_of
from common.base.signals import end_with_parent, handle_signals, stop_message

# How a line begins that C++ prints, or Python of an error that nobody expected.
_LAST = re.compile(
    r"[IWEF]\d{4} \d\d:\d\d:\d\d|WARNING: All log messages before absl|\*\*\* |terminate called"
    r"|Traceback "
)
# With which of these it ends.
_END = re.compile(r"^(?:Traceback |F\d{4} |terminate called)", re.MULTILINE)
# What C++ prints after a traceback; the error that a traceback ends with.
_AFTER = re.compile(r"^(?:[IWEF]\d{4} \d\d:\d\d:\d\d|\*\*\* |terminate called)", re.MULTILINE)
_RAISED = re.compile(r"^(?!Traceback)([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
# Those that JAX raises of what another rank has done, or left undone, among others.
_OF_JAX = ("JaxRuntimeError", "XlaRuntimeError")
# What `common.base.signals` prints.
_STOP = ("stopping after", "stopped")
# Where one of these stands, another rank has ended, or cannot be reached.
_GONE = re.compile(
    r"Gloo \w+ failed.*|another task died|Connection (?:reset|closed) by peer|heartbeat timeout"
    r"|CoordinationService|coordination service|DEADLINE_EXCEEDED|NCCL operation.*",
    re.IGNORECASE,
)
# Seconds to read what a rank that has ended left in the pipe; between two looks at one; and until
# one is ended that has printed why, and waits for others.
_REST_S, _LOOK_S, _GRACE_S = 2.0, 1.0, 5.0


def run_as_rank(hosts: str) -> None:
    """Let a process of its own be the rank that ``--hosts`` names, and leave as that does.

    Returns at once in that process, and where ``hosts`` is "". Of other ranks than the first only
    errors are printed.

    Args:
        hosts: The setting.

    Raises:
        UserError: The rank was refused, was killed, or missed another one.
        SystemExit: With its status.
    """
    if not hosts or present() is not None:
        return
    if backend() != JAX:
        raise UserError(f"--hosts: trains with Keras on JAX; set KERAS_BACKEND={JAX}")
    rank = rank_of(hosts, os.environ)
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, RANK: f"{rank.coordinator},{rank.ranks},{rank.number}"},
        stdout=None if rank.number == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent(),
    )
    received = 0

    def hand_on(number: int, _: FrameType | None) -> None:
        nonlocal received
        if received:
            child.kill()
        else:
            child.send_signal(number)
        received = number

    words = _Words(child.stderr or (), is_first=rank.number == 0)
    with handle_signals(hand_on):
        words.start()
        status = _waited_for(child, words)
        words.join(_REST_S)
    _leave(rank, status, received, words)


class _Words(threading.Thread):
    """Reads what a rank prints to standard error; hands it on up to its last words.

    Attributes:
        last: What it printed since.
        error: Its line for the user, if it has printed one.
    """

    def __init__(self, lines: Iterable[str], is_first: bool) -> None:
        super().__init__(daemon=True)
        self.lines, self.is_first = lines, is_first
        self.last: list[str] = []
        self.error = ""

    def run(self) -> None:
        """Read until the rank closes it."""
        before = ""
        for line in self.lines:
            # An exception that ends no process: "Exception ignored in", "Exception in thread".
            is_end = _LAST.match(line) and not before.startswith("Exception i")
            before = line
            if line.startswith("error: "):
                self.error = line.removeprefix("error: ").strip()
            elif is_end or (self.last and not line.startswith(_STOP)):
                self.last.append(line)
            elif self.is_first:
                sys.stderr.write(line)
                sys.stderr.flush()

    @property
    def failure(self) -> str:
        """The traceback of an error of its own; "" where there is none."""
        end = self._end
        after = _AFTER.search(end)
        traceback = end[: after.start()] if after else end
        raised = _RAISED.findall(traceback) if end.startswith("Traceback ") else []
        return traceback if raised and not raised[-1].endswith(_OF_JAX) else ""

    @property
    def missed(self) -> str:
        """How it says that another rank has gone; "" where it does not."""
        missed = None if self.failure else _GONE.search(self._end)
        return missed[0][:120] if missed else ""

    @property
    def _end(self) -> str:
        text = "".join(self.last)
        end = _END.search(text)
        return text[end.start() :] if end else ""


def _waited_for(child: subprocess.Popen[str], words: _Words) -> int:
    """The status of a rank; JAX has one that ends by itself wait for the others."""
    since = 0.0
    while True:
        try:
            return child.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            if not (words.error or words.failure or words.missed):
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > _GRACE_S:
                child.kill()


def _leave(rank: Rank, status: int, received: int, words: _Words) -> None:
    """Leave as a rank did, which may have been ended while it left."""
    name = f"rank {rank.number} of {rank.ranks} on {socket.gethostname()}"
    if words.error:
        raise UserError(words.error if rank.number == 0 else f"{name}: {words.error}")
    if received and status not in (0, 128 + received):
        print(stop_message(received), file=sys.stderr)
        raise SystemExit(128 + received)
    if words.failure:
        sys.stderr.write(f"{name}:\n{words.failure}")
        raise SystemExit(1)
    if words.missed:
        raise UserError(
            f"{name}: another rank has ended, or cannot be reached ({words.missed}); the same "
            "command goes on from the last checkpoint, on as many hosts or another number"
        )
    if status < 0:
        raise UserError(
            f"{name}: was killed ({signal.Signals(-status).name}); the same command goes on from "
            "the last checkpoint, on as many hosts or another number"
        )
    if status not in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM):
        sys.stderr.write("".join(words.last))
    raise SystemExit(status)
