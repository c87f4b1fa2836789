# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError

from helmet_agent.errors import AgentError
from helmet_cloud.api.channel import ChannelFiles
from helmet_cloud.api.front import Front
from helmet_cloud.api.server import WebServer
from helmet_cloud.channel import channel_lock, open_repository
from helmet_cloud.channel.keys import ONLINE_ROLES, ROLES
from helmet_cloud.channel.rotation import resign, rotate
from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tuf.api.metadata import Metadata

    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.ports import Publication
    from helmet_cloud.settings import HubHome

    Make = Callable[..., Publication]


class StoppedHereError(Exception):
    """Plays the end of the process."""


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("only the channel is asked here")


@pytest.fixture
def served(home: HubHome) -> Iterator[str]:
    """The channel over real HTTP; its URL."""
    server = WebServer("127.0.0.1:0", "listen")
    server.start(Front(_nothing, ChannelFiles(home.channel), {}))
    yield f"http://{server.address}/channel"
    server.stop()


def _over_http(node: Any, served: str) -> Any:
    found = copy.copy(node)
    found.base, found.fetcher = served, None
    return found


@pytest.mark.parametrize("role", ROLES)
def test_nodes_follow_a_new_key_over_http(
    role: str, channel: SignedChannel, publication: Make, home: HubHome, *, node: Any, served: str, tmp_path: Any
) -> None:
    channel.publish(publication("one"))
    old = _over_http(node, served)
    assert old.look().name == "model-one"
    rotate(open_repository(home), channel_lock(home), role)
    channel.publish(publication("two"))
    late = copy.copy(old)
    late.folder = tmp_path / "late"
    assert (old.look().name, late.look().name) == ("model-two", "model-two")


@pytest.mark.parametrize("role", ONLINE_ROLES)
def test_what_the_old_key_signs_is_no_longer_taken(
    role: str, channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    channel.publish(publication("one"))
    repository = open_repository(home)
    old = repository.keys.signer(role, repository.root().signed.roles[role].keyids)
    rotate(repository, channel_lock(home), role)
    state = repository.state()
    metadata: Metadata[Any] = getattr(state, role)
    metadata.sign(old)
    with pytest.raises(RepositoryError):
        state.root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    assert node.look().name == "model-one"


@pytest.mark.parametrize("role", ROLES)
def test_a_rotation_can_stop_anywhere_and_be_finished(
    role: str, channel: SignedChannel, publication: Make, home: HubHome, *, node: Any, tmp_path: Any
) -> None:
    channel.publish(publication("one"))
    steps: list[str] = []
    rotate(open_repository(home, reached=steps.append), channel_lock(home), role)
    for stop in range(len(steps)):
        left = stop

        def reached(_: str) -> None:
            nonlocal left
            if left == 0:
                raise StoppedHereError
            left -= 1

        with pytest.raises(StoppedHereError):
            rotate(open_repository(home, reached=reached), channel_lock(home), role)
        fresh = copy.copy(node)
        fresh.folder = tmp_path / f"fresh-{stop}"
        assert (node.look().name, fresh.look().name) == ("model-one", "model-one"), steps[stop]
        channel.publish(publication("one", report={"stop": stop}))
        new = rotate(open_repository(home), channel_lock(home), role)
        assert open_repository(home).root().signed.roles[role].keyids == [new]
        assert node.look().report == {"stop": stop}
    assert not list(home.keys.glob("*.next.pem")) + list(home.offline_keys.glob("*.next.pem"))


def test_a_root_key_that_was_taken_away_is_asked_for(channel: SignedChannel, home: HubHome, publication: Make) -> None:
    (home.offline_keys / "root.pem").rename(home.folder / "away")
    with pytest.raises(AgentError, match=r"root key is missing.*bring it back"):
        rotate(open_repository(home), channel_lock(home), "timestamp")
    assert channel.publish(publication("one")).release == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_strange_root_key_is_refused(home: HubHome, role: str) -> None:
    (home.offline_keys / "root.pem").write_bytes(CryptoSigner.generate_ed25519().private_bytes)
    with pytest.raises(AgentError, match="not the root key"):
        rotate(open_repository(home), channel_lock(home), role)
    assert not (home.folder / "next-root.json").exists()


def test_an_unknown_role_is_refused(home: HubHome) -> None:
    with pytest.raises(BadRequest, match="expected root, targets"):
        rotate(open_repository(home), channel_lock(home), "admin")


@pytest.mark.parametrize("role", ROLES)
def test_signing_again_gives_a_new_version_that_nodes_take(
    role: str, channel: SignedChannel, publication: Make, home: HubHome, *, node: Any, served: str
) -> None:
    channel.publish(publication("one"))
    over_http = _over_http(node, served)
    over_http.look()
    repository = open_repository(home)
    before = getattr(repository.state(), role).signed.version
    resign(repository, channel_lock(home), role)
    assert getattr(repository.state(), role).signed.version == before + 1
    assert over_http.look().name == "model-one"


def test_after_a_restore_nodes_follow_again_once_versions_are_left_out(
    channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    channel.publish(publication("one"))
    backup = {path: path.read_bytes() for path in home.channel.rglob("*") if path.is_file()}
    for number in range(3):
        channel.publish(publication(f"n{number}"))
    assert node.look().name == "model-n2"
    for path in list(home.channel.rglob("*")):
        if path.is_file():
            path.unlink()
    for path, content in backup.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    resign(open_repository(home), channel_lock(home), "targets")
    with pytest.raises(RepositoryError):
        node.look()
    resign(open_repository(home), channel_lock(home), "targets", skip=100)
    assert node.look().name == "model-one"
    assert channel.publish(publication("two")).release == 5
    assert node.look().name == "model-two"


def test_root_versions_cannot_be_left_out(home: HubHome) -> None:
    with pytest.raises(BadRequest, match="targets"):
        resign(open_repository(home), channel_lock(home), "root", skip=5)
