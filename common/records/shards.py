"""Cases to sharded TFRecords with a manifest.

A prepared folder holds ``cases.csv``, ``records/SPLIT-00000.tfrecord`` and ``manifest.json``,
which is written last: a folder without it is not finished, and the same command resumes after
the shards that exist. A shard's content depends on the cases and the settings alone, not on the
number of processes or on where an earlier run was killed.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from common.base.backend import start_tensorflow
from common.base.errors import UserError
from common.base.files import (
    atomic_write,
    content_key,
    read_json,
    remove_partial_files,
    versions,
    visible_names,
    write_json,
)
from common.base.formats import stamp
from common.base.processes import pool
from common.datasets.splits import is_copies
from common.imaging.image_files import list_files
from common.records.outcomes import Case, Features, Outcome, lost, outcome
from common.records.prepared import UNFINISHED, all_shards, fault, measured

if TYPE_CHECKING:
    pass

FINDINGS = "findings.csv"
"""The table of the dataset's check, in the prepared folder, also where it holds nothing else."""

Shards = dict[str, list[dict[str, Any]]]
"""By split, each shard's ``{file, records, bytes, sha256, left_out}`` and, where there are any,
``remarks`` (`common.records.outcomes.REMARK`), both by case."""

# A process hands over this share of a full shard at a time, which bounds memory.
_CALLS_PER_SHARD = 64


def source_key(source: Path, settings: Mapping[str, Any], skip: Sequence[Path] = ()) -> str:
    """The key under which prepared data is reused.

    It changes with any setting, and with the name, size or time of any file of the source. What
    these scripts wrote there, and the folders ``skip``, are none of it.
    """
    files = sorted(
        (str(path.relative_to(source)), status.st_size, status.st_mtime_ns)
        for path in list_files(source, skip, hidden=True).files
        for status in [path.stat()]
    )
    return content_key({"settings": settings, "files": files})


def begin(folder: Path, key: str, overwrite: bool) -> bool:
    """Make a folder ready for a preparation.

    In a finished folder every file is compared with the manifest; only those that are missing,
    cut or altered are to be written again.

    Args:
        folder: The prepared folder; it may exist.
        key: From `source_key`.
        overwrite: Whether data of another key may be replaced.

    Returns:
        False where it already holds this key's data: there is nothing to do.

    Raises:
        UserError: The folder holds something else, and ``overwrite`` is not set.
    """
    manifest, unfinished = folder / "manifest.json", folder / UNFINISHED
    present = next((path for path in (manifest, unfinished) if path.exists()), None)
    refuse_foreign(folder)
    same = present is not None and _key_in(present) == key
    # A run that was refused before its first shard, for a column say, holds nothing to lose.
    is_empty = present is unfinished and not any(folder.glob("records/*.tfrecord"))
    if present is not None and not same and not overwrite and not is_empty:
        raise UserError(
            f"{folder}: was prepared with other settings or from other files; choose another "
            "--prepared, or replace it with --overwrite"
        )
    if same and present is manifest:
        if not (damaged := _damaged(folder)):
            return False
        print(f"\n{folder}: damaged, and written again: {', '.join(damaged)}", flush=True)
        _keep_whole(folder, damaged)
    elif not same:
        _remove_records(folder)
    remove_partial_files(folder)
    ids = read_json(present).get("ids", "") if same and present else ""
    write_json(unfinished, {"key": key, "ids": ids} if ids else {"key": key})
    # Last, so that the folder can be told from a foreign one wherever this is broken off.
    manifest.unlink(missing_ok=True)
    return True


def keep_ids(folder: Path, key_id: str) -> None:
    """Note which key the ids of a preparation are of; shards with those of another one go.

    Args:
        folder: The prepared folder, which is not finished.
        key_id: What tells the key, "" for none.
    """
    content = read_json(folder / UNFINISHED)
    if content.get("ids", "") == key_id:
        return
    if any(folder.glob("records/*")):
        print(f"\n{folder}: the table of ids is another one, so it begins anew", flush=True)
        _remove_records(folder)
    write_json(folder / UNFINISHED, {**content, "ids": key_id})


