"""python -m common.search: workers that share a folder of trials, some of whom are killed."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from common.base.errors import UserError
from common.base.locks import STALE_S
from common.training.runs import read_run
from common.training.searching import Search
from tests.helpers import needs
from tests.helpers.scripts import ROOT, TINY, run
from tests.helpers.searches import StandIn

WORKERS, KILLED, TRIALS = 10, 3, 24


@pytest.fixture(autouse=True)
def optuna():
    needs.package("optuna")


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path)


def wait_for(condition, process, seconds=300):
    """Wait until something is so, while a process runs."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def ended(stand_in):
    """How many trials have ended; no line of the journal is read while it is written."""
    journal = stand_in.search / "journal.log"
    return journal.read_text().count('"op_code":6') if journal.exists() else 0


def refused(stand_in, *more, **options):
    """The one line of a worker that is refused."""
    lines = stand_in.work(*more, code=2, **options).splitlines()
    [line] = [line for line in lines if line.startswith("error: ")]
    return line


def test_without_optuna_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'is not installed; pip install -e "\.\[search\]"'):
        Search(tmp_path, None)


# ---- A worker


def test_trials_are_ordinary_runs_and_the_same_command_goes_on_with_more(stand_in):
    over = ("--over", "learning_rate=1e-5:1e-1:log", "--over", "loss=dice,focal")
    said = stand_in.work(*over)
    stand_in.assert_complete(3)
    head, *rows = re.findall(r"^  (trial|\d)  +(\S+)", said, re.MULTILINE)
    assert head == ("trial", "val_loss") and len(rows) == 3
    values = [float(value) for _, value in rows]
    assert values == sorted(values)
    told = stand_in.told()
    assert all(f"{told[int(number)][0][1]:.4f}" == value for number, value in rows)
    best = stand_in.search / f"trial-000{rows[0][0]}"
    assert said.splitlines()[-1] == f"  python stand_in/evaluate.py --run {best}"
    runs = [path for path in stand_in.search.glob("trial-*") if path.is_dir()]
    names = {"config.json", "fitted.json", "history.csv", ".lock"}
    assert all({path.name for path in run.iterdir()} == names for run in runs)
    # Nothing is left to do; then two more.
    before = (stand_in.search / "journal.log").read_bytes()
    assert stand_in.work(*over).splitlines()[-1] == said.splitlines()[-1]
    assert (stand_in.search / "journal.log").read_bytes() == before
    stand_in.work(*over, trials=5)
    stand_in.assert_complete(5)
    assert set(stand_in.epochs.values()) == {1}


def test_the_highest_of_another_score_is_the_best(stand_in):
    said = stand_in.work(words=("--monitor", "val_dice"))
    told = [ends[0] for ends in stand_in.told().values()]
    rows = re.findall(r"^  \d  +(\S+)", said, re.MULTILINE)
    assert [float(row) for row in rows] == sorted((round(v, 4) for _, v in told), reverse=True)


def test_a_seed_repeats_a_search_of_one_worker(tmp_path):
    searches = []
    for name in "ab":
        (tmp_path / name).mkdir()
        searches.append(StandIn(tmp_path / name))
        searches[-1].work()
    assert searches[0].told() == searches[1].told()


@pytest.mark.parametrize(
    ("more", "words", "why"),
    [
        (("--over", "learning_rates=1:2"), (), "no such setting; did you mean learning_rate?"),
        (("--over", "learning_rate=-1:1"), (), "--learning-rate must be above 0. Received: -1"),
        (("--over", "loss=dice,dicee"), (), "dicee"),
        ((), ("--learning-rate", "0.1"), "is varied, and given after -- too"),
        ((), ("--run", "mine"), "--run: each trial has its own in --folder"),
        ((), ("--epoch", "3"), "--epochs"),
        ((), ("--prepared", "nowhere"), "nowhere: there is no such folder"),
        (("--failures", "0"), (), "--failures: give 1 or more"),
    ],
)
def test_what_no_training_would_take_is_refused_before_any_begins(stand_in, more, words, why):
    line = refused(stand_in, *more, words=words)
    assert why in line
    assert not stand_in.search.exists()


