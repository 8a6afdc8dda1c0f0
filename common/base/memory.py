"""The memory that this process can have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Of Linux's control groups, versions 2 and 1: a limit, what counts against it, and how its
# statistics call the pages of files, which would be given back.
_FILES = (
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
)


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that a program can have without another losing any.

    At most what the control groups leave that Slurm, Docker or Kubernetes put it in.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return min([int(lines["MemAvailable"].split()[0]) << 10, *_left_by_groups(root)])


def _left_by_groups(root: Path) -> Iterator[int]:
    """Bytes that each control group leaves that this process is in, and each group above it."""
    for folder in _groups(root):
        for limit, used, given_back in _FILES:
            try:
                most, usage = (int((folder / name).read_text()) for name in (limit, used))
                lines = (folder / "memory.stat").read_text().splitlines()
                statistics = {line.split()[0]: int(line.split()[1]) for line in lines if line}
            except (OSError, ValueError, IndexError):  # another version's, or no limit
                continue
            cached = sum(statistics.get(name, 0) for name in given_back)
            yield max(most - usage + cached, 0)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups for memory, each before those above it.

    A container may see its own group as the uppermost one, under a name that is not there.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, name = [*line.split(":", 2), "", ""][:3]
        if kinds in ("", "memory"):
            top = root / "sys/fs/cgroup" / kinds
            group = top / name.lstrip("/")
            yield group
            yield from (folder for folder in group.parents if folder.is_relative_to(top))


def ended_for_memory() -> int:
    """The number of processes that the system has ended since its start for want of memory."""
    try:
        counts = Path("/proc/vmstat").read_text(encoding="ascii").split()
        return int(counts[counts.index("oom_kill") + 1])
    except (OSError, ValueError):
        return 0
