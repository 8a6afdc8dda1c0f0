"""Scripts that are stopped, started twice, and left without a disk: nothing is lost."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from common.base.files import lock_folder
from common.training import seen
from tests.helpers import needs
from tests.helpers.scripts import PROJECTS, ROOT, TINY_DATA, everything, run
from tests.tools import kills

HEART = "heart_detection"
SCRIPTS = ("prepare_data", "train", "evaluate", "predict")


def all_but(slow):
    """The scripts, of which one starts in the slow tests only."""
    return [pytest.param(s, marks=[pytest.mark.slow] * (s == slow)) for s in SCRIPTS]


def start(script, *arguments, project=HEART, **options):
    command = [sys.executable, str(ROOT / project / f"{script}.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def refusal(process):
    """What a script that must leave with status 2 said, in one line."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 2, out[-2000:] + error[-3000:]
    [line] = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in error
    return line


def command(script, once, folder):
    """The rest of a command line that writes a new folder, in ``folder``."""
    return {
        "prepare_data": ["--source", once.sample, "--prepared", folder, *TINY_DATA[once.project]],
        "train": [*once.training(2), "--run", folder],
        "evaluate": ["--run", once.run, "--pictures", 2],
        "predict": [
            next(once.sample.glob("*mages*")), "--run", once.run, "--output", folder,
            "--pictures", 2,
        ],
    }[script]  # fmt: skip


def there(script, once, folder):
    """The folder that the command writes."""
    return once.evaluation if script == "evaluate" else folder


@pytest.fixture
def unbroken(whole, tmp_path_factory):
    """A project's training, unbroken."""

    def train(project=HEART):
        folder = tmp_path_factory.mktemp("unbroken") / "run"
        run(project, "train", *whole(project).training(2), "--run", folder)
        return folder

    return train


def assert_alike(folder, other):
    """Two folders hold the same, but for what was measured; where not, the files are named."""
    assert not kills.differences(kills.contents(folder), kills.contents(other))


# ---- Two at once


@pytest.mark.parametrize("script", all_but("evaluate"))
def test_the_second_run_on_a_folder_is_refused_and_names_the_first(whole, tmp_path, script):
    once = whole(HEART)
    folder = there(script, once, tmp_path / "out")
    with lock_folder(folder):
        before = everything(folder)
        line = refusal(start(script, *command(script, once, tmp_path / "out")))
        assert f"{folder}: process {os.getpid()} on " in line and "is writing here" in line
        assert everything(folder) == before


# ---- No room, no right to write


