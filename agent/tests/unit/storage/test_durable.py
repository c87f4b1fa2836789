# SPDX-License-Identifier: Apache-2.0
import os
import resource
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from helmet_agent.durable import (
    TEMPORARY_PREFIX,
    FolderLock,
    append_durable,
    create_atomic,
    make_folder,
    remove_durable,
    sweep_temporaries,
    write_atomic,
    write_atomic_group,
)
from helmet_agent.errors import StorageError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def in_child(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_is_created_replaced_and_left_alone_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    write_atomic(path, b"two" * 100_000, mode=0o600)
    assert path.read_bytes() == b"two" * 100_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == {"state.json"}


def test_an_empty_content_is_a_content(tmp_path: Path) -> None:
    write_atomic(tmp_path / "empty", b"")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_group_appears_whole(tmp_path: Path) -> None:
    write_atomic_group(tmp_path, {"a.jpg": b"pixels", "a.json": b"{}"})
    assert names(tmp_path) == {"a.jpg", "a.json"}


def test_a_missing_folder_is_named_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file or folder; create the folder") as caught:
        write_atomic(tmp_path / "not" / "there", b"x")
    assert str(tmp_path / "not" / "there") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_files_place_keeps_everything(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError, match="a folder is in the way"):
        write_atomic_group(tmp_path, {"a": b"1", "b": b"2"})
    assert not [name for name in names(tmp_path) if name.startswith(TEMPORARY_PREFIX)]


def test_a_write_over_the_size_limit_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"old")
    done = in_child(
        """
        import resource, sys
        from pathlib import Path
        from helmet_agent.durable import append_durable, write_atomic
        from helmet_agent.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for write in (write_atomic, append_durable):
            try:
                write(Path(sys.argv[1]), b"x" * 4000)
            except StorageError as error:
                print(error)
        """,
        path,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all("cannot write" in line and "size limit" in line for line in lines)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"state"}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_append_adds_lines_and_creates(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append_durable(path, b"one\n")
    append_durable(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_folders_are_made_with_parents_and_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"in the way|no folder"):
        make_folder(tmp_path / "file" / "below")


def test_removal_counts_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert remove_durable(tmp_path / "a", tmp_path / "b") == 1
    assert names(tmp_path) == set()


def test_the_sweep_takes_temporaries_only(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}0123").write_bytes(b"half")
    (tmp_path / f"{TEMPORARY_PREFIX}folder").mkdir()
    (tmp_path / "kept").write_bytes(b"")
    assert sweep_temporaries(tmp_path) == 1
    assert names(tmp_path) == {"kept", f"{TEMPORARY_PREFIX}folder"}
    assert sweep_temporaries(tmp_path / "missing") == 0


def test_the_sweep_spares_the_young_when_asked(tmp_path: Path) -> None:
    young, old = tmp_path / f"{TEMPORARY_PREFIX}young", tmp_path / f"{TEMPORARY_PREFIX}old"
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (1, 1))
    assert sweep_temporaries(tmp_path, older_than_seconds=3600) == 1
    assert names(tmp_path) == {young.name}


def test_one_owner_at_a_time_across_processes_and_after_a_kill(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from helmet_agent.durable import FolderLock
        from helmet_agent.errors import StorageError
        try:
            lock = FolderLock(Path(sys.argv[1]))
        except StorageError as error:
            print(error)
        else:
            print("mine", flush=True)
            import time; time.sleep(60 if len(sys.argv) > 2 else 0)
    """
    lock = FolderLock(tmp_path)
    assert f"in use by another process ({os.getpid()}); stop it" in in_child(program, tmp_path).stdout
    with pytest.raises(StorageError, match="in use"):
        FolderLock(tmp_path)
    lock.release()
    lock.release()
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), "stay"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "mine\n"
        holder.kill()
    FolderLock(tmp_path).release()


def test_a_file_that_must_not_replace_another_one_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert create_atomic(path, b"first", mode=0o600) is True
    assert create_atomic(path, b"second", mode=0o644) is False
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_of_many_that_create_one_file_at_once_a_single_one_wins(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    won: list[bytes] = []

    def create(number: int) -> None:
        start.wait()
        if create_atomic(tmp_path / "token", b"%d" % number):
            won.append(b"%d" % number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / "token").read_bytes()] == won


def test_a_file_that_cannot_be_created_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file or folder; create the folder"):
        create_atomic(tmp_path / "gone" / "token", b"x")
