# SPDX-License-Identifier: Apache-2.0
"""The channel as a node reads it: real signatures, a real web server, and everything that can be wrong with them."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets

from helmet_agent.adapters.tuf_feed import Channel as Followed
from helmet_agent.adapters.tuf_feed import FolderTransport, HttpTransport, TufFeed, check_root
from helmet_agent.adapters.tuf_feed.feed import REFRESH_SECONDS
from helmet_agent.contract import FileReference
from helmet_agent.errors import ConfigError, UntrustedError, UpdateError
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOB = "default/helmet-detection-demo"
TIMESTAMP = "/metadata/timestamp.json"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
def make_feed(tmp_path: Path, channel: Any, server: Any, clock: ManualClock) -> Callable[..., TufFeed]:
    """A feed; two of one test share what they have verified, as two lives of one node do."""

    def make(job: str = JOB, ring: str = "stable", url: str | None = None, timeout: float = 5.0) -> TufFeed:
        folder = tmp_path / "tuf"
        folder.mkdir(exist_ok=True)
        followed = Followed(job, ring, channel.root_file.read_bytes())
        return TufFeed(HttpTransport(url or server.url, None, timeout), followed, folder, clock)

    return make


def test_a_poll_is_one_conditional_get_while_nothing_changes(
    channel: Any, server: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    model = make_model(seed=1, release=2)
    channel.publish(model)
    feed = make_feed()
    offer = feed.check()
    assert offer is not None
    assert (offer.manifest, offer.key) == (model.manifest, model.key)
    server.served.clear()
    for _ in range(5):
        assert feed.check() == offer
    assert [(one.path, one.status, one.sent) for one in server.served] == [(TIMESTAMP, 304, 0)] * 5
    assert feed.refreshes == 1


def test_all_metadata_is_verified_anew_once_a_day(
    channel: Any, server: Any, make_model: Any, make_feed: Callable[..., TufFeed], clock: ManualClock
) -> None:
    channel.publish(make_model(release=2))
    feed = make_feed()
    feed.check()
    clock.advance(REFRESH_SECONDS - 1)
    feed.check()
    assert feed.refreshes == 1
    clock.advance(2)
    feed.check()
    assert feed.refreshes == 2
    assert server.served[-1].path != TIMESTAMP


def test_a_channel_that_nobody_renews_is_noticed_within_a_day_although_it_answers_304(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed], clock: ManualClock
) -> None:
    channel.publish(make_model(release=2))
    feed = make_feed()
    feed.check()
    clock.advance(10 * 86_400)
    with pytest.raises(UntrustedError, match="has expired"):
        feed.check()


def test_the_nodes_own_clock_is_the_one_that_python_tuf_goes_by(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed], clock: ManualClock
) -> None:
    channel.publish(make_model(release=2))
    clock.jump(30 * 86_400)
    with pytest.raises(UntrustedError, match="has expired"):
        make_feed().check()
    clock.jump(-30 * 86_400)
    assert make_feed().check() is not None


def test_an_empty_ring_offers_nothing(channel: Any, make_model: Any, make_feed: Callable[..., TufFeed]) -> None:
    channel.publish(make_model(release=2), ring="canary")
    assert make_feed().check() is None
    assert make_feed(job="default/other").check() is None
    assert make_feed(ring="canary").check() is not None


def test_what_is_published_later_is_offered_and_what_is_withdrawn_is_not(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    feed = make_feed()
    assert feed.check() is None
    model = make_model(seed=1, release=2)
    channel.publish(model)
    offer = feed.check()
    assert offer is not None
    assert offer.key == model.key
    channel.withdraw(f"jobs/{JOB}/stable.json")
    assert feed.check() is None


def test_metadata_of_other_keys_is_not_trusted(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    channel.publish(make_model(release=2))
    good = make_feed().check()
    channel.signers["timestamp"] = CryptoSigner.generate_ed25519()
    channel.timestamp.signatures.clear()
    channel.publish(make_model(seed=3, release=3))
    with pytest.raises(UntrustedError, match="not signed by the keys"):
        make_feed().check()
    assert good is not None


def test_targets_signed_by_a_stolen_timestamp_key_are_not_trusted(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    channel.signers["targets"] = channel.signers["timestamp"]
    channel.targets = Metadata(Targets(version=1, expires=channel.expires))
    channel.publish(make_model(release=2))
    with pytest.raises(UntrustedError):
        make_feed().check()


def test_an_older_state_of_the_channel_is_a_replay_also_after_a_restart(
    channel: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    channel.publish(make_model(release=2))
    old = (channel.folder / "metadata" / "timestamp.json").read_bytes()
    channel.publish(make_model(seed=1, release=3))
    make_feed().check()
    (channel.folder / "metadata" / "timestamp.json").write_bytes(old)
    with pytest.raises(UntrustedError, match="older state"):
        make_feed().check()


def test_after_a_failed_refresh_the_next_poll_tries_the_whole_of_it_again(
    channel: Any, server: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    feed = make_feed()
    feed.check()
    channel.publish(make_model(release=2))
    server.status["targets.json"] = 503
    with pytest.raises(UpdateError, match="503"):
        feed.check()
    server.status.clear()
    assert feed.check() is not None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": {"timestamp.json": 404}}, "answered 404"),
        ({"status": {"timestamp.json": 500}}, "answered 500"),
        ({"cut_after": {"timestamp.json": 20}}, "cut short"),
        ({"spoil": {"timestamp.json": lambda content: content[::-1]}}, "does not verify"),
        ({"spoil": {"timestamp.json": lambda _: b" " * 100_000}}, "longer than"),
        ({"spoil": {"snapshot.json": lambda content: content.replace(b"a", b"b")}}, "does not verify|not signed"),
        ({"spoil": {"stable.json": lambda content: content.replace(b"helmet-base", b"helmet-evil")}}, "signed"),
        ({"redirect": {"timestamp.json": "http://192.0.2.1/timestamp.json"}}, "another host"),
        ({"redirect": {"timestamp.json": "/metadata/timestamp.json"}}, "redirected more than"),
    ],
)
def test_faults_of_the_way_are_told_and_forgotten(
    *,
    fault: dict[str, dict[str, Any]],
    message: str,
    channel: Any,
    server: Any,
    make_model: Any,
    make_feed: Callable[..., TufFeed],
) -> None:
    channel.publish(make_model(release=2))
    feed = make_feed()
    for kind, where in fault.items():
        getattr(server, kind).update(where)
    with pytest.raises(UpdateError, match=message):
        feed.check()
    for kind in fault:
        getattr(server, kind).clear()
    assert feed.check() is not None


def test_a_redirect_on_the_same_host_is_followed(
    channel: Any, server: Any, make_model: Any, make_feed: Callable[..., TufFeed]
) -> None:
    channel.publish(make_model(release=2))
    server.redirect["/old/metadata/timestamp.json"] = "/metadata/timestamp.json"
    server.redirect["/old/metadata/2.root.json"] = "/metadata/2.root.json"
    for path in ("2.snapshot.json", "2.targets.json"):
        server.redirect[f"/old/metadata/{path}"] = f"/metadata/{path}"
    name = f"{make_feed().check().key}.stable.json"  # type: ignore[union-attr]
    server.redirect[f"/old/targets/jobs/{JOB}/{name}"] = f"/targets/jobs/{JOB}/{name}"
    assert make_feed(url=f"{server.url}old").check() is not None


def test_nobody_there_and_nobody_answering_are_told_in_time(server: Any, make_feed: Callable[..., TufFeed]) -> None:
    feed = make_feed(timeout=0.3)
    server.delay_seconds["timestamp.json"] = 2.0
    with pytest.raises(UpdateError, match="no answer in time"):
        feed.check()
    server.close()
    with pytest.raises(UpdateError, match="cannot be reached"):
        make_feed(url=server.url).check()


def test_a_private_authority_is_trusted_only_when_it_is_named(
    channel: Any, server: Any, tmp_path: Path, clock: ManualClock
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    url = server.url.replace("http:", "https:")
    (tmp_path / "tuf").mkdir()
    followed = Followed(JOB, "stable", channel.root_file.read_bytes())
    assert TufFeed(HttpTransport(url, ca_file, 5.0), followed, tmp_path / "tuf", clock).check() is None
    with pytest.raises(UpdateError, match="certificate verify failed"):
        TufFeed(HttpTransport(url, None, 5.0), followed, tmp_path / "tuf", clock).check()


def test_certificates_that_are_none_are_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="no PEM certificates"):
        HttpTransport("https://192.0.2.1/", tmp_path / "ca.pem", 1.0)
    with pytest.raises(ConfigError, match="No such file"):
        HttpTransport("https://192.0.2.1/", tmp_path / "none.pem", 1.0)


def test_a_root_file_must_be_signed_root_metadata(channel: Any) -> None:
    check_root(channel.root_file.read_bytes())
    for wrong in (b"", b"{}", (channel.folder / "metadata" / "timestamp.json").read_bytes()):
        with pytest.raises(ValueError, match="no signed TUF root"):
            check_root(wrong)
    with pytest.raises(ValueError, match="no signed TUF root"):
        check_root(channel.root_file.read_bytes().replace(b"2026", b"2036").replace(b"2027", b"2037"))


class Fetching:
    """Downloads one big file of an offer, through whatever the test does to the server."""

    def __init__(self, channel: Any, server: Any, feed: TufFeed, folder: Path, make_model: Any) -> None:
        self.model = make_model(seed=5, release=2)
        channel.publish(self.model)
        feed.check()
        self.feed, self.server = feed, server
        self.wanted: FileReference = self.model.manifest.model
        self.into = folder / "file"
        server.served.clear()

    def run(self) -> None:
        self.feed.fetch(self.wanted, self.into)

    def whole(self) -> bool:
        return hashlib.sha256(self.into.read_bytes()).hexdigest() == self.wanted.sha256


@pytest.fixture
def fetching(channel: Any, server: Any, make_feed: Callable[..., TufFeed], tmp_path: Path, make_model: Any) -> Fetching:
    return Fetching(channel, server, make_feed(timeout=2.0), tmp_path, make_model)


def test_many_cuts_cost_at_most_a_tenth_more_than_the_file(fetching: Fetching, server: Any) -> None:
    server.cut_after[fetching.wanted.sha256] = 50_000
    fetching.run()
    assert fetching.whole()
    connections = [one for one in server.served if one.path.endswith(fetching.wanted.sha256)]
    assert len(connections) >= fetching.wanted.size_bytes // 50_000
    assert server.sent(fetching.wanted.sha256) <= 1.1 * fetching.wanted.size_bytes
    assert all("If-Range" in one.headers for one in connections[1:])


def test_a_restart_goes_on_where_the_last_life_was_cut(
    fetching: Fetching, server: Any, make_feed: Callable[..., TufFeed]
) -> None:
    server.delay_seconds[fetching.wanted.sha256] = 0.02
    threading.Timer(0.3, fetching.feed.cancel).start()
    with pytest.raises(UpdateError, match="called off"):
        fetching.run()
    assert not fetching.into.exists()
    had = fetching.into.with_name("file.part").stat().st_size
    assert had > 0
    server.delay_seconds.clear()
    server.served.clear()
    again = make_feed()
    again.check()
    again.fetch(fetching.wanted, fetching.into)
    assert fetching.whole()
    assert server.sent(fetching.wanted.sha256) == fetching.wanted.size_bytes - had


def test_a_server_without_ranges_begins_anew(fetching: Fetching, server: Any) -> None:
    fetching.into.with_name("file.part").write_bytes(b"x" * 1000)
    server.ranges = False
    fetching.run()
    assert fetching.whole()


def test_a_beginning_that_is_of_another_file_is_thrown_away(fetching: Fetching) -> None:
    part = fetching.into.with_name("file.part")
    part.write_bytes(b"x" * 1000)
    with pytest.raises(UpdateError, match="not the file that was signed"):
        fetching.run()
    assert not part.exists()
    fetching.run()
    assert fetching.whole()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "not the file that was signed"),
        (lambda content: content + b"more", "longer than the"),
        (lambda content: content[:1000], "ends after 1000 of"),
    ],
)
def test_wrong_bytes_are_never_kept(
    spoil: Callable[[bytes], bytes], message: str, fetching: Fetching, server: Any
) -> None:
    server.spoil[fetching.wanted.sha256] = spoil
    with pytest.raises(UpdateError, match=message):
        fetching.run()
    assert not fetching.into.exists()
    server.spoil.clear()
    fetching.run()
    assert fetching.whole()


def test_a_file_that_the_channel_has_not_signed_is_not_fetched(fetching: Fetching, server: Any) -> None:
    with pytest.raises(UntrustedError, match="has not signed it"):
        fetching.feed.fetch(FileReference("model.tflite", "f" * 64, 10), fetching.into)
    smaller = FileReference("model.tflite", fetching.wanted.sha256, 10)
    with pytest.raises(UntrustedError, match="not those in the manifest"):
        fetching.feed.fetch(smaller, fetching.into)
    assert server.sent(fetching.wanted.sha256) == 0


def test_a_missing_file_is_told_at_once(fetching: Fetching, server: Any) -> None:
    server.status[fetching.wanted.sha256] = 404
    with pytest.raises(UpdateError, match="no such file in the channel"):
        fetching.run()
    assert len(server.served) == 1


def test_cancelling_ends_a_slow_download_within_a_second(fetching: Fetching, server: Any) -> None:
    server.delay_seconds[fetching.wanted.sha256] = 0.05
    threading.Timer(0.3, fetching.feed.cancel).start()
    started = time.monotonic()
    with pytest.raises(UpdateError, match="called off"):
        fetching.run()
    assert time.monotonic() - started < 2.0


def test_a_folder_is_a_channel_too(channel: Any, make_model: Any, tmp_path: Path, clock: ManualClock) -> None:
    model = make_model(seed=1, release=2)
    channel.publish(model)
    (tmp_path / "tuf").mkdir()
    followed = Followed(JOB, "stable", channel.root_file.read_bytes())
    feed = TufFeed(FolderTransport(channel.folder), followed, tmp_path / "tuf", clock)
    assert feed.check() is not None
    feed.fetch(model.manifest.model, tmp_path / "file")
    assert hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest() == model.sha256
