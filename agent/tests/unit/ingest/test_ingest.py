# SPDX-License-Identifier: Apache-2.0
"""The ingest with sources that do what the test says: nothing lost from files, the latest from cameras, all in turn."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from helmet_agent.errors import SourceLost, SourceMissing


def file_of(rig: Any, frames: int, name: str = "clip") -> Any:
    source = rig.DrivenSource(name, live=False)
    for _ in range(frames):
        source.send()
    source.send(None)
    return source


def test_a_file_loses_nothing_and_keeps_its_order(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 50), until_eof=True)
    found = rig.drain(ingest)
    assert [arrival.frame.seq for arrival in found] == list(range(50))
    (status,) = ingest.statuses()
    assert (status.state, status.frames_read, status.drops) == ("ended", 50, {})
    assert ingest.failures == ()


def test_a_file_waits_for_a_slow_consumer(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 20), until_eof=True)
    time.sleep(0.1)
    assert ingest.statuses()[0].frames_read <= 3  # two in the lane, one in the reader's hand
    assert len(rig.drain(ingest)) == 20


def test_each_frame_comes_with_its_own_letterbox(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 30), until_eof=True)
    while not ingest.ended:
        if (arrival := ingest.take(0.1)) is not None:
            assert np.all(arrival.prepared.pixels == arrival.frame.seq)
            arrival.release()


def test_released_buffers_are_used_again_and_held_ones_are_not(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 40), until_eof=True)
    held = ingest.take(10)
    rig.drain(ingest)
    assert rig.letterbox.calls == 40
    assert rig.letterbox.fresh <= 6
    assert np.all(held.prepared.pixels == 0)
    held.release()
    held.release()  # twice does no harm


def test_buffers_stay_with_their_source(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 20, "a"), file_of(rig, 20, "b"), until_eof=True)
    buffers: dict[str, set[int]] = {"a": set(), "b": set()}
    kept = []
    while not ingest.ended:
        if (arrival := ingest.take(0.1)) is not None:
            buffers[arrival.source].add(id(arrival.prepared))
            kept.append(arrival.prepared)
            arrival.release()
    assert not buffers["a"] & buffers["b"]


def test_a_released_buffer_is_never_lent_twice(rig: Any) -> None:
    camera = rig.DrivenSource()
    ingest = rig.ingest(camera)
    camera.send()
    first = ingest.take(10)
    first.release()
    first.release()
    camera.send()
    second = ingest.take(10)
    camera.send()
    third = ingest.take(10)
    assert second.prepared.pixels is not third.prepared.pixels


def test_a_camera_keeps_only_its_latest_frame(rig: Any) -> None:
    camera = rig.DrivenSource()
    ingest = rig.ingest(camera)
    for _ in range(10):
        camera.send()
    rig.wait_until(lambda: ingest.statuses()[0].frames_read == 10 and ingest.statuses()[0].drops.get("replaced") == 9)
    arrival = ingest.take(10)
    assert arrival.frame.seq == 9
    assert np.all(arrival.prepared.pixels == 9)
    assert ingest.take(0) is None
    assert rig.letterbox.calls == 1  # nobody waited for the nine that were replaced


def test_sources_take_turns_even_when_one_is_much_faster(rig: Any) -> None:
    fast, slow = file_of(rig, 40, "fast"), file_of(rig, 10, "slow")
    ingest = rig.ingest(fast, slow, until_eof=True)
    rig.wait_until(lambda: all(status.frames_read >= 2 for status in ingest.statuses()))
    order = []
    while not ingest.ended:
        arrival = ingest.take(0.1)
        if arrival is not None:
            order.append(arrival.source)
            arrival.release()
        time.sleep(0.002)  # both readers keep up
    assert set(order[:4]) == {"fast", "slow"}
    assert abs(order[:20].count("fast") - 10) <= 2


def test_every_nth_is_counted(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 25), until_eof=True, every_nth=10)
    assert [arrival.frame.seq for arrival in rig.drain(ingest)] == [0, 10, 20]
    assert ingest.statuses()[0].drops == {"every_nth": 22}


def test_shedding_thins_frames_while_it_lasts(rig: Any) -> None:
    ingest = rig.ingest(camera := rig.DrivenSource())
    ingest.set_frame_divisor(4)
    for number in range(8):
        camera.send()
        rig.wait_until(lambda number=number: ingest.statuses()[0].frames_read == number + 1)
    rig.wait_until(lambda: ingest.statuses()[0].drops.get("shed") == 6)
    ingest.set_frame_divisor(1)
    camera.send()
    rig.wait_until(lambda: ingest.statuses()[0].frames_read == 9)
    assert ingest.statuses()[0].drops["shed"] == 6


def test_the_cap_holds_for_a_camera(rig: Any) -> None:
    ingest = rig.ingest(camera := rig.DrivenSource(), max_fps=0.01)
    for _ in range(5):
        camera.send()
    rig.wait_until(lambda: ingest.statuses()[0].drops.get("max_fps") == 4)
    assert ingest.take(1).frame.seq == 0


def test_a_picture_that_cannot_be_letterboxed_is_counted_and_passed_over(rig: Any) -> None:
    rig.letterbox.fail_on = {1}
    ingest = rig.ingest(file_of(rig, 3), until_eof=True)
    assert [arrival.frame.seq for arrival in rig.drain(ingest)] == [0, 2]
    assert ingest.statuses()[0].drops == {"unpreparable": 1}


def test_a_lost_camera_comes_back(rig: Any) -> None:
    ingest = rig.ingest(camera := rig.DrivenSource())
    camera.send()
    assert ingest.take(10).frame.seq == 0
    camera.send(SourceLost("gate: rtsp://admin:Zx9Planted@cam hung up"))
    rig.wait_until(lambda: camera.opens == 2)
    lost = ingest.statuses()[0]
    assert lost.last_error == "gate: rtsp://***@cam hung up"
    camera.send()
    assert ingest.take(10).frame.seq == 1
    status = ingest.statuses()[0]
    assert (status.state, status.reconnects, status.last_error) == ("streaming", 1, None)


def test_a_dead_camera_is_degraded_and_its_reader_keeps_beating(rig: Any) -> None:
    camera = rig.DrivenSource()
    camera.refuse_opening = SourceLost("nothing listens")
    ingest = rig.ingest(camera)
    rig.wait_until(lambda: camera.opens >= 2)
    before = ingest.statuses()[0].heartbeat_seconds
    rig.wait_until(lambda: ingest.statuses()[0].heartbeat_seconds > before)
    status = ingest.statuses()[0]
    assert status.state in ("waiting", "connecting")
    assert status.last_error == "nothing listens"
    assert not ingest.ended


def test_a_camera_that_keeps_its_reader_waiting_does_not_stop_the_heart(rig: Any) -> None:
    ingest = rig.ingest(rig.DrivenSource(), stall_seconds=60)
    rig.wait_until(lambda: ingest.statuses()[0].state == "streaming")
    before = ingest.statuses()[0].heartbeat_seconds
    rig.wait_until(lambda: ingest.statuses()[0].heartbeat_seconds > before + 0.3)


def test_a_reader_that_waits_for_the_consumer_keeps_beating(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 10))
    rig.wait_until(lambda: ingest.statuses()[0].frames_read == 3)
    before = ingest.statuses()[0].heartbeat_seconds
    rig.wait_until(lambda: ingest.statuses()[0].heartbeat_seconds > before + 0.3)


def test_a_letterbox_that_hangs_does_stop_the_heart(rig: Any) -> None:
    hang = threading.Event()
    camera = rig.DrivenSource(live=False)
    before_hanging = rig.letterbox.__call__

    def hanging(image: Any, reuse: Any) -> Any:
        hang.wait(20)
        return before_hanging(image, reuse)

    rig.letterbox = hanging
    ingest = rig.ingest(camera)
    camera.send()
    rig.wait_until(lambda: ingest.statuses()[0].frames_read == 1)
    time.sleep(0.05)
    before = ingest.statuses()[0].heartbeat_seconds
    time.sleep(0.6)
    assert ingest.statuses()[0].heartbeat_seconds == before
    hang.set()


def test_a_stall_is_noticed_counted_and_mended(rig: Any) -> None:
    ingest = rig.ingest(camera := rig.DrivenSource(), stall_seconds=0.3)
    camera.send()
    assert ingest.take(10).frame.seq == 0
    rig.wait_until(lambda: ingest.statuses()[0].stalls == 1)
    rig.wait_until(lambda: camera.opens >= 2)
    deadline = time.monotonic() + 10
    while (arrival := ingest.take(0.05)) is None:
        assert time.monotonic() < deadline
        camera.send()
    assert arrival.frame.seq >= 1


def test_a_missing_file_fails_with_its_line_and_the_run_ends(rig: Any) -> None:
    broken = rig.DrivenSource("broken", live=False)
    broken.refuse_opening = SourceMissing("broken.mp4: no such file; check the path")
    ingest = rig.ingest(broken, file_of(rig, 3), until_eof=True)
    assert len(rig.drain(ingest)) == 3
    assert [str(error) for error in ingest.failures] == ["broken.mp4: no such file; check the path"]
    assert [status.state for status in ingest.statuses()] == ["failed", "ended"]


@pytest.mark.parametrize("batch", [True, False])
def test_a_failure_is_told_once(rig: Any, batch: bool) -> None:
    broken = rig.DrivenSource("broken", live=False)
    broken.refuse_opening = SourceMissing("broken.mp4: no such file; check the path")
    with capture_logs() as logs:
        ingest = rig.ingest(broken, until_eof=batch)
        rig.wait_until(lambda: ingest.failures != ())
        ingest.close()
    assert len([entry for entry in logs if entry["log_level"] == "error"]) == (0 if batch else 1)


def test_an_unforeseen_fault_of_a_source_is_its_failure_and_nobody_elses(rig: Any) -> None:
    odd = rig.DrivenSource("odd", live=False)
    odd.send(MemoryError("no room"))
    ingest = rig.ingest(odd, file_of(rig, 3), until_eof=True)
    assert len(rig.drain(ingest)) == 3
    assert "MemoryError: no room" in str(ingest.failures[0])


def test_a_source_that_fails_even_to_close_is_read_again(rig: Any) -> None:
    class Clumsy(rig.DrivenSource):  # type: ignore[misc, name-defined] # made by the fixture
        def close(self) -> None:
            super().close()
            raise OSError("cannot close")

    ingest = rig.ingest(camera := Clumsy(), stall_seconds=0.3)
    camera.send()
    assert ingest.take(10).frame.seq == 0
    rig.wait_until(lambda: ingest.statuses()[0].stalls == 2)
    camera.send()
    rig.wait_until(lambda: ingest.statuses()[0].frames_read >= 2)


def test_a_batch_run_gives_up_a_camera_that_was_never_there(rig: Any) -> None:
    camera = rig.DrivenSource()
    camera.refuse_opening = SourceLost("nothing listens")
    ingest = rig.ingest(camera, until_eof=True)
    assert rig.drain(ingest) == []
    assert str(ingest.failures[0]) == "nothing listens"


def test_a_service_goes_on_after_its_files_ended(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 1))
    assert ingest.take(10) is not None
    rig.wait_until(lambda: ingest.statuses()[0].state == "ended")
    started = time.monotonic()
    assert ingest.take(0.2) is None
    assert time.monotonic() - started >= 0.19  # no busy loop
    assert not ingest.ended


def test_no_sources_end_at_once(rig: Any) -> None:
    assert rig.ingest(until_eof=True).ended


@pytest.mark.parametrize("live", [True, False])
def test_close_ends_readers_that_are_blocked(rig: Any, live: bool) -> None:
    source = rig.DrivenSource(live=live)
    ingest = rig.ingest(source)
    rig.wait_until(lambda: ingest.statuses()[0].state == "streaming")
    started = time.monotonic()
    assert ingest.close()
    assert time.monotonic() - started < 2
    assert ingest.take(5) is None


def test_close_ends_a_reader_that_waits_for_the_consumer(rig: Any) -> None:
    ingest = rig.ingest(file_of(rig, 10))
    rig.wait_until(lambda: ingest.statuses()[0].frames_read == 3)
    assert ingest.close()


def test_close_is_quick_about_a_reader_that_never_comes_back(rig: Any) -> None:
    class Stubborn(rig.DrivenSource):  # type: ignore[misc, name-defined] # made by the fixture
        def close(self) -> None:
            self.closes += 1

    source = Stubborn()
    ingest = rig.ingest(source)
    rig.wait_until(lambda: ingest.statuses()[0].state == "streaming")
    started = time.monotonic()
    assert not ingest.close()
    assert time.monotonic() - started < 3
    source.send(SourceLost("at last"))