def refuse_foreign(folder: Path) -> None:
    """Raise a `UserError` for a folder with files that prepare_data.py did not write."""
    is_prepared = any((folder / name).exists() for name in ("manifest.json", UNFINISHED))
    if not is_prepared and set(visible_names(folder)) - {FINDINGS}:
        raise UserError(
            f"{folder}: is not empty and was not made by prepare_data.py; choose another --prepared"
        )


def write_shards(
    folder: Path,
    cases: Sequence[Case],
    decode: Callable[[Case], Features],
    cases_per_shard: int,
    workers: int,
) -> tuple[Shards, dict[str, str]]:
    """Decode cases in processes and write them as TFRecord shards, split by split.

    Args:
        folder: The prepared folder.
        cases: Rows with ``case`` and ``split``; written in this order.
        decode: One case to its features; runs in another process, so it must be importable.
            A `UserError` leaves the case out and never stops the others.
        cases_per_shard: Cases in one file.
        workers: Number of processes; 0: one per core.

    Returns:
        The shards, and the reason for each case that was left out, by case.
    """
    records = folder / "records"
    records.mkdir(exist_ok=True)
    plan = list(_plan(cases, cases_per_shard))
    shards: Shards = {}
    left_out: dict[str, str] = {}
    with tqdm(total=len(cases), unit="case", desc="decode and write", file=sys.stdout) as progress:
        per_call = max(1, cases_per_shard // _CALLS_PER_SHARD)
        for (split, name, members), decoded in _ahead(plan, decode, records, workers, per_call):
            path = records / name
            if decoded is not None:
                _write_shard(path, members, decoded)
            shard = read_json(_notes(path))
            left_out |= shard["left_out"]
            shards.setdefault(split, []).append(shard)
            progress.update(len(members))
    return shards, left_out


def read_texts(folder: Path, shards: Shards, names: Sequence[str]) -> list[dict[str, str]]:
    """Some text features of all cases but augmented copies; "" where a record lacks one."""
    # Decoding processes import this module, and must not load TensorFlow.
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature((), tf.string, "") for name in names}
    entries = chain.from_iterable(s for split, s in shards.items() if not is_copies(split))
    files = [str(folder / "records" / shard["file"]) for shard in entries]
    records = tf.data.TFRecordDataset(files).batch(256) if files else ()
    rows: list[dict[str, str]] = []
    for batch in records:
        columns = tf.io.parse_example(batch, features)
        texts = ([value.decode() for value in columns[name].numpy()] for name in names)
        rows += [dict(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]
    return rows


def finish(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, which completes the folder, and remove the files of a restart."""
    # Readers of the data do not need the findings, and --check writes them anew.
    files = sorted(path for path in folder.glob("*.csv") if path.name != FINDINGS)
    tables = [{"file": path.name, **measured(path)} for path in files]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    content = {**stamp("manifest.json"), **manifest, "tables": tables}
    content |= {"versions": versions(), "created": created}
    write_json(folder / "manifest.json", {**content, "seal": content_key(content)})
    (folder / UNFINISHED).unlink(missing_ok=True)
    for note in folder.glob("records/*.json"):
        note.unlink()
    remove_partial_files(folder)


def _remove_records(folder: Path) -> None:
    for file in (*folder.glob("records/*"), *folder.glob("augmented/*")):
        file.unlink()


def _key_in(path: Path) -> str:
    try:
        content = read_json(path)
    except UserError:
        return ""
    return content.get("key", "") if isinstance(content, dict) else ""


def _damaged(folder: Path) -> list[str]:
    """The files, relative to ``folder``, that differ from the manifest."""
    manifest = read_json(folder / "manifest.json")
    shards = [{**shard, "file": f"records/{shard['file']}"} for shard in all_shards(manifest)]
    # Manifests of older versions list no tables.
    files = [*shards, *manifest.get("tables", [])]
    return [file["file"] for file in files if fault(folder / file["file"], file)]


def _keep_whole(folder: Path, damaged: Sequence[str]) -> None:
    """Turn a finished folder into one that was interrupted before these files were written."""
    for shard in all_shards(read_json(folder / "manifest.json")):
        path = folder / "records" / shard["file"]
        if f"records/{shard['file']}" not in damaged and "left_out" in shard:
            write_json(_notes(path), shard)
        else:
            path.unlink(missing_ok=True)


def _notes(path: Path) -> Path:
    """The file of a shard's entry in the manifest, until there is a manifest."""
    return path.with_name(f"{path.name}.json")


def _plan(cases: Sequence[Case], cases_per_shard: int) -> Iterator[tuple[str, str, list[Case]]]:
    by_split: dict[str, list[Case]] = {}
    for case in cases:
        by_split.setdefault(case["split"], []).append(case)
    for split, members in by_split.items():
        for number, start in enumerate(range(0, len(members), cases_per_shard)):
            name = f"{split}-{number:05d}.tfrecord"
            yield split, name, members[start : start + cases_per_shard]


def _ahead(
    plan: list[tuple[str, str, list[Case]]],
    decode: Callable[[Case], Features],
    records: Path,
    workers: int,
    cases_per_call: int,
) -> Iterator[tuple[tuple[str, str, list[Case]], Iterator[Outcome] | None]]:
    """Decode two shards ahead of the one that is written, so that memory stays bounded.

    The outcomes are None for a shard that an earlier run finished.
    """
    with pool(partial(outcome, decode), workers, lost) as processes:
        waiting: deque[tuple[Any, list[Future[list[Outcome]]] | None]] = deque()
        for shard in [*plan, None, None]:
            if shard is not None:
                _, name, members = shard
                calls = None
                if not _notes(records / name).exists():
                    calls = [
                        processes.submit(members[start : start + cases_per_call])
                        for start in range(0, len(members), cases_per_call)
                    ]
                waiting.append((shard, calls))
            if waiting and (len(waiting) > 2 or shard is None):
                ready, calls = waiting.popleft()
                yield ready, None if calls is None else (r for c in calls for r in c.result())


def _write_shard(path: Path, members: list[Case], decoded: Iterator[Outcome]) -> None:
    # Decoding processes import this module, and must not load TensorFlow.
    start_tensorflow()
    import tensorflow as tf

    left_out, remarks, count = {}, {}, 0
    with atomic_write(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for case, outcome in zip(members, decoded, strict=True):
            # A copy that could not be made changes nothing for its case.
            if outcome.left_out and not case.get("copy"):
                left_out[case["case"]] = outcome.left_out
            if outcome.remark and not case.get("copy"):
                remarks[case["case"]] = outcome.remark
            if outcome.features is not None:
                writer.write(_example(outcome.features))
                count += 1
    entry = {"file": path.name, "records": count, **measured(path), "left_out": left_out}
    write_json(_notes(path), {**entry, "remarks": remarks} if remarks else entry)


def _example(features: Features) -> bytes:
    """Serialise features as a ``tf.train.Example``, in the order of their names."""
    import tensorflow as tf

    def feature(value: Any) -> tf.train.Feature:
        if isinstance(value, str):
            value = value.encode("utf-8")
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        array = np.asarray(value).ravel()
        if array.dtype.kind in "iub":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=array.astype(np.int64)))
        return tf.train.Feature(float_list=tf.train.FloatList(value=array.astype(np.float32)))

    named = {name: feature(features[name]) for name in sorted(features)}
    example = tf.train.Example(features=tf.train.Features(feature=named))
    # Protobuf promises no order of a map unless it is deterministic.
    return bytes(example.SerializeToString(deterministic=True))
