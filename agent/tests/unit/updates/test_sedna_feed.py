# SPDX-License-Identifier: Apache-2.0
"""What the feed makes of what Sedna's local controller leaves in the hot-update folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sedna_local_controller import CONFIG_NAME, announce, copy_in_place

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.sedna_feed import SednaFeed, is_package, unpack, write_package
from helmet_agent.contract import Delivery, FileReference, ModelManifest
from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    from pathlib import Path

JOB = "default/helmet-detection-demo"
BUNDLED = bundled_model_dir()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def model_folder(folder: Path, tail: bytes = b"", **changes: Any) -> Path:
    """A model folder; ``tail`` makes its weights another file of the same meaning."""
    folder.mkdir()
    manifest = ModelManifest.from_bytes((BUNDLED / "manifest.json").read_bytes())
    for frame in manifest.golden:
        shutil.copy(BUNDLED / frame.picture.name, folder)
    content = (BUNDLED / "model.tflite").read_bytes() + tail
    (folder / "model.tflite").write_bytes(content)
    model = FileReference("model.tflite", digest(content), len(content))
    (folder / "manifest.json").write_bytes(dataclasses.replace(manifest, model=model, **changes).to_bytes())
    return folder


class Rig:
    """A node whose serving model is the bundled one, and the folder that the controller writes into."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp = tmp_path
        self.hot = tmp_path / "hot"
        self.hot.mkdir(exist_ok=True)
        self.config = self.hot / CONFIG_NAME
        self.newest = 7
        self.serving = BUNDLED
        self.feed = self.again()

    def again(self) -> SednaFeed:
        self.feed = SednaFeed(
            self.config,
            self.tmp / "own",
            serving=lambda: self.serving,
            newest=lambda: self.newest,
            delivery=Delivery(JOB, hot_update=True, poll_seconds=5),
        )
        return self.feed

    def bring(self, source: Path, version: str, name: str = "model.pkg") -> None:
        copy_in_place(source, self.hot / name)
        announce(self.config, str(self.hot / name), version)

    def package(self, name: str, tail: bytes = b"", **changes: Any) -> Path:
        path = self.tmp / f"{name}.pkg"
        write_package(model_folder(self.tmp / name, tail, **changes), path)
        return path


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_nothing_announced_is_no_offer(rig: Rig) -> None:
    assert rig.feed.check() is None
    assert rig.feed.announced is None


def test_a_package_becomes_an_offer_with_a_release_of_this_node(rig: Rig) -> None:
    rig.bring(rig.package("a", b"1"), "v1")
    offer = rig.feed.check()
    assert offer is not None
    assert offer.anew
    assert (offer.manifest.release, offer.manifest.delivery) == (8, Delivery(JOB, hot_update=True, poll_seconds=5))
    assert offer.key == digest(offer.content)
    into = rig.tmp / "into"
    for wanted in (offer.manifest.model, *(frame.picture for frame in offer.manifest.golden)):
        rig.feed.fetch(wanted, into)
        assert digest(into.read_bytes()) == wanted.sha256
    again = rig.feed.check()
    assert again is not None
    assert (again.key, again.anew) == (offer.key, False)


def test_versions_are_compared_before_anything_is_copied(rig: Rig) -> None:
    rig.bring(rig.package("a", b"1"), "v1")
    for _ in range(20):
        rig.feed.check()
    assert rig.feed.copies == 1
    assert not [path for path in (rig.tmp / "own").iterdir() if path.name not in ("known.json", "staged")]
    later = rig.again()
    assert later.check() is not None
    assert later.copies == 0


def test_a_shorter_model_over_a_longer_one_is_taken_whole(rig: Rig) -> None:
    rig.bring(rig.package("long", b"x" * 300_000), "v1")
    assert rig.feed.check() is not None
    short = rig.package("short", b"y")
    rig.bring(short, "v2")
    assert (rig.hot / "model.pkg").stat().st_size > short.stat().st_size, "the stand-in truncates, Sedna does not"
    offer = rig.feed.check()
    assert offer is not None
    assert offer.manifest.model.size_bytes == (rig.tmp / "short/model.tflite").stat().st_size


def test_a_bare_model_with_its_manifest_beside_it_loses_a_foreign_end(rig: Rig) -> None:
    folder = model_folder(rig.tmp / "a", b"1")
    shutil.copytree(folder, rig.hot, dirs_exist_ok=True)
    with (rig.hot / "model.tflite").open("ab") as file:
        file.write(b"the end of a longer one")
    announce(rig.config, str(rig.hot / "model.tflite"), "v1")
    offer = rig.feed.check()
    assert offer is not None
    assert offer.manifest.model.sha256 == digest((folder / "model.tflite").read_bytes())


def test_a_bare_model_that_is_not_the_one_of_its_manifest_is_none(rig: Rig) -> None:
    shutil.copytree(model_folder(rig.tmp / "a", b"1"), rig.hot, dirs_exist_ok=True)
    (rig.hot / "model.tflite").write_bytes((BUNDLED / "model.tflite").read_bytes()[:-1] + b"\0")
    announce(rig.config, str(rig.hot / "model.tflite"), "v1")
    with pytest.raises(UpdateError, match="not the file that the manifest beside it names"):
        rig.feed.check()


def test_a_bare_model_without_manifest_gets_the_serving_model_s(rig: Rig) -> None:
    rig.bring(model_folder(rig.tmp / "a", b"1") / "model.tflite", "v1", "model.pb")
    offer = rig.feed.check()
    assert offer is not None
    ours = ModelManifest.from_bytes((BUNDLED / "manifest.json").read_bytes())
    assert (offer.manifest.labels, offer.manifest.golden, offer.manifest.thresholds) == (
        ours.labels,
        ours.golden,
        ours.thresholds,
    )
    assert offer.manifest.model.sha256 != ours.model.sha256


