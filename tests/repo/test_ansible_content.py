# SPDX-License-Identifier: Apache-2.0
"""Content from elsewhere: what is refused, and that the old content outlives a bad one."""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))
reading: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.module_utils.content")
placing: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.module_utils.placing")

LIMIT = 1 << 20


def tar(path: Path, files: dict[str, bytes], *links: tuple[str, str]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def unpacked(archive: Path, into: Path, **options: Any) -> dict[str, bytes]:
    reading.unpack(archive, archive.name, into, **{"max_bytes": LIMIT, **options})
    return {path.relative_to(into).as_posix(): path.read_bytes() for path in sorted(into.rglob("*")) if path.is_file()}


def wanted(archive: Path, **options: Any) -> Any:
    return placing.Wanted(sha256(archive.read_bytes()).hexdigest(), archive.name, max_bytes=LIMIT, **options)


def keep(_: Path) -> None:
    """The tests leave owners and modes as they come."""


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_archives_of_every_kind_are_unpacked(tmp_path: Path, name: str) -> None:
    files = {"manifest.json": b"{}", "pictures/one.jpg": b"1"}
    archive = (zipped if name.endswith("zip") else tar)(tmp_path / name, files)
    assert unpacked(archive, tmp_path / "into") == files


def test_a_lone_top_folder_is_taken_off_unless_all_is_wanted_as_it_is(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {"./model/a": b"1", "./model/b/c": b"2"})
    assert unpacked(archive, tmp_path / "bare") == {"a": b"1", "b/c": b"2"}
    assert unpacked(archive, tmp_path / "whole", folder=".") == {"model/a": b"1", "model/b/c": b"2"}


def test_one_folder_of_an_archive_can_be_taken(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {"models/base_model/a": b"1", "models/deploy_model/b": b"2"})
    assert unpacked(archive, tmp_path / "into", folder="models/deploy_model") == {"b": b"2"}
    with pytest.raises(reading.ContentError, match="holds no file under 'models/other'"):
        unpacked(archive, tmp_path / "other", folder="models/other")


def test_a_file_that_is_no_archive_by_name_is_one_file(tmp_path: Path) -> None:
    # A .tflite file with metadata ends in a zip directory.
    model = zipped(tmp_path / "model.tflite", {"labels.txt": b"person"})
    assert unpacked(model, tmp_path / "into") == {"model.tflite": model.read_bytes()}


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a\\..\\out", ".."])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_leave_the_folder_refuse_the_archive(tmp_path: Path, name: str, kind: str) -> None:
    files = {"good": b"1", name: b"2"}
    archive = (zipped if kind == "zip" else tar)(tmp_path / f"a.{kind}", files)
    into = tmp_path / "deep" / "into"
    into.parent.mkdir()
    with pytest.raises(reading.ContentError, match="outside its folder"):
        unpacked(archive, into)
    assert list(tmp_path.rglob("out")) == []


@given(st.text(alphabet="ab./\\", min_size=1, max_size=12))
def test_no_name_leads_out(name: str) -> None:
    try:
        safe = reading._safe(name, "archive")
    except reading.ContentError:
        return
    assert not safe.startswith("/")
    assert ".." not in safe.split("/")


def test_links_refuse_the_archive(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {"good": b"1"}, ("link", "/etc"))
    with pytest.raises(reading.ContentError, match="no plain file"):
        unpacked(archive, tmp_path / "into")
    linked = tmp_path / "b.zip"
    with zipfile.ZipFile(linked, "w") as opened:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "/etc")
    with pytest.raises(reading.ContentError, match="no plain file"):
        unpacked(linked, tmp_path / "into2")


