# SPDX-License-Identifier: Apache-2.0
"""A name for the demo's camera.

The hub splits samples by a hash of their source and ten-second segment. A real site has hundreds of segments; this film
has seven that may be labelled, so that by chance all heads that the model misses can end up on one side. The split is
left as it is, but the camera gets a name under which both sides have enough, whenever in the next seconds it starts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from helmet_cloud.core.split import SEGMENT_SECONDS, Origin, group_of, side_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = tuple(f"walkway-{number}" for number in range(1, 4001))
FRAMES_A_SECOND = 10.0
STARTS_SECONDS = tuple(float(second) for second in range(1, 16))
"""How long the agent may take from now until its first frame."""

EVAL_SHARE = 0.22, 0.38
HARD_EVAL_SHARE = 0.18, 0.48
"""Between these shares of all samples, and of those with heads that the model misses, shall evaluate. The job's trigger
waits for 45 samples to train on, of about 90."""


def camera_name(node: str, frames: Sequence[int], hard: Sequence[int], train_share: float, now: float) -> str:
    """The first name under which both sides have enough; the best one where none does.

    Args:
        node: the node's name.
        frames: what will be labelled, by number in the film. The agent keeps one of ten frames in which nothing moves,
            so that these say more than the passages.
        hard: those among them with heads that the model misses.
        train_share: the job's ``trainProb``.
        now: Unix time in seconds.
    """
    wanted = ((_moments(frames), EVAL_SHARE), (_moments(hard), HARD_EVAL_SHARE))
    found: dict[str, float] = {}
    for name in NAMES:
        found[name] = max(
            outside(eval_share(node, name, [now + start + moment for moment in moments], train_share), wish)
            for start in STARTS_SECONDS
            for moments, wish in wanted
        )
        if found[name] == 0.0:
            break
    return min(found, key=lambda name: found[name])


def eval_share(node: str, camera: str, times: Sequence[float], train_share: float) -> float:
    """Which share of pictures taken at these times evaluates, by the hub's own split."""
    segments = Counter(int(moment // SEGMENT_SECONDS) for moment in times)
    groups = {one: group_of("", Origin(node, camera, one * SEGMENT_SECONDS)) for one in segments}
    return sum(count for one, count in segments.items() if side_of(groups[one], train_share) == "eval") / len(times)


def outside(value: float, wish: tuple[float, float]) -> float:
    """How far a value lies outside of the wish; 0 inside."""
    return max(0.0, wish[0] - value, value - wish[1])


def _moments(frames: Sequence[int]) -> list[float]:
    return [frame / FRAMES_A_SECOND for frame in frames]
