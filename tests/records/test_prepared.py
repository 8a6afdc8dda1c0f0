"""Prepared folders, opened again."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from common.base.errors import UserError
from common.base.files import write_csv
from common.records.prepared import open_prepared
from tests.helpers.prepared_folders import finish, write_prepared


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


def test_a_whole_folder_opens(prepared):
    found = open_prepared(prepared, "p")
    assert found.splits == ["train", "test"]
    assert found.count(["train"]) == 6 and found.count(["train", "test", "none"]) == 9
    assert [path.name for path in found.shards(["test", "train"])] == [
        "test-00000.tfrecord",
        "train-00000.tfrecord",
        "train-00001.tfrecord",
    ]
    assert found.manifest["versions"]["tensorflow"] == tf.__version__


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "has 1088 bytes, not 1089"),
        (lambda path: path.write_bytes(b"T" + path.read_bytes()[1:]), "was altered"),
    ],
    ids=["missing", "cut", "altered"],
)
def test_a_damaged_shard_is_named(prepared, damage, said):
    damage(prepared / "records" / "train-00001.tfrecord")
    found = open_prepared(prepared, "p")
    with pytest.raises(UserError, match=rf"train-00001\.tfrecord: {said}.*same prepare_data"):
        found.shards(["train", "test"])
    assert len(found.shards(["test"])) == 1


def without_manifest(folder):
    (folder / "manifest.json").unlink()


def unfinished(folder):
    (folder / "manifest.json").rename(folder / "unfinished.json")


def no_table(folder):
    (folder / "manifest.json").write_text("[1, 2]")


def keys_missing(folder):
    (folder / "manifest.json").write_text('{"project": "p"}')


def cut(folder):
    (folder / "manifest.json").write_text('{"project"')


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_manifest, "holds no manifest.json; name a folder that prepare_data.py wrote"),
        (unfinished, "holds no manifest.json; start the same prepare_data.py again"),
        (no_table, "manifest.json: is damaged"),
        (keys_missing, "manifest.json: is damaged"),
        (cut, "manifest.json: not readable as JSON"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_what_cannot_be_opened(prepared, damage, said):
    damage(prepared)
    with pytest.raises(UserError, match=said):
        open_prepared(prepared, "p")


def test_the_data_of_another_project(prepared):
    with pytest.raises(UserError, match="was prepared for p, not for q"):
        open_prepared(prepared, "q")


def test_the_table_of_cases_keeps_names_as_they_are(prepared):
    rows = [
        {"case": "001", "patient": "7", "split": "train", "left_out": "", "x": 1.5},
        {"case": "NA", "patient": "08", "split": "", "left_out": "is cut", "x": ""},
    ]
    shards = open_prepared(prepared, "p").manifest["shards"]
    write_csv(prepared / "cases.csv", rows[0], rows)
    finish(prepared, shards)
    cases = open_prepared(prepared, "p").cases()
    assert list(cases["case"]) == ["001", "NA"]
    assert list(cases["patient"]) == ["7", "08"]
    assert list(cases["split"]) == ["train", ""]
    assert list(cases["left_out"]) == ["", "is cut"]
    assert cases["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_text(path.read_text().replace("a", "b")), "was altered"),
    ],
)
def test_a_table_of_cases_that_is_gone_or_altered(prepared, damage, said):
    damage(prepared / "cases.csv")
    with pytest.raises(UserError, match=rf"cases\.csv: {said}.*start the same prepare_data\.py"):
        open_prepared(prepared, "p").cases()
