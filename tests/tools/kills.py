"""Kill the scripts at random moments, start the same commands again, and compare what comes out.

    python -m tests.tools.kills --count 100 --seed 1
    python -m tests.tools.kills --count 30 --seed 1 --signal INT

Every project goes once through unbroken, prepare_data.py, train.py, evaluate.py and predict.py, on
a tiny sample. Then each script is started, ended with SIGKILL (half the time alone, half together
with its processes), and started again, `count` times in all; now and then it is left to end. With
``--signal`` it is asked to stop instead, once it holds its folder, and must leave as it says.
Whatever ends must have written what the unbroken one wrote: records, tables and pictures byte for
byte, weights, history and metrics to the last digit. Only times, the memory that was held, and
hashes of files that hold a time may differ.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synthetic_sample.make_sample import make_sample
from tests.helpers.scripts import PROJECTS, ROOT, TINY, TINY_DATA

SCRIPTS = ("prepare_data", "train", "evaluate", "predict")

MEASURED = {
    "created", "seconds", "seconds_per_volume", "training_minutes", "training_peak_memory_mib",
    "peak_memory_mib", "prepared", "run", "seal",
}  # fmt: skip
"""What two runs alike may differ in: times, memory, places, and the hash of what holds them."""

# The page shows seconds and MiB too, in tables whose numbers are held in metrics.json.
_TIME_OR_HASH = re.compile(
    rb"\d{4}-\d\d-\d\dT[\d:+]+|[0-9a-f]{64}|[\d.,]+ (minutes|MiB)"
    rb'|<td class="number">[\d.,]+</td>'
)


@dataclass
class Chain:
    """One project's four commands, with folders of their own."""

    project: str
    sample: Path
    folder: Path

    def outputs(self, script: str) -> Path:
        """The folder that a script writes."""
        run = self.folder / "run"
        return {
            "prepare_data": self.folder / "prepared", "train": run,
            "evaluate": run / "evaluation" / "test", "predict": self.folder / "predictions",
        }[script]  # fmt: skip

    def command(self, script: str) -> list[str]:
        """A script's command line."""
        run, prepared = self.outputs("train"), self.outputs("prepare_data")
        arguments = {
            "prepare_data": [
                "--preset", "cpu", "--source", self.sample, "--prepared", prepared,
                "--validation-share", 0.2, "--test-share", 0.3, *TINY_DATA[self.project],
            ],
            "train": [
                "--preset", "cpu", "--prepared", prepared, "--run", run, "--epochs", 3,
                "--precision", "float32", "--checkpoint-seconds", 0, *TINY[self.project],
            ],
            "evaluate": ["--run", run, "--pictures", 2],
            "predict": [
                next(self.sample.glob("*mages*")), "--run", run, "--pictures", 2,
                "--output", self.outputs("predict"),
            ],
        }[script]  # fmt: skip
        return [sys.executable, str(ROOT / self.project / f"{script}.py"), *map(str, arguments)]


@dataclass
class Counts:
    """What happened to one script."""

    kills: int = 0
    ends: int = 0
    faults: list[str] = field(default_factory=list)


def kill_and_compare(
    project: str,
    sample: Path,
    folder: Path,
    kills: int,
    draw: random.Random,
    until: float,
    number: signal.Signals = signal.SIGKILL,
) -> list[Counts]:
    """Kill a project's scripts so often in all, and compare what each of them ends with."""
    whole, broken = Chain(project, sample, folder / "whole"), Chain(project, sample, folder / "cut")
    outcomes = []
    for place, script in enumerate(SCRIPTS):
        start, work = _times(whole, script)
        expected = contents(whole.outputs(script))
        counts = Counts()
        outcomes.append(counts)
        # As much time for each of the remaining scripts.
        until_next = time.monotonic() + (until - time.monotonic()) / (len(SCRIPTS) - place)
        wanted = kills * (place + 1) // len(SCRIPTS) - kills * place // len(SCRIPTS)
        output = broken.outputs(script)
        while counts.kills < wanted and time.monotonic() < until_next:
            moment = draw.uniform(-0.25, 1)
            if number != signal.SIGKILL:
                gone = _interrupted(broken, script, abs(moment) * work, number, counts)
            else:
                gone = _killed(broken, script, draw, moment, start, work, counts)
            if gone:
                counts.kills += 1
                continue
            counts.faults += differences(expected, contents(output))
            shutil.rmtree(output)
        _run(broken, script, counts)
        counts.faults += differences(expected, contents(output))
        print(f"  {project:<26}{script:<14}{_summary(counts)}", flush=True)
    return outcomes


