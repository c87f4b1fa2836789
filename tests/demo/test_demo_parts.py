# SPDX-License-Identifier: Apache-2.0
"""The parts of the demo by themselves: camera name, labelling, reading of conditions, counting of frames, the board."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rich.console import Console

from helmet_agent.config import load_config
from helmet_agent.vision.mining import dhash
from helmet_cloud.core.job_state import Transition
from helmet_cloud.labels import read_sedna
from helmet_demo.board import Board
from helmet_demo.camera import EVAL_SHARE, STARTS_SECONDS, camera_name, eval_share, outside
from helmet_demo.frames import distinct_frames, read_frames
from helmet_demo.labelling import Labeller, swapped
from helmet_demo.manifests import NEW_SITE, SEED, differences, filled, seed_files, train_share
from helmet_demo.new_site import HELD_BACK, TRAIN, read_site
from helmet_demo.node import Seen, Setup, Swap, config_text, find_swap
from helmet_demo.places import Places
from helmet_demo.processes import Child, DemoError, last_lines, run
from helmet_demo.round import DONE, EVALUATION, FAILED, GATE, PUBLISHING, RUNS, TRAINING, TRIGGER, WAITS, ended, rows

if TYPE_CHECKING:
    from collections.abc import Callable

SITE = read_site()
CLIP = SITE.of(TRAIN)[0].clip
NOW = 1_790_000_000.0


def example(frame: int) -> dict[str, Any]:
    return {"record": {"frame": frame, "sha256": f"{frame:064x}"}}


def condition(stage: str, step: str, reason: str = "", message: str = "") -> dict[str, Any]:
    one = Transition(stage, step, reason, message)  # type: ignore[arg-type]  # the words of the hub's own states
    return {"stage": one.stage, "type": one.step, "reason": one.reason, "message": one.message}


@pytest.fixture(scope="module")
def kept() -> list[int]:
    return [frame for frame in distinct_frames(CLIP) for one in SITE.of(TRAIN) if frame in one]


@pytest.mark.parametrize("later", [0.0, 3.7, 1234.5, 86400.0])
def test_the_camera_gets_a_name_under_which_both_sides_have_enough(later: float, kept: list[int]) -> None:
    hard = [frame for frame in kept if frame in SITE.of(TRAIN)[0] or frame in SITE.of(TRAIN)[1]]
    name = camera_name("node-1", kept, hard, 0.65, NOW + later)
    assert name == camera_name("node-1", kept, hard, 0.65, NOW + later), "the same for the same moment"
    for start in STARTS_SECONDS:
        times = [NOW + later + start + frame / 10 for frame in kept]
        assert outside(eval_share("node-1", name, times, 0.65), EVAL_SHARE) == 0.0


def test_both_sides_have_enough_for_the_trigger(kept: list[int]) -> None:
    (trigger,) = re.findall(r"threshold: (\d+)\n\s+metric: num_of_samples", NEW_SITE.read_text())
    spare = 0.9  # some frames are lost to a busy machine, or show what the regression set shows
    assert spare * len(kept) * (1 - EVAL_SHARE[1]) > int(trigger)


def test_only_the_first_of_equal_frames_is_kept(kept: list[int]) -> None:
    shown = [dhash(image) for _, image in read_frames(CLIP.file, range(CLIP.frames))]
    whole = distinct_frames(CLIP)
    assert {shown.index(digest) for digest in shown} <= set(whole)
    assert set(kept) < set(whole)
    assert len(whole) < CLIP.frames / 4, "one that came again after 64 others is kept again, and no more than that"


def test_most_names_would_not_do() -> None:
    times = [NOW + 2 + frame / 10 for one in SITE.of(TRAIN) for frame in range(one.first, one.last + 1, 5)]
    shares = [eval_share("node-1", f"camera-{number}", times, 0.65) for number in range(200)]
    assert sum(shares) / len(shares) == pytest.approx(0.35, abs=0.05), "the split is the hub's own"
    assert min(shares) < 0.1
    assert max(shares) > 0.6


def test_only_training_passages_are_labelled_and_each_picture_once(tmp_path: Path) -> None:
    train, held = SITE.of(TRAIN)[0], SITE.of(HELD_BACK)[0]
    labeller = Labeller(SITE, CLIP, tmp_path)
    arrived = [example(train.first + 20), example(held.first + 20), example(CLIP.frames + train.first + 21)]
    first = labeller.write_batch(arrived)
    assert first is not None
    assert labeller.write_batch(arrived) is None, "all are labelled already"
    lines = [line.split() for line in first.read_text().splitlines()]
    assert [line[0] for line in lines] == [f"{train.first + 20:064x}.jpg", f"{CLIP.frames + train.first + 21:064x}.jpg"]
    for line, frame in zip(lines, (train.first + 20, train.first + 21), strict=True):
        person, head = ([int(edge) for edge in box.split(",")] for box in line[1:])
        assert (person[4], head[4]) == (0, 3)
        assert person[:4] == [round(edge) for edge in train.boxes(frame)[0].box]
        assert head[:4] == [round(edge) for edge in train.boxes(frame)[1].box]
    again = labeller.write_batch([*arrived, example(train.first + 30)])
    assert again is not None
    assert again != first
    assert labeller.labelled == 3


def test_labels_can_be_swapped_to_see_the_gate_refuse(tmp_path: Path) -> None:
    train = SITE.of(TRAIN)[0]
    file = Labeller(SITE, CLIP, tmp_path, swapped).write_batch([example(train.first)])
    assert file is not None
    assert [box.rpartition(",")[2] for box in file.read_text().split()[1:]] == ["0", "2"], "a hat, says the label"
    assert swapped(swapped(train.boxes(train.first))) == train.boxes(train.first)


def test_its_file_is_in_the_format_of_the_hub(tmp_path: Path) -> None:
    train = SITE.of(TRAIN)[0]
    labeller = Labeller(SITE, CLIP, tmp_path)
    file = labeller.write_batch([example(frame) for frame in range(train.first, train.last + 1)])
    assert file is not None
    found = read_sedna(file, look=lambda _: (CLIP.width, CLIP.height))
    assert not found.problems
    assert len(found.pictures) == train.last - train.first + 1


def test_the_stages_of_a_round_follow_its_conditions() -> None:
    past = [
        {"type": "ModelDeployed", "stage": "Deploy", "reason": "Deployed", "message": "summed up"},
        {"type": "RoundFailed", "stage": "Deploy", "reason": "Refused", "message": "of another round"},
        condition("Train", "Waiting", "JobCreated", "12 of 40 samples"),
        condition("Train", "Ready", "Triggered", "round 1: 43 of 40 samples"),
        condition("Train", "Running", "WorkerStarted", "step 20 of 100"),
        condition("Train", "Completed", "WorkerCompleted", "completed"),
        condition("Eval", "Running", "WorkerStarted", "7 of 30"),
        condition("Eval", "Completed", "WorkerCompleted", "completed"),
        condition("Deploy", "Waiting", "", ""),
        condition("Deploy", "Ready", "Accepted", "accepted: +.2"),
        condition("Deploy", "Completed", "Deployed", "release 1"),
        condition("Train", "Waiting", "", "3 of 40 samples"),
    ]
    order = (TRIGGER, TRAINING, EVALUATION, GATE, PUBLISHING)

    def after(count: int) -> list[str]:
        found = rows(past[: count + 2])
        return [found[name].state for name in order]

    assert after(0) == [WAITS] * 5
    assert after(1) == [RUNS, WAITS, WAITS, WAITS, WAITS]
    assert after(3) == [DONE, RUNS, WAITS, WAITS, WAITS]
    assert after(5) == [DONE, DONE, RUNS, WAITS, WAITS]
    assert after(8) == [DONE, DONE, DONE, DONE, WAITS]
    assert not ended(rows(past[:10]))
    assert ended(rows(past[:11]))
    assert rows(past)[TRIGGER].words == "round 1: 43 of 40 samples", "the next round's wait is not shown"


@pytest.mark.parametrize(
    ("stage", "step", "reason", "name"),
    [
        ("Deploy", "Completed", "Refused", GATE),
        ("Train", "Failed", "RoundFailed", TRAINING),
        ("Eval", "Failed", "RoundFailed", EVALUATION),
        ("Deploy", "Failed", "RoundFailed", GATE),
    ],
)
def test_a_round_that_does_not_pass_is_seen(stage: str, step: str, reason: str, name: str) -> None:
    past = [
        condition("Train", "Ready", "Triggered", "round 1"),
        condition(stage, step, reason, "why"),
        condition("Train", "Waiting", "", "0 of 40"),
    ]
    found = rows(past)
    assert (found[name].state, found[name].words) == (FAILED, "why")
    assert ended(found)


@pytest.mark.parametrize(
    ("missing", "lost", "near"),
    [((), 0, 0), ((2020,), 0, 1), ((1999,), 1, 1), ((1990, 2000, 2001, 2052), 2, 3), ((1000, 3000), 0, 0)],
    ids=str,
)
def test_frames_lost_in_the_swap_are_counted(missing: tuple[int, ...], lost: int, near: int) -> None:
    seen = [Seen(frame, "old" if frame < 2000 else "new") for frame in range(4000) if frame not in missing]
    found = find_swap(iter(seen))
    assert found is not None
    assert found.first == next(one.frame for one in seen if one.model == "new")
    assert (found.lost, found.near) == (lost, near)


def test_a_film_that_ends_soon_after_the_swap_has_lost_nothing() -> None:
    seen = [Seen(frame, "old" if frame < 20 else "new") for frame in range(5, 25)]
    assert find_swap(iter(seen)) == Swap(first=20, lost=0, near=0)


def test_without_a_swap_there_is_none() -> None:
    assert find_swap(Seen(frame, "old") for frame in range(100)) is None


def test_the_differences_to_the_seed_are_those_that_the_page_names() -> None:
    found = {place.rpartition(" ")[2].removeprefix("spec."): (old, new) for place, old, new in differences()}
    assert found["trainSpec.trigger.condition.threshold"] == ("500", "45")
    assert found["trainSpec.trigger.timer.end"] == ("20:00", "23:59"), "as it is written, not as YAML 1.1 reads it"
    assert found["deploySpec.model.hotUpdateEnabled"] == ("-", "true")
    assert found["deploySpec.trigger.condition.metric"] == ("precision_delta", "recall_delta[helmet-off]")
    assert not [place for place in found if "hardExampleMining" in place], "the seed's own rule"


def test_every_variable_of_the_manifests_is_filled() -> None:
    for path in [*seed_files(), NEW_SITE]:
        assert "$" not in filled(path.read_text(), "hub")
    assert len(seed_files()) == 4
    assert SEED in NEW_SITE.parent.iterdir()
    assert 0.5 < train_share() < 1.0
    assert len(list(yaml.safe_load_all(NEW_SITE.read_text()))) == 4


def test_the_agent_takes_the_configuration(tmp_path: Path) -> None:
    films = {"walkway-1": tmp_path / "film.mp4", "gate": tmp_path / 'a "film".avi'}
    path = tmp_path / "agent.toml"
    path.write_text(config_text(Places(tmp_path), "https://127.0.0.1:1", Setup(films, "stall_seconds = 30\n"), 4711))
    config = load_config(path)
    assert [(one.name, one.url, one.loop, one.realtime) for one in config.sources] == [
        ("walkway-1", str(tmp_path / "film.mp4"), True, True),
        ("gate", str(tmp_path / 'a "film".avi'), True, True),
    ]
    assert {one.stall_seconds for one in config.sources} == {30.0}
    assert config.updates.follow == "default/new-site"
    assert (config.mining.per_hour, config.mining.duplicate_distance) == (100000, 0)


def board(clock: Callable[[], float]) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    return Board(("one", "two"), Console(file=out, width=100), clock), out


def test_off_a_terminal_the_board_says_each_end_and_little_else() -> None:
    now = [0.0]
    shown, out = board(lambda: now[0])
    with shown:
        for number in range(100):
            now[0] = number * 0.5
            shown.runs("one", f"{number} of 100")
        shown.done("one", "all of 100")
        shown.runs("one", "never again")
        shown.failed("two", "why")
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if "of 100" in line]) == 6, "five in fifty seconds, and the end"
    assert "✓ one" in lines[-2]
    assert "✗ two" in lines[-1]
    assert shown.stages["one"].words == "all of 100"


def test_the_table_has_a_row_a_stage_with_its_time() -> None:
    now = [0.0]
    shown, out = board(lambda: now[0])
    shown.runs("one", "x")
    now[0] = 7.0
    shown.done("one", "all")
    Console(file=out, width=100).print(shown)
    assert any(line.split() == ["✓", "one", "7", "all"] for line in out.getvalue().splitlines())


def last_words(child: Child) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            child.check()
        except DemoError as error:
            return str(error)
        time.sleep(0.05)
    return "it still runs"


def test_a_program_that_ends_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    child = Child("the thing", (sys.executable, "-c", "print('words'); raise SystemExit(3)"), tmp_path / "log")
    said = last_words(child)
    assert "the thing ended with 3" in said
    assert said.endswith("words")
    assert last_lines(child.log) == "words"


def test_a_program_is_ended_by_its_own_id(tmp_path: Path) -> None:
    child = Child("sleep", ("sleep", "60"), tmp_path / "log")
    child.check()
    assert child.stop() == -15
    assert not Path(f"/proc/{child.pid}").exists()
    assert child.stop() == -15, "again changes nothing"


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(DemoError, match=r"(?s)ended with 4.*because"):
        run((sys.executable, "-c", "print('because'); raise SystemExit(4)"))
    assert run(("cat",), text="in") == "in"
