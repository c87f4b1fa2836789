# SPDX-License-Identifier: Apache-2.0
import threading
from pathlib import Path

from helmet_agent.adapters.memory_reader import GroupMemory, MemoryReading
from helmet_agent.errors import EXIT_RESTART, RestartWanted
from helmet_agent.services.governor import Decision, Level
from helmet_agent.services.governor_loop import GovernorLoop, Pressure, tightest
from helmet_agent.testing import ManualClock

MIB = 1 << 20


def reading(rss: int, *groups: tuple[int, int | None], physical: int = 8000) -> MemoryReading:
    return MemoryReading(
        rss * MIB,
        physical * MIB,
        tuple(GroupMemory(Path("/"), used * MIB, None if limit is None else limit * MIB) for used, limit in groups),
    )


class Room:
    """What the loop sees and what it asked for."""

    def __init__(self, first: MemoryReading, configured: int | None = None) -> None:
        self.seen: MemoryReading | Exception = first
        self.applied: list[Level] = []
        self.stopped: list[RestartWanted] = []
        self.refusals = 0
        self.clock = ManualClock()
        self.told = threading.Event()
        self.loop = GovernorLoop(
            self.read, self.apply, self.stop, self.clock, configured_bytes=configured, period_seconds=0.01
        )

    def read(self) -> MemoryReading:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    def apply(self, decision: Decision) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("not now")
        self.applied.append(decision.level)

    def stop(self, reason: RestartWanted) -> None:
        self.stopped.append(reason)
        self.told.set()

    def look(self, seen: MemoryReading, seconds: float = 5.0) -> Decision:
        self.seen = seen
        self.clock.advance(seconds)
        return self.loop.tick()


def test_the_tightest_limit_is_the_one_with_the_highest_share() -> None:
    seen = reading(100, (150, None), (900, 1000), (300, 400))
    assert tightest(seen, None) == Pressure(900 * MIB, 1000 * MIB)
    assert tightest(seen, 105 * MIB) == Pressure(100 * MIB, 105 * MIB)
    assert tightest(reading(100), None) == Pressure(100 * MIB, 8000 * MIB)


def test_it_tells_of_changes_only() -> None:
    room = Room(reading(100), configured=1000 * MIB)
    assert room.loop.limit_bytes == 1000 * MIB
    for rss in (100, 800, 900, 900, 800, 800, 800):
        room.look(reading(rss))
    assert room.applied == [Level.NO_PREVIEW, Level.NO_MINING]
    assert room.loop.decision.level is Level.NO_MINING
    assert room.loop.pressure.share == 0.8


def test_a_groups_limit_counts_what_others_take_too() -> None:
    room = Room(reading(100, (100, 1000)))
    assert room.look(reading(100, (880, 1000))).level is Level.NO_PREVIEW


def test_a_limit_that_is_lowered_while_it_runs_counts_at_once() -> None:
    room = Room(reading(100, (100, None)))
    assert room.look(reading(100, (100, 110))).level is Level.NO_PREVIEW


def test_the_hard_limit_asks_once_for_a_clean_end_with_exit_code_75() -> None:
    room = Room(reading(100), configured=1000 * MIB)
    for rss in (960, 970):
        assert room.look(reading(rss)).level is Level.STOP
    (reason,) = room.stopped
    assert reason.exit_code == EXIT_RESTART == 75
    assert str(reason) == "memory is nearly used up: 960.0 MiB of 1000.0 MiB; leaving to be started afresh"
    assert room.applied == []


def test_the_thread_looks_by_itself_survives_faults_and_ends() -> None:
    room = Room(reading(100), configured=1000 * MIB)
    room.refusals = 2
    room.seen = reading(900)
    room.loop.start()
    waiter = threading.Event()
    while not room.applied:
        assert not waiter.wait(0.01)
    assert room.loop.failures == 2, "a decision that could not be applied is applied again"
    room.seen = OSError("gone")
    while room.loop.failures < 4:
        assert not waiter.wait(0.01)
    room.seen = reading(990)
    assert room.told.wait(20)
    room.loop.close()
    room.loop.close()
    assert len(room.stopped) == 1
