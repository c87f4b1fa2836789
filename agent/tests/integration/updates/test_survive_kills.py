# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every crash point of ``helmet_agent.crash_points``: the list and the code cannot drift apart."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_crashes import Lives

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import Delivery
from helmet_agent.crash_points import (
    EXAMPLE_SENT,
    EXAMPLES_FOUND,
    EXAMPLES_UNCOUNTED,
    JOURNAL,
    JOURNAL_STEPS,
    SPOOL,
    STORE,
)
from helmet_agent.services.update_events import Kind
from helmet_agent.services.update_journal import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]


@pytest.fixture
def lives(write_config: Any, channel: Any) -> Iterator[Lives]:
    found = Lives(write_config(probation_seconds=0, probation_frames=1), channel.folder)
    yield found
    found.close()


class Story:
    """What has happened on a node before the life that is killed.

    Each method leads up to one life and returns its job; they begin with a node that was started once.
    """

    def __init__(self, lives: Lives, channel: Any, make_model: Callable[..., Any]) -> None:
        self._lives, self._channel, self._make = lives, channel, make_model
        self._release = 1

    def _publish(self, **changes: Any) -> Any:
        self._release += 1
        model = self._make(seed=self._release, release=self._release, golden=(), **changes)
        self._channel.publish(model)
        return model

    def confirmed(self) -> dict[str, Any]:
        self._publish()
        return {"do": ["update"]}

    def refused(self) -> dict[str, Any]:
        self._publish()
        return {"do": ["update"], "problems": ["outputs are NaN"]}

    def left_with_a_goodbye(self) -> dict[str, Any]:
        self._publish()
        return {"do": ["take", "goodbye"]}

    def crashed_on_probation(self) -> dict[str, Any]:
        self._publish()
        self._lives.one(do=["take"])
        return {"do": []}

    def cold(self) -> dict[str, Any]:
        self._publish(delivery=Delivery(hot_update=False, poll_seconds=1))
        return {"do": ["take"]}

    def rolled_back(self) -> dict[str, Any]:
        model = self._publish()
        self._lives.one(do=["update"])
        return {"do": ["rollback"], "leaving": model.key}

    def a_file_is_missing(self) -> dict[str, Any]:
        self._channel.withdraw(f"files/{self._publish().sha256}")
        return {"do": ["take"]}

    def taken_back(self) -> dict[str, Any]:
        first = self._publish()
        self._lives.one(do=["update"])
        self._channel.withdraw(f"files/{self._publish().sha256}")
        self._lives.one(do=["take"])
        self._channel.publish(first)
        return {"do": ["take"]}

    def let_out_of_quarantine(self) -> dict[str, Any]:
        model = self._publish()
        self._lives.one(do=["update"], problems=["outputs are NaN"])
        return {"do": ["unquarantine"], "digest": model.sha256}

    def damaged(self) -> dict[str, Any]:
        model = self._publish()
        self._lives.one(do=["update"])
        (self._lives.folder / model.key / "model.tflite").write_bytes(b"rot")
        return {"do": []}


STORIES = [name for name in vars(Story) if not name.startswith("_")]


def confirmed_ever(folder: Path) -> set[str]:
    """Keys of the models that the journal says were confirmed, and of those that came with the agent."""
    lines = list(ModelStore(folder, read_only=True).journal())
    found: set[str] = set()
    for number, line in enumerate(lines):
        before = replay(lines[:number])
        if before is None or "state" in line:
            found |= {one["key"] for one in line["state"]["history"]}
        elif line["event"] == Kind.CONFIRMED:
            found.add(before.current.key)
    return found


def test_the_list_of_journal_steps_is_the_journals() -> None:
    assert set(JOURNAL_STEPS) == {kind.value for kind in Kind}


def test_kill_9_at_every_point_of_journal_and_store(
    lives: Lives, channel: Any, make_model: Callable[..., Any], tmp_path: Path, record_property: Any
) -> None:
    story, killed = Story(lives, channel, make_model), set[str]()
    lives.one()
    fresh, before = shutil.copytree(lives.folder, tmp_path / "fresh", symlinks=True), tmp_path / "before"
    for name in STORIES:
        restore(fresh, lives.folder)
        job = getattr(story, name)()
        restore(lives.folder, before)
        points = lives.one(**job).points
        assert set(points) <= {*JOURNAL, *STORE}, "a point that is not in the list"
        for number, point in enumerate(points):
            if point in killed:
                continue
            killed.add(point)
            restore(before, lives.folder)
            assert lives.one(crash_at=number, **job).killed
            state = lives.check(lives.one().serves)
            assert state.last_confirmed.key in confirmed_ever(lives.folder), f"{name}: killed {point}"
            assert state.current in (state.last_confirmed, state.candidate), f"{name}: killed {point}"
            lives.one(do=["take"])
            state = lives.check(lives.one().serves)
            assert state.last_confirmed.key in confirmed_ever(lives.folder), f"{name}: killed {point}, went on"
    assert killed == {*JOURNAL, *STORE}, "points in the list that no story reaches"
    record_property(
        "survive", f"item 1: killed at {len(killed)} points of journal and store: a verified model each time"
    )


