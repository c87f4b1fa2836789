# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.errors import ModelError, StorageError
from helmet_cloud.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def checkpoint(step: int, size: int = 1000) -> Checkpoint:
    rng = np.random.default_rng(step)
    arrays = [rng.normal(size=(size, 3)).astype(np.float32), np.float32(step)]
    return Checkpoint(step, {"steps": 10, "rate": 1e-3}, arrays, arrays[::-1], [np.int64(step), *arrays], 12.5)


@pytest.fixture
def small_files() -> Iterator[None]:
    """The operating system refuses files over 64 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    saved = checkpoint(7)
    save_checkpoint(tmp_path / "new" / "run.npz", saved)
    loaded = load_checkpoint(tmp_path / "new" / "run.npz")
    assert (loaded.step, loaded.plan, loaded.seconds) == (7, saved.plan, 12.5)
    for name in ("weights", "average", "optimiser"):
        pairs = zip(getattr(saved, name), getattr(loaded, name), strict=True)
        assert all(np.array_equal(a, b) and np.asarray(a).dtype == b.dtype for a, b in pairs)


def test_order_holds_beyond_ten_arrays(tmp_path: Path) -> None:
    arrays = [np.float32(index) for index in range(25)]
    save_checkpoint(tmp_path / "run.npz", Checkpoint(1, {}, arrays, [], []))
    assert [float(a) for a in load_checkpoint(tmp_path / "run.npz").weights] == list(range(25))


@pytest.mark.usefixtures("small_files")
def test_failed_write_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    save_checkpoint(path, checkpoint(1))
    with pytest.raises(StorageError):
        save_checkpoint(path, checkpoint(2, size=100_000))
    assert load_checkpoint(path).step == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_cut_file_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = tmp_path / "run.npz"
    save_checkpoint(path, checkpoint(1))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"run\.npz"):
        load_checkpoint(path)


def test_other_archive_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ModelError, match="no checkpoint"):
        load_checkpoint(path)
