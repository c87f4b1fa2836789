# SPDX-License-Identifier: Apache-2.0
"""A node with a wrong clock, a real channel and the real verifier: signatures count, freshness where it can."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from helmet_agent.adapters.last_time import TimeFile
from helmet_agent.adapters.spool import Spool
from helmet_agent.adapters.tuf_feed import Channel as Followed
from helmet_agent.adapters.tuf_feed import HttpTransport, TufFeed
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.errors import UntrustedError, UpdateError
from helmet_agent.services.clock_trust import ClockTrust
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.survive
JOB = "default/helmet-detection-demo"
DAY = 86_400.0
Y1970, Y2099 = 60.0, 4_070_908_800.0
CLOCKS = {
    "1970": lambda now: Y1970 - now,
    "2099": lambda now: Y2099 - now,
    "a month back": lambda _: -30 * DAY,
    "a month ahead": lambda _: 30 * DAY,
}


class Follower:
    """A node's feed with its calendar; ``restart`` is the next life on the same disk."""

    def __init__(self, folder: Path, channel: Any, url: str, ca_file: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.channel, self.url, self.ca_file = folder, channel, url, ca_file
        self.clock = ManualClock(time.time())
        self.restart()

    def restart(self) -> None:
        self.calendar = ClockTrust(self.clock, lambda: None, TimeFile(self.folder / "last-time"))
        transport = HttpTransport(self.url, self.ca_file, 5.0, None, lambda: self.calendar.doubt() is not None)
        followed = Followed(JOB, "stable", self.channel.root_file.read_bytes())
        self.feed = TufFeed(transport, followed, self.folder, self.clock, self.calendar)

    def release(self) -> int:
        offer = self.feed.check()
        assert offer is not None
        return offer.manifest.release


@pytest.fixture
def follower(tmp_path: Path, channel: Any, server: Any, make_model: Callable[..., Any]) -> Follower:
    channel.publish(make_model(seed=1, release=2))
    found = Follower(tmp_path / "tuf", channel, server.url)
    assert found.release() == 2
    assert found.calendar.doubt() is None
    return found


# After a restart, a month ahead looks like a node that was off for a month: what has expired is refused, and told.
@pytest.mark.parametrize(
    ("name", "restarted"),
    [*((name, False) for name in CLOCKS), *((name, True) for name in CLOCKS if name != "a month ahead")],
)
def test_models_still_come_and_the_doubt_is_told(
    name: str, *, restarted: bool, follower: Follower, channel: Any, make_model: Any, record_property: Any
) -> None:
    follower.clock.jump(CLOCKS[name](follower.clock.now()))
    if restarted:
        follower.restart()
    assert follower.calendar.doubt() is not None
    channel.publish(make_model(seed=2, release=3))
    assert follower.release() == 3
    follower.clock.jump(time.time() - follower.clock.now())
    channel.publish(make_model(seed=3, release=4))
    assert follower.release() == 4
    assert follower.calendar.doubt() is None
    how = "after a restart" if restarted else "after a jump"
    record_property("survive", f"item 6: clock at {name} {how}: 1 release taken in doubt, 1 after, doubt told")


@pytest.mark.parametrize("name", list(CLOCKS))
def test_signatures_and_versions_count_whatever_the_clock_says(
    name: str, follower: Follower, channel: Any, make_model: Any
) -> None:
    older = {path.name: path.read_bytes() for path in (channel.folder / "metadata").iterdir()}
    channel.publish(make_model(seed=2, release=3))
    assert follower.release() == 3
    follower.clock.jump(CLOCKS[name](follower.clock.now()))
    newest = (channel.folder / "metadata" / "timestamp.json").read_bytes()
    (channel.folder / "metadata" / "timestamp.json").write_bytes(older["timestamp.json"])
    with pytest.raises(UntrustedError, match="older state"):
        follower.feed.check()
    (channel.folder / "metadata" / "timestamp.json").write_bytes(re.sub(rb'("version":\s*)', rb"\g<1>1", newest))
    with pytest.raises(UntrustedError, match=r"not signed|does not verify"):
        follower.feed.check()


def test_what_has_certainly_expired_is_refused_even_in_doubt(follower: Follower) -> None:
    follower.clock.advance(10 * DAY)  # the channel is signed for nine
    with pytest.raises(UntrustedError, match="expired"):
        follower.feed.check()
    for name, move in CLOCKS.items():
        follower.clock.jump(move(follower.clock.now()))
        assert follower.calendar.doubt() is not None, name
        with pytest.raises(UntrustedError, match="expired"):
            follower.feed.check()
        follower.clock.jump(time.time() + 10 * DAY - follower.clock.now())


def test_a_frozen_channel_is_refused_while_the_clock_is_believed(follower: Follower, channel: Any) -> None:
    channel.expires = dt.datetime.fromtimestamp(time.time() - DAY, dt.UTC).replace(microsecond=0)
    channel.timestamp.signed.expires = channel.expires
    channel.release()
    with pytest.raises(UntrustedError, match="expired"):
        follower.feed.check()
    assert follower.calendar.doubt() is None


def test_certificates_of_another_time_are_no_end_of_updates(
    tmp_path: Path, channel: Any, server: Any, make_model: Any
) -> None:
    """A certificate that is valid from tomorrow on is what a clock of 1970 sees in every certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tomorrow = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(days=1)
    certificate = authority.issue_cert("127.0.0.1", not_before=tomorrow, not_after=tomorrow + dt.timedelta(days=9))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    channel.publish(make_model(seed=1, release=2))
    node = Follower(tmp_path / "tuf", channel, server.url.replace("http:", "https:"), tmp_path / "ca.pem")
    with pytest.raises(UpdateError, match="certificate"):
        node.feed.check()
    node.clock.jump(Y1970 - node.clock.now())
    assert node.release() == 2
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    stranger = Follower(tmp_path / "tuf", channel, node.url, tmp_path / "other.pem")
    stranger.clock.jump(Y1970 - stranger.clock.now())
    with pytest.raises(UpdateError, match="certificate"):
        stranger.feed.check()


def example(number: int, taken: float) -> HardExample:
    jpeg = f"picture {number}".encode()
    sha256 = hashlib.sha256(jpeg).hexdigest()
    record = ExampleRecord(
        sha256=sha256,
        node="n",
        source="s",
        frame=number,
        time_seconds=taken,
        width=64,
        height=64,
        model="a" * 64,
        rule="IBT",
        value=0.5,
        detections=(),
    )
    return HardExample(jpeg, record)


def test_no_example_is_deleted_for_a_wrong_clock(tmp_path: Path, record_property: Any) -> None:
    clock = ManualClock(time.time())
    calendar = ClockTrust(clock, lambda: None, TimeFile(tmp_path / "last-time"))
    calendar.vouch()
    spool = Spool(tmp_path / "spool", 1 << 20)
    today = clock.now()
    assert spool.put(example(1, today))
    for wrong in (Y2099, Y1970):
        clock.jump(wrong - clock.now())
        assert spool.put(example(int(wrong), clock.now()))
        assert spool.expire(calendar.certain(), 30) == 0
    clock.jump(today - clock.now())
    assert spool.expire(calendar.certain(), 30) == 0
    assert len(spool.pending(10)) == 3
    clock.advance(31 * DAY)
    assert spool.expire(calendar.certain(), 30) == 2, "also what was taken in 1970; 2099 goes when the quota asks"
    spool.close()
    record_property("survive", "item 6: 3 examples over clocks of 2099 and 1970: 0 lost")