@pytest.mark.slow
def test_another_search_in_the_folder_is_refused_by_what_differs(stand_in):
    stand_in.work(trials=1)
    other = ("--over", "learning_rate=1e-4:1e-1:log")
    assert "another --over learning-rate; give" in refused(stand_in, *other)
    assert "another --epochs" in refused(stand_in, words=("--epochs", 4))
    assert "another monitor" in refused(stand_in, words=("--monitor", "val_dice"))
    stand_in.prepare("1")
    assert "another data" in refused(stand_in)
    stand_in.prepare("0")
    # What changes no result may differ.
    stand_in.work(trials=2, words=("--device", "cpu"))
    stand_in.assert_complete(2)


def test_a_folder_of_something_else_is_refused(stand_in):
    stand_in.search.mkdir()
    (stand_in.search / "notes.txt").touch()
    assert "search: is not empty and is no search" in refused(stand_in)


@pytest.mark.parametrize("name", ["nothing", "tests", "common", "../x"])
def test_what_is_no_project_is_refused(stand_in, name):
    line = [name if word == "stand_in" else word for word in stand_in.command()]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert f"error: {name}: is no project; name a folder with a config.py" in done.stderr


# ---- Trials that fail


@pytest.mark.slow
def test_a_training_that_fails_is_a_failed_trial_with_its_line_and_a_row_ends_the_search(stand_in):
    stand_in.work(trials=1)
    stand_in.ask("fails")
    line = refused(stand_in, "--failures", 2, trials=9)
    run = stand_in.search / "trial-0002"
    assert f"2 trials in a row failed, the last, 2: {run}: has a loss that is no number" in line
    assert [state for [(state, _)] in stand_in.told().values()] == ["complete", "failed", "failed"]
    # The same command goes on, and what failed before it began does not end it.
    (stand_in.package / "fails").unlink()
    said = stand_in.work("--failures", 2, trials=4)
    assert stand_in.told()[3][0][0] == "complete"
    assert "trial 2 failed: " in said and "has a loss that is no number" in said


def test_where_all_failed_the_search_says_so(stand_in):
    stand_in.ask("fails")
    assert "all trials failed" in refused(stand_in, trials=2)


@pytest.mark.slow
def test_a_training_that_is_killed_is_tried_once_more_and_then_fails(stand_in):
    stand_in.ask("kills-itself")
    stand_in.work(trials=1)
    stand_in.assert_complete(1)
    train = stand_in.package / "train.py"
    train.write_text(train.read_text().replace('is_asked("kills-itself")', "True"))
    said = stand_in.work(trials=2)
    assert "trial 1: failed: the system killed its training twice (SIGKILL)" in said


# ---- Workers that are stopped or killed


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_worker_that_is_stopped_stops_its_training_which_goes_on_later(stand_in, number, status):
    stand_in.ask("seconds", "0.5")
    process = stand_in.start(trials=2, words=("--epochs", 20))
    wait_for(lambda: stand_in.epochs["trial-0000 2"], process)
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    assert process.returncode == status, out + error
    assert error.splitlines()[-1].endswith("the same command goes on from here")
    run = stand_in.search / "trial-0000"
    assert not list(run.glob(".lease*")) and not (run / "fitted.json").exists()
    assert stand_in.told() == {0: []}
    stand_in.ask("seconds", "0")
    assert "trial 0: " in stand_in.work(trials=2, words=("--epochs", 20))
    stand_in.assert_complete(2)
    # From its checkpoint, each epoch once.
    assert set(stand_in.epochs.values()) == {1} and len(stand_in.epochs) == 40
    assert "goes on after epoch" in (stand_in.search / "trial-0000.log").read_text()


