# SPDX-License-Identifier: Apache-2.0
"""The folder of models: whole or not there, whatever lies in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.model_store import ModelStore, files_of
from helmet_agent.contract import ModelManifest
from helmet_agent.errors import StorageError
from helmet_agent.ports import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = (bundled_model_dir() / "manifest.json").read_bytes()
MANIFEST = ModelManifest.from_bytes(CONTENT)
FILES = {wanted.name: bundled_model_dir() / wanted.name for wanted in files_of(MANIFEST)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ModelStore]:
    found = ModelStore(tmp_path / "models")
    yield found
    found.close()


def install(store: ModelStore) -> str:
    return store.install(CONTENT, MANIFEST, FILES).name


def test_an_installed_model_is_whole_and_found_again(store: ModelStore) -> None:
    key = install(store)
    assert store.damage(key) is None
    assert store.manifest(key) == MANIFEST
    assert store.installed() == [key]
    found = store.find(MANIFEST.model)
    assert found is not None
    assert found.read_bytes() == FILES["model.tflite"].read_bytes()
    assert install(store) == key


@pytest.mark.parametrize("name", ["model.tflite", "manifest.json"])
def test_a_damaged_model_is_noticed_not_reused_and_replaced(store: ModelStore, name: str) -> None:
    key = install(store)
    path = store.folder(key) / name
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert store.damage(key) is not None
    if name == "model.tflite":
        assert store.find(MANIFEST.model) is None
    install(store)
    assert store.damage(key) is None


def test_a_file_that_is_not_the_manifests_is_not_installed(store: ModelStore, tmp_path: Path) -> None:
    wrong = tmp_path / "model.tflite"
    wrong.write_bytes(FILES["model.tflite"].read_bytes()[:-1] + b"?")
    with pytest.raises(StorageError, match="reads back as something else"):
        store.install(CONTENT, MANIFEST, FILES | {"model.tflite": wrong})
    assert store.installed() == []
    assert not list((tmp_path / "models").glob(".tmp-*"))


def test_one_process_owns_the_folder_and_others_may_look(store: ModelStore, tmp_path: Path) -> None:
    store.append({"event": "one"})
    assert ModelStore.owned(tmp_path / "models")
    with pytest.raises(StorageError, match="in use by another process"):
        ModelStore(tmp_path / "models")
    assert list(ModelStore(tmp_path / "models", read_only=True).journal()) == [{"event": "one"}]
    store.close()
    assert not ModelStore.owned(tmp_path / "models")
    assert not ModelStore.owned(tmp_path / "nowhere")


def test_half_a_line_is_cut_off_and_nonsense_is_passed_over(store: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "models" / "journal.jsonl"
    store.append({"event": "one"})
    with path.open("ab") as file:
        file.write(b'not json\n[1]\n\xff\xfe\n{"event":"tw')
    store.close()
    again = ModelStore(tmp_path / "models")
    again.append({"event": "three"})
    assert list(again.journal()) == [{"event": "one"}, {"event": "three"}]
    again.close()


def test_pointers_are_links_that_move_whole(store: ModelStore, tmp_path: Path) -> None:
    key = install(store)
    assert store.pointers() == (None, None)
    store.point(key, key)
    assert store.pointers() == (key, key)
    assert (tmp_path / "models" / "current" / "manifest.json").read_bytes() == CONTENT
    (tmp_path / "models" / "current").unlink()
    (tmp_path / "models" / "current").symlink_to("/etc")
    assert store.pointers() == (None, key)


def test_cleaning_keeps_what_serves_and_what_is_asked_for(store: ModelStore) -> None:
    key = install(store)
    store.download(MANIFEST.model).write_bytes(b"part")
    store.point(key, key)
    store.clean(keep=[])
    assert store.installed() == [key]
    assert not store.download(MANIFEST.model).exists()
    store.point("f" * 64, "f" * 64)
    store.clean(keep=[])
    assert store.installed() == []


def test_what_a_crash_left_behind_goes_at_the_next_start(store: ModelStore, tmp_path: Path) -> None:
    store.close()
    left = tmp_path / "models" / ".tmp-0123456789abcdef"
    shutil.copytree(bundled_model_dir(), left)
    (tmp_path / "models" / ".tmp-1").symlink_to("/nowhere")
    ModelStore(tmp_path / "models").close()
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".lock"]


def test_requests_are_taken_in_order_and_answered_once(store: ModelStore, tmp_path: Path) -> None:
    desk = ModelStore(tmp_path / "models", read_only=True).desk
    first, second = desk.leave("rollback", "k"), desk.leave("unquarantine", "f" * 64)
    assert store.requests() == [first, second]
    store.answer(first, "back", done=True)
    assert store.requests() == [second]
    assert desk.answer_to(first) == (True, "back")
    assert desk.answer_to(first) is None
    assert desk.answer_to(second) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../evil.request", b""),
        ("x.request", json.dumps({"action": "rollback", "argument": ""}).encode()),
        ("01234567890123-0123456789abcdef.request", b"{"),
        ("01234567890123-0123456789abcdef.request", b"[]"),
        ("01234567890123-0123456789abcdef.request", json.dumps({"action": "rm", "argument": "/"}).encode()),
        ("01234567890123-0123456789abcdef.request", json.dumps({"action": "rollback", "argument": 5}).encode()),
        ("01234567890123-0123456789abcdef.request", b" " * 100_000),
    ],
)
def test_what_is_no_request_is_removed(store: ModelStore, tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "models" / "requests"
    folder.mkdir(exist_ok=True)
    (folder / name.removeprefix("../")).write_bytes(content)
    assert store.requests() == []
    assert list(folder.glob("*.request")) == []


@pytest.mark.parametrize("name", ["", "..", "../../etc", "0123456789abcdef/..", "0" * 17])
def test_a_bundle_is_named_by_its_letters_only(store: ModelStore, name: str) -> None:
    with pytest.raises(ValueError, match="no bundle"):
        store.desk.bundle_folder(name)


def test_an_answer_to_a_bundle_with_a_bad_name_harms_nothing(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "models" / "requests").mkdir()
    store.answer(ModelRequest("1", "import", "../.."), "no such bundle", done=False)
    assert (tmp_path / "models" / ".lock").exists()


IN_NAMESPACE = ["unshare", "--mount", "--map-root-user"] if shutil.which("unshare") else []
FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.model_store import ModelStore, files_of
from helmet_agent.contract import ModelManifest
from helmet_agent.errors import StorageError
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
content = (bundled_model_dir() / "manifest.json").read_bytes()
manifest = ModelManifest.from_bytes(content)
files = {wanted.name: bundled_model_dir() / wanted.name for wanted in files_of(manifest)}
store = ModelStore(folder / "models")
for blocks in (0, 1, 5, 12, 20, 40, 200, 310, 315, 320, 325):
    filler = folder / "filler"
    free = os.statvfs(folder).f_bfree
    filler.write_bytes(b"x" * 4096 * (free - blocks))
    try:
        key = store.install(content, manifest, files).name
        print("installed", flush=True)
        assert store.damage(key) is None
        store.clean([])
    except StorageError as error:
        print(error, flush=True)
        assert store.installed() == []
        assert not list((folder / "models").glob(".tmp-*"))
    filler.unlink()
assert store.damage(store.install(content, manifest, files).name) is None
"""


def test_a_full_disk_leaves_no_half_model(tmp_path: Path) -> None:
    if not IN_NAMESPACE or subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    line: list[Any] = [*IN_NAMESPACE, sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    refused = [text for text in done.stdout.splitlines() if text != "installed"]
    assert len(refused) >= 5
    assert all("disk full; free some space" in text for text in refused), refused
    assert "installed" in done.stdout
