"""A disk that is full and a file that may grow no further, for every kind of writer."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from common.base.files import ROOT
from tests.helpers import needs
from tests.helpers.disk_writers import WRITERS

# A namespace of its own, in which anybody may mount a small disk.
SMALL_DISK = [
    "unshare", "--user", "--map-root-user", "--mount",
    "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"',
]  # fmt: skip


def may_mount(folder):
    needs.program("unshare")
    return subprocess.run([*SMALL_DISK, folder, "true"], capture_output=True).returncode == 0


def write_all(folder, before):
    """What becomes of every writer's file, by its name, after a command that leaves no room."""
    writers = Path(__file__).parents[1] / "helpers" / "disk_writers.py"
    command = [*before, folder, sys.executable, writers, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def expected(code):
    """The system's number of the fault, whether the error names the file, what the file holds."""
    return {**dict.fromkeys(WRITERS, f"{code} True old"), "left": str(sorted(WRITERS))}


@pytest.mark.slow
def test_no_writer_spoils_what_was_there_on_a_full_disk(tmp_path):
    if not may_mount(tmp_path):
        needs.other_machine("nobody may mount a disk here")
    assert write_all(tmp_path, SMALL_DISK) == expected(errno.ENOSPC)


@pytest.mark.slow
def test_no_writer_spoils_what_was_there_where_files_may_grow_no_further(tmp_path):
    half_a_mib = ["sh", "-c", 'ulimit -f 1024; exec "$@"']
    assert write_all(tmp_path, half_a_mib) == expected(errno.EFBIG)
