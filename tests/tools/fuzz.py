"""Mutated files against every reader: only `UserError` may come out, in time and in memory.

    python -m tests.tools.fuzz                          2,000 files, a minute or two
    python -m tests.tools.fuzz --count 100000           what docs/reliability.md tells of
    python -m tests.tools.fuzz --only nifti --seed 17 --count 1     one file again

File ``n`` is always the same, but for the times that Keras notes in its own. A child process does
the reading, so that a crash or an endless loop in a library is seen and counted, and the next file
goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import multiprocessing
import os
import random
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from common.base.errors import UserError
from tests.tools.fuzz_targets import TARGETS, Target

GOOD = ("read", "refused")

MAX_SECONDS = 2.0
"""Of one core, for one file."""

MAX_TIMES = 2
SLACK_KIB = 16 << 10
"""A good file's memory times `MAX_TIMES`, and what allocators keep back."""

_HANGS_AFTER = 60
_STARTS_WITHIN = 600
_STRINGS = [
    b"../../x", b"/etc/passwd", b"x" * 300, b"nan", b"-inf", b"1e308", b"99999999999",
    b"300000000", b"65535", b'"', b"'", b"\n", b"\r\n", b",", b"\0", b"\xff\xfe",
    "é\u202e胸".encode(), b"{}", b"[]", b"null", b"-1", b"true", b"<script>", b"$(touch x)",
    b"=1+1", b"0",
]  # fmt: skip
_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def mutated(good: bytes, draw: random.Random) -> bytes:
    """A file with one to eight places changed: bits, numbers, pieces, length, strings."""
    content = bytearray(good)
    for _ in range(draw.choice([1, 1, 1, 2, 3, 8])):
        if not content:
            break
        # Headers stand in front, and decide most.
        reach = draw.choice([64, 512, 4096, len(content)])
        at = draw.randrange(min(len(content), reach))
        kind = draw.randrange(8)
        if kind == 0:
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at] = draw.randrange(256)
        elif kind == 2:
            size = draw.choice([1, 2, 4, 8])
            number = draw.choice(_NUMBERS) & ((1 << 8 * size) - 1)
            content[at : at + size] = number.to_bytes(size, draw.choice(["little", "big"]))
        elif kind == 3:
            del content[at : at + draw.choice([1, 2, 4, 64, 4096])]
        elif kind == 4:
            piece = content[at : at + draw.choice([1, 8, 128, 4096])]
            content[at:at] = piece * draw.choice([1, 2, 50])
        elif kind == 5:
            del content[draw.randrange(len(content)) :]
        elif kind == 6:
            text = draw.choice(_STRINGS)
            content[at : at + draw.choice([0, len(text)])] = text
        else:
            numbers = list(re.finditer(rb"\d+", bytes(content[at : at + 4096])))
            if numbers:
                digits = draw.choice(numbers)
                content[at + digits.start() : at + digits.end()] = draw.choice(_STRINGS)
    return bytes(content) if content != good else mutated(good, draw)


def outcome(target: Target, content: bytes, allowed_kib: int) -> str:
    """Read one file: "read", "refused", or what went wrong."""
    target.path.write_bytes(content)
    before, began = _begin_peak(), time.process_time()
    try:
        result = "read"
        target.read()
    except UserError as error:
        result = "refused"
        if "\n" in str(error) or "Recognisable" in str(error):
            result = f"message: {error!s:.200}"
    except Exception as error:
        result = f"{type(error).__name__}: {error!s:.150}"
    seconds, kib = time.process_time() - began, _peak() - before
    if result in GOOD and seconds > MAX_SECONDS:
        return f"slow: {seconds:.1f} s"
    if result in GOOD and kib > allowed_kib:
        return f"memory: {kib >> 10} MiB, {allowed_kib >> 10} are allowed"
    return result


def fuzz(
    names: Sequence[str], numbers: Iterable[int], folder: Path
) -> Iterator[tuple[int, str, str]]:
    """Read these mutants in this process.

    Args:
        names: Of `TARGETS`.
        numbers: Each draws a target, one of its good files and what is changed of it.
        folder: Empty, to work in.

    Yields:
        Each mutant's number, target and outcome.
    """
    targets = {name: TARGETS[name](folder / name) for name in names}
    allowed = {}
    for target in itertools.chain.from_iterable(targets.values()):
        target.path.write_bytes(target.good)
        target.read()  # once for what is imported and cached
        before = _begin_peak()
        target.read()
        allowed[id(target)] = MAX_TIMES * max(0, _peak() - before) + SLACK_KIB
    for number in numbers:
        draw = random.Random(number)
        name = draw.choice(names)
        target = draw.choice(targets[name])
        if target.pack is None or draw.random() < 0.3:
            content = mutated(target.good, draw)
        else:
            content = target.pack(mutated(target.inner, draw))
        result = outcome(target, content, allowed[id(target)])
        if result not in GOOD:
            print(f"  file {number}, {name}, {target.path.name}: {result}", flush=True)
        target.path.write_bytes(target.good)
        yield number, name, result


def _begin_peak() -> int:
    """KiB that this process holds, from which on `_peak` is measured (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def _child(names: Sequence[str], numbers: Iterable[int], pipe: Connection) -> None:
    faulthandler.disable()  # pytest's, to the terminal; the parent counts what falls
    warnings.filterwarnings("error", module=r"common\.")  # as in the tests
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # what C libraries print
        for mutant in fuzz(names, numbers, Path(folder)):
            pipe.send(mutant)


def fuzz_in_children(names: Sequence[str], first: int, count: int, seconds: float) -> Counter:
    """The same in child processes, so that a crash counts and ends nothing.

    Args:
        names: Of `TARGETS`.
        first: The number of the first mutant.
        count: How many.
        seconds: The most time that is taken.

    Returns:
        How often each (target, outcome) was.
    """
    seen: Counter = Counter()
    ends, last, fork = (
        time.monotonic() + seconds,
        first + count,
        multiprocessing.get_context("fork"),
    )
    while first < last and time.monotonic() < ends:
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=_child, args=(names, range(first, last), sender))
        child.start()
        sender.close()
        patience = _STARTS_WITHIN  # it imports TensorFlow, on a busy machine for a minute
        with contextlib.suppress(EOFError):
            while first < last and time.monotonic() < ends and receiver.poll(patience):
                number, name, result = receiver.recv()
                patience = _HANGS_AFTER
                seen[name, result] += 1
                first = number + 1
        fell = first < last and time.monotonic() < ends
        if child.is_alive():
            child.join(0 if first < last else 5)
            child.kill()
        child.join()
        if fell:
            seen["", f"crash or hang, exit {child.exitcode}"] += 1
            print(f"  file {first}: the process ended with {child.exitcode}", flush=True)
            first += 1
    return seen


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="files to read")
    parser.add_argument("--seed", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=3600, help="maximum time")
    options = parser.parse_args()
    began = time.monotonic()
    seen = fuzz_in_children(options.only, options.seed, options.count, options.seconds)
    print(f"\n{sum(seen.values()):,} mutated files in {time.monotonic() - began:.0f} s")
    for name in options.only:
        results = {result: n for (target, result), n in seen.items() if target == name}
        wrong = sum(n for result, n in results.items() if result not in GOOD)
        read, refused = results.get("read", 0), results.get("refused", 0)
        counts = f"{read:>8,} read {refused:>8,} refused {wrong:>6,} wrong"
        print(f"  {name:<12}{sum(results.values()):>8,} files {counts}")
    raise SystemExit(1 if any(result not in GOOD for _, result in seen) else 0)


if __name__ == "__main__":
    main()
