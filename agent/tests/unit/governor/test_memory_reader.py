# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import psutil
import pytest

from helmet_agent.adapters.memory_reader import GroupMemory, MemoryReader

MIB = 1 << 20
V1_UNLIMITED = 9223372036854771712


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    return proc, groups


def lay(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(f"{content}\n")
    return folder


def read(roots: tuple[Path, Path], membership: str) -> tuple[GroupMemory, ...]:
    proc, groups = roots
    (proc / "self" / "cgroup").write_text(membership)
    return MemoryReader(proc_root=proc, cgroup_root=groups).read().groups


def test_v2_takes_the_cache_off_and_goes_up_to_the_root(roots: tuple[Path, Path]) -> None:
    _, groups = roots
    slice_ = lay(groups / "system.slice", current=900 * MIB, max=1000 * MIB, high="max", stat="anon 1\nfile 2")
    unit = lay(
        slice_ / "agent.service",
        current=300 * MIB,
        max=500 * MIB,
        high=400 * MIB,
        stat=f"anon 7\ninactive_file {50 * MIB}\nactive_file {9 * MIB}",
    )
    assert read(roots, "0::/system.slice/agent.service\n") == (
        GroupMemory(unit, 250 * MIB, 400 * MIB),
        GroupMemory(slice_, 900 * MIB, 1000 * MIB),
    )


def test_v2_max_is_no_limit(roots: tuple[Path, Path]) -> None:
    unit = lay(roots[1] / "unit", current=5 * MIB, max="max", high="max", stat="")
    assert read(roots, "0::/unit\n") == (GroupMemory(unit, 5 * MIB, None),)


def test_v1_is_found_beside_an_empty_v2(roots: tuple[Path, Path]) -> None:
    root = lay(
        roots[1] / "memory", usage_in_bytes=2000 * MIB, limit_in_bytes=V1_UNLIMITED, stat=f"total_inactive_file {MIB}"
    )
    pod = lay(
        root / "pod",
        usage_in_bytes=100 * MIB,
        limit_in_bytes=256 * MIB,
        stat=f"inactive_file 1\ntotal_inactive_file {30 * MIB}",
    )
    box = lay(pod / "box", usage_in_bytes=90 * MIB, limit_in_bytes=V1_UNLIMITED, stat="")
    membership = "9:name=systemd:/x\n4:cpu,memory:/pod/box\n1:cpu:/\n0::/\n"
    assert read(roots, membership) == (
        GroupMemory(box, 90 * MIB, None),
        GroupMemory(pod, 70 * MIB, 256 * MIB),
        GroupMemory(root, 1999 * MIB, None),
    )


def test_the_lowest_limit_of_all_parents_counts(roots: tuple[Path, Path]) -> None:
    outer = lay(roots[1] / "outer", current=MIB, max=100 * MIB, stat="")
    lay(outer / "inner", current=MIB, max=300 * MIB, stat="")
    (roots[0] / "self" / "cgroup").write_text("0::/outer/inner\n")
    assert MemoryReader(proc_root=roots[0], cgroup_root=roots[1]).read().group_limit_bytes == 100 * MIB


def test_in_a_container_that_sees_the_hosts_path_the_mounts_root_counts(roots: tuple[Path, Path]) -> None:
    root = lay(roots[1] / "memory", usage_in_bytes=9 * MIB, limit_in_bytes=64 * MIB, stat="")
    assert read(roots, "4:memory:/docker/0123abcd\n") == (GroupMemory(root, 9 * MIB, 64 * MIB),)


@pytest.mark.parametrize("membership", ["", "garbage\n", "0::/missing\n", "0::relative\n"])
def test_what_cannot_be_read_is_left_out(roots: tuple[Path, Path], membership: str) -> None:
    assert read(roots, membership) == ()


def test_garbage_in_the_files_is_left_out(roots: tuple[Path, Path]) -> None:
    unit = lay(roots[1] / "unit", current=5 * MIB, max="lots", stat="inactive_file none\n\n\n")
    lay(unit / "sub", current="?", max=1, stat="")
    assert read(roots, "0::/unit/sub\n") == (GroupMemory(unit, 5 * MIB, None),)


def test_the_process_itself_and_the_machine(roots: tuple[Path, Path]) -> None:
    reading = MemoryReader(proc_root=roots[0], cgroup_root=roots[1]).read()
    assert 5 * MIB < reading.rss_bytes < reading.physical_bytes
    assert reading.physical_bytes == psutil.virtual_memory().total
    assert reading.groups == ()
    assert reading.group_limit_bytes is None


def test_this_machines_own_groups_make_sense() -> None:
    reading = MemoryReader(os.getpid()).read()
    for group in reading.groups:
        assert group.path.is_dir()
        assert group.used_bytes >= 0
        assert group.limit_bytes is None or group.limit_bytes > 0
