"""Several processes of JAX that train as one: equal to one of as many devices, killed, stopped."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.base.files import ROOT
from tests.helpers import fit_run, needs
from tests.helpers.scripts import PROJECTS

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "tests" / "helpers" / "hosts_run.py"
LIMIT_S = 1800

SRUN = """#!/bin/bash
# What srun sets of a job step of two tasks on two nodes, here on one machine.
export SLURM_JOB_ID=4711 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2
export SLURM_STEP_NODELIST=localhost,node2
for task in 1 0; do
    SLURM_PROCID=$task SLURM_LOCALID=0 "$@" &
done
status=0
for job in $(jobs -p); do wait "$job" || status=$?; done
exit $status
"""


@pytest.fixture(autouse=True)
def jax():
    needs.package("jax")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def shell(devices=1):
    """This shell, for Keras on JAX with so many devices on the CPU."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {
        **os.environ, "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT),
    }  # fmt: skip


def ranks(count, command, devices=1):
    """Start a command as so many ranks: a function of ``--hosts`` to its arguments."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command(f"127.0.0.1:{port},{count},{number}"))],
            cwd=ROOT, env=shell(devices), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]  # fmt: skip


def ended(processes, status=0):
    """What each printed, to standard output and standard error; all left with the same status."""
    printed = [process.communicate(timeout=LIMIT_S) for process in processes]
    statuses = [process.returncode for process in processes]
    assert statuses == [status] * len(processes), printed
    return printed


def tiny(run, count, devices=1, pause=0.0):
    """Start the ranks of a training of a moment."""
    return ranks(count, lambda hosts: [SCRIPT, hosts, run, pause], devices)


def history(run):
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{n: float(v) for n, v in row.items() if n != "seconds"} for row in rows]


def assert_near(run, other):
    """Two runs have the same scores, weights and state, to 1e-6."""
    expected, actual = history(run), history(other)
    assert len(expected) == len(actual) > 1
    for one, two in zip(expected, actual, strict=True):
        assert two == pytest.approx(one, abs=1e-6)
    for load in (fit_run.weights, fit_run.last_weights):
        pairs = list(zip(load(run), load(other), strict=True))
        assert len(pairs) > 4
        for one, two in pairs:
            np.testing.assert_allclose(two, one, atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A training of a moment by one process with two devices."""
    needs.package("jax")
    run = tmp_path_factory.mktemp("hosts") / "one"
    ended(tiny(run, 1, devices=2))
    return run


def started(processes, run):
    """Wait until some ranks have written a checkpoint."""
    while not (run / "checkpoint.npz").exists():
        assert [process.poll() for process in processes] == [None] * len(processes)
        time.sleep(0.02)


def rank_itself(process):
    """The number of the process that trains: the child of the one that was started."""
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


# ---- As one


def test_two_processes_are_one_with_two_devices(one, tmp_path):
    first, second = ended(tiny(tmp_path / "two", 2))
    assert_near(one, tmp_path / "two")
    assert "epoch 4/4" in first[0] and "best epoch" in first[0] and not first[1]
    assert second == ("", "")


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_on_two_hosts_is_as_on_one_with_two_devices(
    whole, project, tmp_path, monkeypatch
):
    # Each training is compiled once.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    once = whole(project)

    def train(run):
        arguments = [*once.training(2), "--run", run, "--ema-momentum", 0.9]
        return lambda hosts: [ROOT / project / "train.py", *arguments, "--hosts", hosts]

    runs = tmp_path / "one", tmp_path / "two"
    ended(ranks(1, train(runs[0]), devices=2))
    first, second = ended(ranks(2, train(runs[1])))
    assert str(runs[1] / "fitted.json") in first[0] and second == ("", "")
    config = json.loads((runs[1] / "config.json").read_text())
    assert config["computed_with"]["hosts"] == 2 and config["settings"]["hosts"] == ""
    nets = [path.parent.relative_to(runs[0]) for path in runs[0].rglob("history.csv")]
    assert nets
    for net in nets:
        assert_near(runs[0] / net, runs[1] / net)
    assert {path.name for path in runs[0].iterdir()} == {path.name for path in runs[1].iterdir()}


