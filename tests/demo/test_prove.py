# SPDX-License-Identifier: Apache-2.0
"""The pieces of `make prove`: scenes as cameras, which picture an example shows, the job, and when aims are reached."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import prove_page
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prove import MINING, PATIENCE, WORKER_NODE, ProofPlaces, apply_old_pictures, put_old_pictures, samples
from prove_data import scenes_of
from prove_job import NEW_IN_BATCH, OLD_URL, TRAIN_PROB, epochs_for, job_text
from prove_site import SceneCamera, SiteLabeller, make_cameras, write_film

from helmet_agent.adapters.clip import Clip
from helmet_agent.config import load_config
from helmet_agent.errors import SourceMissing
from helmet_agent.source_url import SourceSettings
from helmet_agent.testing import ManualClock
from helmet_cloud.labels import LabelBox, LabelledPicture, read_sedna
from helmet_demo.hub import Hub, enrol, make_hub
from helmet_demo.manifests import DATASET
from helmet_demo.node import NODE, Node, Setup, clear, config_text, write_config
from helmet_demo.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import BgrImage

SHOWN = {"yard": 3, "gate 7": 2, "hall": 1}
PERSON = LabelBox("person", (4.0, 6.0, 30.0, 50.0))


def read(picture: LabelledPicture) -> BgrImage:
    image = cv2.imread(str(picture.path))
    assert image is not None
    return cast("BgrImage", image)


def draw(path: Path, number: int, width: int = 160, height: int = 96) -> LabelledPicture:
    """A picture like no other."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    head = LabelBox("helmet-off", (10.0 + number, 6.0, 20.0 + number, 18.0))
    return LabelledPicture(path, width, height, (PERSON, head))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, LabelledPicture]]:
    folder = tmp_path_factory.mktemp("site")
    found: list[tuple[str, LabelledPicture]] = []
    for scene, count in SHOWN.items():
        for number in range(count):
            width = 128 if scene == "yard" and number == 2 else 160
            found.append((scene, draw(folder / f"{scene}_{number}.png".replace(" ", "-"), len(found), width)))
    return found


@pytest.fixture(scope="module")
def cameras(site: list[tuple[str, LabelledPicture]], tmp_path_factory: pytest.TempPathFactory) -> list[SceneCamera]:
    return make_cameras(reversed(site), tmp_path_factory.mktemp("films"))


def example(camera: str, frame: int, number: int = 0) -> dict[str, Any]:
    return {"record": {"source": camera, "frame": frame, "sha256": f"{number or hash((camera, frame)) % 16**12:064x}"}}


def test_a_scene_is_a_camera_and_one_of_two_sizes_is_two(cameras: list[SceneCamera]) -> None:
    assert [(one.name, len(one.pictures)) for one in cameras] == [
        ("01-gate-7", 2),
        ("02-hall", 1),
        ("03-yard", 1),
        ("04-yard", 2),
    ]
    for one in cameras:
        assert [picture.path.name for picture in one.pictures] == sorted(picture.path.name for picture in one.pictures)


def test_the_agent_sees_each_picture_bit_by_bit_and_its_number_names_it(cameras: list[SceneCamera]) -> None:
    labeller = SiteLabeller(cameras, Path("unused"))
    for camera in cameras:
        clip = Clip(SourceSettings(camera.name, str(camera.film), loop=True), ManualClock())
        clip.open()
        with contextlib.closing(clip):
            for _ in range(2 * len(camera.pictures) + 1):
                frame = clip.read()
                assert frame is not None
                shown = labeller.picture_of(example(frame.source, frame.seq))
                assert shown is not None
                assert np.array_equal(frame.image, read(shown))


def test_a_camera_of_another_site_shows_nothing_that_may_be_labelled(cameras: list[SceneCamera]) -> None:
    assert SiteLabeller(cameras, Path("unused")).picture_of(example("walkway-1", 0)) is None


def test_each_picture_is_labelled_once_with_its_own_boxes(cameras: list[SceneCamera], tmp_path: Path) -> None:
    labeller = SiteLabeller(cameras, tmp_path / "labels")
    arrived = [example("01-gate-7", 3, 11), example("01-gate-7", 1, 12), example("02-hall", 7, 13), example("x", 0, 14)]
    file = labeller.write_batch(arrived)
    assert file is not None
    found = read_sedna(file, look=lambda _: (160, 96))
    assert not found.problems
    assert [Path(one.path).stem[-2:] for one in found.pictures] == ["0b", "0d"], "11 and 12 show the same"
    for got, wanted in zip(found.pictures, (cameras[0].pictures[1], cameras[1].pictures[0]), strict=True):
        assert sorted(mark.box for mark in got.boxes) == sorted(mark.box for mark in wanted.boxes)
    assert (labeller.labelled, labeller.shown, labeller.complete) == (2, 6, True)


def status(cameras: list[SceneCamera], passes: float, pending: int = 0) -> dict[str, Any]:
    sources = [{"name": one.name, "frames_read": int(passes * len(one.pictures)) + 1} for one in cameras]
    return {"sources": sources, "spool": {"pending": pending}}


def test_labels_wait_until_all_is_there_or_does_not_come_any_more(cameras: list[SceneCamera], tmp_path: Path) -> None:
    labeller = SiteLabeller(cameras, tmp_path)
    everything = [example(one.name, frame) for one in cameras for frame in range(len(one.pictures))]
    assert labeller.due(status(cameras, 0.5), everything)
    assert not labeller.due(status(cameras, 1), everything[1:])
    assert not labeller.due(status(cameras, 2, pending=1), everything[1:])
    assert labeller.due(status(cameras, 2), everything[1:])
    assert not labeller.due(status(cameras[1:], 9), everything[1:]), "a camera that does not play"
    assert not labeller.due(status(cameras, 9), []), "nothing to label"
    labeller.write_batch(everything)
    assert not labeller.due(status(cameras, 9), everything), "once"


