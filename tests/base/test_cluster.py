"""Calls on the workers of a dask cluster."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from common.base.cluster import TLS_FILES, code_of, connected, place_of
from common.base.errors import UserError
from tests.helpers import needs
from tests.helpers.cluster_calls import Programs, call
from tests.helpers.scripts import ROOT


@pytest.fixture(autouse=True)
def dask():
    needs.package("dask", "distributed")


@pytest.fixture
def programs(tmp_path):
    started = Programs(tmp_path)
    yield started
    started.end()


@pytest.fixture
def items(tmp_path):
    """Items for `call` by their number and more."""

    def of(count, **more):
        return [{"number": n, "log": str(tmp_path / "calls.txt"), **more} for n in range(count)]

    return of


@pytest.mark.parametrize(
    ("cluster", "tls", "why"),
    [
        ("local:0", "", "name a number of workers, such as local:4"),
        ("local:two", "", "name a number of workers"),
        ("local:2", "certificates", "is for a scheduler's address"),
        ("login1", "", "neither local:N nor the address of a scheduler"),
        ("ucx://127.0.0.1:8786", "", "neither local:N nor the address"),
        ("192.0.2.1:8786", "", "other machines reach it, and dask runs what anyone sends"),
        ("tcp://0.0.0.0:8786", "", "other machines reach it"),
        ("tls://192.0.2.1:8786", "", "other machines reach it"),
        ("no-such-host.invalid:8786", "", "there is no host no-such-host.invalid"),
        ("tcp://192.0.2.1:8786", "certificates", "--cluster-tls needs an address with tls://"),
        ("192.0.2.1:8786", "nowhere", "nowhere: has no ca.pem; --cluster-tls needs ca.pem, cert"),
    ],
)
def test_a_place_that_is_none_or_not_safe_is_refused_with_the_reason(
    tmp_path, monkeypatch, cluster, tls, why
):
    monkeypatch.chdir(tmp_path)
    Path("certificates").mkdir()
    for name in TLS_FILES:
        (Path("certificates") / name).touch()
    with pytest.raises(UserError, match=re.escape(why)):
        place_of(cluster, Path(tls) if tls else None)


@pytest.mark.parametrize(
    ("cluster", "address", "workers"),
    [
        ("local:12", "", 12),
        ("localhost:8786", "tcp://localhost:8786", 0),
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786", 0),
        ("[::1]:8786", "tcp://[::1]:8786", 0),
    ],
)
def test_a_place_here_needs_no_certificate(cluster, address, workers):
    place = place_of(cluster, None)
    assert (place.address, place.workers, place.tls) == (address, workers, None)
    assert place_of("", None) is None


def test_without_dask_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r'is not installed; pip install -e "\.\[cluster\]"'):
        place_of("local:2", None)


def test_workers_that_are_killed_lose_nothing_and_a_scheduler_that_is_ends_it_in_a_line(
    programs, items, tmp_path, capsys
):
    programs.worker()
    results = []
    with connected(place_of(programs.address, None), [tmp_path]) as cluster:
        said = capsys.readouterr().out
        assert f"dask: 1 workers of 1 threads, scheduler {programs.address}, dashboard http" in said
        for _, result in cluster.each(call, items(8, seconds=0.1)):
            results.append(result)
            if len(results) == 3:
                os.kill(result[1], signal.SIGKILL)
        assert sorted(number for number, _ in results) == list(range(8))
        assert len({process for _, process in results}) == 2
        # What a call raises is raised here, as it was.
        full = items(1, error=["disk", 28, "No space left on device", "/out/train-00000"])
        with pytest.raises(OSError, match="No space left") as error:
            list(cluster.each(call, full))
        assert (error.value.errno, error.value.filename) == (28, "/out/train-00000")
        with pytest.raises(UserError, match="films/a: is cut"):
            list(cluster.each(call, items(1, error=["user", "films/a: is cut"])))
        programs.scheduler.kill()
        with pytest.raises(UserError, match=r"the scheduler of dask has gone.*the same command"):
            list(cluster.each(call, items(1)))
    logged = Counter((tmp_path / "calls.txt").read_text().split())
    assert all(logged[str(number)] in (1, 2, 3) for number in range(8))


def test_a_worker_of_other_code_packages_or_folders_is_refused_by_name(programs, tmp_path):
    """It runs a copy of the repository, in which a comment differs, next to another package."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "common", copy / "common")
    shutil.copytree(ROOT / "tests/helpers", copy / "tests/helpers")
    shutil.copy(ROOT / "requirements.txt", copy)
    with open(copy / "common/__init__.py", "a") as file:
        file.write("# another\n")
    older = copy / "pydicom-2.0.0.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: pydicom\nVersion: 2.0.0\n")
    programs.worker("--name", "old", path=copy)
    with (
        pytest.raises(UserError) as error,
        connected(place_of(programs.address, None), [tmp_path]),
    ):
        pass
    said = str(error.value)
    assert re.match(r"worker tcp://127\.0\.0\.1:\d+ on \S+ has ", said)
    assert "commit unknown (here " in said and re.search(r"code \w{12} \(here \w{12}\)", said)
    assert "pydicom 2.0.0 (here " in said and "\n" not in said