# ---- Stopped and killed


def test_sigterm_at_a_rank_ends_all_at_the_same_step(one, tmp_path):
    run = tmp_path / "run"
    processes = tiny(run, 2, pause=0.2)
    started(processes, run)
    processes[1].send_signal(signal.SIGTERM)
    first, second = ended(processes, 143)
    assert re.search(r"saved after (step \d of )?epoch \d", first[0]), first
    assert "stopped by SIGTERM; the same command goes on from here" in first[1]
    assert second == ("", "")
    # A launcher sends a signal to all processes of a job, the ranks themselves too.
    processes = tiny(run, 2, pause=0.2)
    assert "goes on after" in processes[0].stdout.readline()
    for process in processes:
        for number in (process.pid, rank_itself(process)):
            os.kill(number, signal.SIGTERM)
    ended(processes, 143)
    first, _ = ended(tiny(run, 2))
    assert "goes on after" in first[0]
    assert_near(one, run)


@pytest.mark.parametrize(("killed", "is_parent", "left"), [(1, False, 1), (0, True, 2)])
def test_a_rank_is_killed_and_the_same_command_goes_on(one, tmp_path, killed, is_parent, left):
    run = tmp_path / "run"
    processes = tiny(run, 2, pause=0.2)
    started(processes, run)
    victim, other = processes[killed], processes[1 - killed]
    os.kill(victim.pid if is_parent else rank_itself(victim), signal.SIGKILL)
    began = time.monotonic()
    _, error = other.communicate(timeout=LIMIT_S)
    assert time.monotonic() - began < 120
    assert other.returncode == 2
    [line] = error.splitlines()
    assert line.startswith(f"error: rank {1 - killed} of 2 on {socket.gethostname()}: another rank")
    assert line.endswith("goes on from the last checkpoint, on as many hosts or another number")
    _, error = victim.communicate(timeout=LIMIT_S)
    if not is_parent:
        assert victim.returncode == 2
        assert f"rank {killed} of 2 on {socket.gethostname()}: was killed (SIGKILL)" in error
    first, *_ = ended(tiny(run, left))
    assert "goes on after" in first[0]
    assert_near(one, run)


def test_ranks_that_differ_are_refused_by_number(whole, tmp_path):
    once = whole(PROJECTS[2])
    seeds = iter((1, 2))

    def train(hosts):
        arguments = [*once.training(2), "--run", tmp_path / "run", "--seed", next(seeds)]
        return [ROOT / PROJECTS[2] / "train.py", *arguments, "--hosts", hosts]

    for _, error in ended(ranks(2, train), 2):
        assert "rank 1 has other settings, data, versions or code than rank 0" in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "run" / "config.json").exists()


# ---- Slurm


def test_the_slurm_script_trains_two_ranks(whole, tmp_path):
    page = (ROOT / "docs" / "cluster.md").read_text()
    [text] = re.findall(r"```\n(#!/bin/bash\n#SBATCH.*?--hosts auto.*?)```", page, re.DOTALL)
    once = whole(PROJECTS[0])
    run = tmp_path / "run"
    for place, here in (("/shared/prepared/rsna", once.prepared), ("/shared/runs/rsna", run)):
        assert text.count(place) == 1
        text = text.replace(place, str(here))
    script, srun = tmp_path / "train.slurm", tmp_path / "bin" / "srun"
    script.write_text(text)
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    shellcheck = needs.program(str(Path(sys.executable).parent / "shellcheck"), "shellcheck")
    checked = subprocess.run([shellcheck, script, srun], capture_output=True, text=True)
    assert not checked.returncode, checked.stdout
    tiny_settings = [*map(str, once.training(1)), "--run", str(run)]
    places = f"{srun.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script), *tiny_settings], cwd=ROOT,
        env={**shell(), "PATH": places}, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    config = json.loads((run / "config.json").read_text())
    assert config["computed_with"]["hosts"] == 2
    assert (run / "fitted.json").exists()
