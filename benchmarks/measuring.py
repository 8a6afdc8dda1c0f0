"""What all parts share: a row of the table, repeats in turn, and a program that is timed."""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

REPEATS = 3
Side = AbstractContextManager[Callable[[], float]]


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
        """The size to take."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        stage: What was timed.
        ours: Our figure.
        other: The figure of the alternative; None where that is not installed.
        unit: Unit of both figures.
        ratio: How many times better ours is, below 1 if it is worse; None without the alternative.
        target: What is to be reached, in words.
        reached: Whether the target is reached; None where nobody can tell.
        against: The alternative.
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
    """A row whose target is a ratio: more is better where the unit ends in "/s", else less."""
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


def in_turn(*runs: Callable[[], float], repeats: int = REPEATS) -> list[float]:
    """The median seconds of some functions, each called once to warm up, then in turn.

    In turn, so that whatever else the machine does meets all of them.

    Args:
        *runs: Each does its work once and returns the seconds that it took.
        repeats: How often.
    """
    for run in runs:
        run()
    rounds = [[run() for run in runs] for _ in range(repeats)]
    return [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]


def in_turn_with_torch(
    options: Options, run: Callable[[], float], *arguments: object
) -> tuple[float, float | None]:
    """The median seconds of our side and of `torch_side`; None where that is not installed."""
    try:
        with torch_side(options, *arguments) as torch_run:
            seconds, torch_seconds = in_turn(run, torch_run)
            return seconds, torch_seconds
    except MissingError as missing:
        print(f"   PyTorch and MONAI not measured: {missing}")
        return in_turn(run)[0], None


def find_torch_python(given: str | None) -> str | None:
    """The Python that was given, else the running one if it has torch and monai, else None."""
    if given is not None:
        return given
    installed = all(importlib.util.find_spec(name) for name in ("torch", "monai"))
    return sys.executable if installed else None


def torch_side(options: Options, *arguments: object) -> Side:
    """The PyTorch and MONAI `side` of a comparison.

    Raises:
        MissingError: There is no PyTorch or no MONAI.
    """
    if options.torch_python is None:
        raise MissingError("no torch and monai here: see benchmarks/requirements.txt")
    if shutil.which(options.torch_python) is None:
        raise MissingError(f"{options.torch_python}: there is no such Python")
    script = Path(__file__).with_name("torch_side.py")
    return side(options.torch_python, str(script), *map(str, arguments))


def keras_side(*arguments: object) -> Side:
    """Our `side` of a comparison."""
    return side(sys.executable, "-m", "benchmarks.keras_side", *map(str, arguments))


@contextmanager
def side(*command: str) -> Iterator[Callable[[], float]]:
    """A program that prints "ready" and then does its work once per line that it reads.

    After each it prints the seconds that the work took. A process of its own: two frameworks in one
    would fight over its threads.

    Yields:
        A function that does the work once and returns the seconds that it took.

    Raises:
        MissingError: The program ended before it was ready; the last line of its error says why.
    """
    # A file, for a pipe that nobody reads fills up and holds the program.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def answer() -> str:
            line = answers.readline().strip()
            if not line:
                process.wait()
                errors.seek(0)
                lines = errors.read().strip().splitlines() or ["it said nothing"]
                raise MissingError(f"{Path(command[0]).name} {' '.join(command[1:])}: {lines[-1]}")
            return line

        def seconds() -> float:
            requests.write("\n")
            requests.flush()
            return float(answer())

        try:
            if (first := answer()) != "ready":
                raise MissingError(first)
            yield seconds
        finally:
            process.kill()
            process.communicate()