def test_pictures_of_other_sizes_make_no_film(tmp_path: Path) -> None:
    one, other = draw(tmp_path / "a.png", 1), draw(tmp_path / "b.png", 2, width=128)
    with pytest.raises(SourceMissing, match=r"b\.png: no picture of 160x96 pixels"):
        write_film(tmp_path / "film.avi", [one, other])


def test_a_busy_camera_is_cut_into_scenes_by_time(tmp_path: Path) -> None:
    names = [f"192_168_2_221_{number}_jpg.rf.x{number}" for number in (3, 99, 100, 615)]
    names += [f"192_168_2_{camera}_caji_1021_1_{camera}_jpg.rf.x" for camera in range(20, 50)]
    pictures = [LabelledPicture(tmp_path / f"{name}.jpg", 10, 10, ()) for name in names]
    scenes = scenes_of(pictures)
    assert scenes[0] == scenes[1]
    assert len(set(scenes)) == 3 + 30


@given(st.integers(10, 500), st.integers(1, 2000))
def test_epochs_make_about_the_steps_that_were_asked_for(pictures: int, steps: int) -> None:
    one = pictures * TRAIN_PROB * 0.85 / NEW_IN_BATCH  # steps of an epoch
    assert steps <= epochs_for(pictures, steps) * one + 1e-6 <= max(steps + one, one) + 1e-6


def test_the_job_names_the_old_pictures_and_takes_every_frame() -> None:
    job = list(yaml.safe_load_all(job_text(95, 160, "hub")))[-1]
    assert job["metadata"]["annotations"] == {
        "helmet.edge/replay-dataset": "old-pictures",
        "helmet.edge/replay-share": "0.25",
    }
    environment = {
        one["name"]: one["value"] for one in job["spec"]["trainSpec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert (environment["batch_size"], environment["epochs"]) == ("16", "27")
    assert job["spec"]["trainSpec"]["trigger"]["timer"] == {"start": "00:00", "end": "23:59"}
    assert "$" not in job_text(95, 160, "hub")


def test_the_agent_takes_the_mining_section(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    setup = Setup({"01-gate": tmp_path / "film.avi"}, PATIENCE, MINING)
    path.write_text(config_text(Places(tmp_path), "https://127.0.0.1:1", setup, 4711))
    mining = load_config(path).mining
    assert [rule.name for rule in mining.rules] == ["CloudOnly"]
    assert (mining.follow_manifest, mining.duplicate_distance, mining.jpeg_quality) == (False, 0, 95)


def outcome(site: float, old: float, *, passed: bool = True) -> dict[str, Any]:
    base = {part: {"map50": 0.5} for part in prove_page.NEW_PARTS | prove_page.OLD_PARTS}
    new = base | {"held_back": {"map50": 0.5 + site}, "fixture": {"map50": 0.5 - old}}
    return {"outcome": {"passed": passed, "words": "refused"}, "figures": {"base": base, "new": new}}


def test_what_was_aimed_at_is_judged_part_by_part() -> None:
    assert prove_page.missed(outcome(0.101, 0.014)) == []
    (site,) = prove_page.missed(outcome(0.099, 0.0))
    assert site == "new site, held back: +0.0990, at least +0.1 was wanted"
    (old,) = prove_page.missed(outcome(0.3, 0.016))
    assert old.startswith("clean_ccby_fixture: -0.0160")
    assert prove_page.missed(outcome(0.3, 0.0, passed=False)) == ["the round did not pass: refused"]


@pytest.mark.slow
def test_what_the_cameras_show_comes_to_the_hub_with_its_own_labels(
    site: list[tuple[str, LabelledPicture]], tmp_path: Path
) -> None:
    """The real agent and the real hub, up to the point where a round would begin."""
    places = ProofPlaces(tmp_path)
    cameras = make_cameras(site, tmp_path / "films", frames_a_second=2.0)
    labeller = SiteLabeller(cameras, tmp_path / "labels")
    make_hub(places)
    put_old_pictures([picture for _, picture in site[:2]], places.hub_root / OLD_URL.lstrip("/"))
    clear(places)
    with contextlib.closing(Hub(places)) as hub:
        enrol(places, NODE, places.site / "token")
        apply_old_pictures(hub, 2)
        hub.kubectl("apply", "-f", "-", text=job_text(100, 1, WORKER_NODE))  # more are asked for than there are
        films = {camera.name: camera.film for camera in cameras}
        config, port = write_config(places, hub.url, Setup(films, PATIENCE, MINING))
        with contextlib.closing(Node(places, config, port)) as node:
            wait_for(lambda: labeller.due(node.status(), hub.examples()))
        batch = labeller.write_batch(hub.examples())
        assert batch is not None
        hub.import_labels(batch)
        wait_for(lambda: samples(hub, DATASET) == len(site))
        assert "of 50 samples" in json.dumps(hub.conditions())
    found = read_sedna(places.hub_root / "data/new_site/train_data.txt")
    by_head = {picture.boxes[1].box: picture for _, picture in site}
    assert {picture.boxes[1].box for picture in found.pictures} == set(by_head)
    for picture in found.pictures:
        wanted = by_head[picture.boxes[1].box]
        assert cv2.PSNR(read(picture), read(wanted)) > 30.0, "the labels are those of this very picture"


def wait_for(look: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
