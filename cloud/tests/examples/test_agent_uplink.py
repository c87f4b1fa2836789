# SPDX-License-Identifier: Apache-2.0
"""The agent's uplink against the hub's own routes, over TLS: what one side writes the other side reads."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from helmet_agent.adapters.hub_http.client import HubAddress, HubHttp
from helmet_agent.adapters.spool import Spool
from helmet_agent.app.enrolment import enrol
from helmet_agent.contract import HardExample, NodeReport
from helmet_agent.errors import HubDenied, HubRefused
from helmet_agent.retry import Backoff
from helmet_agent.services.bandwidth import TokenBucket
from helmet_agent.services.uplink import Uplink
from helmet_agent.testing import ManualClock
from helmet_cloud.api.nodes import nodes_router
from helmet_cloud.api.server import WebServer
from helmet_cloud.store.examples import find_example
from helmet_cloud.store.nodes import NodeRow, add_node, revoke_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIGEST = "a" * 64


class Site:
    """A node with its spool, and the hub that it is enrolled at."""

    def __init__(self, folder: Path, hub: Any) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(tls)
        hub.app.include_router(nodes_router(hub.database, hub.auth, lambda: hub.now))
        self.hub = hub
        self.server = WebServer("127.0.0.1:0", "listen", tls)
        self.server.start(hub.app)
        self.enrolment = enrol(folder / "hub.token", None, "edge-1")
        self.client = HubHttp(
            HubAddress(f"https://localhost:{self.server.port}", folder / "hub.token", folder / "ca.pem")
        )
        self.clock = ManualClock()
        self.spool = Spool(folder / "spool", 64 << 20)
        self.uplink = Uplink(
            "edge-1",
            self.spool,
            lambda: self.client,
            self.clock,
            backoff=Backoff(2.0, 300.0, 2.0, lambda: 0.5),
            bucket=TokenBucket(0, self.clock),
            random=lambda: 0.5,
        )

    def register(self) -> None:
        with self.hub.database.write() as session:
            add_node(session, self.enrolment.node, self.enrolment.token_sha256, None, self.hub.now)

    def drain(self) -> None:
        for _ in range(100):
            self.clock.advance(self.uplink.step())

    def close(self) -> None:
        self.client.close()
        self.spool.close()
        assert self.server.stop()


@pytest.fixture
def site(tmp_path: Path, hub: Any) -> Iterator[Site]:
    made = Site(tmp_path, hub)
    yield made
    made.close()


def test_what_a_node_spooled_is_at_the_hub_as_it_was(
    site: Site, make_jpeg: Callable[..., bytes], make_record: Callable[..., Any]
) -> None:
    site.register()
    jpegs = [make_jpeg(number, 640, 360) for number in range(8)]
    examples = [HardExample(jpeg, make_record(jpeg, width=640, height=360)) for jpeg in jpegs]
    assert all(site.spool.put(example) for example in examples)
    site.drain()
    assert (site.spool.stats().pending, site.spool.stats().refused) == (0, 0)
    assert site.uplink.status().sent == 8
    with site.hub.database.read() as session:
        for example in examples:
            row = find_example(session, example.record.sha256)
            assert row is not None
            assert (row.node, row.source, row.rule) == ("edge-1", "gate", "IBT")
    assert site.client.put_example(examples[0], lambda _count: None) is False, "known"


def test_a_node_is_let_in_when_it_is_registered_and_shut_out_when_it_is_revoked(
    site: Site, make_jpeg: Callable[..., bytes], make_record: Callable[..., Any]
) -> None:
    jpeg = make_jpeg(1)
    assert site.spool.put(HardExample(jpeg, make_record(jpeg)))
    with pytest.raises(HubDenied):
        site.client.knock()
    site.uplink.step()
    assert site.uplink.status().state == "denied"
    site.register()
    assert site.client.knock() is not None
    site.drain()
    assert site.spool.stats().pending == 0
    with site.hub.database.write() as session:
        revoke_node(session, "edge-1", site.hub.now)
    with pytest.raises(HubDenied):
        site.client.knock()


def test_a_picture_that_is_none_is_refused_and_another_nodes_example_too_and_the_rest_arrives(
    site: Site, make_jpeg: Callable[..., bytes], make_record: Callable[..., Any]
) -> None:
    site.register()
    junk, foreign, good = b"no picture", make_jpeg(1), make_jpeg(2)
    for jpeg, node in ((junk, "edge-1"), (foreign, "old-name"), (good, "edge-1")):
        assert site.spool.put(HardExample(jpeg, make_record(jpeg, node=node)))
    site.drain()
    stats = site.spool.stats()
    assert (stats.pending, stats.refused) == (0, 2)
    reasons = " | ".join(reason for _, reason in site.spool.refused(9))
    assert "answered 400" in reasons
    assert "seen by old-name" in reasons
    with site.hub.database.read() as session:
        assert find_example(session, make_record(good).sha256) is not None


def test_the_hubs_word_is_heard_even_when_it_does_not_wait_for_the_end_of_a_large_picture(
    site: Site, make_record: Callable[..., Any]
) -> None:
    jpeg = bytes(3 << 20)
    example = HardExample(jpeg, make_record(jpeg))
    for _ in range(5):
        with pytest.raises(HubDenied):
            site.client.put_example(example, lambda _count: None)
    site.register()
    huge = bytes(60 << 20)
    for _ in range(3):
        with pytest.raises(HubRefused, match="larger than the hub takes") as caught:
            site.client.put_example(HardExample(huge, make_record(huge)), lambda _count: None)
        assert not caught.value.for_good


def test_a_report_shows_in_the_fleet(site: Site) -> None:
    site.register()
    report = NodeReport("edge-1", "0.1.0", 5.0, None, "stable", DIGEST, 3, "probing", healthy=True, rates={"x": 1.0})
    site.client.send_report(report)
    with site.hub.database.read() as session:
        row = session.get(NodeRow, "edge-1")
        assert row is not None
        assert row.report == report.to_json()
