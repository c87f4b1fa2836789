# SPDX-License-Identifier: Apache-2.0
"""The seed's own four manifests, threshold and timer included, through a full round with synthetic metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helmet_cloud.store.rounds import lineage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Rig

HOUR = 3600.0


@pytest.fixture
def seeds(tmp_path: Path, seed_rig: Callable[[Path], Rig]) -> Iterator[Rig]:
    made = seed_rig(tmp_path)
    yield made
    made.database.close()


def test_the_seeds_job_waits_for_500_samples_and_the_window_and_then_deploys(seeds: Rig) -> None:
    trigger = seeds.job()["spec"]["trainSpec"]["trigger"]
    assert trigger["condition"] == {"operator": ">", "threshold": 500, "metric": "num_of_samples"}
    seeds.file.parent.mkdir(parents=True)
    seeds.file.touch()
    seeds.tick()
    assert seeds.stages == ["Train/Waiting"]
    assert seeds.message == "0 of 500 samples"

    seeds.add(range(501))
    seeds.play(4)
    trained = [side for side, *_ in seeds.samples().values()].count("train")
    assert len(seeds.samples()) == 501
    # Of 501 samples about 0.8 train: as in Sedna, num_of_samples counts those.
    assert 350 < trained < 450
    assert seeds.message == f"{trained} of 500 samples"
    assert seeds.rounds == []

    seeds.clock.advance(11 * HOUR)  # 23:00
    seeds.add(range(501, 660))
    seeds.play(4)
    trained = [side for side, *_ in seeds.samples().values()].count("train")
    assert trained > 500
    assert seeds.message == f"{trained} of 500 samples: enough, waits for the window 02:00-20:00 UTC"
    assert seeds.rounds == []

    seeds.clock.advance(3.1 * HOUR)  # 02:06
    seeds.play()
    (row,) = seeds.rounds
    assert (row.number, row.status, row.release) == (1, "accepted", 1)
    assert seeds.condition("ModelDeployed")["status"] == "True"
    assert "precision_delta +0.200" in seeds.condition("ModelDeployed")["message"]
    assert seeds.message == "0 of 500 samples"
    assert seeds.channel.out[0]["job"] == "default/helmet-detection-demo"
    with seeds.database.read() as session:
        found = lineage(session, str(row.model_sha256)[:10])
    assert (found.job, found.round, len(found.samples)) == ("default/helmet-detection-demo", 1, trained)
