"""The progress bar: after two seconds, on a terminal, and nowhere else."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from tests.helpers.scripts import ROOT

PROGRAM = """
import sys, time
from common.base.progress import progress
for _ in progress(range(8), desc="read", unit="film"):
    time.sleep(float(sys.argv[1]))
print("done")
"""


def printed(seconds, terminal):
    """What a program prints that goes through 8 films in so many seconds each."""
    command = [sys.executable, "-c", PROGRAM, str(seconds)]
    if not terminal:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    process = subprocess.Popen(command, cwd=ROOT, stdout=its)
    os.close(its)
    parts = []
    try:
        while part := os.read(ours, 10_000):
            parts.append(part)
    except OSError:
        # So Linux says that the other end has been closed.
        pass
    os.close(ours)
    assert process.wait() == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("seconds", "terminal", "is_shown"),
    [(0.4, True, True), (0.01, True, False), (0.4, False, False)],
)
def test_a_bar_is_shown_after_two_seconds_where_there_is_a_terminal(seconds, terminal, is_shown):
    text = printed(seconds, terminal)
    assert "done" in text and ("film" in text) == is_shown
    assert bool(re.search(r"read: .*/8 ", text)) == is_shown


def test_every_bar_is_this_one_but_for_that_of_a_training_step():
    places = [ROOT / "data", ROOT / "common", *ROOT.glob("*_*/")]
    files = [file for place in places for file in place.rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if "tqdm" in file.read_text()}
    assert found == {"common/base/progress.py", "common/training/callbacks.py"}
