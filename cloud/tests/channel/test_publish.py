# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.contract import Delivery, MiningRule, ModelManifest
from helmet_agent.errors import AgentError
from helmet_cloud.channel import SignedChannel, open_channel
from helmet_cloud.channel.channel import KEPT_MANIFESTS
from helmet_cloud.errors import BadRequest, NotFound
from helmet_cloud.ports import JobRef, Publication, Published
from helmet_cloud.store.models import find_models, publications

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database

JOB = JobRef("default", "helmet-detection-demo")
Make = Callable[..., Publication]


def test_a_node_reads_what_was_published_and_every_file_of_it(
    channel: SignedChannel, publication: Make, node: Any
) -> None:
    wanted = publication(
        mining=MiningRule("Random", {"random_ratio": "0.1"}),
        delivery=Delivery("other/job", hot_update=False, poll_seconds=7),
        parent="a" * 64,
        dataset="b" * 64,
        report={"recall": [0.5, None]},
    )
    done = channel.publish(wanted)
    found = node.look()
    assert (found.release, found.model.sha256) == (done.release, done.sha256)
    assert found.mining == wanted.mining
    assert found.delivery == Delivery("default/helmet-detection-demo", hot_update=False, poll_seconds=7)
    assert (found.parent, found.dataset, found.report) == ("a" * 64, "b" * 64, {"recall": [0.5, None]})


def test_an_empty_channel_can_be_read_and_has_nothing(channel: SignedChannel, node: Any) -> None:
    assert node.look() is None
    assert channel.live(JOB, "stable") is None


def test_releases_grow_over_all_rings_of_a_job_and_each_job_has_its_own(
    channel: SignedChannel, publication: Make
) -> None:
    other = JobRef("default", "other")
    releases = [
        channel.publish(publication("one", "canary")).release,
        channel.publish(publication("one", "stable")).release,
        channel.publish(publication("two", "canary")).release,
        channel.publish(publication("one", "stable", other)).release,
        channel.promote(JOB, "it is good").release,
    ]
    assert releases == [1, 2, 3, 1, 4]


def test_publishing_the_same_again_changes_nothing(
    channel: SignedChannel, publication: Make, home: HubHome, database: Database
) -> None:
    first = channel.publish(publication())
    before = {path: path.read_bytes() for path in home.channel.rglob("*") if path.is_file()}
    assert channel.publish(publication(reason="another reason")) == first
    assert {path: path.read_bytes() for path in home.channel.rglob("*") if path.is_file()} == before
    with database.read() as session:
        assert len(publications(session)) == 1


def test_other_figures_for_the_same_model_are_a_new_release(channel: SignedChannel, publication: Make) -> None:
    channel.publish(publication())
    assert channel.publish(publication(report={"loss": 1.5})).release == 2


def test_promotion_brings_the_canary_to_the_stable_ring(channel: SignedChannel, publication: Make, node: Any) -> None:
    channel.publish(publication("one", "stable"))
    channel.publish(publication("two", "canary"))
    assert node.look("stable").name == "model-one"
    done = channel.promote(JOB, "it is good")
    assert channel.live(JOB, "stable") == done
    assert (node.look("stable").name, node.look("canary").name) == ("model-two", "model-two")


def test_promotion_without_a_canary_says_so(channel: SignedChannel) -> None:
    with pytest.raises(NotFound, match="nothing in ring 'canary'"):
        channel.promote(JOB, "it is good")


def test_going_back_is_the_old_digest_under_a_higher_release(
    channel: SignedChannel, publication: Make, node: Any
) -> None:
    old = channel.publish(publication("one"))
    channel.publish(publication("two"))
    back = channel.publish(publication("one"))
    assert back == Published(old.sha256, 3)
    assert (node.look().model.sha256, node.look().release) == (old.sha256, 3)


def test_the_hub_keeps_the_model_with_its_float_weights(
    channel: SignedChannel, publication: Make, home: HubHome
) -> None:
    done = channel.publish(publication())
    kept = home.models / done.sha256
    assert (kept / "weights.npz").read_bytes() == b"weights one"
    assert ModelManifest.from_bytes((kept / "manifest.json").read_bytes()).model.sha256 == done.sha256


def test_float_weights_never_reach_the_channel(channel: SignedChannel, publication: Make, home: HubHome) -> None:
    channel.publish(publication())
    assert b"weights one" not in [path.read_bytes() for path in home.channel.rglob("*") if path.is_file()]


def test_history_says_what_went_where_and_why(channel: SignedChannel, publication: Make, database: Database) -> None:
    channel.publish(publication("one", "canary"))
    channel.promote(JOB, "no complaints for a day")
    with database.read() as session:
        found = [(row.ring, row.release, row.state, row.reason) for row in publications(session, JOB)]
        models = [(row.name, row.origin) for row in find_models(session)]
    assert found == [
        ("stable", 2, "published", "no complaints for a day"),
        ("canary", 1, "published", "because of one"),
    ]
    assert models == [("model-one", "default/helmet-detection-demo: because of one")]


