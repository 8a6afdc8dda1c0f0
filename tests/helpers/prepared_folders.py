"""Prepared folders of shards that hold made-up bytes."""

from common.base.files import sha256, write_csv
from common.records import shards as records

MANIFEST = {
    "dataset": "d", "synthetic": False, "source": "d", "key": "k", "settings": {}, "counts": {},
    "left_out": 0,
}  # fmt: skip


def finish(folder, shards, project="p"):
    records.finish(folder, {**MANIFEST, "project": project, "shards": shards})


def write_prepared(folder):
    """A finished folder of three shards of made-up bytes, without any process."""
    (folder / "records").mkdir(parents=True)
    shards = {}
    for split, files in {"train": ["train-00000", "train-00001"], "test": ["test-00000"]}.items():
        for name in files:
            path = folder / "records" / f"{name}.tfrecord"
            path.write_bytes(name.encode() * 99)
            shards.setdefault(split, []).append(
                {
                    "file": path.name,
                    "records": 3,
                    "bytes": path.stat().st_size,
                    "sha256": sha256(path),
                    "left_out": {},
                }
            )
    rows = [{"case": "a", "patient": "a", "split": "test", "left_out": ""}]
    write_csv(folder / "cases.csv", rows[0], rows)
    finish(folder, shards)
    return folder
