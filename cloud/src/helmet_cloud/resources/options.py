# SPDX-License-Identifier: Apache-2.0
"""Options of a job that Sedna's schema has no field for: annotations ``helmet.edge/<name>``.

A cluster keeps annotations as they are, so that a job with options is accepted there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from helmet_cloud.core.windows import minute_of_day
from helmet_cloud.resources.metadata import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "helmet.edge/"
RINGS = ("canary", "stable")
ROLLOUTS = ("manual", "auto", "approval")
_MOST_REPORTS = 100_000
RETENTION = ("none", "blend", "distil", "freeze", "distil+freeze")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a job's annotations say; None where they leave it to the hub's settings.

    Attributes:
        time_zone: ``helmet.edge/time-zone``: IANA name of the zone of the job's timers.
        replay_share: ``helmet.edge/replay-share``: share of old samples in a training batch, in [0, 0.9].
        guard_recall_drop: ``helmet.edge/guard-recall-drop``: by how much the recall of a class may fall on the
            regression set, in [0, 1].
        retention: ``helmet.edge/retention``: how old knowledge is kept where old pictures are not at hand: ``none``,
            ``blend``, ``distil``, ``freeze`` or ``distil+freeze``.
        ring: ``helmet.edge/ring``: where a model that passed goes first, ``canary`` or ``stable``.
        seed: ``helmet.edge/seed``: of a round's random numbers, 0 to 2**31 - 1.
        replay_dataset: ``helmet.edge/replay-dataset``: name of a Dataset of old pictures that is trained on along with
            the new ones.
        cancel_round: ``helmet.edge/cancel-round``: number of the round that somebody wants to end.
        retry: ``helmet.edge/retry``: any new value lets samples count again that were tried in vain.
        rollout: ``helmet.edge/rollout``: what follows on ``canary``: ``manual`` (somebody promotes), ``auto``, or
            ``approval`` (as ``auto``, once somebody agreed); with the last two, ``canary`` is where models go first.
        rollout_reports: ``helmet.edge/rollout-reports``: healthy reports that a ring has to give.
        rollout_minutes: ``helmet.edge/rollout-minutes``: time that they have to span.
        rollout_failure_share: ``helmet.edge/rollout-failure-share``: share of nodes that may fail, in [0, 1).
        maintenance_window: ``helmet.edge/maintenance-window``: when a model may go to everybody, ``HH:MM-HH:MM``, in
            the job's zone.
        approve_release: ``helmet.edge/approve-release``: the release that somebody agrees to.
    """

    time_zone: str | None = None
    replay_share: float | None = None
    guard_recall_drop: float | None = None
    retention: str | None = None
    ring: str = "stable"
    seed: int | None = None
    replay_dataset: str | None = None
    cancel_round: int | None = None
    retry: str | None = None
    rollout: str = "manual"
    rollout_reports: int | None = None
    rollout_minutes: float | None = None
    rollout_failure_share: float | None = None
    maintenance_window: tuple[int, int] | None = None
    approve_release: int | None = None


def read_options(annotations: Mapping[str, str]) -> tuple[JobOptions, dict[str, str]]:
    """Reads a job's annotations.

    Returns:
        The options, and for each annotation that cannot be right (or that nobody knows) what is wrong with it.
    """
    found: dict[str, object] = {}
    problems: dict[str, str] = {}
    for key, value in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name not in _READERS:
            problems[key] = f"unknown; known are {', '.join(PREFIX + each for each in _READERS)}"
            continue
        try:
            found[name.replace("-", "_")] = _READERS[name](value)
        except (ValueError, KeyError, OSError):
            problems[key] = f"expected {_EXPECTED[name]}, found {value[:80]!r}"
    if found.get("rollout", "manual") != "manual" and found.setdefault("ring", "canary") != "canary":
        problems[PREFIX + "ring"] = f"expected canary, where {PREFIX}rollout: {found['rollout']} begins, found stable"
    return JobOptions(**found), problems  # type: ignore[arg-type]


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return read


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        return names[names.index(text)]

    return read


def _zone(text: str) -> str:
    # Zone names are looked up as files: ZoneInfo refuses names that lead out of its folder.
    return ZoneInfo(text).key


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


def _window(text: str) -> tuple[int, int]:
    start, _, end = text.partition("-")
    return minute_of_day(start.strip()), minute_of_day(end.strip())


def _count(text: str) -> int:
    if not 1 <= _whole(text) <= _MOST_REPORTS:
        raise ValueError
    return int(text)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text[:12]) < 1 << 31:
        raise ValueError
    return int(text[:12])


_READERS: dict[str, Callable[[str], object]] = {
    "time-zone": _zone,
    "replay-share": _number(0.0, 0.9),
    "guard-recall-drop": _number(0.0, 1.0),
    "retention": _one_of(RETENTION),
    "ring": _one_of(RINGS),
    "rollout": _one_of(ROLLOUTS),
    "rollout-reports": _count,
    "rollout-minutes": _number(0.0, 43200.0),
    "rollout-failure-share": _number(0.0, 0.99),
    "maintenance-window": _window,
    "approve-release": _whole,
    "seed": _whole,
    "replay-dataset": _name,
    "cancel-round": _whole,
    "retry": str,
}
_EXPECTED = {
    "time-zone": "an IANA time zone such as Europe/Berlin",
    "replay-share": "a number from 0 to 0.9",
    "guard-recall-drop": "a number from 0 to 1",
    "retention": f"one of {', '.join(RETENTION)}",
    "ring": f"one of {', '.join(RINGS)}",
    "rollout": f"one of {', '.join(ROLLOUTS)}",
    "rollout-reports": "a whole number from 1 to 100000",
    "rollout-minutes": "a number from 0 to 43200",
    "rollout-failure-share": "a number from 0 to 0.99",
    "maintenance-window": "two times of day such as 01:00-04:30",
    "approve-release": "the number of a release",
    "seed": "a whole number from 0 to 2147483647",
    "replay-dataset": "the name of a Dataset",
    "cancel-round": "the number of a round",
    "retry": "any text",
}