def test_code_is_that_of_modules_and_datasets_are_not_looked_through(tmp_path):
    for name in ("common", "data", "tests"):
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    before = code_of(tmp_path)
    for name in ("data", "tests"):
        (tmp_path / name / "raw" / "of_a_dataset.py").touch()
    assert code_of(tmp_path) == before
    (tmp_path / "common" / "raw" / "module.py").touch()
    assert code_of(tmp_path) != before


@pytest.mark.slow
def test_who_comes_later_is_looked_at_too_and_who_sees_no_folder(programs, items, tmp_path):
    first = programs.worker()
    place = place_of(programs.address, None)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with connected(place, [hidden]) as cluster:
        assert len(list(cluster.each(call, items(2)))) == 2
        hidden.rmdir()
        with pytest.raises(UserError, match=rf"^worker tcp://\S+ on \S+ does not see {hidden}"):
            list(cluster.each(call, items(2)))
    with pytest.raises(UserError, match=f"does not see {hidden}"), connected(place, [hidden]):
        pass
    first.terminate()
    first.wait()


@pytest.mark.slow
def test_where_no_scheduler_answers_one_line_says_so(programs, tmp_path):
    programs.scheduler.kill()
    with (
        pytest.raises(UserError, match=f"{programs.address}: no scheduler of dask answers there"),
        connected(place_of(programs.address, None), [tmp_path]),
    ):
        pass


@pytest.mark.slow
def test_an_item_that_ends_every_worker_stops_after_some(programs, items, tmp_path):
    programs.worker()
    with (
        connected(place_of(programs.address, None), [tmp_path]) as cluster,
        pytest.raises(UserError, match="each worker that has a call to do ends"),
    ):
        list(cluster.each(call, items(1, kills=True)))


@pytest.mark.slow
def test_with_certificates_both_sides_are_known_and_without_nothing_answers(tmp_path, items):
    """One authority and one certificate, as docs/cluster.md makes them."""
    folder = tmp_path / "tls"
    folder.mkdir()
    openssl = needs.program("openssl")
    page = (ROOT / "docs" / "cluster.md").read_text()
    lines = re.findall(r"^openssl .*(?:\\\n.*)*", page, re.MULTILINE)
    for line in lines:
        words = shlex.split(line.replace("\\\n", " "))
        subprocess.run([openssl, *words[1:]], cwd=folder, check=True, capture_output=True)
    assert {path.name for path in folder.iterdir()} >= set(TLS_FILES)
    ca, certificate, key = (str(folder / name) for name in TLS_FILES)
    flags = ("--tls-ca-file", ca, "--tls-cert", certificate, "--tls-key", key)
    programs = Programs(tmp_path, "--protocol", "tls", *flags)
    try:
        assert programs.address.startswith("tls://127.0.0.1:")
        programs.worker(*flags)
        with connected(place_of(programs.address, folder), [tmp_path]) as cluster:
            assert len(list(cluster.each(call, items(3)))) == 3
        with (
            pytest.raises(UserError, match="no scheduler of dask answers there"),
            connected(place_of(programs.address.replace("tls", "tcp"), None), [tmp_path]),
        ):
            pass
    finally:
        programs.end()
