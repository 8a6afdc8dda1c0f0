"""Shards that workers of a dask cluster write, byte for byte those that processes here write."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.base.cluster import connected, place_of
from common.base.errors import UserError
from common.records import shards as records
from tests.helpers import needs
from tests.helpers.cluster_calls import Programs
from tests.helpers.scripts import ROOT

HERE = Path(__file__).parents[1] / "helpers"
KILLS = 20
"""Of the script and, as often, of a worker."""

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import record_cases
from common.base.cluster import connected, place_of
from common.records import shards
if __name__ == "__main__":
    folder = Path({folder!r})
    shards.begin(folder, "k", False)
    with connected(place_of({address!r}, None), [folder]) as cluster:
        cases = record_cases.cases(folder.parent, 120)
        shards.write_shards(folder, cases, record_cases.slow, 4, 1, cluster)
"""


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    """The module of the cases, under a name that a spawned process finds."""
    needs.package("dask", "distributed")
    monkeypatch.syspath_prepend(HERE)
    import record_cases

    return record_cases


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("records/[!.]*"))}


@pytest.mark.slow
def test_shards_and_notes_are_those_of_one_machine_and_an_orphan_writes_nothing(tmp_path, helpers):
    cases = helpers.cases(tmp_path, 14)
    cases[2]["fault"] = "films/c2: is cut"
    written = {}
    for name in ("here", "cluster"):
        folder = tmp_path / name
        folder.mkdir()
        assert records.begin(folder, "k", False)
        if name == "here":
            result = records.write_shards(folder, cases, helpers.decode, 4, 1)
            texts = records.read_texts(folder, result[0], ("case",))
        else:
            with connected(place_of("local:2", None), [folder]) as cluster:
                result = records.write_shards(folder, cases, helpers.decode, 4, 1, cluster)
                texts = records.read_texts(folder, result[0], ("case",), cluster)
                # A worker goes on for a script that was killed, when another one has begun anew.
                whole = content(folder)
                records.begin(folder, "other", overwrite=True)
                from common.records.shard_files import Shard, write_on_worker

                orphan = Shard("test", "test-00000.tfrecord", cases[3:4])
                with pytest.raises(UserError, match="another script has begun anew in it"):
                    write_on_worker(folder, '{"key": "k"}\n', helpers.decode, 4, orphan)
                assert content(folder) == {}
        written[name] = (result, texts, whole if name == "cluster" else content(folder))
        assert sorted(texts["case"]) == sorted(f"c{n}" for n in range(14) if n - 2)
    assert written["here"] == written["cluster"]
    assert written["here"][0][1] == {"c2": "films/c2: is cut"}


@pytest.mark.slow
def test_killed_at_random_script_or_worker_nothing_is_lost_and_nothing_twice(tmp_path, helpers):
    folder, unbroken = tmp_path / "prepared", tmp_path / "unbroken"
    for place in (folder, unbroken):
        place.mkdir()
    records.begin(unbroken, "k", False)
    records.write_shards(unbroken, helpers.cases(tmp_path, 120), helpers.decode, 4, 1)
    draw = random.Random(1)
    programs = Programs(tmp_path)
    script = tmp_path / "prepare.py"
    script.write_text(SCRIPT.format(here=str(HERE), folder=str(folder), address=programs.address))
    path = os.pathsep.join([str(ROOT), str(HERE)])
    workers = [programs.worker(path=path) for _ in range(2)]
    kills = {"script": 0, "worker": 0}
    ends = 0
    driver = None
    try:
        while sum(kills.values()) < KILLS or driver is not None:
            driver = driver or subprocess.Popen(
                [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            notes = len(list(folder.glob("records/*.json")))
            until = time.monotonic() + 120
            # From time to time in the middle of a shard, and after at least one more.
            while (
                driver.poll() is None
                and len(list(folder.glob("records/*.json"))) <= notes
                and time.monotonic() < until
            ):
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.6))
            if driver.poll() is not None:
                assert driver.returncode == 0, driver.stderr.read().decode()[-2000:]
                ends += 1
                assert content(folder) == content(unbroken)
                shutil.rmtree(folder)
                folder.mkdir()
                driver = None
            elif sum(kills.values()) >= KILLS:
                driver.wait(300)
            elif kills["script"] <= kills["worker"]:
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                kills["script"] += 1
                driver = None
            else:
                nanny = psutil.Process(workers[kills["worker"] % 2].pid)
                for child in nanny.children():
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()
                kills["worker"] += 1
    finally:
        programs.end()
        if driver is not None:
            driver.kill()
    print(kills, f"{ends} ends")
    assert kills == {"script": KILLS // 2, "worker": KILLS // 2} and ends >= 1
