# SPDX-License-Identifier: Apache-2.0
"""A node behind a bad network: whatever happens between it and the hub, it asks in moderation and loses nothing."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.errors import UpdateError
from helmet_agent.services.update_loop import UpdateLoop
from helmet_agent.services.update_state import Phase
from helmet_cloud.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_agent.testing import ManualClock

pytestmark = pytest.mark.survive

TIMESTAMP = "timestamp.json"
HOUR = 3600.0
SOAK = bool(os.environ.get("HELMET_SOAK"))
EACH_TRY_HOURS = 7 * 24 if SOAK else 12
CHANNEL_FAULTS: dict[str, dict[str, Any]] = {
    "404": {"status": 404},
    "503 storm": {"status": 503, "headers": {"Retry-After": "1"}},
    "redirect loop": {"status": 302, "headers": {"Location": f"/channel/metadata/{TIMESTAMP}"}},
    "cut before the head": {"cut_after": -1},
    "cut in the body": {"cut_after": 40},
    "corrupt body": {"spoil": lambda body: body.replace(b'"sig"', b'"sog"')},
    "slow loris": {"drip_seconds": 0.05},
    "nothing comes": {"hang_after": -1},
}


def flipped(body: bytes, at: float = 0.5) -> bytes:
    """One byte of it changed."""
    place = int(at * len(body))
    return body[:place] + bytes([body[place] ^ 0x80]) + body[place + 1 :]


def test_twenty_cuts_cost_a_tenth_more_at_most(
    hub: Any, make_feed: Callable[..., Any], tmp_path: Path, record_property: Any
) -> None:
    model = hub.published.model
    chance = random.Random(5)  # noqa: S311 - where it is cut, no secret
    cuts = [chance.randrange(1, model.size_bytes // 12) for _ in range(20)]
    begun = len(cuts)
    assert sum(cuts) < model.size_bytes, "every cut comes before the file is whole"
    hub.proxy.rule = lambda one: hub.fault(cut_after=cuts.pop()) if one.path.endswith(model.sha256) and cuts else None
    feed = make_feed()
    feed.check()
    tries = 0
    while not (tmp_path / "model.tflite").exists():
        tries += 1
        assert tries <= begun + 1
        try:
            feed.fetch(model, tmp_path / "model.tflite")
        except UpdateError:
            continue
    sent = sum(one.sent for one in hub.proxy.paths(model.sha256))
    record_property("survive", f"item 5: {begun - len(cuts)} cuts, {sent / model.size_bytes:.3f}x bytes")
    assert cuts == []
    assert len(hub.proxy.paths(model.sha256)) == begun + 1
    assert sent <= 1.1 * model.size_bytes


def node(feed: Any, clock: ManualClock, seed: int) -> tuple[UpdateLoop, list[float]]:
    """The loop of an updater that only looks; the second is when it looked."""
    looked: list[float] = []

    def update() -> None:
        looked.append(clock.monotonic())
        begin = time.monotonic()
        try:
            feed.check()
        finally:
            assert time.monotonic() - begin < 5.0, "a poll ends in time, whatever comes"

    updater: Any = SimpleNamespace(state=SimpleNamespace(phase=Phase.IDLE), update=update, counts={})
    shelf: Any = SimpleNamespace(requests=tuple)
    loop = UpdateLoop(
        updater=updater,
        feed=feed,
        probe=SimpleNamespace(cancel=lambda: None),  # type: ignore[arg-type]
        shelf=shelf,
        open_bundle=lambda _path: feed,
        clock=clock,
        random=random.Random(seed).random,  # noqa: S311 - jitter, no secret
        poll_seconds=lambda: 30.0,
        job="default/helmet-detection-demo",
        ring="stable",
    )
    return loop, looked


@pytest.mark.parametrize("name", CHANNEL_FAULTS)
def test_a_channel_that_fails_is_asked_ever_less_often_and_read_when_it_is_back(
    hub: Any, make_feed: Callable[..., Any], clock: ManualClock, record_property: Any, name: str
) -> None:
    hub.proxy.rule = lambda one: hub.fault(**CHANNEL_FAULTS[name]) if one.path.endswith(TIMESTAMP) else None
    begin = clock.monotonic()
    nodes = [node(make_feed(timeout=0.2), clock, seed) for seed in (1, 2)]
    for _ in range(int(HOUR)):
        for loop, _looked in nodes:
            loop.turn()
        clock.advance(1.0)
    polls = [len(looked) for _, looked in nodes]
    asked = len(hub.proxy.exchanges)
    # 120 polls would come in that hour with the period of 30 s. A redirect is followed three times.
    assert all(3 <= count <= 30 for count in polls)
    assert asked <= 4 * sum(polls)
    waits = [[b - a for a, b in itertools.pairwise(looked)] for _, looked in nodes]
    assert waits[0] != waits[1]
    assert max(waits[0]) > 60.0 > min(waits[0])
    hub.proxy.rule = lambda _one: None
    for _ in range(1000):
        for loop, _looked in nodes:
            loop.turn()
        clock.advance(1.0)
    for _, looked in nodes:
        late = [b - a for a, b in itertools.pairwise(looked) if a > begin + HOUR + 900]
        assert late
        assert all(26.0 <= wait <= 35.0 for wait in late)
    record_property("survive", f"item 5: {name}: {max(polls)} polls in an hour")


@pytest.mark.parametrize(
    "trouble", [{"hang_after": -1}, {"hang_after": 200_000}, {"drip_seconds": 0.05}, {"bytes_per_second": 50_000}]
)
def test_a_download_is_called_off_within_one_poll(
    hub: Any,
    make_feed: Callable[..., Any],
    tmp_path: Path,
    record_property: Any,
    trouble: dict[str, Any],
) -> None:
    feed = make_feed(timeout=60.0)
    feed.check()
    model = hub.published.model
    hub.proxy.rule = lambda _one: hub.fault(**trouble)
    ended: list[Exception] = []

    def fetch() -> None:
        try:
            feed.fetch(model, tmp_path / "model.tflite")
        except UpdateError as error:
            ended.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    while not hub.proxy.paths(model.sha256):
        time.sleep(0.01)
    time.sleep(0.3)
    begin = time.monotonic()
    feed.cancel()
    thread.join(10.0)
    took = time.monotonic() - begin
    record_property("survive", f"item 5: called off in {took * 1000:.0f} ms")
    assert took < 1.0
    assert len(ended) == 1
    with pytest.raises(UpdateError, match="called off"):
        feed.check()


def test_a_body_that_drips_is_given_up(hub: Any, make_feed: Callable[..., Any], tmp_path: Path) -> None:
    feed = make_feed(timeout=0.7)
    feed.check()
    model = hub.published.model
    hub.proxy.rule = lambda _one: hub.fault(drip_seconds=0.02, drip_head=False)
    begin = time.monotonic()
    with pytest.raises(UpdateError, match="fewer than"):
        feed.fetch(model, tmp_path / "model.tflite")
    assert time.monotonic() - begin < 5.0


def test_a_body_that_was_changed_on_its_way_is_thrown_away_and_comes_again(
    hub: Any, make_feed: Callable[..., Any], tmp_path: Path
) -> None:
    feed = make_feed()
    feed.check()
    model = hub.published.model
    hub.proxy.rule = lambda _one: hub.fault(spoil=flipped)
    with pytest.raises(UpdateError, match="not the file that was signed"):
        feed.fetch(model, tmp_path / "model.tflite")
    assert list(tmp_path.glob("model.tflite*")) == []
    hub.proxy.rule = lambda _one: None
    feed.fetch(model, tmp_path / "model.tflite")
    assert (tmp_path / "model.tflite").stat().st_size == model.size_bytes


def test_every_fault_on_the_way_to_the_hub_costs_time_and_no_example(
    hub: Any, make_sender: Callable[..., Any], record_property: Any
) -> None:
    sender = make_sender(timeout=0.5)
    wanted = sender.fill(range(100, 130))
    chance = random.Random(3)  # noqa: S311 - an order, no secret
    faults = [
        *({"cut_request_after": chance.randrange(20_000)} for _ in range(20)),
        *({"status": 503, "headers": {"Retry-After": "7"}} for _ in range(10)),
        *({"status": 404} for _ in range(5)),
        *({"status": 302, "headers": {"Location": hub.proxy.url}} for _ in range(5)),
        *({"spoil_request": lambda body: flipped(body, chance.random())} for _ in range(5)),
        *({"spoil_request": lambda body: flipped(body, chance.random() / 100)} for _ in range(5)),
        *({"spoil": flipped} for _ in range(5)),
        *({"cut_after": -1} for _ in range(5)),
        *({"cut_after": 3} for _ in range(5)),
        *({"hang_after": -1} for _ in range(2)),
        *({"drip_seconds": 0.1} for _ in range(2)),
    ]
    chance.shuffle(faults)
    played = len(faults)
    hub.proxy.rule = lambda _one: hub.fault(**faults.pop()) if faults and chance.random() < 0.8 else None
    sender.drain()
    stats = sender.spool.stats()
    kept = [row for row in hub.examples() if row.sha256 in wanted]
    created = sum(one.status == 201 for one in hub.proxy.exchanges)
    asked = len(hub.proxy.exchanges)
    record_property(
        "survive", f"item 5: {played - len(faults)} faults, {len(wanted) - len(kept)} of {len(wanted)} examples lost"
    )
    assert faults == []
    assert (stats.pending, stats.refused) == (0, 0)
    assert {row.sha256 for row in kept} == wanted
    assert len(kept) == created == len(wanted)
    assert asked <= len(wanted) + played + 10


def test_a_storm_is_met_with_fewer_and_fewer_tries_that_are_not_in_step(
    hub: Any, make_sender: Callable[..., Any], record_property: Any
) -> None:
    tries = []
    for seed in (1, 2):
        sender = make_sender(seed=seed)
        sender.fill(range(200, 203))
        hub.proxy.rule = lambda _one: hub.fault(status=503)
        before = len(hub.proxy.exchanges)
        sender.drain(HOUR)
        tries.append((len(hub.proxy.exchanges) - before, sender.waits))
    record_property("survive", f"item 5: {max(count for count, _ in tries)} tries in an hour of 503")
    assert all(8 <= count <= 60 for count, _ in tries)
    assert tries[0][1] != tries[1][1]
    assert all(wait <= 300.0 for _, waits in tries for wait in waits)


def test_a_backlog_drains_at_the_set_bandwidth(hub: Any, make_sender: Callable[..., Any], record_property: Any) -> None:
    rate = 300_000
    sender = make_sender(bandwidth=rate, clock=SystemClock())
    sender.fill(range(300, 330), size=50_000)
    sender.drain()
    first, last = hub.proxy.exchanges[0], hub.proxy.exchanges[-1]
    # Until the last one begins; each head counts as 512 bytes, as docs/hub-connection.md says.
    sent = sum(one.received + 512 for one in hub.proxy.exchanges[:-1])
    found = sent / (last.at - first.at)
    record_property("survive", f"item 5: a backlog of {sent / 1e6:.1f} MB at {found / rate:.0%} of the set bandwidth")
    assert len(hub.proxy.exchanges) == 30
    assert 0.9 * rate <= found <= 1.1 * rate


def test_seven_days_without_a_hub_lose_nothing_and_send_nothing_twice(
    hub: Any, make_sender: Callable[..., Any], record_property: Any
) -> None:
    sender = make_sender()
    hub.proxy.down()
    wanted: set[str] = set()
    for hour in range(7 * 24):
        wanted |= sender.fill(range(1000 + hour, 1001 + hour) if hour % 2 == 0 else range(0), size=4_000)
        # Each try of the first hours, as the backoff has it; then one an hour, as if the machine slept in between.
        sender.drain(HOUR) if hour < EACH_TRY_HOURS else sender.uplink.step()
        sender.clock.advance(max(0.0, (hour + 1) * HOUR - sender.clock.monotonic()))
    tried = sender.uplink.status().failures
    assert sender.spool.stats().pending == len(wanted) == 7 * 12
    hub.proxy.up()
    took = sender.drain()
    kept = [row.sha256 for row in hub.examples() if row.sha256 in wanted]
    created = sum(one.status == 201 for one in hub.proxy.exchanges)
    twice = sum(one.status == 200 for one in hub.proxy.exchanges)
    record_property(
        "survive",
        f"item 5: 7 days offline, {len(wanted) - len(kept)} of {len(wanted)} lost, {twice} sent twice, "
        f"{tried} tries meanwhile",
    )
    assert (set(kept), len(kept), created, twice) == (wanted, len(wanted), len(wanted), 0)
    assert 7 * 24 <= tried <= 40 * EACH_TRY_HOURS + 7 * 24
    assert took <= HOUR
