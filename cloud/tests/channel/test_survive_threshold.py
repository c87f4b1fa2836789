# SPDX-License-Identifier: Apache-2.0
"""A root of several keys: the commands of docs/channel.md, run as printed, and nodes that walk from root to root."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.tuf_feed import Channel, FolderTransport, TufFeed
from helmet_agent.errors import UntrustedError
from helmet_agent.testing import ManualClock
from helmet_cloud.channel import channel_lock, open_repository
from helmet_cloud.channel.next_root import publish
from helmet_cloud.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.settings import HubHome

pytestmark = pytest.mark.survive
PAGE = Path(__file__).parents[3] / "docs" / "channel.md"
JOB = "default/helmet-detection-demo"
HOLDERS = ("anna", "ben", "carla", "dan")


class Desk:
    """Where an operator types: the hub's folder is ``hub`` here, each holder has a folder."""

    def __init__(self, home: HubHome, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._names = {"hub": home.folder} | {name: folder / name for name in HOLDERS}
        self.home = home
        for name in HOLDERS:
            (folder / name).mkdir()

    def type(self, command: str) -> tuple[int, str]:
        """Runs a command as it is printed; exit code and all that it said."""
        code = main([self._placed(word) for word in shlex.split(command)[1:]])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def channel(self, command: str) -> str:
        """A command of ``helmet-cloud channel`` that has to work."""
        code, said = self.type(f"helmet-cloud channel {command}")
        assert code == 0, said
        return said

    def sign(self, *holders: str) -> None:
        """Each of them signs what waits."""
        for name in holders:
            self.channel(f"sign-root hub/next-root.json --key {name}/root.pem")

    def roots(self) -> int:
        """How many roots nodes can read."""
        return len(list((self.home.channel / "metadata").glob("*.root.json")))

    def _placed(self, word: str) -> str:
        first, slash, rest = word.partition("/")
        return f"{self._names[first]}{slash}{rest}" if first in self._names else word


class Walker:
    """A node's own client with what it trusts."""

    def __init__(self, home: HubHome, folder: Path, root: bytes) -> None:
        folder.mkdir()
        self._feed = TufFeed(
            FolderTransport(home.channel), Channel(JOB, "stable", root), folder, ManualClock(time.time())
        )

    def name(self) -> str:
        """Of the model that it is offered; all of it verified."""
        offer = self._feed.check()
        assert offer is not None
        return offer.manifest.name


@pytest.fixture
def desk(home: HubHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(home, tmp_path, capsys)


@pytest.fixture
def walker(home: HubHome, tmp_path: Path) -> Walker:
    """Was given the first root, of one key."""
    return Walker(home, tmp_path / "early", (home.folder / "root.json").read_bytes())


def documented() -> list[str]:
    section = PAGE.read_text().partition("**A root of several keys.**")[2].partition("\n**")[0]
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [str(line) for line in block.splitlines()]


@pytest.fixture
def two_of_three(desk: Desk) -> Desk:
    for command in documented():
        code, said = desk.type(command)
        assert code == 0, said
    # What `init` made is taken away: it counts for nothing any more.
    shutil.rmtree(desk.home.offline_keys)
    return desk


def test_nodes_walk_from_one_key_to_two_of_three_and_on(
    channel: SignedChannel,
    publication: Callable[..., Any],
    walker: Walker,
    two_of_three: Desk,
    *,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    desk = two_of_three
    channel.publish(publication("one"))
    assert walker.name() == "model-one"
    middle = Walker(desk.home, tmp_path / "middle", (desk.home.folder / "root.json").read_bytes())
    assert "2 of 3 keys sign" in desk.channel("status --data-dir hub")
    # Anna leaves, Dan comes; the two who stay sign for the old root and for the new one.
    desk.channel("root-key dan/root.pem")
    said = desk.channel(
        "new-root --threshold 2 --key ben/root.pub --key carla/root.pub --key dan/root.pub --data-dir hub"
    )
    assert "0 of 2 signatures that the present root asks for, 2 missing" in said
    desk.sign("ben", "carla")
    assert "root: version 3 is published; 2 of 3 keys sign the next one" in desk.channel("publish-root --data-dir hub")
    # From now on Anna's signature counts for nothing, neither beside Ben's nor for an online key.
    desk.channel("rotate timestamp --data-dir hub")
    desk.sign("anna", "ben")
    code, said = desk.type("helmet-cloud channel publish-root --data-dir hub")
    assert (code, "1 of 2 signatures" in said) == (1, True), said
    channel.publish(publication("two"))  # the old timestamp key goes on until the new root is published
    desk.sign("dan")
    desk.channel("publish-root --data-dir hub")
    late = Walker(desk.home, tmp_path / "late", (desk.home.folder / "root.json").read_bytes())
    assert [one.name() for one in (walker, middle, late)] == ["model-two"] * 3
    channel.publish(publication("three"))
    assert [one.name() for one in (walker, middle, late)] == ["model-three"] * 3
    assert not list(desk.home.keys.glob("*.next.pem"))
    record_property("survive", "item 7: commands: nodes walk from 1 key to 2 of 3, another 2 of 3, a new timestamp key")


def test_what_one_of_two_signed_is_refused_by_hub_and_node(
    channel: SignedChannel,
    publication: Callable[..., Any],
    walker: Walker,
    two_of_three: Desk,
    record_property: Callable[[str, object], None],
) -> None:
    desk = two_of_three
    channel.publish(publication("one"))
    assert walker.name() == "model-one"
    desk.channel("rotate targets --data-dir hub")
    desk.sign("carla", "carla")  # signing twice is one signature
    before = {path: path.read_bytes() for path in desk.home.channel.rglob("*") if path.is_file()}
    code, said = desk.type("helmet-cloud channel publish-root --data-dir hub")
    assert code == 1
    assert len(said.splitlines()) == 1
    assert "nothing was published: 1 of 2 signatures that the present root asks for, 1 missing, of " in said
    assert {path: path.read_bytes() for path in desk.home.channel.rglob("*") if path.is_file()} == before
    assert "1 missing" in desk.channel("status --data-dir hub")
    # The hub's own refusal circumvented: nodes, who look at roots when there is something new, refuse it as well.
    desk.channel("resign timestamp --data-dir hub")
    next_root = desk.home.folder / "next-root.json"
    shutil.copy(next_root, desk.home.channel / "metadata" / "3.root.json")
    with pytest.raises(UntrustedError, match="not signed"):
        walker.name()
    (desk.home.channel / "metadata" / "3.root.json").unlink()
    desk.sign("anna")
    desk.channel("publish-root --data-dir hub")
    assert walker.name() == "model-one"
    record_property("survive", "item 7: commands: one signature of two refused by hub and node")


def test_a_new_set_needs_its_own_signatures_too(desk: Desk, record_property: Callable[[str, object], None]) -> None:
    for command in documented()[:4]:
        desk.type(command)
    code, said = desk.type("helmet-cloud channel publish-root --data-dir hub")
    assert (code, desk.roots()) == (1, 1)
    assert "0 of 2 signatures that the next root asks for, 2 missing" in said
    assert "present root" not in said, "the key that init made has signed"
    record_property("survive", "item 7: commands: a set of holders that did not sign is not published")


def test_one_next_root_waits_at_a_time(two_of_three: Desk) -> None:
    desk = two_of_three
    desk.channel("resign root --data-dir hub")
    code, said = desk.type("helmet-cloud doctor --data-dir hub")
    assert (code, "a next root waits in" in said) == (0, True), said
    for command in ("rotate snapshot", "resign root", "new-root --threshold 1 --key ben/root.pub"):
        code, said = desk.type(f"helmet-cloud channel {command} --data-dir hub")
        assert (code, "a next root waits already" in said) == (1, True), said
    desk.sign("anna", "ben")
    desk.channel("publish-root --data-dir hub")
    code, said = desk.type("helmet-cloud channel publish-root --data-dir hub")
    assert (code, "no next root waits" in said) == (1, True)


def test_with_enough_keys_in_the_offline_folder_it_is_done_at_once(two_of_three: Desk) -> None:
    desk = two_of_three
    desk.home.offline_keys.mkdir()
    for name in ("anna", "carla"):
        shutil.copy(desk.home.folder.parent / name / "root.pem", desk.home.offline_keys / f"{name}.pem")
    for role in ("targets", "snapshot", "timestamp"):
        assert f"{role}: new key" in desk.channel(f"rotate {role} --data-dir hub")
    assert "root: signed again as version 6" in desk.channel("resign root --data-dir hub")
    assert not (desk.home.folder / "next-root.json").exists()


def test_an_old_next_root_is_not_published(two_of_three: Desk) -> None:
    desk = two_of_three
    desk.channel("resign root --data-dir hub")
    desk.sign("anna", "ben")
    old = (desk.home.folder / "next-root.json").read_bytes()
    desk.channel("publish-root --data-dir hub")
    desk.channel("rotate timestamp --data-dir hub")
    desk.sign("anna", "ben")
    desk.channel("publish-root --data-dir hub")
    (desk.home.folder / "next-root.json").write_bytes(old)
    code, said = desk.type("helmet-cloud channel publish-root --data-dir hub")
    assert (code, "is version 3, but the channel has version 4 now: nothing was published" in said) == (1, True), said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("new-root --threshold 4 --key anna/root.pub --key ben/root.pub --data-dir hub", "expected 1 to 2"),
        ("new-root --threshold 1 --key anna/root.pub --key anna/root.pub --data-dir hub", "given twice"),
        ("new-root --threshold 1 --key anna/root.pem --data-dir hub", "is no public key"),
        ("rotate root --data-dir hub", "channel new-root"),
        ("sign-root hub/root.json --key dan/root.pem", "not there"),
        ("sign-root hub/channel/metadata/timestamp.json --key anna/root.pem", "is no root but timestamp"),
        ("sign-root anna/root.pub --key anna/root.pem", "is no root"),
    ],
)
def test_what_cannot_be_right_is_one_clear_line(two_of_three: Desk, command: str, words: str) -> None:
    code, said = two_of_three.type(f"helmet-cloud channel {command}")
    assert code != 0
    assert words in said
    assert len(said.splitlines()) == 1, said


class StoppedHereError(Exception):
    """Plays the end of the process."""


def test_publishing_can_stop_anywhere_and_be_finished(
    channel: SignedChannel, publication: Callable[..., Any], walker: Walker, two_of_three: Desk
) -> None:
    desk = two_of_three
    channel.publish(publication("one"))
    for stop in range(100):
        desk.channel("rotate snapshot --data-dir hub")
        desk.sign("anna", "carla")
        left = stop

        def reached(_: str) -> None:
            nonlocal left
            if left == 0:
                raise StoppedHereError
            left -= 1

        try:
            publish(open_repository(desk.home, reached=reached), channel_lock(desk.home))
        except StoppedHereError:
            assert walker.name() == "model-one"
            desk.channel("publish-root --data-dir hub")
            assert walker.name() == "model-one"
        else:
            break
    assert stop == 3, "snapshot, timestamp and root are written"
    assert not (desk.home.folder / "next-root.json").exists()
