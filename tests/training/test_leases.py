"""Leases of runs: who may train one, and when another may."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from common.base.files import lock_folder, visible_names
from common.base.locks import BEAT_S, STALE_S, host
from common.training.leases import NAME, take_lease


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(run, machine, process, seconds=0.0):
    """A lease that was renewed so many seconds ago."""
    run.mkdir(exist_ok=True)
    file = run / NAME
    file.write_text(f"{machine} {process} a1b2 2026-11-29T10:00:00+0000\n")
    os.utime(file, (time.time() - seconds,) * 2)
    return file


def test_a_run_has_one_holder_who_may_let_it_go(tmp_path):
    lease = take_lease(tmp_path / "run")
    assert lease.is_held and lease.before == ""
    assert (tmp_path / "run" / NAME).read_text().split()[:2] == [host(), str(os.getpid())]
    # A run that is begun in it finds an empty folder.
    assert visible_names(tmp_path / "run") == []
    assert take_lease(tmp_path / "run") is None
    lease.release()
    assert take_lease(tmp_path / "run").before == ""


def test_a_lease_whose_process_has_ended_here_is_claimed_at_once(tmp_path, ended):
    leave(tmp_path, host(), ended)
    lease = take_lease(tmp_path)
    assert lease.before == f"process {ended} on {host()}"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("machine", ["far-away", host()])
def test_a_lease_is_claimed_where_it_was_not_renewed_for_long(tmp_path, machine):
    leave(tmp_path, machine, os.getppid(), STALE_S - 10)
    assert take_lease(tmp_path) is None
    leave(tmp_path, machine, os.getppid(), STALE_S + 10)
    lease = take_lease(tmp_path)
    assert lease.is_held and lease.before == f"process {os.getppid()} on {machine}"


def test_a_process_of_another_machine_is_not_looked_for_here(tmp_path, ended):
    leave(tmp_path, "far-away", ended)
    assert take_lease(tmp_path) is None


@pytest.mark.parametrize("text", ["", "far-away 12", "far-away twelve a1b2 now"])
def test_a_lease_that_was_cut_is_claimed_where_it_is_old(tmp_path, text):
    file = leave(tmp_path, "far-away", 1)
    file.write_text(text)
    assert take_lease(tmp_path) is None
    os.utime(file, (time.time() - STALE_S - 10,) * 2)
    assert take_lease(tmp_path).is_held


def test_a_run_that_is_still_written_is_not_claimed(tmp_path, ended):
    leave(tmp_path, host(), ended)
    with lock_folder(tmp_path):
        assert take_lease(tmp_path) is None
    assert take_lease(tmp_path).is_held


def test_a_holder_renews_its_time_and_learns_that_it_was_claimed(tmp_path, monkeypatch):
    lease = take_lease(tmp_path)
    old = time.time() - STALE_S - 10
    os.utime(tmp_path / NAME, (old, old))
    assert lease.renew() and (tmp_path / NAME).stat().st_mtime == pytest.approx(old)
    later = time.monotonic() + BEAT_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert lease.renew() and (tmp_path / NAME).stat().st_mtime > old + STALE_S
    os.utime(tmp_path / NAME, (old, old))
    other = take_lease(tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: later + BEAT_S)
    assert not lease.renew() and other.is_held
    # What is another's is not let go.
    lease.release()
    assert other.is_held


def test_of_many_who_claim_a_stale_lease_at_once_a_single_one_has_it(tmp_path, ended):
    for number in range(30):
        run = tmp_path / str(number)
        leave(run, host(), ended)
        leases, start = [], threading.Barrier(8)

        def claim(run=run, leases=leases, start=start):
            start.wait()
            leases.append(take_lease(run))

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holders = [lease for lease in leases if lease is not None]
        assert sum(lease.is_held for lease in holders) == 1
        assert [path.name for path in run.iterdir()] == [NAME]
