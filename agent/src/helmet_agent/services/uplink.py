# SPDX-License-Identifier: Apache-2.0
"""Hard examples from the spool to the hub, on a thread of its own: inference never waits for the network.

The most valuable example goes first, as the spool orders them, the newer before the older: after days without a hub
the few pictures that matter most arrive before the many that matter less. At least once: an example is marked only
after the hub said that it keeps it, so a crash in between sends it again, which the hub takes as the same example.

================================  =====================================================================================
the hub                           what happens
================================  =====================================================================================
keeps it, or had it               marked as uploaded; the next one at once
refuses it for good               put off for a minute, in case it was changed on its way; refused again for the same
                                  reason it is marked with it, kept, never sent again; the next one at once
denies another node's example     the same: the node was renamed while the example waited
finds it too large for now        put off for an hour; the next one at once
does not accept the token         everything stops and the health says so; tried again after minutes, since only people
                                  can mend it
is away, busy, full, or odd       backoff with jitter, or as long as it asks; what may be the cause is put off
================================  =====================================================================================
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from helmet_agent.errors import HubDenied, HubError, HubRefused, HubUnavailable, StorageError
from helmet_agent.status import UplinkStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.contract import HardExample
    from helmet_agent.ports import Clock, Hub
    from helmet_agent.retry import Backoff
    from helmet_agent.services.bandwidth import TokenBucket

IDLE_SECONDS = 1.0
"""How often the spool is looked at when nothing waited."""

DENIED_SECONDS = 120.0
TOO_LARGE_SECONDS = 3600.0
SUSPECT_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 3600.0
"""A hub that asks for more is asked again anyway."""

MOST_PUT_OFF = 1000
"""When more than so many were put off, the longest waiting one has its turn again, after ``SUSPECT_SECONDS``."""

JITTER = 0.25

_log = structlog.get_logger(__name__)


class WaitingExamples(Protocol):
    """What the uplink needs of the spool."""

    def pending(self, limit: int) -> tuple[str, ...]:
        """Digests of examples that wait for the hub, the most valuable first, at most ``limit``."""

    def open(self, sha256: str) -> HardExample | None:
        """Reads an example; None when it has gone."""

    def mark_uploaded(self, sha256: str) -> bool:
        """Notes that the hub has it."""

    def mark_refused(self, sha256: str, reason: str) -> bool:
        """Notes that the hub does not take it."""


class Uplink:
    """Sends what waits, one example at a time, so its memory is one example's.

    Args:
        node: this node's name.
        spool: what waits.
        connect: makes the hub's client; called on the uplink's own thread when the first example waits.
        clock: time.
        backoff: between tries while the hub is away.
        bucket: the bandwidth.
        random: jitter, numbers in [0, 1).
        wait: sleeps for so many seconds and returns whether the uplink is to end; by default until ``close``.
    """

    def __init__(
        self,
        node: str,
        spool: WaitingExamples,
        connect: Callable[[], Hub],
        clock: Clock,
        *,
        backoff: Backoff,
        bucket: TokenBucket,
        random: Callable[[], float],
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._node = node
        self._spool = spool
        self._connect = connect
        self._clock = clock
        self._backoff = backoff
        self._bucket = bucket
        self._random = random
        self._closing = threading.Event()
        self._wait = wait or self._closing.wait
        self._hub: Hub | None = None
        self._delivered: str | None = None
        self._put_off: dict[str, float] = {}
        self._doubted: dict[str, str] = {}
        self._shedding = False
        self._status = UplinkStatus()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def set_shedding(self, shedding: bool) -> None:
        """Begins no transfer while true; one that is under way is brought to its end."""
        self._shedding = shedding

    def status(self) -> UplinkStatus:
        """How it goes; from any thread."""
        return self._status

    def close(self, timeout_seconds: float = 0.5) -> None:
        """Ends the thread, in the middle of a transfer if need be: what was not confirmed is sent after a restart."""
        self._closing.set()
        if self._hub is not None:
            self._hub.close()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self._status = replace(self._status, state="stopped")

    def step(self) -> float:
        """Tries to send one example; returns the seconds to wait before the next try."""
        if self._shedding:
            self._note(state="paused")
            return IDLE_SECONDS
        try:
            return self._send_next()
        except StorageError as error:
            return self._failed("waiting", str(error), self._backoff.next_delay())

    def _send_next(self) -> float:
        sha256 = self._choose()
        if sha256 is None:
            self._note(state="idle")
            return IDLE_SECONDS
        if sha256 == self._delivered:  # the hub has it, only the disk did not let us note it
            return self._mark(sha256)
        example = self._spool.open(sha256)
        if example is None:
            return 0.0
        self._note(state="sending")
        try:
            new = self._client().put_example(example, self._pace)
        except _ClosingError:
            return 0.0
        except HubError as error:
            return 0.0 if self._closing.is_set() else self._not_sent(example, error)
        return self._sent(sha256, len(example.jpeg), new=new)

    def _client(self) -> Hub:
        if self._hub is None:
            self._hub = self._connect()
        return self._hub

    def _choose(self) -> str | None:
        """The most valuable example that was not put off; when all were, none until one's time has come."""
        now = self._clock.monotonic()
        self._put_off = {sha256: until for sha256, until in self._put_off.items() if until > now}
        self._note(put_off=len(self._put_off))
        waiting = self._spool.pending(len(self._put_off) + 1)
        return next((sha256 for sha256 in waiting if sha256 not in self._put_off), None)

    def _sent(self, sha256: str, size: int, *, new: bool) -> float:
        self._delivered = sha256
        self._answered()
        before = self._status
        self._note(
            sent=before.sent + 1,
            already_there=before.already_there + (not new),
            sent_bytes=before.sent_bytes + size,
            last_sent_seconds=self._clock.now(),
        )
        return self._mark(sha256)

    def _mark(self, sha256: str) -> float:
        self._spool.mark_uploaded(sha256)
        self._delivered = None
        return 0.0

    def _not_sent(self, example: HardExample, error: HubError) -> float:
        sha256, seen_by = example.record.sha256, example.record.node
        if isinstance(error, HubDenied) and error.known and seen_by != self._node:
            # From before this node was renamed: its own token does not open another node's examples.
            error = HubRefused(f"seen by {seen_by}, which this node is not: {error}", for_good=True, certain=True)
        if isinstance(error, HubRefused):
            return self._refused(sha256, error)
        if isinstance(error, HubDenied):
            return self._failed("denied", str(error), self._jittered(DENIED_SECONDS))
        delay = self._backoff.next_delay()
        if isinstance(error, HubUnavailable):
            if error.retry_after_seconds is not None:
                delay = max(delay, min(LONGEST_WAIT_SECONDS, self._jittered(error.retry_after_seconds)))
            if error.suspect:
                self._later(sha256, SUSPECT_SECONDS)
        return self._failed("waiting", str(error), delay)

    def _refused(self, sha256: str, error: HubRefused) -> float:
        self._answered()
        if error.for_good and not error.certain and self._doubted.get(sha256) != str(error):
            if len(self._doubted) >= MOST_PUT_OFF:
                self._doubted.clear()  # of examples that are long gone
            self._doubted[sha256] = str(error)
            crowded = self._later(sha256, SUSPECT_SECONDS)
        elif error.for_good:
            self._doubted.pop(sha256, None)
            self._spool.mark_refused(sha256, str(error))
            self._note(refused=self._status.refused + 1)
            crowded = False
        else:
            crowded = self._later(sha256, TOO_LARGE_SECONDS)
        self._note(last_refusal=f"{sha256[:12]}: {error}")
        _log.warning("the hub does not take an example", sha256=sha256, reason=str(error), for_good=error.for_good)
        return SUSPECT_SECONDS if crowded else 0.0

    def _later(self, sha256: str, seconds: float) -> bool:
        """Puts an example off; whether another one had to be let in again for it."""
        crowded = len(self._put_off) >= MOST_PUT_OFF
        if crowded:
            del self._put_off[next(iter(self._put_off))]
        self._put_off[sha256] = self._clock.monotonic() + seconds
        return crowded

    def _failed(self, state: str, reason: str, delay: float) -> float:
        before = self._status
        if before.last_error != reason or before.offline_since_seconds is None:
            _log.warning("examples cannot be sent; trying again", state=state, reason=reason)
        since = self._clock.now() if before.offline_since_seconds is None else before.offline_since_seconds
        self._note(state=state, failures=before.failures + 1, offline_since_seconds=since, last_error=reason)
        return delay

    def _answered(self) -> None:
        """The hub did its part: whatever was wrong is over."""
        self._backoff.reset()
        if self._status.offline_since_seconds is not None:
            _log.info("examples are being sent again")
        self._note(offline_since_seconds=None)

    def _jittered(self, seconds: float) -> float:
        """So long or up to a quarter more: nodes that heard the same do not come back in step."""
        return seconds * (1 + JITTER * self._random())

    def _pace(self, count: int) -> None:
        if self._ends_within(self._bucket.take(count)):
            raise _ClosingError

    def _ends_within(self, seconds: float) -> bool:
        """Waits; whether the uplink is to end."""
        return (seconds > 0.0 and self._wait(seconds)) or self._closing.is_set()

    def _note(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)

    def _run(self) -> None:
        delay = 0.0
        while not self._ends_within(delay):
            try:
                delay = self.step()
            except Exception as error:
                delay = self._failed("waiting", repr(error), self._backoff.next_delay())


class _ClosingError(Exception):
    """The agent ends in the middle of a transfer."""
