# SPDX-License-Identifier: Apache-2.0
"""What a worker came to, from its process and its last report; either may be seen first.

A stage goes on only when both are there: the report says what was made, the exit says that nothing writes to it any
more. Sedna looks at the pod alone, and completes a round whose report is still under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["pending", "stop", "succeeded", "failed", "lost"]

COMPLETED, FAILED = "completed", "failed"


@dataclass(frozen=True, slots=True)
class Observation:
    """A worker as it is seen at one moment.

    Attributes:
        known: whether this hub started it; False after a restart, which ends the workers of the hub before.
        running: whether its process is there.
        exit_code: how it ended; None while it runs or when nobody knows.
        reason: why the hub ended it; None when it ended by itself.
        status: of its last report: ``completed``, ``failed``, ``running``, something else, or None without any.
        results: of that report.
        running_seconds: since this hub started it.
        gone_seconds: since its end was first seen; 0 while it runs.
        done_seconds: since its last report was first seen to say ``completed`` or ``failed``; else 0.
    """

    known: bool
    running: bool
    exit_code: int | None = None
    reason: str | None = None
    status: str | None = None
    results: tuple[dict[str, Any], ...] = ()
    running_seconds: float = 0.0
    gone_seconds: float = 0.0
    done_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker is waited for.

    Attributes:
        timeout_seconds: for all of its work. The runner ends it then; this is the second line of defence.
        report_seconds: for its last report after its exit. Sedna's library tries for 15 s.
        exit_seconds: for its exit after its last report.
    """

    timeout_seconds: float
    report_seconds: float = 30.0
    exit_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict.

    Attributes:
        verdict: ``pending``: look again later; ``stop``: end it, then look again; ``succeeded``; ``failed``;
            ``lost``: the hub restarted under it, which is nobody's fault.
        reason: for people; empty while pending.
        results: of the report, where it succeeded.
    """

    verdict: Verdict
    reason: str = ""
    results: tuple[dict[str, Any], ...] = ()


_LINGERING = "its report said it was done, but it did not exit"
_LATE = 1.1  # the runner's own timeout comes first


def judge_worker(seen: Observation, patience: Patience) -> Outcome:  # noqa: PLR0911 - one a verdict
    """What to make of a worker now."""
    if seen.running:
        return _running(seen, patience)
    if not seen.known and seen.status not in {COMPLETED, FAILED}:
        return Outcome("lost", "the hub was restarted while it ran")
    if seen.status == FAILED:
        return Outcome("failed", f"it reported that it failed{_how(seen)}")
    if seen.reason is not None and not (seen.status == COMPLETED and seen.reason.startswith(_LINGERING)):
        return Outcome("failed", seen.reason)
    if seen.known and seen.reason is None and seen.exit_code != 0:
        return Outcome("failed", f"it ended with {_ending(seen.exit_code)}{_said(seen)}")
    if seen.status != COMPLETED:
        if seen.gone_seconds < patience.report_seconds:
            return Outcome("pending")
        return Outcome("failed", f"it exited with 0 and sent no last report within {patience.report_seconds:g} s")
    if not seen.results:
        return Outcome("failed", "its report says completed and names no results")
    return Outcome("succeeded", "completed", seen.results)


def _running(seen: Observation, patience: Patience) -> Outcome:
    if seen.running_seconds > patience.timeout_seconds * _LATE:
        return Outcome("stop", f"timeout after {patience.timeout_seconds:g} s")
    if seen.status in {COMPLETED, FAILED} and seen.done_seconds >= patience.exit_seconds:
        return Outcome("stop", f"{_LINGERING} within {patience.exit_seconds:g} s")
    return Outcome("pending")


def _how(seen: Observation) -> str:
    return f" and ended with {_ending(seen.exit_code)}" if seen.exit_code not in {None, 0} else ""


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "an unknown exit code"
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _said(seen: Observation) -> str:
    return "" if seen.status is None else f" after it had reported {seen.status!r}"