def test_files_of_old_publications_go_and_the_last_ones_stay(
    channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    done = [channel.publish(publication(f"n{number}")) for number in range(KEPT_MANIFESTS + 3)]
    there = {path.name.split(".")[0] for path in (home.channel / "targets" / "files").iterdir()}
    models = [one.sha256 for one in done]
    assert [sha256 in there for sha256 in models] == [False] * 3 + [True] * KEPT_MANIFESTS
    manifests = list((home.channel / "targets" / "jobs").rglob("*.json"))
    assert len(manifests) == KEPT_MANIFESTS
    assert node.look().model.sha256 == models[-1]


def test_a_quiet_ring_keeps_its_files_while_another_one_moves_on(
    channel: SignedChannel, publication: Make, node: Any
) -> None:
    channel.publish(publication("quiet", "stable"))
    for number in range(KEPT_MANIFESTS + 2):
        channel.publish(publication(f"n{number}", "canary"))
    assert node.look("stable").name == "model-quiet"


def _no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _no_model(folder: Path) -> None:
    (folder / "model.tflite").unlink()


def _other_model(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"x" * 5000)


def _longer_model(folder: Path) -> None:
    with (folder / "model.tflite").open("ab") as to:
        to.write(b"tail")


def _no_picture(folder: Path) -> None:
    (folder / "golden_a.jpg").unlink()


def _no_golden(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text()) | {"golden": []}
    (folder / "manifest.json").write_text(json.dumps(document))


def _bad_manifest(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text()) | {"surprise": 1}
    (folder / "manifest.json").write_text(json.dumps(document))


def _escaping(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    document["model"]["name"] = "../model.tflite"
    (folder / "manifest.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_no_manifest, "manifest.json"),
        (_no_model, "model.tflite"),
        (_other_model, "model.tflite"),
        (_longer_model, "model.tflite"),
        (_no_picture, "golden_a.jpg"),
        (_no_golden, "golden"),
        (_bad_manifest, "surprise"),
        (_escaping, "model.name"),
    ],
)
def test_an_incomplete_model_is_refused_and_nothing_changes(
    spoil: Callable[[Path], None], named: str, channel: SignedChannel, publication: Make, *, home: HubHome, node: Any
) -> None:
    channel.publish(publication("good"))
    bad = publication("bad")
    spoil(bad.folder)
    with pytest.raises(BadRequest, match=named) as caught:
        channel.publish(bad)
    assert "\n" not in str(caught.value)
    assert node.look().name == "model-good"
    assert len(list(home.models.iterdir())) == 1


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "UPPER", "-a", "a" * 300, "a\n"])
def test_names_that_could_lead_out_are_refused(name: str, channel: SignedChannel, publication: Make) -> None:
    for job in (JobRef(name, "job"), JobRef("default", name)):
        with pytest.raises(BadRequest):
            channel.publish(publication(job=job))


def test_an_unknown_ring_is_refused(channel: SignedChannel, publication: Make) -> None:
    with pytest.raises(BadRequest, match="canary or stable"):
        channel.publish(publication(ring="../stable"))


def test_figures_that_are_no_json_numbers_are_refused(channel: SignedChannel, publication: Make) -> None:
    with pytest.raises(BadRequest, match="finite"):
        channel.publish(publication(report={"loss": float("nan")}))


def test_a_missing_key_is_named_and_nothing_changes(
    channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    channel.publish(publication("one"))
    (home.keys / "snapshot.pem").rename(home.folder / "away.pem")
    with pytest.raises(AgentError, match=r"snapshot key is missing.*snapshot\.pem"):
        channel.publish(publication("two"))
    assert node.look().name == "model-one"
    (home.folder / "away.pem").rename(home.keys / "snapshot.pem")
    assert channel.publish(publication("two")).release == 3
    assert node.look().name == "model-two"


def test_writers_at_the_same_time_queue(
    home: HubHome, database: Database, publication: Make, node: Any, channel: SignedChannel
) -> None:
    wanted = [publication(f"t{number}") for number in range(6)]
    writers = [open_channel(home, database), channel]
    done: list[Published] = []

    def write(number: int) -> None:
        done.append(writers[number % 2].publish(wanted[number]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.release for one in done) == [1, 2, 3, 4, 5, 6]
    assert node.look().release == 6


def test_a_live_file_that_somebody_took_away_stops_the_next_publication(
    channel: SignedChannel, publication: Make, home: HubHome, node: Any
) -> None:
    done = channel.publish(publication("one", "canary"))
    (home.channel / "targets" / "files" / f"{done.sha256}.{done.sha256}").unlink()
    with pytest.raises(AgentError, match="publish the model anew"):
        channel.publish(publication("two", "stable"))
    assert node.look("stable") is None
    assert channel.publish(publication("one", "canary", report={"again": 1})).release == 3
    assert channel.publish(publication("two", "stable")).release == 4
    assert node.look("stable").name == "model-two"
