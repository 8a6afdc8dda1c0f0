"""One shard: cases, decoded in processes, to a file of records, here or on a cluster's worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from common.base.errors import UserError
from common.base.files import atomic_write, content_key
from common.base.processes import Pool, lasting_pool
from common.records.outcomes import Case, Features, Outcome, lost, outcome
from common.records.prepared import UNFINISHED, measured
from common.records.tfrecords import as_example, write_records

Calls = list[Future[list[Outcome]]]
"""What processes were asked for, a few cases each."""


class Shard(NamedTuple):
    """A file of records to be written, and the cases in it, in order."""

    split: str
    name: str
    members: list[Case]


def key_of(members: Sequence[Case]) -> str:
    """A key of the cases of a shard, in their order, and of which copies of them."""
    return content_key(
        [[str(case["case"]), case.get("copy"), case.get("seed")] for case in members]
    )


def calls_of(processes: Pool, items: Sequence[Any], items_per_call: int) -> Calls:
    """Hand items over to processes, so many at a time."""
    starts = range(0, len(items), items_per_call)
    return [processes.submit(items[start : start + items_per_call]) for start in starts]


def results_of(calls: Calls) -> Iterator[Outcome]:
    """The outcomes, in order, as they are waited for."""
    return (result for call in calls for result in call.result())


def write_shard(
    path: Path,
    members: Sequence[Case],
    decoded: Iterable[Outcome],
    before_it_counts: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write a shard.

    Args:
        path: Its place.
        members: The cases in it.
        decoded: Their outcomes, in the same order.
        before_it_counts: Is called before the file gets its name, and may raise.

    Returns:
        Its entry in the manifest.
    """
    left_out, remarks = {}, {}

    def records() -> Iterator[bytes]:
        for case, result in zip(members, decoded, strict=True):
            # A copy that could not be made changes nothing for its case.
            if result.left_out and not case.get("copy"):
                left_out[case["case"]] = result.left_out
            if result.remark and not case.get("copy"):
                remarks[case["case"]] = result.remark
            if result.features is not None:
                yield as_example(result.features)

    with atomic_write(path) as temporary:
        count = write_records(temporary, records())
        before_it_counts()
        size = measured(temporary)
    entry = {"file": path.name, "records": count, **size, "left_out": left_out}
    entry["members"] = key_of(members)
    return {**entry, "remarks": remarks} if remarks else entry


def write_on_worker(
    folder: Path, mark: str, decode: Callable[[Case], Features], cases_per_call: int, shard: Shard
) -> dict[str, Any]:
    """Decode and write a shard, on a worker of a cluster; a second time it writes the same.

    Args:
        folder: The prepared folder.
        mark: What its `UNFINISHED` holds while the script runs that calls this. Where it holds
            something else, that script was killed, and the folder may be another's by now.
        decode: As for `common.records.shards.write_shards`.
        cases_per_call: Cases that a process takes at once.
        shard: Which.

    Returns:
        Its entry in the manifest.
    """

    def refuse_other() -> None:
        try:
            text = (folder / UNFINISHED).read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        if text != mark:
            raise UserError(
                f"{folder}: is not the same folder on a worker, or another script has begun anew "
                "in it; share it under the same path, and start one script at a time"
            )

    refuse_other()
    items = [(decode, case) for case in shard.members]
    calls = calls_of(lasting_pool(_outcome, _lost), items, cases_per_call)
    try:
        path = folder / "records" / shard.name
        return write_shard(path, shard.members, results_of(calls), refuse_other)
    finally:
        for call in calls:
            call.cancel()


def _outcome(item: tuple[Callable[[Case], Features], Case]) -> Outcome:
    return outcome(*item)


def _lost(item: tuple[Callable[[Case], Features], Case], reason: str) -> Outcome:
    return lost(item[1], reason)
