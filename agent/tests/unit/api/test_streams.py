# SPDX-License-Identifier: Apache-2.0
"""Events and pictures that go on: they flow, cost nothing unwatched, and end at once."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.api.broadcast import EventBroadcast, TooManyListenersError
from helmet_agent.api.preview import PreviewDesk, PreviewRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 5 s"
        time.sleep(0.005)


def opened(stack: ExitStack, web: httpx.Client, url: str, **headers: str) -> httpx.Response:
    return stack.enter_context(web.stream("GET", url, headers=headers))


def messages(lines: Iterator[str], kind: str) -> Iterator[dict[str, Any]]:
    """The data of the messages of one kind."""
    current = ""
    for line in lines:
        if line.startswith("event: "):
            current = line.removeprefix("event: ")
        elif line.startswith("data: ") and current == kind:
            yield json.loads(line.removeprefix("data: "))


def test_events_arrive_as_they_happen(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    with ExitStack() as stack:
        answer = opened(stack, web, serving.url + "/v1/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        for track in (1, 2):
            serving.node.events.publish(serving.node.violation(track))
            assert next(messages(lines, "violation_started")) == serving.node.violation(track).to_json()


def test_a_quiet_stream_shows_that_it_is_alive(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve(heartbeat_seconds=0.02)
    with ExitStack() as stack:
        lines = opened(stack, web, serving.url + "/v1/events").iter_lines()
        assert [next(lines) for _ in range(7)].count(": alive") == 2


def test_a_listener_may_ask_for_the_past_and_goes_on_where_it_was(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    for track in (1, 2, 3):
        serving.node.events.publish(serving.node.violation(track))
    with ExitStack() as stack:
        recent = messages(opened(stack, web, serving.url + "/v1/events?recent=2").iter_lines(), "violation_started")
        assert [next(recent)["track"] for _ in range(2)] == [2, 3]
        headers = {"last-event-id": "test-1"}
        after = messages(opened(stack, web, serving.url + "/v1/events", **headers).iter_lines(), "violation_started")
        assert [next(after)["track"] for _ in range(2)] == [2, 3]


def test_only_so_many_may_listen_and_one_who_leaves_makes_room(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve(heartbeat_seconds=0.05)
    with ExitStack() as stack:
        opened(stack, web, serving.url + "/v1/events")
        opened(stack, web, serving.url + "/v1/events")
        refused = web.get(serving.url + "/v1/events")
        assert (refused.status_code, "that is the limit" in refused.json()["detail"]) == (503, True)
    until(lambda: serving.node.events.listeners == 0)
    with ExitStack() as stack:
        assert opened(stack, web, serving.url + "/v1/events").status_code == 200


def test_a_slow_client_is_told_how_many_it_lost(serve: Callable[..., Any]) -> None:
    serving = serve()
    address = ("127.0.0.1", serving.server.port)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: serving.node.events.listeners == 1)
        # More than the buffers between here and there take: the server has to stop sending, and the queue holds three.
        count = 30_000
        for track in range(count):
            serving.node.events.publish(serving.node.violation(track))
        client.settimeout(5)
        with client.makefile("rb") as file:
            lost = next(messages((line.decode().strip() for line in file), "lost"))["lost"]
        assert 0 < lost < count


def test_publishing_never_waits_and_drops_the_oldest() -> None:
    broadcast = EventBroadcast(waiting=2)
    woken = []
    feed = broadcast.subscribe(lambda: woken.append(1))
    from_nowhere: Any = object()
    for _ in range(5):
        broadcast.publish(from_nowhere)
    lost, found = feed.take()
    assert (lost, [event.id.rpartition("-")[2] for event in found]) == (3, ["4", "5"])
    assert feed.take() == (0, [])
    assert len(woken) == 5
    feed.close()
    feed.close()
    assert broadcast.listeners == 0


def test_a_listener_whose_loop_has_ended_is_forgotten() -> None:
    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    broadcast = EventBroadcast(most_listeners=1)
    broadcast.subscribe(gone)
    with pytest.raises(TooManyListenersError):
        broadcast.subscribe(lambda: None)
    an_event: Any = object()
    broadcast.publish(an_event)
    assert broadcast.listeners == 0


def test_ids_of_another_run_are_not_mistaken() -> None:
    broadcast = EventBroadcast(run="b")
    an_event: Any = object()
    broadcast.publish(an_event)
    assert len(broadcast.subscribe(lambda: None, after="a-1").take()[1]) == 1
    assert len(broadcast.subscribe(lambda: None, after="b-1").take()[1]) == 0
    assert len(broadcast.subscribe(lambda: None).take()[1]) == 0


def test_the_preview_moves(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.frame = 1
    with ExitStack() as stack:
        answer = opened(stack, web, serving.url + "/v1/preview.mjpg?source=gate")
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
        content = answer.iter_bytes()
        seen = b""
        while b"jpeg of gate 1" not in seen:
            seen += next(content)
        serving.node.frame = 2
        while b"jpeg of gate 2\r\n--picture\r\n" not in seen:
            seen += next(content)
        assert b"Content-Type: image/jpeg\r\nContent-Length: 14\r\n\r\njpeg of gate 1\r\n--picture\r\n" in seen
        assert serving.node.preview.viewers == 1


def test_nothing_is_spent_with_no_viewer(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.frame = 1
    web.get(serving.url + "/v1/status")
    assert serving.node.drawn == 0
    with ExitStack() as stack:
        next(opened(stack, web, serving.url + "/v1/preview.mjpg").iter_bytes())
        until(lambda: serving.node.drawn == 1)
    until(lambda: serving.node.preview.viewers == 0)
    drawn = serving.node.drawn
    for frame in range(2, 10):
        serving.node.frame = frame
        time.sleep(0.01)
    assert serving.node.drawn == drawn


def test_who_watches_the_same_shares_the_picture() -> None:
    frame = object()
    desk = PreviewDesk(lambda _source: frame, lambda _frame: b"jpeg")
    one, two = desk.open("gate"), desk.open("gate")
    assert (one.picture(), two.picture()) == (b"jpeg", b"jpeg")
    assert (one.picture(), two.picture()) == (None, None)
    assert desk.encoded == 1
    one.close()
    one.close()
    assert desk.viewers == 1


def test_a_frame_that_cannot_be_encoded_shows_nothing() -> None:
    desk = PreviewDesk(lambda _source: object(), lambda _frame: None)
    assert desk.open().picture() is None


def test_only_so_many_may_watch(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    with ExitStack() as stack:
        opened(stack, web, serving.url + "/v1/preview.mjpg")
        opened(stack, web, serving.url + "/v1/preview.mjpg")
        refused = web.get(serving.url + "/v1/preview.mjpg")
        assert (refused.status_code, refused.json()) == (503, {"detail": "2 watch already; that is the limit"})


def test_a_shed_preview_says_why_and_ends_what_runs(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.frame = 1
    with ExitStack() as stack:
        running = opened(stack, web, serving.url + "/v1/preview.mjpg")
        content = running.iter_bytes()
        next(content)
        serving.node.preview.shed("memory is short")
        for _ in content:
            pass
    refused = web.get(serving.url + "/v1/preview.mjpg")
    assert (refused.status_code, refused.json()) == (503, {"detail": "memory is short"})
    serving.node.preview.shed(None)
    serving.node.preview.open().close()


def test_a_source_that_is_not_there(serve: Callable[..., Any], web: httpx.Client) -> None:
    answer = web.get(serve().url + "/v1/preview.mjpg?source=roof")
    assert (answer.status_code, answer.json()) == (404, {"detail": "no such source; there are: gate, yard"})


def test_shedding_refuses_on_the_desk_itself() -> None:
    desk = PreviewDesk(lambda _source: object(), lambda _frame: b"")
    viewer = desk.open()
    desk.shed("no")
    with pytest.raises(PreviewRefusedError, match="no"):
        viewer.picture()
    with pytest.raises(PreviewRefusedError, match="no"):
        desk.open()


def test_the_server_stops_at_once_with_everybody_connected(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.frame = 1
    stuck = socket.create_connection(("127.0.0.1", serving.server.port))
    stuck.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: serving.node.events.listeners == 1)
    for track in range(20_000):  # this client reads nothing, so the server is stuck sending to it
        serving.node.events.publish(serving.node.violation(track))
    with ExitStack() as stack:
        stack.callback(stuck.close)
        for path in ("/v1/events", "/v1/preview.mjpg", "/v1/preview.mjpg"):
            next(opened(stack, web, serving.url + path).iter_bytes())
        begun = time.monotonic()
        assert serving.server.stop()
        assert time.monotonic() - begun < 2.0
    assert all(thread.name != "api" for thread in threading.enumerate())
    assert (serving.node.events.listeners, serving.node.preview.viewers) == (0, 0)