@pytest.mark.slow
def test_the_training_of_a_worker_that_is_killed_ends_and_another_worker_goes_on(stand_in):
    stand_in.ask("seconds", "0.3")
    process = stand_in.start(trials=1, words=("--epochs", 20))
    wait_for(lambda: stand_in.epochs["trial-0000 2"], process)
    process.kill()
    process.communicate()
    time.sleep(1)
    epochs = stand_in.epochs
    time.sleep(1.5)
    assert stand_in.epochs == epochs
    stand_in.ask("seconds", "0")
    said = stand_in.work(trials=1, words=("--epochs", 20))
    assert re.search(rf"trial 0, whose worker \(process {process.pid} on \S+\) has gone: --l", said)
    stand_in.assert_complete(1)
    assert max(stand_in.epochs.values()) == 1


def test_a_worker_that_is_killed_between_the_end_and_its_telling_is_told_of_once(stand_in):
    stand_in.ask("kills-worker")
    process = stand_in.start(trials=2)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert (stand_in.search / "trial-0000" / "fitted.json").exists()
    assert stand_in.told() == {0: []}
    stand_in.work(trials=2)
    stand_in.assert_complete(2)
    # It was not trained again.
    log = (stand_in.search / "trial-0000.log").read_text()
    assert log.count("ended") == 1


def test_a_trial_of_another_machine_is_claimed_where_its_lease_is_old(stand_in):
    stand_in.ask("kills-worker")
    stand_in.start(trials=1).communicate(timeout=300)
    lease = stand_in.search / "trial-0000" / ".lease"
    lease.write_text("far-away 12 a1b2 2026-11-29T10:00:00+0000\n")
    process = stand_in.start(trials=1)
    lines = iter(process.stdout.readline, "")
    assert any(line == "waits for 1 trial of other workers\n" for line in lines)
    old = time.time() - STALE_S - 10
    os.utime(lease, (old, old))
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0 and "(process 12 on far-away) has gone" in out, out + error
    stand_in.assert_complete(1)


@pytest.mark.slow
def test_a_worker_whose_lease_was_claimed_stops_its_training_and_tells_nothing(stand_in):
    stand_in.ask("seconds", "0.5")
    process = stand_in.start(trials=1, words=("--epochs", 60))
    wait_for(lambda: stand_in.epochs["trial-0000 2"], process)
    lease = stand_in.search / "trial-0000" / ".lease"
    lease.write_text("far-away 12 a1b2 2026-11-29T10:00:00+0000\n")
    lines = iter(process.stdout.readline, "")
    assert any(line == "waits for 1 trial of other workers\n" for line in lines)
    assert stand_in.told() == {0: []} and "far-away" in lease.read_text()
    assert "goes on from here" in (stand_in.search / "trial-0000.log").read_text()
    stand_in.ask("seconds", "0")
    old = time.time() - STALE_S - 10
    os.utime(lease, (old, old))
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error
    stand_in.assert_complete(1)
    assert set(stand_in.epochs.values()) == {1}


def test_a_line_that_a_killed_worker_wrote_in_part_is_taken_away(stand_in):
    stand_in.work(trials=1)
    with open(stand_in.search / "journal.log", "a") as journal:
        journal.write('{"op_code":4,"worker_')
    stand_in.work(trials=2)
    stand_in.assert_complete(2)


def test_a_trial_that_was_begun_and_has_no_settings_yet_gets_them(stand_in):
    stand_in.work(trials=1)
    lines = (stand_in.search / "journal.log").read_text().splitlines(keepends=True)
    [begun] = [line for line in lines if '"op_code":4' in line]
    (stand_in.search / "journal.log").write_text("".join([*lines, begun]))
    stand_in.work(trials=2)
    stand_in.assert_complete(2)