def test_more_bytes_than_believed_refuse_the_archive(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", {"zeros": bytes(4 * LIMIT)})
    assert bomb.stat().st_size < LIMIT
    with pytest.raises(reading.ContentError, match="more than the 1048576 bytes allowed"):
        unpacked(bomb, tmp_path / "into")


def test_names_that_repeat_or_collide_refuse_the_archive(tmp_path: Path) -> None:
    with pytest.raises(reading.ContentError, match="twice"):
        unpacked(tar(tmp_path / "a.tar", {"x": b"1", "./x": b"2"}), tmp_path / "into")
    with pytest.raises(reading.ContentError, match="both as a file and as a folder"):
        unpacked(tar(tmp_path / "b.tar", {"x": b"1", "x/y": b"2", "z": b"3"}), tmp_path / "into2")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_archive_is_damaged(tmp_path: Path, name: str, share: float) -> None:
    files = {f"f{i}": sha256(bytes([i])).digest() * 400 for i in range(4)}
    whole = (zipped if name.endswith("zip") else tar)(tmp_path / name, files).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(reading.ContentError, match="damaged"):
        unpacked(tmp_path / name, tmp_path / "into")


def model(folder: Path, weights: bytes, said: bytes | None = None) -> Path:
    digest = sha256(weights if said is None else said).hexdigest()
    manifest = json.dumps({"model": {"name": "model.tflite", "sha256": digest}}).encode()
    return tar(folder / f"{sha256(weights).hexdigest()[:8]}.tar", {"manifest.json": manifest, "model.tflite": weights})


def test_a_slot_shows_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    slot = placing.Slot(tmp_path / "deploy_model")
    first, second = model(tmp_path, b"one"), model(tmp_path, b"two")
    slot.place(first, wanted(first, manifest="manifest.json"), keep)
    assert slot.holds(wanted(first, manifest="manifest.json"))
    slot.place(second, wanted(second, manifest="manifest.json"), keep)
    assert (slot.dest / "model.tflite").read_bytes() == b"two"
    assert not slot.holds(wanted(first))
    third = model(tmp_path, b"three")
    slot.place(third, wanted(third), keep)
    # The former content stays for whoever is reading it; the one before that is gone.
    assert len(list((tmp_path / ".contents").glob("deploy_model-*/"))) == 2


def test_a_bad_model_leaves_the_old_one_untouched(tmp_path: Path) -> None:
    slot = placing.Slot(tmp_path / "deploy_model")
    good = model(tmp_path, b"one")
    slot.place(good, wanted(good), keep)
    lying = model(tmp_path, b"two", said=b"other")
    with pytest.raises(reading.ContentError, match="its sha256 differs"):
        slot.place(lying, wanted(lying, manifest="manifest.json"), keep)
    bare = tar(tmp_path / "bare.tar", {"saved_model.pb": b"1"})
    with pytest.raises(reading.ContentError, match=r"holds no model\.tflite"):
        slot.place(bare, wanted(bare, required=["model.tflite"]), keep)
    assert slot.holds(wanted(good))
    assert list((tmp_path / ".contents").glob("*.partial")) == []


def test_a_slot_notices_a_file_that_was_changed_and_mends_it(tmp_path: Path) -> None:
    slot = placing.Slot(tmp_path / "deploy_model")
    good = model(tmp_path, b"one")
    slot.place(good, wanted(good), keep)
    (slot.dest / "model.tflite").write_bytes(b"changed")
    assert not slot.holds(wanted(good))
    slot.place(good, wanted(good), keep)
    assert (slot.dest / "model.tflite").read_bytes() == b"one"


def test_a_slot_goes_on_after_an_interrupted_run(tmp_path: Path) -> None:
    slot = placing.Slot(tmp_path / "deploy_model")
    good = model(tmp_path, b"one")
    half = tmp_path / ".contents" / f"deploy_model-{wanted(good).key}.partial"
    half.mkdir(parents=True)
    (half / "model.tflite").write_bytes(b"o")
    slot.place(good, wanted(good), keep)
    assert slot.holds(wanted(good))


def test_a_slot_does_not_take_the_place_of_what_is_not_its_own(tmp_path: Path) -> None:
    slot = placing.Slot(tmp_path / "deploy_model")
    good = model(tmp_path, b"one")
    slot.dest.mkdir()
    slot.place(good, wanted(good), keep)  # an empty folder is nobody's
    other = placing.Slot(tmp_path / "base_model")
    other.dest.mkdir()
    (other.dest / "mine").write_text("x")
    with pytest.raises(reading.ContentError, match="move it away first"):
        other.place(good, wanted(good), keep)
    assert (other.dest / "mine").read_text() == "x"


def test_files_lie_beside_those_of_others_and_go_with_their_content(tmp_path: Path) -> None:
    folder = placing.Files(tmp_path / "video")
    folder.dest.mkdir()
    (folder.dest / "mine.mp4").write_text("mine")
    first = tar(tmp_path / "1.tar", {"a.mp4": b"a", "sub/b.mp4": b"b"})
    folder.place(first, wanted(first, folder="."), keep)
    assert folder.holds(wanted(first, folder="."))
    second = tar(tmp_path / "2.tar", {"a.mp4": b"new", "c.mp4": b"c"})
    folder.place(second, wanted(second), keep)
    names = {path.name for path in folder.dest.rglob("*") if path.is_file()}
    assert names == {"a.mp4", "c.mp4", "mine.mp4", ".content.json"}
    assert (folder.dest / "a.mp4").read_bytes() == b"new"


def test_files_do_not_overwrite_what_is_not_their_own(tmp_path: Path) -> None:
    folder = placing.Files(tmp_path / "video")
    folder.dest.mkdir()
    (folder.dest / "video.mp4").write_text("mine")
    clips = tar(tmp_path / "1.tar", {"video.mp4": b"theirs", "b.mp4": b"b"})
    with pytest.raises(reading.ContentError, match="move it away first"):
        folder.place(clips, wanted(clips), keep)
    assert {path.name for path in folder.dest.iterdir()} == {"video.mp4"}
    assert (folder.dest / "video.mp4").read_text() == "mine"
