# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.errors import StorageError
from helmet_cloud.channel import SignedChannel, open_channel
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.store.models import publications

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database

JOB = JobRef("default", "helmet-detection-demo")
Make = Callable[..., Publication]
STEPS = ("copied", "registered", "begun", "files", "targets", "snapshot", "timestamp", "recorded", "pruned")

PUBLISH_AND_DIE = """
import os, resource, signal, sys
from pathlib import Path
from helmet_agent.contract import Delivery, MiningRule
from helmet_cloud.channel import open_channel
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.settings import HubHome
from helmet_cloud.store.opening import open_database

folder, model, last, limit = sys.argv[1:]

def reached(step):
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)

if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
home = HubHome.load(Path(folder))
channel = open_channel(home, open_database(home), reached=reached)
channel.publish(Publication(JobRef("default", "helmet-detection-demo"), Path(model),
    MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"}), Delivery(poll_seconds=30), "stable",
    None, None, {}, "because of two"))
"""


class StoppedHereError(Exception):
    """Plays the end of the process."""


def _run(home: HubHome, model: Path, step: str, limit: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PUBLISH_AND_DIE, str(home.folder), str(model), step, str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.mark.parametrize("step", STEPS)
def test_a_publication_that_was_killed_is_seen_whole_or_not_at_all_and_heals(
    step: str, channel: SignedChannel, publication: Make, home: HubHome, database: Database, *, node: Any
) -> None:
    channel.publish(publication("one"))
    two = publication("two")
    assert _run(home, two.folder, step).returncode == -signal.SIGKILL
    seen = node.look().name
    assert seen == ("model-two" if step in ("timestamp", "recorded", "pruned") else "model-one")
    channel.heal()
    with database.read() as session:
        states = [(row.release, row.state) for row in publications(session)]
    begun = step not in ("copied", "registered")
    ended = (2, "published" if seen == "model-two" else "abandoned")
    assert states == [*([ended] if begun else []), (1, "published")]
    done = channel.publish(two)
    assert done.release == (2 if seen == "model-two" or not begun else 3)
    assert (node.look().name, node.look().release) == ("model-two", done.release)
    strangers = list(home.channel.rglob(".tmp-*"))
    assert strangers == []


def test_readers_are_never_torn_wherever_a_publication_stops(
    publication: Make, home: HubHome, database: Database, node: Any
) -> None:
    steps: list[str] = []
    open_channel(home, database, reached=steps.append).publish(publication("one"))
    for stop in range(len(steps)):
        left = stop

        def reached(_: str) -> None:
            nonlocal left
            if left == 0:
                raise StoppedHereError
            left -= 1

        before = node.look()
        wanted = publication(f"n{stop}")
        with pytest.raises(StoppedHereError):
            open_channel(home, database, reached=reached).publish(wanted)
        seen = node.look()
        assert seen.name in (before.name, f"model-n{stop}"), steps[stop]
        after = open_channel(home, database).publish(wanted)
        assert (node.look().name, node.look().release) == (f"model-n{stop}", after.release)
        assert after.release > before.release


def test_a_disk_that_takes_no_more_leaves_the_old_state(
    channel: SignedChannel,
    home: HubHome,
    node: Any,
    publication: Make,
    *,
    make_model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    channel.publish(publication("one"))
    big = make_model(tmp_path / "big", "big", 600_000)
    found = _run(home, big, "", limit=500_000)
    assert found.returncode == 1
    assert StorageError.__name__ in found.stderr
    assert node.look().name == "model-one"
    assert channel.publish(publication("two")).release == 2


def test_what_a_crash_left_of_the_metadata_is_removed(
    channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    channel.publish(publication("one"))
    for name in ("9.targets.json", "9.snapshot.json", ".tmp-0123"):
        (home.channel / "metadata" / name).write_bytes(b"half")
    channel.publish(publication("two"))
    names = sorted(path.name for path in (home.channel / "metadata").iterdir())
    assert "9.targets.json" not in names
    assert "9.snapshot.json" not in names
    assert ".tmp-0123" not in names
    assert node.look().name == "model-two"