def test_half_written_announcements_are_waited_for(rig: Rig) -> None:
    package = rig.package("a", b"1")
    copy_in_place(package, rig.hot / "model.pkg")
    writer = threading.Thread(
        target=announce, args=(rig.config, str(rig.hot / "model.pkg"), "v1"), kwargs={"pause_seconds": 0.2}
    )
    writer.start()
    offers = []
    while writer.is_alive():
        try:
            offers.append(rig.feed.check())
        except UpdateError:
            offers.append(None)
    writer.join()
    assert None in offers
    assert rig.feed.check() is not None


def test_an_announcement_that_stays_nonsense_is_told(rig: Rig) -> None:
    rig.config.write_text('{"model_config": {"model_pa')
    assert rig.feed.check() is None
    with pytest.raises(UpdateError, match="no announcement of a model"):
        rig.feed.check()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(max_size=20) | st.integers(), lambda inner:
       st.dictionaries(st.sampled_from(["model_config", "model_path", "model_update_time"]), inner)
       | st.lists(inner, max_size=3), max_leaves=6).map(lambda found: json.dumps(found).encode()))  # fmt: skip
def test_no_announcement_makes_anything_but_an_update_error(tmp_path_factory: Any, content: bytes) -> None:
    rig = Rig(tmp_path_factory.mktemp("rig"))
    rig.config.write_bytes(content)
    for _ in range(2):
        try:
            assert rig.feed.check() is None
        except UpdateError:
            assert rig.feed.announced is None or rig.feed.announced.problem


def test_what_is_no_model_is_told_once_and_looked_at_again_when_it_changes(rig: Rig) -> None:
    bad = rig.tmp / "saved_model.pb"
    bad.write_bytes(b"a TensorFlow graph" * 100)
    rig.bring(bad, "v1")
    with pytest.raises(UpdateError, match=r"neither a model package nor a \.tflite model"):
        rig.feed.check()
    for _ in range(5):
        assert rig.feed.check() is None
    assert rig.feed.copies == 1
    assert rig.feed.announced is not None
    assert "neither" in rig.feed.announced.problem
    later = rig.again()
    assert later.check() is None
    assert later.copies == 0
    copy_in_place(rig.package("a", b"1"), rig.hot / "model.pkg")
    assert later.check() is not None


def test_a_copy_that_was_written_to_meanwhile_is_made_again(rig: Rig) -> None:
    rig.bring(rig.package("a", b"1"), "v1")
    other = rig.package("b", b"2")
    written = threading.Event()

    def serving() -> Path:
        return BUNDLED

    class Restless:
        """A check of cancellation that the copy makes is when the controller goes to work."""

        def set(self) -> None:
            raise AssertionError

        def is_set(self) -> bool:
            if not written.is_set():
                written.set()
                copy_in_place(other, rig.hot / "model.pkg")
                announce(rig.config, str(rig.hot / "model.pkg"), "v2")
            return False

    feed = SednaFeed(
        rig.config, rig.tmp / "own", serving=serving, newest=lambda: 1, delivery=Delivery(JOB), cancelled=Restless()
    )
    with pytest.raises(UpdateError, match="was written to while it was copied"):
        feed.check()
    assert feed.announced is None
    offer = feed.check()
    assert offer is not None
    assert offer.manifest.model.sha256 == digest((rig.tmp / "b/model.tflite").read_bytes())


def test_the_model_that_serves_already_is_no_offer(rig: Rig) -> None:
    rig.bring(rig.package("same"), "v1")
    assert rig.feed.check() is None
    assert rig.feed.announced is not None
    assert (rig.feed.announced.key, rig.feed.announced.problem) == ("", "")


def test_releases_grow_whatever_the_clock_of_the_controller_says(rig: Rig) -> None:
    found = []
    for number, version in enumerate(("2026-01-02", "2026-01-01", "1970-01-01")):
        rig.bring(rig.package(f"m{number}", bytes([number + 1])), version)
        offer = rig.feed.check()
        assert offer is not None
        found.append(offer.manifest.release)
        rig.again()
    assert found == [8, 9, 10]


def test_staged_files_that_were_changed_are_not_given_out(rig: Rig) -> None:
    rig.bring(rig.package("a", b"1"), "v1")
    offer = rig.feed.check()
    assert offer is not None
    (rig.tmp / "own/staged/model.tflite").write_bytes(b"x")
    with pytest.raises(UpdateError, match="was changed"):
        rig.feed.fetch(offer.manifest.model, rig.tmp / "into")
    assert not (rig.tmp / "into").exists()


@pytest.mark.parametrize("cut", [0, 100, 512, 5000, 100_000])
def test_a_package_that_is_cut_off_is_never_a_model(tmp_path: Path, cut: int) -> None:
    package = tmp_path / "a.pkg"
    write_package(BUNDLED, package)
    assert is_package(package)
    package.write_bytes(package.read_bytes()[:cut])
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(UpdateError):
        unpack(package, folder)
    assert not (folder / "manifest.json").exists()


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 600_000), value=st.integers(0, 255))
def test_a_changed_byte_never_becomes_another_model(tmp_path_factory: Any, at: int, value: int) -> None:
    folder = tmp_path_factory.mktemp("changed")
    package = folder / "a.pkg"
    write_package(BUNDLED, package)
    content = bytearray(package.read_bytes())
    content[at % len(content)] = value
    package.write_bytes(content)
    (folder / "into").mkdir()
    try:
        manifest = unpack(package, folder / "into")
    except UpdateError:
        return
    assert digest((folder / "into" / manifest.model.name).read_bytes()) == manifest.model.sha256
    assert digest((BUNDLED / "model.tflite").read_bytes()) == manifest.model.sha256
