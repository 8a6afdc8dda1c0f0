"""Work for all cores, a result at a time, whatever ends a process."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from common.base import worker
from common.base.errors import UserError
from common.base.processes import each, stream
from common.base.worker import limited


def square(number):
    return number * number


def note(item):
    folder, number = item
    (folder / str(number)).touch()
    return number


def end(item):
    """End the process at number 5: by a signal or with a status, once or always."""
    folder, number, how, times = item
    if number == 5 and len(list(folder.iterdir())) < times:
        (folder / str(time.monotonic_ns())).touch()
        if how < 0:
            os.kill(os.getpid(), -how)
        os._exit(how)
    return number


def loop(number):
    if number == 3:
        with limited(0.3):
            while True:
                number += 1
    return number


def wait(number):
    time.sleep(60 if number == 3 else 0)
    return number


def work_a_little(number):
    time.sleep(0.03)
    return number


def refuse(number):
    if number == 7:
        raise UserError("seven: is refused")
    return number


def unpicklable(number):
    return (lambda: number) if number == 2 else number


def reason_of(item, reason):
    return f"{item if isinstance(item, int) else item[1]}: {reason}"


def setting(name):
    return os.environ.get(name, "")


def test_memory_is_kept_whatever_dask_sets_and_threads_are_as_the_user_says(monkeypatch):
    # dask has its workers, and so what they start, give memory back at once.
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "OPENBLAS_NUM_THREADS"]
    assert each(setting, names, 1, 1) == [str(128 << 20), str(32 << 20), "3"]
    assert [*map(setting, names)] == ["65536", "", "3"]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers):
    assert list(stream(square, range(50), workers)) == [number**2 for number in range(50)]
    assert each(square, range(50), 1, workers) == [number**2 for number in range(50)]
    assert list(stream(square, [], workers)) == each(square, [], 1, workers) == []


def test_few_are_done_ahead_of_what_is_taken(tmp_path):
    results = stream(note, [(tmp_path, number) for number in range(60)], 2)
    assert next(results) == 0
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 10
    assert list(results) == list(range(1, 60))


def test_large_results_are_not_done_ahead_by_many_processes(tmp_path):
    results = stream(note, [(tmp_path, number) for number in range(30)], 8, ahead=2)
    assert next(results) == 0
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 3
    assert list(results) == list(range(1, 30))


@pytest.mark.parametrize("how", [3, -signal.SIGKILL, -signal.SIGSEGV])
def test_an_item_that_ends_its_process_once_is_not_lost(tmp_path, how):
    items = [(tmp_path, number, how, 1) for number in range(30)]
    assert list(stream(end, items, 2)) == list(range(30))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [(3, "crashed (status 3)"), (-signal.SIGKILL, "killed"), (-signal.SIGSEGV, "(SIGSEGV)")],
)
def test_an_item_that_ends_two_processes_is_lost_alone(tmp_path, how, words):
    items = [(tmp_path, number, how, 99) for number in range(30)]
    results = each(end, items, 1, 2, reason_of)
    assert results[:5] + results[6:] == [number for number in range(30) if number != 5]
    assert results[5].startswith("5: the process that read it ") and words in results[5]
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UserError, match="the process that read it"):
        list(stream(end, items, 2))


def test_a_lack_of_memory_is_named(tmp_path, monkeypatch):
    counts = iter([0, 0, *range(1, 99)])
    monkeypatch.setattr(worker, "ended_for_memory", lambda: next(counts))
    items = [(tmp_path, number, -signal.SIGKILL, 99) for number in (4, 5, 6)]
    results = each(end, items, 1, 1, reason_of)
    assert results[::2] == [4, 6] and "more memory than there is" in results[1]


def test_a_decoder_that_does_not_end_is_ended():
    start = time.monotonic()
    results = each(loop, range(6), 1, 2, reason_of)
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]
    assert (
        results[3]
        == "3: its decoder took too long, and was ended; fetch the file again, or convert it"
    )
    assert time.monotonic() - start < 30


def test_a_limit_never_ends_the_caller():
    start = time.process_time()
    with limited(0.1):
        while time.process_time() < start + 0.3:
            pass
    assert time.process_time() >= start + 0.3


@pytest.mark.slow
def test_no_wait_is_without_end(monkeypatch):
    monkeypatch.setattr(worker, "_LIMIT_S", 10.0)
    results = list(stream(wait, range(6), 2, reason_of))
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]
    assert results[3].startswith("3: took longer than 10 s")


def test_processes_that_are_killed_at_random_lose_nothing():
    kills = []

    def kill():
        for _ in range(6):
            time.sleep(0.7)
            victims = multiprocessing.active_children()
            if victims:
                kills.append(random.choice(victims).pid)
                os.kill(kills[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    results = each(work_a_little, range(200), 1, 2, reason_of)
    killer.join()
    lost = [result for result in results if isinstance(result, str)]
    assert [r for r in results if isinstance(r, int)] == [
        number
        for number in range(200)
        if not any(str(one).startswith(f"{number}:") for one in lost)
    ]
    # Only an item at which two processes in a row were killed is lost.
    assert len(kills) > 1 and len(lost) <= len(kills) // 2


def test_an_error_reaches_the_caller_and_ends_the_rest():
    with pytest.raises(UserError, match="seven: is refused"):
        each(refuse, range(5000), 1, 2)
    with pytest.raises(RuntimeError, match="pickle"):
        each(unpicklable, range(5), 1, 1)
    time.sleep(0.5)
    assert not multiprocessing.active_children()


def test_a_script_from_standard_input_has_processes_too():
    script = (
        "import math; from common.base.processes import each; print(each(math.sqrt, [4, 9], 1))"
    )
    answer = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.strip() == "[2.0, 3.0]", answer.stderr
