"""What every part shares: a line of the table, repeats in turn, and a program that is timed."""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPEATS = 3


class MissingError(Exception):
    """What a part would be measured against is not installed. The message says what."""


@dataclass(frozen=True)
class Options:
    """How a part is to be run.

    Attributes:
        work: A folder for what is made on the way; kept, so that a second run is faster.
        quick: Small sizes: to see that a part works, not for figures.
        torch_python: A Python that has torch and monai; None if there is none.
    """

    work: Path
    quick: bool
    torch_python: str | None

    def size(self, full: int, quick: int) -> int:
        """The one of two sizes that was asked for."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        stage: What was timed.
        ours: Our figure.
        other: That of what it stands beside; None where that is not installed.
        unit: Of both.
        ratio: How many times better ours is, below 1 if it is worse; None without the other.
        target: What is to be reached, in words.
        reached: Whether it is; None where that can't be told.
        against: What it stands beside.
    """

    stage: str
    ours: float
    other: float | None
    unit: str
    ratio: float | None
    target: str
    reached: bool | None
    against: str


def compared(
    stage: str, against: str, ours: float, other: float | None, unit: str, at_least: float
) -> Row:
    """A line whose target is a ratio.

    Args:
        stage: As in `Row`, like the next four.
        against: What the other is.
        ours: Our figure.
        other: The other's, or None.
        unit: Where it ends in "/s" more is better, else less.
        at_least: The ratio to reach.
    """
    ratio = None
    if other is not None:
        ratio = ours / other if unit.endswith("/s") else other / ours
    reached = None if ratio is None else ratio >= at_least
    return Row(stage, ours, other, unit, ratio, f"ratio {at_least:g}", reached, against)


def timed(function: Callable[[], object]) -> Callable[[], float]:
    """A function that calls another and returns the seconds that it took."""

    def seconds() -> float:
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    return seconds


def in_turn(*seconds_of: Callable[[], float], repeats: int = REPEATS) -> list[float]:
    """The median seconds of some functions, each called once to warm up, then in turn.

    In turn, so that whatever else the machine does meets all of them.

    Args:
        *seconds_of: Each does its work once and returns the seconds that it took.
        repeats: How often.
    """
    for one in seconds_of:
        one()
    rounds = [[one() for one in seconds_of] for _ in range(repeats)]
    return [statistics.median(of_one) for of_one in zip(*rounds, strict=True)]


def find_torch_python(given: str | None) -> str | None:
    """The Python that was given, else this one if it has torch and monai, else None."""
    if given is not None:
        return given
    here = all(importlib.util.find_spec(name) for name in ("torch", "monai"))
    return sys.executable if here else None


@contextmanager
def torch_side(options: Options, *arguments: object) -> Iterator[Callable[[], float]]:
    """The PyTorch and MONAI side of a comparison, in a process of its own.

    Two frameworks in one process would fight over its threads.

    Yields:
        What does the work once and returns the seconds that it took.

    Raises:
        MissingError: There is no PyTorch or no MONAI.
    """
    if options.torch_python is None:
        raise MissingError("no torch and monai here: see benchmarks/requirements.txt")
    if shutil.which(options.torch_python) is None:
        raise MissingError(f"{options.torch_python}: there is no such Python")
    script = Path(__file__).with_name("torch_side.py")
    with side(options.torch_python, str(script), *map(str, arguments)) as seconds:
        yield seconds


@contextmanager
def keras_side(*arguments: object) -> Iterator[Callable[[], float]]:
    """Our side of a comparison, in a process of its own; as `torch_side`."""
    with side(sys.executable, "-m", "benchmarks.keras_side", *map(str, arguments)) as seconds:
        yield seconds


@contextmanager
def side(*command: str) -> Iterator[Callable[[], float]]:
    """A program that says "ready" and then does its work once for every line it is sent.

    After each it prints the seconds that it took.

    Raises:
        MissingError: It ended before it was ready; the last line of its error says why.
    """
    # A file, for a pipe that nobody reads fills up and holds the program.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )

        def answer() -> str:
            line = process.stdout.readline().strip()
            if not line:
                process.wait()
                errors.seek(0)
                said = errors.read().strip().splitlines() or ["it said nothing"]
                raise MissingError(f"{Path(command[0]).name} {' '.join(command[1:])}: {said[-1]}")
            return line

        def seconds() -> float:
            process.stdin.write("\n")
            process.stdin.flush()
            return float(answer())

        try:
            if (first := answer()) != "ready":
                raise MissingError(first)
            yield seconds
        finally:
            process.kill()
            process.communicate()
