"""Cases to TFRecord shards."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

from common.base.errors import UserError
from common.base.files import ROOT
from common.imaging.image_files import file_facts
from common.records import shards as records
from tests.helpers import needs
from tests.helpers.fixtures import names
from tests.helpers.prepared_folders import finish, write_prepared

HERE = Path(__file__).parents[1] / "helpers"
A_SHARD = 4

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import record_cases
from common.records.shards import write_shards
if __name__ == "__main__":
    folder = Path({folder!r})
    write_shards(folder, record_cases.cases(folder.parent, 40), record_cases.slow, 4, 2)
"""


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    """The module of the cases, under a name that a spawned process finds."""
    monkeypatch.syspath_prepend(HERE)
    import record_cases

    return record_cases


def write(folder, cases, decode, workers=1, key="k"):
    """A whole folder up to, but without, its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    assert records.begin(folder, key, overwrite=False)
    return records.write_shards(folder, cases, decode, A_SHARD, workers)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("records/[!.]*.tfrecord"))}


def examples(folder, name):
    path = str(folder / "records" / name)
    return [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


def test_shards_hold_the_cases_in_order_whatever_the_number_of_processes(tmp_path, helpers):
    cases = helpers.cases(tmp_path)
    shards, left_out = write(tmp_path / "one", cases, helpers.decode, workers=1)
    again, _ = write(tmp_path / "two", cases, helpers.decode, workers=2)
    assert left_out == {}
    assert shards == again
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert [shard["file"] for shard in shards["train"]] == [
        f"train-0000{number}.tfrecord" for number in range(3)
    ]
    assert [shard["records"] for shard in shards["train"]] == [4, 4, 3]
    assert [shard["records"] for shard in shards["test"]] == [3]
    found = examples(tmp_path / "one", "train-00001.tfrecord")
    names = [example.features.feature["case"].bytes_list.value[0] for example in found]
    assert names == [b"c5", b"c6", b"c8", b"c9"]
    features = found[0].features.feature
    assert features["image"].bytes_list.value[0] == b"\5" * 5000
    assert list(features["box"].float_list.value) == [5, 0.5]
    assert list(features["copy"].int64_list.value) == [0]
    first = shards["train"][0]
    path = tmp_path / "one" / "records" / first["file"]
    assert first["bytes"] == path.stat().st_size > 4 * 5000


def test_what_was_broken_off_goes_on_and_ends_the_same(tmp_path, helpers):
    folder = tmp_path / "prepared"
    cases = helpers.cases(tmp_path)
    shards, _ = write(folder, cases, helpers.decode)
    whole = content(folder)
    # As if killed while the last shard of the training split was written.
    for name in ("train-00002.tfrecord", "train-00002.tfrecord.json"):
        (folder / "records" / name).unlink()
    (folder / "records" / ".train-00002.9.part.tfrecord").write_bytes(b"half")
    (tmp_path / "asked.txt").unlink()
    assert (folder / "unfinished.json").exists()
    again, _ = write(folder, cases, helpers.decode)
    assert again == shards
    assert content(folder) == whole
    # What was there is not decoded again.
    assert (tmp_path / "asked.txt").read_text().split() == ["c10", "c12", "c13"]
    finish(folder, again)
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert left == sorted([*whole, "manifest.json"])


def test_a_shard_without_its_notes_is_written_again(tmp_path, helpers):
    folder = tmp_path / "prepared"
    cases = helpers.cases(tmp_path, 3)
    write(folder, cases, helpers.decode)
    whole = content(folder)
    (folder / "records" / "train-00000.tfrecord.json").unlink()
    (folder / "records" / "train-00000.tfrecord").write_bytes(b"of another try")
    write(folder, cases, helpers.decode)
    assert content(folder) == whole


def test_a_case_that_cannot_be_read_is_left_out_and_named(tmp_path, helpers):
    cases = helpers.cases(tmp_path, 7)
    cases[1]["fault"] = "c1.dcm: is no DICOM file"
    cases[3]["fault"] = "c3.dcm: is cut"
    copies = {"split": "train-copies", "copy": 1}
    cases += [{**cases[0], **copies, "fault": "the box left the image"}, {**cases[2], **copies}]
    folder = tmp_path / "prepared"
    shards, left_out = write(folder, cases, helpers.decode)
    # The copy that failed does not take its case along.
    assert left_out == {"c1": "c1.dcm: is no DICOM file", "c3": "c3.dcm: is cut"}
    counts = {split: sum(shard["records"] for shard in of) for split, of in shards.items()}
    assert counts == {"train": 5, "test": 0, "train-copies": 1}
    # What was left out is still known when the next try finds the shard done.
    _, again = write(folder, cases, helpers.decode)
    assert again == left_out


def test_a_defect_stops_and_leaves_no_half_shard(tmp_path, helpers):
    cases = helpers.cases(tmp_path, 3)
    del cases[2]["number"]
    with pytest.raises(KeyError):
        write(tmp_path / "prepared", cases, helpers.decode)
    assert names(tmp_path / "prepared" / "records") == []


def processes_of(script):
    """The processes, by id, that a script started or that it is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if script in (folder / "environ").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@needs.machine(Path("/proc/self/environ").exists(), "reads Linux's /proc")
