# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any point, and start again: same rounds, same counts, no sample lost or trained twice in a round."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.controller.crash_points import CRASH_POINTS, INPUTS_WRITTEN
from helmet_cloud.store.samples import version_members

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.survive
MOMENTS = 200 if os.environ.get("HELMET_SOAK") else 10
PROGRAM = Path(__file__).with_name("hub_to_kill.py")


class Hubs:
    """hub_to_kill.py, which forks hubs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(
        self, folder: Path, rounds: int, point: str = "", passing: int = 1, kill_after: float | None = None
    ) -> bool:
        """Runs one; says whether it was killed."""
        (folder / "ready").unlink(missing_ok=True)
        order = {"folder": str(folder), "rounds": rounds, "point": point, "passing": passing, "kill_after": kill_after}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        status = int(self._process.stdout.readline())
        assert status in {0, -signal.SIGKILL}
        return status != 0

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def hubs() -> Iterator[Hubs]:
    made = Hubs()
    yield made
    made.close()


def ledger(hub: Any) -> dict[str, Any]:
    """All that has to be the same however often the hub was killed."""
    with hub.database.read() as session:
        rounds = [
            {
                "number": row.number,
                "status": row.status,
                "train": version_members(session, row.train_version),
                "eval": version_members(session, row.eval_version),
                "replay": version_members(session, row.replay_version) if row.replay_version else [],
                "release": row.release,
                "model": row.model_sha256,
                "base": row.base_sha256,
                "decision": row.decision,
            }
            for row in hub.rounds
        ]
    return {"rounds": rounds, "samples": hub.samples()}


def checked(hub: Any, folder: Path) -> dict[str, Any]:
    """The ledger, after it was held against what the workers saw and what the channel has."""
    found = ledger(hub)
    numbers = [one["number"] for one in found["rounds"]]
    assert numbers == list(range(1, len(numbers) + 1))
    used = [sha256 for one in found["rounds"] for sha256, *_ in one["train"]]
    assert len(used) == len(set(used)), "a sample was used up twice"
    lost = {sha256 for sha256, (side, _, used_by) in found["samples"].items() if side == "train" and used_by is None}
    assert not lost, "a sample was lost"
    released = [(one["sha256"], one["release"]) for one in json.loads((folder / "channel.json").read_text())]
    assert released == [(one["model"], one["release"]) for one in found["rounds"]]
    trained: dict[int, set[str]] = {}
    for line in (folder / "trained.txt").read_text().splitlines():
        number, _, lines = line.partition(" ")
        pictures = [one for one in lines.split() if one.startswith("images/")]
        assert len(pictures) == len(set(pictures)), "a sample was trained twice in a round"
        trained.setdefault(int(number), set()).add(" ".join(pictures))
    for one in found["rounds"]:
        (pictures,) = trained[one["number"]]
        assert pictures.split() == [f"images/{sha256}.png" for sha256, *_ in one["train"]]
    return found


@pytest.fixture
def undisturbed(tmp_path: Path, hubs: Hubs, hub_folder: Any) -> str:
    """What two rounds look like when nobody kills the hub."""
    folder, hub = hub_folder(tmp_path / "here")
    assert not hubs.run(folder, 1)
    hub.add(range(20, 40))
    assert not hubs.run(folder, 2)
    return placed(checked(hub, folder), folder)


def placed(found: dict[str, Any], folder: Path) -> str:
    return json.dumps(found, sort_keys=True).replace(str(folder), "")


def test_a_hub_that_is_killed_at_every_point_goes_on_as_if_it_had_not_been(
    tmp_path: Path, hubs: Hubs, hub_folder: Any, undisturbed: str, record_property: Any
) -> None:
    folder, hub = hub_folder(tmp_path / "killed")
    assert all(hubs.run(folder, 1, point) for point in CRASH_POINTS[:-1])
    assert not hubs.run(folder, 1)
    hub.add(range(20, 40))
    # The second passing of a point belongs to the eval worker; from then on the hub starts in that stage.
    assert hubs.run(folder, 2, INPUTS_WRITTEN, 2)
    later = CRASH_POINTS[CRASH_POINTS.index(INPUTS_WRITTEN) :]
    assert all(hubs.run(folder, 2, point) for point in later[:-1])
    assert not hubs.run(folder, 2)
    assert placed(checked(hub, folder), folder) == undisturbed
    record_property(
        "survive", f"item 1: hub killed at {len(CRASH_POINTS)} points of two rounds: the same rounds, no sample lost"
    )


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * MOMENTS)
def test_a_hub_that_is_killed_at_any_moment_goes_on_as_if_it_had_not_been(
    tmp_path: Path, hubs: Hubs, hub_folder: Any, undisturbed: str, record_property: Any
) -> None:
    chance = random.Random(20260101)  # noqa: S311 - a test's dice
    kills = lives = 0
    while kills < MOMENTS:
        folder, hub = hub_folder(tmp_path / f"life-{lives}")
        lives += 1
        for rounds in (1, 2):
            # Killed again and again, until it gets to the round's end before the knife falls.
            while hubs.run(folder, rounds, kill_after=chance.uniform(0.0, 0.7)):
                kills += 1
            if rounds == 1:
                hub.add(range(20, 40))
        assert placed(checked(hub, folder), folder) == undisturbed
    record_property(
        "survive",
        f"item 1: hub killed at {kills} random moments in {lives} lives: the same rounds, no sample lost or used twice",
    )
