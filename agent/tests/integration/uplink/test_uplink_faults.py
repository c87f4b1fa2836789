# SPDX-License-Identifier: Apache-2.0
"""The uplink over real sockets against a hub that fails in every way: nothing is lost, nothing arrives twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Make = Callable[..., Any]
WEEK = 7 * 86400.0


def arrived_once(server: Any, wanted: list[str], bench: Any) -> None:
    """Everything is at the hub, as it was, and the spool knows."""
    assert set(server.kept) == set(wanted)
    for sha256, (record, jpeg) in server.kept.items():
        example = bench.spool.open(sha256)
        assert (record, jpeg) == (example.record.to_json(), example.jpeg)
    stats = bench.spool.stats()
    assert (stats.pending, stats.refused, stats.examples) == (0, 0, len(wanted))


def test_what_the_spool_holds_arrives_whole_the_most_valuable_first(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(5, size=20_000)
    bench.drain()
    arrived_once(hub_server, wanted, bench)
    assert hub_server.puts == wanted[::-1]
    assert hub_server.connections == 1
    status = bench.uplink.status()
    assert (status.sent, status.already_there, status.sent_bytes, status.failures) == (5, 0, 100_000, 0)


def test_a_new_example_overtakes_a_backlog_of_lesser_ones(
    hub_server: Any, make_hub: Make, make_bench: Make, make_example: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    bench.fill(5)
    bench.uplink.step()
    best = make_example(100)
    bench.spool.put(best)
    bench.uplink.step()
    assert hub_server.puts[1] == best.record.sha256