def test_killed_while_it_writes_it_goes_on_and_leaves_no_process(tmp_path, helpers):
    folder = tmp_path / "prepared"
    folder.mkdir()
    records.begin(folder, "k", False)
    script = tmp_path / "prepare.py"
    script.write_text(KILLED.format(here=str(HERE), folder=str(folder)))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT, env={**os.environ, "KILLED": str(folder)},
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list(folder.glob("records/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [path.name for path in folder.glob("records/*.json")]
    assert 0 < len(done) < 10
    while (left := processes_of(f"KILLED={folder}")) and time.monotonic() < until:
        time.sleep(0.2)
    for one in left:
        os.kill(one, signal.SIGKILL)
    assert left == []
    cases = helpers.cases(tmp_path, 40)
    shards, _ = records.write_shards(folder, cases, helpers.decode, 4, 1)
    finish(folder, shards)
    shutil.rmtree(tmp_path / "unbroken", ignore_errors=True)
    write(tmp_path / "unbroken", cases, helpers.decode)
    assert content(folder) == content(tmp_path / "unbroken")


def test_begin_in_an_empty_folder_and_again(tmp_path):
    assert records.begin(tmp_path, "k", False)
    assert records.begin(tmp_path, "k", False)
    assert records.begin(tmp_path, "k", True)
    finish(tmp_path, {})
    assert not records.begin(tmp_path, "k", False)
    assert names(tmp_path) == ["manifest.json"]


def test_begin_takes_the_lock_for_nothing(tmp_path):
    (tmp_path / ".lock").touch()
    assert records.begin(tmp_path, "k", False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_begin_leaves_a_foreign_folder_alone(tmp_path, overwrite):
    (tmp_path / "thesis.doc").write_text("dear")
    with pytest.raises(UserError, match="is not empty and was not made by prepare_data"):
        records.begin(tmp_path, "k", overwrite)
    assert names(tmp_path) == ["thesis.doc"]


@pytest.mark.parametrize("left", ["manifest.json", "unfinished.json"])
@pytest.mark.parametrize("content", ['{"key": "old"}', '{"ke', "[]"])
def test_begin_with_another_key(tmp_path, left, content):
    (tmp_path / left).write_text(content)
    (tmp_path / "records").mkdir()
    for name in ("train-00000.tfrecord", "train-00000.tfrecord.json"):
        (tmp_path / "records" / name).write_bytes(b"{}")
    with pytest.raises(UserError, match=r"other settings or from other files.*--overwrite"):
        records.begin(tmp_path, "new", False)
    assert len(names(tmp_path / "records")) == 2
    assert records.begin(tmp_path, "new", True)
    assert names(tmp_path / "records") == []
    assert json.loads((tmp_path / "unfinished.json").read_text()) == {"key": "new"}
    assert not (tmp_path / "manifest.json").exists()


def test_overwrite_keeps_what_is_whole(prepared):
    assert not records.begin(prepared, "k", True)
    assert len(content(prepared)) == 3


@pytest.mark.parametrize("file", ["records/train-00001.tfrecord", "cases.csv"])
def test_what_is_damaged_is_named_and_written_again_and_nothing_else(prepared, file, capsys):
    (prepared / file).write_bytes(b"")
    whole = {name: of for name, of in content(prepared).items() if of}
    assert records.begin(prepared, "k", False)
    assert f"damaged, and written again: {file}\n" in capsys.readouterr().out
    assert content(prepared) == whole
    # What is whole has its entry of the manifest, so that it is not decoded again.
    notes = {path.name for path in prepared.glob("records/*.json")}
    assert notes == {f"{name}.json" for name in whole}
    assert not (prepared / "manifest.json").exists()


def test_one_damaged_shard_is_written_again_as_it_was(tmp_path, helpers):
    folder, cases = tmp_path / "prepared", helpers.cases(tmp_path)
    shards, _ = write(folder, cases, helpers.decode)
    finish(folder, shards)
    whole = content(folder)
    path = folder / "records" / "train-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "asked.txt").unlink()
    again, _ = write(folder, cases, helpers.decode)
    assert (again, content(folder)) == (shards, whole)
    assert (tmp_path / "asked.txt").read_text().split() == ["c10", "c12", "c13"]


def test_killed_while_it_mends_it_goes_on(tmp_path, helpers, monkeypatch):
    folder, cases = tmp_path / "prepared", helpers.cases(tmp_path)
    shards, _ = write(folder, cases, helpers.decode)
    finish(folder, shards)
    whole = content(folder)
    (folder / "records" / "train-00001.tfrecord").write_bytes(b"cut")
    for nth in range(7):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            die_at(patch, nth)
            records.begin(folder, "k", False)
    again, _ = write(folder, cases, helpers.decode)
    assert (again, content(folder)) == (shards, whole)


def test_killed_while_it_overwrites_it_can_be_started_again(prepared, monkeypatch):
    for nth in range(6):
        work = prepared.with_name(f"killed-{nth}")
        shutil.copytree(prepared, work)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            die_at(patch, nth)
            records.begin(work, "new", True)
        assert records.begin(work, "new", True), nth
        assert content(work) == {}


def die_at(patch, nth):
    """End the process, so to say, when it removes or renames for the nth time."""
    left = [nth]

    def dying(function):
        def call(*arguments, **options):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments, **options)

        return call

    patch.setattr(Path, "unlink", dying(Path.unlink))
    patch.setattr(os, "replace", dying(os.replace))


def test_the_key_of_a_source_knows_names_sizes_times_and_settings(tmp_path):
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a"
    file.write_text("1")

    def key_of(settings):
        return records.source_key(file_facts(tmp_path), settings)

    key = key_of({"seed": 1})
    assert key == key_of({"seed": 1})
    keys = {key, key_of({"seed": 2})}
    os.utime(file, ns=(0, 1))
    keys.add(key_of({"seed": 1}))
    file.write_text("12")
    os.utime(file, ns=(0, 1))
    keys.add(key_of({"seed": 1}))
    file.rename(tmp_path / "b")
    keys.add(key_of({"seed": 1}))
    # What a desktop, an editor, a file system or git leaves is no part of the dataset.
    for name in (".DS_Store", "Thumbs.db", ".~lock.b#", ".nfs0001", "deep/.git"):
        (tmp_path / name).touch()
        keys.add(key_of({"seed": 1}))
    assert len(keys) == 5


def test_a_shard_of_other_cases_than_are_planned_now_is_written_anew(tmp_path, helpers):
    """What could not be read once may be readable in the next start, and moves all that follow."""
    cases = helpers.cases(tmp_path, 10)
    write(tmp_path / "p", cases[1:], helpers.decode)
    shards, _ = write(tmp_path / "p", cases, helpers.decode)
    whole, _ = write(tmp_path / "whole", cases, helpers.decode)
    assert shards == whole and content(tmp_path / "p") == content(tmp_path / "whole")
    assert sum(shard["records"] for of in shards.values() for shard in of) == 10
