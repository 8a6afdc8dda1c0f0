"""Whole files, locks, keys."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base import files
from common.base.errors import UserError
from common.base.files import (
    atomic_write,
    content_key,
    lock_folder,
    read_json,
    sha256,
    write_csv,
    write_json,
)
from tests.helpers.fixtures import names

HOLD = (
    "import sys, time; from pathlib import Path; from common.base.files import lock_folder\n"
    "with lock_folder(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_a_block_that_raises_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as beside:
        beside.write_text("half of the n")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_file_is_there_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as beside:
        beside.write_text("new")
        assert not path.exists()
        assert beside.parent == path.parent
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.nii.gz", ".nii.gz"), ("v1.2.png", ".png"), ("model.keras", ".keras"), ("bare", "")],
)
def test_the_name_beside_keeps_the_suffix(tmp_path, name, suffix):
    with atomic_write(tmp_path / name) as beside:
        assert beside.name.endswith(".part" + suffix)
        beside.write_bytes(b"x")
    assert names(tmp_path) == [name]


def test_a_writer_that_wrote_nothing_is_no_whole_file(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_a_fault_of_the_disk_names_the_file_whatever_the_writer_calls_it(tmp_path):
    with pytest.raises(OSError, match="No space left") as said, atomic_write(tmp_path / "a.h5"):
        raise RuntimeError("H5Dwrite: errno = 28, 'No space left on device'")
    assert (said.value.errno, said.value.filename) == (errno.ENOSPC, str(tmp_path / "a.h5"))


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    keep = ["a.part", ".a.part.csv", ".a.7.csv", "held/.lock", "held/.b.9.part.png"]
    gone = [".a.7.part", ".a.b.12.part.keras", "deep/.la.nii.3.part.nii.gz"]
    for name in (*keep, *gone):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files.remove_partial_files(tmp_path)
    left = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(left) == sorted(keep)


def test_json_has_no_nan_no_path_and_no_numpy(tmp_path):
    path = tmp_path / "a.json"
    write_json(
        path,
        {
            "nan": float("nan"),
            "deep": [np.float32("nan"), {"x": np.array([1.5, np.nan])}],
            "n": np.int64(3),
            "path": Path("a/b"),
            "pair": (1, 2),
            7: True,
        },
    )
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "nan": None,
        "deep": [None, {"x": [1.5, None]}],
        "n": 3,
        "path": "a/b",
        "pair": [1, 2],
        "7": True,
    }


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}"])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.json: not readable as JSON"):
        read_json(tmp_path / "bad.json")


def test_a_json_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: there is no such file"):
        read_json(tmp_path / "none.json")


def test_csv(tmp_path):
    write_csv(tmp_path / "a.csv", ["case", "why"], [{"case": "a,b", "why": 'say "x"'}, {"case": 1}])
    assert (tmp_path / "a.csv").read_bytes() == b'case,why\n"a,b","say ""x"""\n1,\n'


def holder_of(folder):
    """A process that locks a folder until it ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=files.ROOT,
    )  # fmt: skip


def test_a_folder_is_held_against_another_process_and_freed_when_that_is_killed(tmp_path):
    folder = tmp_path / "new" / "run"
    holder = holder_of(folder)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            UserError,
            match=rf"run: process {holder.pid} on \S+, started .* UTC, is writing here; wait",
        ):
            lock_folder(folder).__enter__()
        # Whoever was refused leaves the name of the holder for the next.
        with pytest.raises(UserError, match=f"process {holder.pid} "):
            lock_folder(folder).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lock_folder(folder):
            assert f"process {os.getpid()} on " in (folder / ".lock").read_text()
        with lock_folder(folder):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_who_waits_for_a_folder_says_so_and_has_it_once_its_holder_ends(tmp_path, capfd):
    holder = holder_of(tmp_path)
    try:
        assert holder.stdout.readline() == "held\n"
        ending = threading.Timer(4, holder.kill)
        ending.start()
        with lock_folder(tmp_path, wait=True):
            assert not ending.is_alive() or holder.poll() is not None
            assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()
        line = capfd.readouterr().out.strip()
        assert line.startswith(f"{tmp_path}: process {holder.pid} on ")
        assert line.endswith("is writing here; waits until it ends")
    finally:
        holder.kill()
        holder.wait()


def test_a_file_cannot_be_held_as_a_folder(tmp_path):
    (tmp_path / "f").write_text("kept")
    with pytest.raises(UserError, match="is a file, and a folder is wanted"):
        lock_folder(tmp_path / "f").__enter__()
    assert (tmp_path / "f").read_text() == "kept"


def test_sha256_of_more_than_one_block(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=5))
def test_a_key_does_not_depend_on_the_order_of_names(content):
    assert content_key(dict(reversed(list(content.items())))) == content_key(content)


@given(JSON, JSON)
def test_a_key_tells_contents_apart(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (content_key(one) == content_key(other)) == same


def test_a_key_outlives_the_process_and_a_way_through_json():
    assert content_key({"a": (1, 2), "b": Path("x")}) == content_key({"a": [1, 2], "b": "x"})
    assert content_key({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()[:16]


def test_versions_name_what_decides_a_result(monkeypatch):
    found = files.versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["numpy"] == np.__version__
    assert {"keras", "tensorflow", "commit"} <= set(found)
    monkeypatch.setenv("PATH", "")
    assert files.versions()["commit"] == "unknown"


def git(folder, *arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_that_of_the_clone_and_says_if_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert files.versions()["commit"] == "unknown"
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert files.versions()["commit"] == commit
    (tmp_path / "a.py").write_text("2")
    assert files.versions()["commit"] == f"{commit}-dirty"
    # A copy within another repository has none of its own.
    (tmp_path / "copy").mkdir()
    monkeypatch.setattr(files, "ROOT", tmp_path / "copy")
    assert files.versions()["commit"] == "unknown"
