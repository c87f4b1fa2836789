# SPDX-License-Identifier: Apache-2.0
"""Power cuts: a node's life on a file system that notes every change, and every disk that a cut could have left of it.

The life is real: the model store, the journal, python-tuf's metadata, the spool with SQLite. It runs once on the
noting file system (which is also the run on a FUSE file system: all it does there goes through the kernel). Then the
disk is put together anew for cuts before each change, with what was not synced dropped or reordered, and opened.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from lives import Live, Probe
from one_life import feed_of
from power import after_cut, lay_out, shape, synced_at

from helmet_agent.adapters.spool import Spool
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.app.updates import make_updater, open_models
from helmet_agent.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.survive
HERE = Path(__file__).parent
SOAK = bool(os.environ.get("HELMET_SOAK"))
REORDERED = 20 if SOAK else 1
NO_MOUNT = 77
IN_NAMESPACE = ["unshare", "--mount", "--map-root-user"]


@pytest.fixture
def life(tmp_path: Path, channel: Any, make_model: Callable[..., Any]) -> list[tuple[Any, ...]]:
    """The log of a life with two new models."""
    base = make_model(content=b"TFL3 base".ljust(9000, b"."), golden=(), release=1)
    stages = []
    for release in (2, 3):
        channel.publish(make_model(content=f"TFL3 {release}".encode().ljust(9000, b"."), golden=(), release=release))
        stages.append(shutil.copytree(channel.folder, tmp_path / f"stage-{release}"))
    mount = tmp_path / "mount"
    mount.mkdir()
    write_config(tmp_path / "agent.toml", mount / "data", base.folder, channel.root_file)
    command = [
        *IN_NAMESPACE,
        *(sys.executable, str(HERE / "forgetful.py"), str(mount), str(tmp_path / "log")),
        *(sys.executable, str(HERE / "one_life.py"), str(tmp_path / "agent.toml"), str(mount / "marks")),
        *map(str, stages),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("unshare(1) is missing")
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == NO_MOUNT or last.startswith("unshare:"):
        pytest.skip(f"this machine does not permit FUSE in a mount namespace: {last}")
    assert done.returncode == 0, done.stderr
    log: list[tuple[Any, ...]] = pickle.loads((tmp_path / "log").read_bytes())  # noqa: S301 - our own child's
    return log


def write_config(path: Path, data: Path, model: Path, root: Path) -> Path:
    path.write_text(
        f"[node]\nname = 'n1'\ndata_dir = '{data}'\n[model]\npath = '{model}'\n[spool]\nquota = '1 MiB'\n"
        f"[updates]\nenabled = true\nroot_file = '{root}'\nfollow = 'default/helmet-detection-demo'\n"
        "probation_seconds = 0\nprobation_frames = 1\n"
    )
    return path


class Disk:
    """Looks at a disk as the next start of the node does."""

    def __init__(self, config_file: Path, marks: list[str]) -> None:
        self.config, self.clock = load_config(config_file), SystemClock()
        self.confirmed = [text.split()[1] for text in marks if text.startswith("confirmed ")]
        self.examples = [text.split()[1] for text in marks if text.startswith("example ")]

    def check(self, coming: str | None) -> None:
        """All that was promised holds; ``coming`` may have been confirmed just when the power went."""
        models = open_models(self.config, self.clock)
        try:
            models.book.begin()
            state = models.book.state
            assert models.store.damage(state.current.key) is None
            assert models.store.damage(state.last_confirmed.key) is None
            assert models.store.pointers() == (state.current.key, state.last_confirmed.key)
            if self.confirmed:
                assert state.last_confirmed.key in (self.confirmed[-1], coming)
        finally:
            models.close()
        spool = Spool(self.config.node.data_dir / "spool", self.config.spool.quota)
        try:
            for sha256 in self.examples:
                assert spool.open(sha256) is not None, "a kept example is lost"
            for sha256 in spool.pending(1000):
                assert spool.open(sha256) is not None
        finally:
            spool.close()

    def goes_on(self, channel: Path, newest: str) -> None:
        """The same disk takes the next model."""
        models = open_models(self.config, self.clock)
        try:
            models.book.begin()
            feed = feed_of(self.config, channel, models.store)
            updater = make_updater(self.config, models, Live(0), self.clock, feed=feed, probe=Probe([]))
            updater.update()
            while models.book.state.candidate is not None:
                updater.watch()
            assert models.book.state.last_confirmed.key == newest
        finally:
            models.close()


def test_every_power_cut_leaves_a_node_that_keeps_its_promises(
    life: list[tuple[Any, ...]], tmp_path: Path, channel: Any, record_property: Callable[[str, object], None]
) -> None:
    synced, chance = synced_at(life), random.Random(1)  # noqa: S311 - what reached the disk, no secret
    marks = [what[1] for what in life if what[0] == "mark"]
    assert len(marks) >= 3 + 2 * 3
    newest = [text for text in marks if text.startswith("confirmed ")][-1].split()[1]
    looked, seen = 0, set[tuple[int, int]]()
    text = (tmp_path / "agent.toml").read_text()
    for end in range(1, len(life) + 1):
        if life[end - 1][0] in ("sync", "new"):
            continue
        told = [what[1] for what in life[:end] if what[0] == "mark"]
        coming = next((what[1].split()[1] for what in life[end:] if what[0] == "mark" and what[1][0] == "c"), None)
        kept = [lambda _: False, lambda _: True, *[lambda _: chance.random() < 0.5] * REORDERED]
        for keep in kept:
            nodes = after_cut(life, synced, end, keep)
            if (one := (shape(nodes), len(told))) in seen:
                continue
            seen.add(one)
            disk = tmp_path / "disk"
            disk.mkdir()
            lay_out(nodes, disk)
            (tmp_path / "cut.toml").write_text(text.replace(str(tmp_path / "mount"), str(disk)))
            found = Disk(tmp_path / "cut.toml", told)
            try:
                found.check(coming)
                if looked % 25 == 0:
                    found.goes_on(channel.folder, newest)
            except Exception as error:
                raise AssertionError(
                    f"cut after change {end} of {len(life)}, {life[end - 1][:3]}: {error!r}"
                ) from error
            looked += 1
            shutil.rmtree(disk)
    assert looked > 300
    record_property("survive", f"item 1: {looked} disks after power cuts at {len(life)} points, all promises held")