def obey_permissions():
    """As root too: CAP_DAC_OVERRIDE is taken away from what is started next."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@contextmanager
def read_only(folder):
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(mode)


@needs.machine(sys.platform == "linux", "asks for Linux's capabilities")
@pytest.mark.parametrize("script", all_but("train"))
def test_a_read_only_folder_is_named_and_stays_as_it_was(whole, tmp_path, script):
    once = whole(HEART)
    parent = once.evaluation if script == "evaluate" else tmp_path
    before = everything(parent)
    with read_only(parent):
        line = refusal(
            start(
                script, *command(script, once, tmp_path / "out"), preexec_fn=obey_permissions
            )
        )  # fmt: skip
    assert str(there(script, once, tmp_path / "out")) in line
    assert "permission is denied: change its permissions, or choose a folder that you" in line
    assert everything(parent) == before


def at_most(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "size", "file"),
    [
        ("prepare_data", 20_000, ".tfrecord"),
        pytest.param("train", 20_000_000, "run/", marks=pytest.mark.slow),
        ("evaluate", 3_000, "evaluation/test"),
        ("predict", 3_000, ""),
    ],
)
def test_without_room_a_script_names_the_file_and_goes_on_when_there_is_some(
    whole, tmp_path, script, size, file
):
    once = whole(HEART)
    folder = there(script, once, tmp_path / "run")
    # Twice: what the first one leaves is no harm to the second.
    for _ in range(2):
        before = everything(folder) if script == "evaluate" else None
        process = start(
            script, *command(script, once, tmp_path / "run"), preexec_fn=partial(at_most, size)
        )
        line = refusal(process)
        assert file in line and "no file may be so large here" in line
        assert not list(folder.rglob("*.part*"))
        assert before is None or everything(folder) == before
    if script != "evaluate":
        run(HEART, script, *command(script, once, tmp_path / "run"))
        assert not list(folder.rglob("*.part*"))


# ---- Workers that are killed


def workers_of(process):
    """The processes that work for another: their numbers."""
    found = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [child for file in found for child in file.read_text().split()]
    return [c for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


@pytest.mark.slow
def test_workers_that_are_killed_cost_nothing(whole, tmp_path):
    once = whole(HEART)
    arguments = [*command("prepare_data", once, tmp_path / "killed"), "--copies", 9]
    process = start("prepare_data", *arguments)
    # At work, and each of them once: an item whose second worker ends too would be left out.
    while not list(tmp_path.glob("killed/records/.*.part*")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = workers_of(process)
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    out, error = process.communicate()
    assert process.returncode == 0 and len(workers) > 1, out + error
    arguments = [*command("prepare_data", once, tmp_path / "unbroken"), "--copies", 9]
    run(HEART, "prepare_data", *arguments)
    assert_alike(tmp_path / "killed", tmp_path / "unbroken")


# ---- Asked to stop


@pytest.mark.slow
def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(whole, tmp_path):
    once, folder = whole(HEART), tmp_path / "prepared"
    arguments = command("prepare_data", once, folder)
    process = start("prepare_data", *arguments, preexec_fn=kills.hear_ctrl_c)
    while not (folder / "unfinished.json").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "stopped; the same command goes on from here"
    run(HEART, "prepare_data", *arguments)
    run(HEART, "prepare_data", *command("prepare_data", once, tmp_path / "unbroken"))
    assert_alike(folder, tmp_path / "unbroken")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_that_is_asked_to_stop_ends_as_an_unbroken_one(
    whole, unbroken, tmp_path, number, status
):
    once, folder = whole(HEART), tmp_path / "run"
    arguments = command("train", once, folder)
    process = start("train", *arguments, preexec_fn=kills.hear_ctrl_c)
    while "; run folder" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, error = process.communicate(timeout=300)
    assert process.returncode == status
    assert "the same command goes on from here" in error.splitlines()[-1]
    assert "Traceback" not in out + error
    run(HEART, "train", *arguments)
    assert_alike(folder, unbroken())


@pytest.mark.slow
def test_killed_at_random_moments_every_script_goes_on_and_ends_as_an_unbroken_one():
    assert kills.main(["--count", "12", "--seed", "1", "--minutes", "4"]) == 0


# ---- The same again


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_the_same_seed_gives_the_same_bits(whole, unbroken, project):
    folders = unbroken(project), unbroken(project)
    assert any(name.endswith("model.keras") for name in kills.contents(folders[0]))
    assert_alike(*folders)
    for folder in folders:
        # Each is the first that is scored on this data: the page says how often it was before.
        (whole(project).prepared / seen.SCORINGS).unlink(missing_ok=True)
        run(project, "evaluate", "--run", folder, "--pictures", 2)
    evaluations = [folder / "evaluation" / "test" for folder in folders]
    assert "metrics.json" in kills.contents(evaluations[0])
    assert_alike(*evaluations)


@pytest.mark.slow
def test_a_run_from_its_own_settings_has_the_same_bits(whole, tmp_path):
    pneumonia = "pneumonia_classification"
    once = whole(pneumonia)
    # Weights of a run: the preset then fits settings that are not given.
    line = [*once.training(2), "--weights", once.run, "--run", tmp_path / "given"]
    run(pneumonia, "train", *line)
    (tmp_path / "run.toml").write_text(run(pneumonia, "train", *line, "--print-config"))
    config = tmp_path / "given" / "config.json"
    for name, file in (("from-toml", tmp_path / "run.toml"), ("from-json", config)):
        run(pneumonia, "train", "--config", file, "--run", tmp_path / name)
    expected = kills.contents(tmp_path / "given")
    assert any(name.endswith("model.keras") for name in expected)
    assert_alike(tmp_path / "given", tmp_path / "from-toml")
    # What the preset had fitted is given from then on.
    assert set(expected["config.json"].pop("adapted")) == {"learning_rate", "stretch"}
    again = kills.contents(tmp_path / "from-json")
    assert again["config.json"].pop("adapted") == {}
    assert not kills.differences(expected, again)
