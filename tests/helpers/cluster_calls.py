"""What the tests have a dask cluster call, and the cluster: dask's own programs, in processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from tests.helpers.scripts import ROOT


def call(item: Mapping[str, Any]) -> tuple[Any, int]:
    """The item's number and the process that it was called in; notes the call in a file."""
    with open(item["log"], "a") as log:
        log.write(f"{item['number']}\n")
    time.sleep(item.get("seconds", 0))
    if error := item.get("error"):
        raise {"user": UserError, "disk": OSError, "bug": ZeroDivisionError}[error[0]](*error[1:])
    if item.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    return item["number"], os.getpid()


class Programs:
    """A scheduler and workers of dask on this machine, started as a user starts them."""

    def __init__(self, folder: Path, *scheduler: str, host: str = "127.0.0.1") -> None:
        self._file, self._processes = folder / "scheduler.json", list[subprocess.Popen[bytes]]()
        self.scheduler = self._started(
            ["scheduler", "--host", host, "--port", "0", "--no-dashboard", *scheduler]
        )
        until = time.monotonic() + 120
        while not self._file.exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.1)
        self.address: str = json.loads(self._file.read_text())["address"]

    def worker(self, *more: str, path: Path | str = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker, of another copy of the repository where its path is given."""
        return self._started(["worker", "--nthreads", "1", "--no-dashboard", *more], path)

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _started(self, words: list[str], path: Path | str = ROOT) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words, "--scheduler-file", str(self._file)],
            env={**os.environ, "PYTHONPATH": str(path)}, cwd=self._file.parent,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._processes.append(process)
        return process
