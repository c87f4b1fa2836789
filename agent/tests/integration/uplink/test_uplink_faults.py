# SPDX-License-Identifier: Apache-2.0
"""The uplink over real sockets against a hub that fails in every way: nothing is lost, nothing arrives twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

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


@pytest.mark.parametrize("at", [0, 1, 100, 8192, 8193, 19_999, 20_000])
def test_a_line_that_is_cut_at_any_byte_loses_nothing(
    hub_server: Any, make_hub: Make, make_bench: Make, at: int
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3, size=20_000)
    hub_server.faults.extend(hub_server.fault(read_bytes=at, reset=reset) for reset in (True, False))
    bench.drain()
    arrived_once(hub_server, wanted, bench)
    assert bench.uplink.status().failures == 2
    assert bench.uplink.status().offline_since_seconds is None


def test_an_answer_that_never_arrives_sends_the_example_again_as_the_same(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3)
    hub_server.faults.extend([hub_server.fault(keep=True, reset=True)] * 3)
    bench.drain()
    arrived_once(hub_server, wanted, bench)
    assert len(hub_server.puts) == 6
    assert bench.uplink.status().already_there == 3


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the connection broke"),
        (b"\x00\xff garbage\r\n\r\n", "the connection broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "the connection broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not as a hub does"),
        (b"HTTP/1.1 201 Created\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin", "not as a hub does"),
        (
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"sha256":"beef"}',
            "not as a hub does",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"[" * 70_000, "more than 65536 bytes"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://localhost/v1/examples\r\nContent-Length: 0\r\n\r\n",
            "never followed",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "check hub.url"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\noops", "answered 400"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n", "disk is full"),
    ],
)
def test_an_answer_that_is_not_the_hubs_word_counts_for_nothing(
    hub_server: Any, make_hub: Make, make_bench: Make, raw: bytes, says: str
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(2)
    hub_server.faults.append(hub_server.fault(answer=raw))
    bench.uplink.step()
    status = bench.uplink.status()
    assert says in status.last_error
    assert (status.sent, status.state) == (0, "waiting")
    assert len(bench.spool.pending(9)) == 2
    bench.drain()
    arrived_once(hub_server, wanted, bench)


def test_a_redirect_loop_is_not_walked(hub_server: Any, make_hub: Make, make_bench: Make) -> None:
    bench = make_bench(make_hub(hub_server))
    bench.fill(1)
    loop = f"HTTP/1.1 307 Again\r\nLocation: {hub_server.url}/v1/examples/x\r\nContent-Length: 0\r\n\r\n".encode()
    hub_server.always = hub_server.fault(answer=loop)
    bench.uplink.step()
    assert hub_server.received == pytest.approx(3000, abs=1000), "one request, one body"
    assert len(bench.spool.pending(9)) == 1


@pytest.mark.parametrize(
    "slow", [{"hang": True}, {"answer": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, "drip_seconds": 0.05}]
)
def test_a_hub_that_answers_too_slowly_is_left_in_time(
    hub_server: Any, make_hub: Make, make_bench: Make, slow: dict[str, Any]
) -> None:
    bench = make_bench(make_hub(hub_server, timeout_seconds=0.3))
    wanted = bench.fill(1)
    hub_server.faults.append(hub_server.fault(**slow))
    bench.uplink.step()
    assert "no whole answer within 0.3 s" in bench.uplink.status().last_error
    bench.drain()
    arrived_once(hub_server, wanted, bench)


def test_a_storm_of_503_is_waited_out_for_as_long_as_it_asks(hub_server: Any, make_hub: Make, make_bench: Make) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3)
    hub_server.faults.extend([hub_server.fault(answer=hub_server.answer(503, Retry_After="40"))] * 20)
    waits = [bench.uplink.step() for _ in range(20)]
    assert all(wait >= 40 for wait in waits)
    assert min(waits) < 50
    assert len(set(waits)) > 10, "not in step with other nodes"
    bench.drain()
    arrived_once(hub_server, wanted, bench)


def test_one_example_that_the_hub_refuses_is_kept_with_the_reason_and_holds_nobody_up(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3)
    refusal = hub_server.fault(answer=hub_server.answer(400, {"detail": "width: expected\n a whole number"}))
    hub_server.faults.append(refusal)
    for _ in range(3):
        bench.uplink.step()
    assert set(hub_server.kept) == set(wanted[:2])
    assert bench.spool.stats().pending == 1
    hub_server.faults.append(refusal)
    bench.drain()
    assert not hub_server.faults, "it was tried once more after the others, in case it was changed on its way"
    ((sha256, reason),) = bench.spool.refused(9)
    assert (sha256, reason) == (wanted[2], "answered 400: width: expected  a whole number")
    assert bench.spool.open(sha256) is not None
    assert (bench.spool.stats().pending, bench.spool.stats().refused) == (0, 1)
    status = bench.uplink.status()
    assert (status.refused, status.sent, status.failures) == (1, 2, 0)
    assert status.last_refusal.endswith("a whole number")
    restarted = make_bench(make_hub(hub_server))
    restarted.run(100)
    assert wanted[2] not in hub_server.kept, "a restart does not ask again"


def test_an_example_too_large_for_now_lets_the_others_pass_and_is_tried_again_later(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3)
    hub_server.faults.append(hub_server.fault(answer=hub_server.answer(413, {"detail": "at most 1 MB"})))
    bench.run(60)
    assert set(hub_server.kept) == set(wanted[:2])
    assert bench.uplink.status().put_off == 1
    bench.run(3600)
    arrived_once(hub_server, wanted, bench)


def test_an_example_that_breaks_the_hub_does_not_hold_up_the_others(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(4)
    hub_server.faults.append(hub_server.fault(answer=hub_server.answer(500, {"detail": "a bug"})))
    bench.run(20)
    assert set(hub_server.kept) == set(wanted[:3])
    bench.run(100)
    arrived_once(hub_server, wanted, bench)


def test_a_token_that_is_not_accepted_stops_everything_until_somebody_registers_it(
    hub_server: Any, make_hub: Make, make_bench: Make, token_file: Any
) -> None:
    hub_server.token = "hmt_" + "z" * 43
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(3)
    assert bench.uplink.step() >= 120
    status = bench.uplink.status()
    assert status.state == "denied"
    assert "helmet-cloud nodes add" in status.last_error
    bench.run(3600)
    assert bench.uplink.status().failures < 32, "asked every now and then only"
    assert not hub_server.kept
    token_file.write_text(hub_server.token)
    bench.drain()
    arrived_once(hub_server, wanted, bench)


def test_seven_days_without_a_hub_lose_nothing_and_send_nothing_twice(
    hub_server: Any, make_hub: Make, make_bench: Make, make_example: Make
) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(10)
    hub_server.down()
    for day in range(7):
        bench.run(WEEK / 7)
        example = make_example(100 + day)
        wanted.append(example.record.sha256)
        assert bench.spool.put(example)
    status = bench.uplink.status()
    assert bench.clock.now() - status.offline_since_seconds == pytest.approx(WEEK, abs=1)
    assert 7 * 288 < status.failures < 4 * 7 * 288, "a try every two or three minutes"
    hub_server.up()
    bench.drain()
    arrived_once(hub_server, wanted, bench)
    assert len(hub_server.puts) == len(wanted)
    assert bench.uplink.status().offline_since_seconds is None


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_of_faults_and_restarts_ends_with_every_example_at_the_hub_once(
    hub_server: Any, make_hub: Make, make_bench: Make, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - which faults, no secret
    bench = make_bench(make_hub(hub_server), seed=seed)
    wanted = bench.fill(12, size=12_000)
    kinds = [
        lambda: hub_server.fault(read_bytes=chance.randrange(12_500), reset=bool(chance.randrange(2))),
        lambda: hub_server.fault(keep=True, reset=True),
        lambda: hub_server.fault(keep=True, answer=hub_server.answer(502)),
        lambda: hub_server.fault(answer=hub_server.answer(chance.choice([404, 429, 500, 502, 503, 504, 507]))),
        lambda: hub_server.fault(answer=chance.randbytes(60)),
        lambda: hub_server.fault(keep=True, answer=b"HTTP/1.1 201 Created\r\n\r\n"),
    ]
    for _ in range(4):
        hub_server.faults.extend(chance.choice(kinds)() for _ in range(8))
        for _ in range(6):
            bench.clock.advance(bench.uplink.step())
        bench = make_bench(make_hub(hub_server), seed=seed)
    bench.drain()
    arrived_once(hub_server, wanted, bench)


@pytest.mark.parametrize("backlog", [(20_000, 30_000, 8), (1 << 20, 100_000, 60), (2048, 2_000, 20)])
def test_the_bandwidth_cap_holds_over_a_backlog_within_a_tenth(
    hub_server: Any, make_hub: Make, make_bench: Make, backlog: tuple[int, int, int]
) -> None:
    bandwidth, size, count = backlog
    bench = make_bench(make_hub(hub_server), bandwidth=bandwidth)
    wanted = bench.fill(count, size=size)
    bench.drain(1e9)
    seconds = bench.clock.monotonic()
    assert hub_server.received / seconds <= 1.1 * bandwidth
    head = 512  # counted for each request and not seen by the server
    assert (hub_server.received + head * count) / seconds >= 0.9 * bandwidth
    arrived_once(hub_server, wanted, bench)


def test_nothing_is_sent_while_memory_is_short(hub_server: Any, make_hub: Make, make_bench: Make) -> None:
    bench = make_bench(make_hub(hub_server))
    wanted = bench.fill(2)
    bench.uplink.set_shedding(True)
    bench.run(30)
    assert not hub_server.kept
    assert bench.uplink.status().state == "paused"
    bench.uplink.set_shedding(False)
    bench.drain()
    arrived_once(hub_server, wanted, bench)


def test_closing_ends_a_transfer_that_hangs_at_once_and_the_next_start_sends_it(
    hub_server: Any, make_hub: Make, make_bench: Make
) -> None:
    bench = make_bench(make_hub(hub_server, timeout_seconds=60))
    wanted = bench.fill(1)
    hub_server.always = hub_server.fault(hang=True)
    bench.uplink.start()
    deadline = time.monotonic() + 20
    while not hub_server.received and time.monotonic() < deadline:
        time.sleep(0.01)
    started = time.monotonic()
    bench.uplink.close(timeout_seconds=10)
    assert time.monotonic() - started < 5, "far less than the hub's minute"
    assert bench.uplink.status().state == "stopped"
    hub_server.always = None
    bench = make_bench(make_hub(hub_server))
    bench.drain()
    arrived_once(hub_server, wanted, bench)
