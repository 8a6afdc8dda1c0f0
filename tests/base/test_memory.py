"""The memory that a process can have, on a machine and within a control group's limit."""

import os

import pytest

from common.base.memory import free_memory

KIB = 1 << 10
STATISTICS = "anon 10\n" + "".join(
    f"{name} {{0}}\n"
    for name in ("active_file", "inactive_file", "total_active_file", "total_inactive_file")
)


def machine(root, cgroup, files):
    """A machine with 8000 KiB available, by the files of proc and sys that it shows."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(folder, limit, used, cached, version=2):
    names = ("memory.max", "memory.current") if version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes",
    )  # fmt: skip
    values = (f"{limit}\n", f"{used}\n")
    return {
        **dict(zip((folder + name for name in names), values, strict=True)),
        f"{folder}memory.stat": STATISTICS.format(cached // 2),
    }


@pytest.mark.parametrize(
    ("cgroup", "files", "wanted"),
    [
        ("", {}, 8000),
        ("0::/job\n", group("job/", 5000 * KIB, 2000 * KIB, 500 * KIB), 3500),
        ("0::/job/step\n", group("job/", 5000 * KIB, 2000 * KIB, 0)
         | group("job/step/", "max", 10, 0), 3000),
        ("0::/\n", group("", 5000 * KIB, 6000 * KIB, 0), 0),
        ("9:cpu:/a\n4:memory:/job\n", group("memory/job/", 4000 * KIB, 1000 * KIB, 0, 1), 3000),
        # In a container without a namespace of its own the group's name is not there.
        ("4:memory:/docker/x\n", group("memory/", 4000 * KIB, 1000 * KIB, 0, 1), 3000),
        ("0::/job\n", group("job/", 5000 * KIB, 2000 * KIB, 0) | {"job/memory.stat": ""}, 3000),
        ("0::/job\n", group("job/", 5000 * KIB, 2000 * KIB, 0) | {"job/memory.stat": "x"}, 8000),
        ("odd\n\n", {}, 8000),
        ("4:memory:/\n", group("memory/", (1 << 63) - 4096, 1000 * KIB, 0, 1), 8000),
    ],
    ids=["none", "limit", "above", "full", "version 1", "container", "no statistics",
         "odd statistics", "odd groups", "version 1 without a limit"],
)  # fmt: skip
def test_a_control_group_leaves_less_than_the_machine(tmp_path, cgroup, files, wanted):
    assert free_memory(machine(tmp_path, cgroup, files)) == wanted * KIB


def test_the_memory_that_is_free_here():
    assert 0 < free_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
