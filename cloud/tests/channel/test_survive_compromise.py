# SPDX-License-Identifier: Apache-2.0
"""Somebody has the hub's online keys: the way out that docs/channel.md gives, run by the same commands."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from helmet_agent.adapters.tuf_feed import Channel, FolderTransport, TufFeed
from helmet_agent.errors import UntrustedError
from helmet_agent.testing import ManualClock
from helmet_cloud.channel import open_repository
from helmet_cloud.channel.keys import ONLINE_ROLES
from helmet_cloud.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.settings import HubHome

pytestmark = pytest.mark.survive
PAGE = Path(__file__).parents[3] / "docs" / "channel.md"
FAR = 1_000_000


def documented() -> list[list[str]]:
    """The commands of the page's section, in order."""
    section = PAGE.read_text().partition("**A stolen online key.**")[2].partition("\n**")[0]
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("helmet-cloud ")]


class Thief:
    """Has copies of the online keys, and the folder that nodes read."""

    def __init__(self, home: HubHome) -> None:
        self.folder = home.channel / "metadata"
        repository = open_repository(home)
        keys = repository.root().signed.roles
        self.signers = {role: repository.keys.signer(role, keys[role].keyids) for role in ONLINE_ROLES}
        self.state = repository.state()

    def strike(self, target: str, content: bytes, place: Path) -> None:
        """Publishes a file of the thief's under versions far ahead, so that honest ones look like replays."""
        digest = hashlib.sha256(content).hexdigest()
        place.write_bytes(content)
        targets, snapshot, timestamp = self.state.targets, self.state.snapshot, self.state.timestamp
        targets.signed.targets[target] = TargetFile(len(content), {"sha256": digest}, target)
        targets.signed.version = snapshot.signed.version = timestamp.signed.version = FAR
        snapshot.signed.meta["targets.json"] = MetaFile(FAR)
        timestamp.signed.snapshot_meta = MetaFile(FAR)
        self._write(targets, "targets", f"{FAR}.targets.json")
        self._write(snapshot, "snapshot", f"{FAR}.snapshot.json")
        self._write(timestamp, "timestamp", "timestamp.json")

    def _write(self, metadata: Metadata[Any], role: str, name: str) -> None:
        metadata.sign(self.signers[role])
        metadata.to_file(str(self.folder / name))


def test_the_documented_way_out_of_stolen_online_keys(
    channel: SignedChannel,
    publication: Callable[..., Any],
    home: HubHome,
    *,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    channel.publish(publication("one"))
    folder = tmp_path / "tuf"
    folder.mkdir()
    followed = Channel("default/helmet-detection-demo", "stable", (home.folder / "root.json").read_bytes())
    feed = TufFeed(FolderTransport(home.channel), followed, folder, ManualClock(time.time()))
    honest = feed.check()
    assert honest is not None
    before = {path: path.read_bytes() for path in (home.channel / "metadata").iterdir()}
    evil = honest.content.replace(b'"model-one"', b'"evil-one"')
    digest = hashlib.sha256(evil).hexdigest()
    target = followed.manifest_path
    place = home.channel / "targets" / target
    thief = Thief(home)
    thief.strike(target, evil, place.with_name(f"{digest}.{place.name}"))
    seen = feed.check()
    assert seen is not None
    assert seen.manifest.name == "evil-one", "with all online keys a thief can publish: that is what they are for"
    struck = {path: path.read_bytes() for path in (home.channel / "metadata").iterdir()}
    # The first line of the page: put the channel's metadata back as it was in the last good backup.
    shutil.rmtree(home.channel / "metadata")
    (home.channel / "metadata").mkdir()
    for path, content in before.items():
        path.write_bytes(content)
    commands = documented()
    assert [line[:2] for line in commands] == [["channel", "rotate"]] * 3 + [["channel", "resign"]]
    for line in commands:
        assert main([str(home.folder) if word == "hub" else word for word in line]) == 0, capsys.readouterr().err
    again = feed.check()
    assert again is not None
    assert again.manifest.name == "model-one"
    trusted = open_repository(home).root().signed.roles
    assert not [role for role in ONLINE_ROLES if thief.signers[role].public_key.keyid in trusted[role].keyids]
    # What the thief can still sign is worth nothing, to nodes that saw it and to others.
    for path, content in struck.items():
        if path.name in ("timestamp.json", f"{FAR}.snapshot.json", f"{FAR}.targets.json"):
            path.write_bytes(content)
    late = tmp_path / "late"
    late.mkdir()
    for one in (feed, TufFeed(FolderTransport(home.channel), followed, late, ManualClock(time.time()))):
        with pytest.raises(UntrustedError, match="not signed"):
            one.check()
    record_property(
        "survive", "item 7: three stolen online keys: the documented commands bring nodes back, the thief is out"
    )
