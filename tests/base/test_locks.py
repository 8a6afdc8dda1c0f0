"""Locks where the file system has none: scripts in processes, whose flock the system refuses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from common.base import files, locks
from common.base.errors import UserError
from common.base.files import ROOT, atomic_write, is_locked, lock_folder
from common.datasets.ids import IdTable

HOLD = """
import fcntl, sys, time
from pathlib import Path
from common.base import locks
from common.base.errors import run_script
from common.base.files import lock_folder

def flock(*_):
    raise OSError({errno}, "no locks")

fcntl.flock = flock
locks.BEAT_S = {beat}

def main():
    with lock_folder(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep({seconds})

run_script(main)
"""


@pytest.fixture
def without(monkeypatch):
    """No flock here; beats and patience of a test."""

    def flock(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    monkeypatch.setattr(locks, "BEAT_S", 0.2)
    monkeypatch.setattr(locks, "STALE_S", 1.5)


def hold(folder, errno=locks.errno.ENOSYS, beat=0.2, seconds=60):
    program = HOLD.format(errno=errno, beat=beat, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    return process


def test_who_goes_on_is_named_and_who_was_killed_is_followed(tmp_path, without):
    process = hold(tmp_path)
    try:
        assert is_locked(tmp_path)
        named = rf"process {process.pid} on \S+, started .* UTC, is writing here; wait"
        with pytest.raises(UserError, match=named):
            lock_folder(tmp_path).__enter__()
        process.kill()
        process.wait()
        with lock_folder(tmp_path):
            assert is_locked(tmp_path)
            text = (tmp_path / ".lock.held").read_text()
            assert re.search(rf" process {os.getpid()} on \S+, started ", text)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        assert not is_locked(tmp_path)
    finally:
        process.kill()


def test_who_waits_does_so_as_long_as_the_holder_goes_on(tmp_path, without):
    process = hold(tmp_path, seconds=3)
    began = time.monotonic()
    # Longer than a holder may stand still.
    with lock_folder(tmp_path, wait=True):
        assert time.monotonic() - began > locks.STALE_S
        assert process.wait(5) == 0
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_who_stood_still_and_lost_the_lock_stops(tmp_path, without):
    process = hold(tmp_path)
    try:
        process.send_signal(signal.SIGSTOP)
        with lock_folder(tmp_path):
            process.send_signal(signal.SIGCONT)
            _, error = process.communicate(timeout=30)
            assert process.returncode == 143
            assert "was taken over while this process stood still" in error
            assert is_locked(tmp_path)
    finally:
        process.kill()


def test_a_table_of_ids_is_waited_for(tmp_path, without):
    table = tmp_path / "id-map.csv"
    with locks.exclusive(tmp_path / ".id-map.csv.held"):
        began = time.monotonic()
        script = (
            "import sys; from pathlib import Path; from common.base import locks; import fcntl\n"
            "def flock(*_): raise OSError(locks.errno.ENOLCK, '')\n"
            "fcntl.flock = flock\n"
            "from common.datasets.ids import IdTable\n"
            "folder = Path(sys.argv[1])\n"
            "print(IdTable(None, folder / 'out').ids_of(folder, [('A B', 'A B.dcm')]))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        time.sleep(2)
        assert process.poll() is None and not table.exists() and time.monotonic() - began >= 2
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and table.exists()
    own = IdTable(None, tmp_path / "out").ids_of(tmp_path, [("A B", "A B.dcm")])
    assert str(own) in output.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id-map.csv"]


def test_a_temporary_name_has_the_host_and_is_cleared_away(tmp_path):
    with atomic_write(tmp_path / "a.tar.gz") as temporary:
        assert re.fullmatch(rf"\.a\.{re.escape(locks.host())}\.\d+\.part\.tar\.gz", temporary.name)
        temporary.touch()
        (tmp_path / ".a.node-7.12.part.tar.gz").touch()
        (tmp_path / ".a.7.part.tar.gz").touch()
    files.remove_partial_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