def restore(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from one_life import example
    from helmet_agent.adapters.spool import Spool
    folder, point, passing = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    def reach(name):
        global passing
        os.write(2, (name + "\\n").encode())
        if name == point:
            passing -= 1
            if not passing:
                os.kill(os.getpid(), signal.SIGKILL)
    spool = Spool(folder, 240_000, reach)
    for number in range(int(sys.argv[4]), int(sys.argv[4]) + 20):
        one = example(number)
        if spool.put(one):
            os.write(1, f"kept {{one.record.sha256}}\\n".encode())
        if number % 5 == 0 and spool.mark_uploaded(one.record.sha256):
            os.write(1, f"sent {{one.record.sha256}}\\n".encode())
    os.write(1, b"expires\\n")
    spool.expire(1.8e9 + int(sys.argv[4]) + 19 + 86_400.0, 1.0)
"""


def test_kill_9_at_every_point_of_the_spool(tmp_path: Path, record_property: Any) -> None:
    program = textwrap.dedent(PROGRAM.format(here=str(Path(__file__).parent)))
    first, total = 0, 0
    for point in SPOOL:
        for passing in (1, 12):
            if point in (EXAMPLES_UNCOUNTED, EXAMPLES_FOUND) and passing > 1:
                continue
            command = [sys.executable, "-c", program, str(tmp_path / "spool"), point, str(passing), str(first)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            passed = [line for line in done.stderr.splitlines() if line.startswith("example ")]
            assert set(passed) <= set(SPOOL)
            if point == EXAMPLE_SENT and passing > 1:
                continue
            assert done.returncode == -signal.SIGKILL, (point, passing, done.stderr)
            told = done.stdout.split()
            kept = [sha256 for word, sha256 in itertools.pairwise(told) if word == "kept"]
            sent = {sha256 for word, sha256 in itertools.pairwise(told) if word == "sent"}
            spool = Spool(tmp_path / "spool", 240_000)
            here = {path.stem for path in (tmp_path / "spool").glob("??/*.jpg")}
            waiting = spool.pending(1000)
            assert all(spool.open(sha256) is not None for sha256 in here)
            assert {path.stem for path in (tmp_path / "spool").glob("??/*")} == here
            # The quota lets the older ones go, those that were sent first; expiry all but the last.
            if point == EXAMPLE_SENT:
                sent.add(kept[-1])  # killed before it could say so
            unsent = [sha256 for sha256 in kept if sha256 not in sent]
            mine = [sha256 for sha256 in unsent if sha256 in waiting]
            if unsent and "expires" not in told:
                assert mine, (point, passing)
                assert mine == unsent[-len(mine) :], "a gap in what was kept"
            assert not list((tmp_path / "spool").rglob(".tmp-*"))
            spool.close()
            first, total = first + 20, total + 1
    record_property("survive", f"item 1: {total} kills at {len(SPOOL)} points of the spool: 0 kept examples lost")


def test_a_crash_loop_on_probation_goes_back_at_each_start_and_ends_in_quarantine(
    lives: Lives, channel: Any, make_model: Callable[..., Any], record_property: Any
) -> None:
    base = lives.one().serves
    model = make_model(seed=1, release=2, golden=())
    channel.publish(model)
    for life in range(1, 4):
        points = lives.one(do=["take"]).points  # it ends without a goodbye
        assert points[-1] == "pointed live", "it was killed on probation"
        again = lives.one()
        assert again.serves == base, "the next start serves the confirmed one"
        state = lives.check(again.serves)
        assert len(state.quarantined) == (life == 3)
    assert "ended 3 times while the model was on probation" in state.quarantined[0].reason
    before = len(lives.one(do=["take"]).points)
    assert before == 0, "it is not tried again"
    record_property("survive", "item 3: crash loop on probation: back at each start, quarantined with the third crash")
