"""Shards that workers of a dask cluster write, byte for byte those that processes here write."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.base.cluster import connected, place_of
from common.base.errors import UserError
from common.records import shards as records
from tests.helpers import needs

HERE = Path(__file__).parents[1] / "helpers"


@pytest.fixture(autouse=True)
def helpers(monkeypatch):
    """The module of the cases, under a name that a spawned process finds."""
    needs.package("dask", "distributed")
    monkeypatch.syspath_prepend(HERE)
    import record_cases

    return record_cases


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("records/[!.]*"))}


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
            with connected(place_of("local:1", None), [folder]) as cluster:
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
        written[name] = (result, whole if name == "cluster" else content(folder))
        assert sorted(text["case"] for text in texts) == sorted(f"c{n}" for n in range(14) if n - 2)
    assert written["here"] == written["cluster"]
    assert written["here"][0][1] == {"c2": "films/c2: is cut"}