def contents(folder: Path) -> dict[str, Any]:
    """What a folder holds, by file, without what was measured."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != ".lock"
        and not {"tensorboard", "evaluation"} & set(path.relative_to(folder).parts)
    }


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        content = _without_measured(json.loads(path.read_text()))
        # The key of predictions has the hash of the model's file in it.
        return content if path.name != "predictions.json" else {**content, "key": ""}
    if path.suffix in (".html", ".md"):
        return _TIME_OR_HASH.sub(b"", path.read_bytes())
    if path.name == "history.csv":
        with open(path, newline="") as file:
            return [_without_measured(row) for row in csv.DictReader(file)]
    if path.suffix == ".keras":
        return _arrays_of_keras(path)
    if path.suffix == ".npz":
        with np.load(path) as saved:
            arrays = {name: saved[name].tobytes() for name in saved.files if name != "state"}
            if "state" in saved.files:
                arrays["state"] = _without_measured(json.loads(bytes(saved["state"])))
            return arrays
    return path.read_bytes()


def _without_measured(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            name: _without_measured(value)
            for name, value in content.items()
            # The hash of a .keras file: a zip holds the time at which it was written.
            if name not in MEASURED and not name.endswith("model.keras")
        }
    return [_without_measured(item) for item in content] if isinstance(content, list) else content


def _arrays_of_keras(path: Path) -> dict[str, bytes]:
    import h5py

    arrays = {}
    with zipfile.ZipFile(path) as archive:
        packed = io.BytesIO(archive.read("model.weights.h5"))
        # Keras names a policy that layers share by its place in memory.
        config = archive.read("config.json")
        arrays["config"] = re.sub(rb'"shared_object_id": \d+', b"", config)
    with h5py.File(packed) as file:
        file.visititems(
            lambda name, entry: (
                arrays.update({name: entry[()].tobytes()})
                if isinstance(entry, h5py.Dataset)
                else None
            )
        )
    return arrays


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Which files differ between two folders' `contents`, a line each, with the first place."""
    return [
        f"{name} differs: {_first_difference(expected.get(name), actual.get(name))}"
        for name in sorted(expected.keys() | actual.keys())
        if name not in actual or name not in expected or actual[name] != expected[name]
    ]


def _first_difference(*contents: Any) -> str:
    """Where the expected and the actual content of a file part; None is a missing file."""
    expected, actual = (
        content if isinstance(content, bytes) else repr(content).encode() for content in contents
    )
    places = (at for at, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b)
    start = max(next(places, min(len(expected), len(actual))) - 40, 0)
    end = start + 80
    return f"expected {expected[start:end]!r}, found {actual[start:end]!r}"


def _times(chain: Chain, script: str) -> tuple[float, float]:
    """Run a script unbroken; the seconds until it holds its folder, and from there on."""
    began = time.monotonic()
    process = _started(chain, script)
    _wait_for_lock(chain, script, process)
    start = time.monotonic() - began
    output, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"{chain.project} {script}, unbroken: {output[-1000:]}{error[-2000:]}")
    return start, time.monotonic() - began - start


def _interrupted(
    chain: Chain, script: str, wait: float, number: signal.Signals, counts: Counts
) -> bool:
    """Start a script and ask it to stop; False where it ended before."""
    process = _started(chain, script)
    _wait_for_lock(chain, script, process)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    output, error = process.communicate()
    # Where all is done and Python clears up, its own handlers are gone.
    if process.returncode == 0 or (process.returncode == -number and not error):
        counts.ends += 1
        return False
    if process.returncode != 128 + number or "Traceback" in output + error:
        counts.faults.append(f"{script} left with {process.returncode}: {error[-500:]}")
    return True


def _killed(
    chain: Chain,
    script: str,
    draw: random.Random,
    moment: float,
    start: float,
    work: float,
    counts: Counts,
) -> bool:
    """Start a script and kill it; False where it ended before."""
    # One kill of five falls into the start, when nothing is written yet.
    kill = draw.choice((os.kill, os.killpg))
    process = _started(chain, script)
    try:
        if moment < 0:
            process.wait(start * (1 + 4 * moment))
        else:
            _wait_for_lock(chain, script, process)
            process.wait(work * moment)
    except subprocess.TimeoutExpired:
        kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    _judge(process, script, counts)
    return False


def _run(chain: Chain, script: str, counts: Counts) -> None:
    _judge(_started(chain, script), script, counts)


def _judge(process: subprocess.Popen[str], script: str, counts: Counts) -> None:
    _, error = process.communicate()
    counts.ends += 1
    if process.returncode:
        counts.faults.append(f"{script} left with {process.returncode}: {error[-500:]}")


def _started(chain: Chain, script: str) -> subprocess.Popen[str]:
    (chain.outputs(script) / ".lock").unlink(missing_ok=True)
    return subprocess.Popen(
        chain.command(script), cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c,
    )  # fmt: skip


def hear_ctrl_c() -> None:
    """To be called in a new process: a shell starts what runs in its background deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_lock(chain: Chain, script: str, process: subprocess.Popen[str]) -> None:
    while not (chain.outputs(script) / ".lock").exists() and process.poll() is None:
        time.sleep(0.02)


def _summary(counts: Counts) -> str:
    unusable = "; ".join(dict.fromkeys(counts.faults)) or "0 unusable states"
    return f"{counts.kills:>4} kills, {counts.ends} ended: {unusable}"


def main(arguments: list[str] | None = None) -> int:
    """Kill, compare and print; give back the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="kills in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (default: 0)")
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    parser.add_argument("--projects", nargs="+", choices=PROJECTS, default=PROJECTS)
    parser.add_argument("--minutes", type=float, default=600, help="start no new kill after these")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    draw, number = random.Random(options.seed), signal.Signals[f"SIG{options.signal}"]

    outcomes: list[Counts] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, project in enumerate(options.projects):
            part = "atrium" if project == "atrium_segmentation" else "chest"
            sample = make_sample(Path(folder) / "synthetic", 7, 36, 5, [part])[part]
            parts = len(options.projects)
            kills = options.count * (place + 1) // parts - options.count * place // parts
            places = (project, sample, Path(folder) / project)
            outcomes += kill_and_compare(*places, kills, draw, until, number)
    faults = [fault for counts in outcomes for fault in counts.faults]
    total, ends = (sum(getattr(c, name) for c in outcomes) for name in ("kills", "ends"))
    print(f"{total} kills, {ends} ends, {len(faults)} unusable states (seed {options.seed})")
    return len(faults)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