@pytest.mark.damaged
def test_a_damaged_journal_is_named(stand_in):
    stand_in.work(trials=1)
    journal = stand_in.search / "journal.log"
    journal.write_text("no line\n" + journal.read_text())
    assert f"{journal}: is damaged" in refused(stand_in)


# ---- Several at once


@pytest.mark.slow
def test_two_workers_that_start_at_once_in_an_empty_folder_share_the_trials(stand_in):
    stand_in.ask("seconds", "0.2")
    workers = [stand_in.start(trials=6) for _ in range(2)]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    stand_in.assert_complete(6)
    assert len({value for [(_, value)] in stand_in.told().values()}) == 6
    assert set(stand_in.epochs.values()) == {1}
    trained = [set(re.findall(r"^trial (\d+): --", out, re.MULTILINE)) for out, _ in outputs]
    assert all(trained) and not trained[0] & trained[1]
    # Both print the same table.
    tables = [out.partition("\n  trial ")[2] for out, _ in outputs]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_ten_workers_of_whom_three_are_killed_complete_each_trial_once(stand_in):
    stand_in.ask("seconds", "0.5")
    draw = random.Random(1)
    workers = [stand_in.start(trials=TRIALS) for _ in range(WORKERS)]
    for place, number in enumerate(draw.sample(range(WORKERS), KILLED)):
        # Whatever it does then: after some trials, and a moment more.
        wait_for(lambda n=3 * place: ended(stand_in) > n, workers[number], 900)
        time.sleep(draw.uniform(0, 3))
        workers[number].kill()
    outputs = [worker.communicate(timeout=900) for worker in workers]
    statuses = sorted(worker.returncode for worker in workers)
    assert statuses == [-signal.SIGKILL] * KILLED + [0] * (WORKERS - KILLED), outputs
    stand_in.assert_complete(TRIALS)
    # From the checkpoints: no epoch is trained twice.
    assert set(stand_in.epochs.values()) == {1}
    print(f"{WORKERS} workers, {KILLED} killed, {TRIALS} trials complete, each once")


# ---- A project


@pytest.mark.slow
def test_a_projects_training_whose_worker_is_killed_goes_on_from_its_checkpoint(samples, tmp_path):
    project, prepared, search = "pneumonia_classification", tmp_path / "prepared", tmp_path / "s"
    size = ("--image-size", "32")
    run(project, "prepare_data", "--preset", "cpu", "--source", samples[project],
        "--prepared", prepared, "--validation-share", 0.2, *size)  # fmt: skip
    command = [
        *(sys.executable, "-m", "common.search", project, "--folder", search, "--trials", 1),
        *("--over", "learning_rate=1e-4:1e-2:log", "--", "--preset", "cpu", "--epochs", 1),
        *("--prepared", prepared, "--checkpoint-seconds", 0, *TINY[project]),
        *("--precision", "float32", "--tensorboard-images", 0),
    ]

    def start():
        words, pipe = list(map(str, command)), subprocess.PIPE
        return subprocess.Popen(words, cwd=ROOT, text=True, stdout=pipe, stderr=subprocess.STDOUT)

    worker, trial = start(), search / "trial-0000"
    wait_for((trial / "checkpoint.npz").exists, worker, 900)
    worker.kill()
    worker.communicate()
    assert not (trial / "fitted.json").exists()
    worker = start()
    printed, _ = worker.communicate(timeout=1800)
    assert worker.returncode == 0, printed
    assert "has gone: --learning-rate" in printed
    assert "goes on after step" in (search / "trial-0000.log").read_text()
    with open(trial / "history.csv") as file:
        [row] = csv.DictReader(file)
    assert f"val_loss {float(row['val_loss']):.4f}; the best is" in printed
    # The command that it names is of the run, which every script takes.
    [evaluate] = re.findall(r"^  python (\S+) --run (\S+)$", printed, re.MULTILINE)
    assert evaluate == (f"{project}/evaluate.py", str(trial))
    assert read_run(trial).config["project"] == project
