# SPDX-License-Identifier: Apache-2.0
"""Keys as a node sees them: a root of two signatures out of three, every role's key replaced, bundles on a stick."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.signer import CryptoSigner

from helmet_agent.adapters.tuf_feed import Channel as Followed
from helmet_agent.adapters.tuf_feed import FolderTransport, TufFeed
from helmet_agent.errors import UntrustedError
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.survive
JOB = "default/helmet-detection-demo"
ROLES = ("root", "targets", "snapshot", "timestamp")


def feed_of(folder: Path, channel: Any) -> TufFeed:
    folder.mkdir(exist_ok=True)
    followed = Followed(JOB, "stable", channel.root_file.read_bytes())
    return TufFeed(FolderTransport(channel.folder), followed, folder, ManualClock(time.time()))


def release(feed: TufFeed) -> int:
    offer = feed.check()
    assert offer is not None
    return offer.manifest.release


def write_root(channel: Any, change: Callable[[Any], None], *signers: CryptoSigner) -> None:
    """A new version of the root, signed by these."""
    root = channel.root = copy.deepcopy(channel.root)
    root.signed.version += 1
    change(root.signed)
    root.signatures.clear()
    for signer in signers:
        root.sign(signer, append=True)
    root.to_file(str(channel.folder / "metadata" / f"{root.signed.version}.root.json"))


@pytest.fixture
def three_keys(channel: Any) -> list[CryptoSigner]:
    """The node's root asks for two signatures of three keys."""
    first = channel.signers["root"]
    more = [CryptoSigner.generate_ed25519() for _ in range(2)]

    def two_of_three(root: Any) -> None:
        for signer in more:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = 2

    write_root(channel, two_of_three, first, *more)
    shutil.copy(channel.folder / "metadata" / "2.root.json", channel.root_file)
    return [first, *more]


def test_a_root_needs_as_many_signatures_as_it_says(
    channel: Any, make_model: Any, three_keys: list[CryptoSigner], tmp_path: Path, record_property: Any
) -> None:
    channel.publish(make_model(seed=1, release=2))
    feed = feed_of(tmp_path / "tuf", channel)
    assert release(feed) == 2
    new, old = CryptoSigner.generate_ed25519(), channel.signers["timestamp"]

    def turn(root: Any) -> None:
        root.add_key(new.public_key, "timestamp")
        root.revoke_key(old.public_key.keyid, "timestamp")

    before = channel.root
    write_root(channel, turn, three_keys[1])
    channel.signers["timestamp"] = new
    channel.publish(make_model(seed=2, release=3))
    with pytest.raises(UntrustedError, match=r"not signed"):
        feed.check()
    channel.root = before
    write_root(channel, turn, three_keys[0], three_keys[2])
    assert release(feed) == 3
    record_property("survive", "item 7: root of 2 of 3 keys: one signature refused, two taken")


@pytest.mark.parametrize("role", ROLES)
def test_every_roles_key_can_be_replaced_and_the_old_one_is_worth_nothing(
    role: str, channel: Any, make_model: Any, tmp_path: Path, record_property: Any
) -> None:
    channel.publish(make_model(seed=1, release=2))
    feed = feed_of(tmp_path / "tuf", channel)
    assert release(feed) == 2
    new, old = CryptoSigner.generate_ed25519(), channel.signers[role]

    def turn(root: Any) -> None:
        root.add_key(new.public_key, role)
        root.revoke_key(old.public_key.keyid, role)

    write_root(channel, turn, channel.signers["root"], *([new] if role == "root" else []))
    channel.signers[role] = new
    channel.publish(make_model(seed=2, release=3))
    assert release(feed) == 3
    assert release(feed_of(tmp_path / "late", channel)) == 3
    channel.signers[role] = old
    if role == "root":
        write_root(channel, lambda _: None, old)
    channel.publish(make_model(seed=3, release=4))
    with pytest.raises(UntrustedError, match=r"not signed"):
        feed.check()
    record_property("survive", f"item 7: {role} key replaced: nodes follow, the old key is refused")


def brought(config: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmet_agent", "models", "import", str(bundle), "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_bundle_goes_through_the_same_verifier(
    channel: Any, make_model: Any, write_config: Any, tmp_path: Path, record_property: Any
) -> None:
    config = write_config(channel_url=None)
    model = make_model(seed=1, release=2)
    channel.publish(model)
    stick = tmp_path / "stick.tar.gz"
    with tarfile.open(stick, "w:gz") as tar:
        tar.add(channel.folder, "channel")
    done = brought(config, stick)
    assert done.stdout == f"release 2, {model.sha256} is taken at the agent's next start\n", done.stderr
    channel.signers["targets"] = CryptoSigner.generate_ed25519()
    channel.publish(make_model(seed=2, release=3))
    refused = brought(config, channel.folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "not signed by the keys that root_file trusts" in refused.stderr
    record_property("survive", "item 7: a tar is imported, a folder signed by a strange key is refused")
