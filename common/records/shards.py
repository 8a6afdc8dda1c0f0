"""Cases to sharded TFRecords with a manifest.

A prepared folder holds ``cases.csv``, ``records/SPLIT-00000.tfrecord`` and ``manifest.json``,
which is written last: a folder without it is not finished, and the same command resumes after
the shards that exist. A shard's content depends on the cases and the settings alone, not on the
number of processes or on where an earlier run was killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.errors import UserError
from common.base.files import (
    content_key,
    read_json,
    remove_partial_files,
    versions,
    visible_names,
    write_json,
)
from common.base.formats import stamp
from common.base.processes import pool
from common.base.progress import progress
from common.datasets.splits import is_copies
from common.records.mapped import MappedRecords
from common.records.outcomes import Case, Features, lost, outcome
from common.records.prepared import UNFINISHED, all_shards, fault, measured
from common.records.shard_files import (
    Calls,
    Shard,
    calls_of,
    key_of,
    results_of,
    write_on_worker,
    write_shard,
)
from common.records.tfrecords import texts_of

if TYPE_CHECKING:
    from common.base.cluster import Cluster

FINDINGS = "findings.csv"
"""The table of the dataset's check, in the prepared folder, also where it holds nothing else."""

Shards = dict[str, list[dict[str, Any]]]
"""By split, each shard's ``{file, records, bytes, sha256, left_out}`` and, where there are any,
``remarks`` (`common.records.outcomes.REMARK`), both by case."""

# A process hands over this share of a full shard at a time, which bounds memory.
_CALLS_PER_SHARD = 64


def source_key(files: Sequence[tuple[str, int, int]], settings: Mapping[str, Any]) -> str:
    """The key under which prepared data is reused.

    It changes with any setting, and with the name, size or time of any file of the source.

    Args:
        files: Of `common.imaging.image_files.file_facts`.
        settings: Those that decide the data.
    """
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
    cluster: Cluster | None = None,
) -> tuple[Shards, dict[str, str]]:
    """Decode cases in processes and write them as TFRecord shards, split by split.

    Args:
        folder: The prepared folder.
        cases: Rows with ``case`` and ``split``; written in this order.
        decode: One case to its features; runs in another process, so it must be importable.
            A `UserError` leaves the case out and never stops the others.
        cases_per_shard: Cases in one file.
        workers: Number of processes; 0: one per core.
        cluster: Its workers decode and write, a shard at a time, in place of processes here.

    Returns:
        The shards, and the reason for each case that was left out, by case.
    """
    records = folder / "records"
    records.mkdir(exist_ok=True)
    plan = list(_plan(cases, cases_per_shard))
    missing = [shard for shard in plan if not _is_written(records, shard)]
    per_call = max(1, cases_per_shard // _CALLS_PER_SHARD)
    if cluster and missing:
        mark = (folder / UNFINISHED).read_text(encoding="utf-8")
        write = partial(write_on_worker, folder, mark, decode, per_call)
        entries = cluster.each(write, missing)
    else:
        entries = _ahead(missing, decode, records, workers, per_call)
    with progress(total=len(cases), unit="case", desc="decode and write") as bar:
        bar.update(len(cases) - sum(len(shard.members) for shard in missing))
        for shard, entry in entries:
            write_json(_notes(records / shard.name), entry)
            bar.update(len(shard.members))
    shards: Shards = {}
    left_out: dict[str, str] = {}
    for shard in plan:
        entry = read_json(_notes(records / shard.name))
        left_out |= entry["left_out"]
        shards.setdefault(shard.split, []).append(entry)
    return shards, left_out


def read_texts(
    folder: Path, shards: Shards, names: Sequence[str], cluster: Cluster | None = None
) -> dict[str, list[str]]:
    """Some text features of all cases but augmented copies, by name; "" where a record lacks one.

    With a cluster its workers read the shards. They are in the order of the records.
    """
    entries = chain.from_iterable(s for split, s in shards.items() if not is_copies(split))
    files = [str(folder / "records" / shard["file"]) for shard in entries]
    if cluster is None:
        return _texts_in(names, files)
    calls = cluster.each(partial(_texts_in, names), [[file] for file in files])
    parts = {file: texts for [file], texts in calls}
    return {name: [text for file in files for text in parts[file][name]] for name in names}


def _texts_in(names: Sequence[str], files: list[str]) -> dict[str, list[str]]:
    # Columns: of a million cases, a dict each would take as much again as the texts.
    texts: dict[str, list[str]] = {name: [] for name in names}
    for record in MappedRecords([*map(Path, files)]):
        for column, text in zip(texts.values(), texts_of(record, names), strict=True):
            column.append(text)
    return texts


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
    listed = {shard["file"] for shard in all_shards(content)}
    for path in folder.glob("records/*"):
        # A start that left more cases out may need fewer shards than an earlier one wrote.
        if path.suffix == ".json" or (path.suffix == ".tfrecord" and path.name not in listed):
            path.unlink()
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


def _is_written(records: Path, shard: Shard) -> bool:
    """Whether a shard is there, of these cases: another start may have left others out."""
    note = _notes(records / shard.name)
    # A shard of an earlier version does not say whose it is.
    return note.exists() and read_json(note).get("members") in (None, key_of(shard.members))


def _plan(cases: Sequence[Case], cases_per_shard: int) -> Iterator[Shard]:
    by_split: dict[str, list[Case]] = {}
    for case in cases:
        by_split.setdefault(case["split"], []).append(case)
    for split, members in by_split.items():
        for number, start in enumerate(range(0, len(members), cases_per_shard)):
            name = f"{split}-{number:05d}.tfrecord"
            yield Shard(split, name, members[start : start + cases_per_shard])


def _ahead(
    missing: Sequence[Shard],
    decode: Callable[[Case], Features],
    records: Path,
    workers: int,
    cases_per_call: int,
) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """Write shards; decode two ahead of the one that is written, so that memory stays bounded."""
    if not missing:
        return
    with pool(partial(outcome, decode), workers, lost) as processes:
        waiting: deque[tuple[Shard, Calls]] = deque()
        for shard in [*missing, None, None]:
            if shard is not None:
                waiting.append((shard, calls_of(processes, shard.members, cases_per_call)))
            if waiting and (len(waiting) > 2 or shard is None):
                ready, calls = waiting.popleft()
                yield ready, write_shard(records / ready.name, ready.members, results_of(calls))
