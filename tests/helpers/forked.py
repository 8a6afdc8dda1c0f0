"""Scripts run from processes that have imported the libraries already, and computed nothing.

A process of its own spends most of a small run on the import of TensorFlow. Here
multiprocessing's fork server has imported it once, and each run is a fork of that. What a script
does before and while it imports is tested in processes of their own.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# The environment that the server began with; with another one a process of its own is begun.
_began_with: dict[str, str] = {}


def run_forked(
    script: Path, arguments: Sequence[str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a Python script as `subprocess.run` would, with its output captured as text."""
    command = [sys.executable, str(script), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    if "forkserver" not in multiprocessing.get_all_start_methods() or environment != (
        _began_with or environment
    ):
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    _began_with.update(environment)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.preloaded"])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = [multiprocessing.reduction.DupFd(file.fileno()) for file in (out, err)]
        process = context.Process(
            target=_as_main, args=(str(script), list(arguments), cwd, streams)
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _as_main(script: str, arguments: list[str], cwd: Path, streams: list) -> None:
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.detach(), number)
    os.chdir(cwd)
    sys.argv[:] = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        atexit._run_exitfuncs()
