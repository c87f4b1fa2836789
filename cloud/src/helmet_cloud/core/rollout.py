# SPDX-License-Identifier: Apache-2.0
"""The rules of a staged rollout: a release is tried by the canary ring, then everybody gets it, or nobody.

    canary -> approval -> window -> promoting -> stable -> done
       |          |          |                      |
       +----------+----------+--> reverting <-------+
                                     |
                                   halted                      superseded: a newer release took its place

Pure: what reports say goes in, what is to be done next comes out. ``promoting`` and ``reverting`` are intents: they are
written down before the channel changes, so that whoever comes after a crash knows what was meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CANARY, APPROVAL, WINDOW, PROMOTING = "canary", "approval", "window", "promoting"
STABLE, DONE, REVERTING, HALTED, SUPERSEDED = "stable", "done", "reverting", "halted", "superseded"
LIVING = (CANARY, APPROVAL, WINDOW, PROMOTING, STABLE, REVERTING)
"""Phases in which there is still something to do."""

SILENT_SECONDS = 300.0
"""A node that runs the release and then says nothing to a hub that listens for so long has failed with it."""


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """What a job asks of a rollout.

    Attributes:
        reports: healthy reports of the release that a ring has to give, at least 1.
        seconds: time that must lie between the first and the last of them.
        failure_share: share of the nodes with an opinion that may have failed, in [0, 1); beyond it all goes back.
        approval: whether somebody has to agree before everybody gets it.
    """

    reports: int = 10
    seconds: float = 1800.0
    failure_share: float = 0.1
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What one node last said.

    Attributes:
        node: its name.
        ring: it belongs to.
        at_seconds: when the hub heard it, Unix time.
        release: it runs.
        model: digest of the model file that it runs.
        state: of its updater.
        healthy: as it says itself.
        problem: the first thing that it complains of, or "".
        refused: why it refused the model of this rollout; None: it did not.
    """

    node: str
    ring: str
    at_seconds: float
    release: int
    model: str
    state: str
    healthy: bool
    problem: str = ""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rollout remembers of one node.

    Attributes:
        ring: it belongs to.
        at_seconds: when it was last heard.
        first_seconds: when it first was healthy with the release; None: not yet.
        healthy: how many of its reports were.
        running: whether it runs the release, as far as is known.
        failure: why it has failed; "" while it has not.
        ailing: whether it was ill before the release came: its health says nothing about it then.
    """

    ring: str
    at_seconds: float
    first_seconds: float | None = None
    healthy: int = 0
    running: bool = False
    failure: str = ""
    ailing: bool = False

    def to_json(self) -> dict[str, Any]:
        """To be kept."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state of one rollout.

    Attributes:
        release: of the canary ring's manifest.
        sha256: of the model.
        phase: one of the names above.
        begun_seconds: when this phase began, Unix time.
        nodes: what is remembered, by node.
        reason: of the last step, for people.
        before: release that the rings go back to; None: there was none.
        promoted: release in the stable ring; None: not yet.
    """

    release: int
    sha256: str
    phase: str = CANARY
    begun_seconds: float = 0.0
    nodes: Mapping[str, Seen] = field(default_factory=dict)
    reason: str = ""
    before: int | None = None
    promoted: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else a step depends on.

    Attributes:
        now: Unix time in seconds.
        open: whether the maintenance window is open; True without one.
        window: it, for people.
        approved: whether somebody agreed to this release.
        listening_seconds: for how long the hub has listened, its clock steady: nobody was silent while it was away.
    """

    now: float
    open: bool = True
    window: str = ""
    approved: bool = False
    listening_seconds: float = math.inf


def hear(rollout: Rollout, reports: Iterable[Heard]) -> dict[str, Seen]:
    """What is remembered after some reports; a report that was counted counts no second time."""
    nodes = dict(rollout.nodes)
    for report in reports:
        seen = nodes.get(report.node)
        if seen is None:
            nodes[report.node] = seen = Seen(report.ring, 0.0, ailing=not report.healthy and not _runs(rollout, report))
        if report.at_seconds > seen.at_seconds:
            nodes[report.node] = _after(rollout, seen, report)
    return nodes


def next_phase(rollout: Rollout, rules: RolloutRules, around: Surroundings) -> tuple[str, str]:
    """The phase that follows and why; the same phase with what it waits for when nothing is to be done."""
    ring = "stable" if rollout.phase == STABLE else "canary"
    if rollout.phase not in (CANARY, APPROVAL, WINDOW, STABLE):
        return rollout.phase, rollout.reason
    failed, told = judge(rollout, around)
    if failed and len(failed) > rules.failure_share * told:
        name, why = next(iter(failed.items()))
        return REVERTING, f"{len(failed)} of {told} nodes failed with it; {name}: {why}"
    count, span = progress(rollout, ring)
    if count < rules.reports or span < rules.seconds:
        return (CANARY if ring == "canary" else STABLE), (
            f"{count} of {rules.reports} healthy reports of ring {ring}, over {span / 60:.1f} of "
            f"{rules.seconds / 60:g} minutes"
        )
    good = f"{count} healthy reports of ring {ring} over {span / 60:.1f} minutes, {len(failed)} of {told} nodes failed"
    return (DONE, good) if ring == "stable" else _permitted(rollout, rules, around, good)


def _permitted(rollout: Rollout, rules: RolloutRules, around: Surroundings, good: str) -> tuple[str, str]:
    if rules.approval and not around.approved:
        return APPROVAL, f"{good}; waits for helmet.edge/approve-release: {rollout.release}"
    if not around.open:
        return WINDOW, f"{good}; waits for the window {around.window}"
    return PROMOTING, good


def judge(rollout: Rollout, around: Surroundings) -> tuple[dict[str, str], int]:
    """Nodes that failed, each with the reason, and how many have an opinion at all."""
    failed, told = {}, 0
    for name, seen in rollout.nodes.items():
        quiet = min(around.now - seen.at_seconds, around.listening_seconds)
        silent = seen.running and quiet > SILENT_SECONDS
        why = seen.failure or (f"runs it and said nothing for {quiet:.0f} s" if silent else "")
        if why:
            failed[name] = why
        told += bool(why) or seen.healthy > 0
    return failed, told


def progress(rollout: Rollout, ring: str) -> tuple[int, float]:
    """Healthy reports of a ring, and the seconds between the first and the last of them."""
    good = [seen for seen in rollout.nodes.values() if seen.ring == ring and seen.healthy and not seen.failure]
    if not good:
        return 0, 0.0
    first = min(seen.first_seconds for seen in good if seen.first_seconds is not None)
    return sum(seen.healthy for seen in good), max(seen.at_seconds for seen in good) - first


def _after(rollout: Rollout, seen: Seen, report: Heard) -> Seen:
    failure, healthy, first = seen.failure, seen.healthy, seen.first_seconds
    runs = _runs(rollout, report)
    if report.refused is not None:
        failure = f"refused it: {report.refused}"
    elif runs and not report.healthy and not seen.ailing:
        failure = f"is ill with it: {report.problem or 'no reason given'}"
    elif runs and report.healthy and report.state == "confirmed":
        # A node that is well again with the same release takes its complaint back.
        failure = ""
        healthy += 1
        first = report.at_seconds if first is None else first
    return Seen(report.ring, report.at_seconds, first, healthy, runs, failure, seen.ailing and not report.healthy)


def _runs(rollout: Rollout, report: Heard) -> bool:
    return report.model == rollout.sha256 and report.release in (rollout.release, rollout.promoted)
