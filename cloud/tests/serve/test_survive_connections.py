# SPDX-License-Identifier: Apache-2.0
"""Strangers who hold connections and ask for nothing, and nodes that ask meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from helmet_agent.testing import ManualClock
from helmet_cloud.api.connections import Accepted, ConnectionLimits, Connections
from helmet_cloud.api.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import RunningHub

    Note = Callable[[str, object], None]
    Serve = Callable[..., RunningHub]

pytestmark = pytest.mark.survive
STRANGERS, MOST, HEAD_SECONDS = 200, 40, 2.0
WATCH = "/apis/sedna.io/v1alpha1/namespaces/default/datasets?watch=true"
PROMPT_SECONDS = 2.0
"""On a machine that tests share; alone it is milliseconds."""


class Loris:
    """One stranger at 127.0.0.2 with many connections: some only open, some after TLS, some with a head in drips."""

    def __init__(self, port: int) -> None:
        self.held: list[socket.socket] = []
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        for number in range(STRANGERS):
            one = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
            one.settimeout(5.0)
            with contextlib.suppress(OSError):  # refused: as the first of the kinds it stays to be looked at
                if number % 3:
                    one = trust.wrap_socket(one, server_hostname="localhost")
                    one.sendall(b"GET /livez HTTP/1.1\r\n" if number % 3 == 1 else b"")
            self.held.append(one)
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self._thread.start()

    def _drip(self) -> None:
        while not self._stop.wait(0.3):
            for one in self.held[1::3]:
                with self._lock, contextlib.suppress(OSError):
                    one.sendall(b"x")

    def open(self) -> int:
        """How many the hub has not ended."""
        with self._lock:
            return sum(not _ended(one) for one in self.held)

    def close(self) -> None:
        """Goes away."""
        self._stop.set()
        self._thread.join()
        for one in self.held:
            one.close()


def _ended(connection: socket.socket) -> bool:
    if connection.fileno() < 0:
        return True
    connection.settimeout(0.0)
    try:
        return connection.recv(4096) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


@pytest.fixture
def loris() -> Iterator[Callable[[int], Loris]]:
    begun: list[Loris] = []

    def begin(port: int) -> Loris:
        begun.append(Loris(port))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def wait_until(what: Callable[[], bool], seconds: float) -> float:
    """Seconds until it was so."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < seconds, "it did not come about"
        time.sleep(0.05)
    return time.monotonic() - begin


def test_a_slow_stranger_holds_few_connections_for_a_short_time_and_nodes_are_answered(
    folder: Path, serve: Serve, loris: Callable[[int], Loris], record_property: Note
) -> None:
    with (folder / "hub.toml").open("a") as settings:
        settings.write(f"\naddress_connections = {MOST}\nhead_seconds = {HEAD_SECONDS}\n")
    hub = serve(folder)
    answered = []
    with hub.client(admin=True) as watcher, watcher.stream("GET", WATCH) as watch:
        assert watch.status_code == 200
        stranger = loris(int(hub.url.rpartition(":")[2]))
        for _ in range(10):
            begin = time.monotonic()
            with hub.client() as node:
                assert node.get("/channel/metadata/timestamp.json").status_code == 200
            answered.append(time.monotonic() - begin)
        assert stranger.open() <= MOST
        took = wait_until(lambda: stranger.open() == 0, 30.0)
        with pytest.raises(httpcore.ReadTimeout):  # the watch has nothing to say, and is still there
            watch.extensions["network_stream"].read(1, timeout=0.5)
    assert max(answered) < PROMPT_SECONDS
    log = hub.log.read_text()
    assert (log.count("limit=address_connections"), log.count("limit=head_seconds")) == (1, 1), log
    record_property(
        "survive",
        f"item 9: of {STRANGERS} connections that ask for nothing at most {MOST} held, none after {took:.0f} s; a new "
        f"connection of a node is answered within {1000 * max(answered):.0f} ms",
    )


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def served() -> Iterator[Callable[[ConnectionLimits], int]]:
    begun: list[WebServer] = []

    def begin(limits: ConnectionLimits) -> int:
        server = WebServer("127.0.0.1:0", "listen", limits=limits)
        begun.append(server)
        server.start(hello)
        return server.port

    yield begin
    for server in begun:
        server.stop()


def asked(port: int, source: str) -> str:
    """What a connection from that address is told; "" when it is closed at once."""
    with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as one:
        one.settimeout(10.0)
        try:
            one.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: one.recv(4096), b"")).decode()
        except OSError:
            return ""


def test_there_is_a_limit_for_all_and_room_again_once_one_is_closed(
    served: Callable[[ConnectionLimits], int], record_property: Note
) -> None:
    port = served(ConnectionLimits(total=4, per_address=2))
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(source, 0)))
            for source in ("127.0.0.2", "127.0.0.2", "127.0.0.3")
        ]
        assert asked(port, "127.0.0.2") == ""
        assert "hello" in asked(port, "127.0.0.3")
        held.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.4", 0))))
        wait_until(lambda: asked(port, "127.0.0.5") == "", 10.0)
        held[0].close()
        wait_until(lambda: "hello" in asked(port, "127.0.0.5"), 10.0)
        wait_until(lambda: "hello" in asked(port, "127.0.0.2"), 10.0)
    record_property("survive", "item 9: connections beyond the limits for one address and for all are closed at once")


@pytest.fixture
def pair() -> Iterator[tuple[Accepted, socket.socket]]:
    near, far = socket.socketpair()
    accepted = Accepted(near.family, near.type, near.proto, fileno=near.detach())
    yield accepted, far
    accepted.close()
    far.close()


def test_a_connection_that_was_used_may_not_drip_for_ever_either(pair: tuple[Accepted, socket.socket]) -> None:
    accepted, far = pair
    clock = ManualClock(0.0)
    connections = Connections(ConnectionLimits(head_seconds=10.0, idle_seconds=85.0), clock.monotonic)
    peer = ("127.0.0.1", 4711)
    assert connections.admit(accepted, peer)

    async def long(_scope: Any, _receive: Any, _send: Any) -> None:
        clock.advance(1000.0)
        assert connections.sweep() == 0, "a request in progress is left alone"

    clock.advance(9.0)
    request: Any = ({"type": "http", "client": list(peer)}, None, None)
    asyncio.run(connections.watched(long)(*request))  # type: ignore[arg-type]  # it is a coroutine
    clock.advance(84.0)
    assert connections.sweep() == 0
    clock.advance(2.0)
    assert connections.sweep() == 1
    far.settimeout(5.0)
    assert far.recv(1) == b""
    accepted.close()
    assert len(connections) == 0


@pytest.mark.parametrize(
    ("limits", "taken"), [("ulimit -Sn 300", "4096 4352"), ("ulimit -n 600", "344 600")], ids=["soft", "hard"]
)
def test_no_more_are_taken_than_the_system_has_descriptors_for(limits: str, taken: str) -> None:
    program = (
        "import resource, sys; from helmet_cloud.api.connections import room_for\n"
        "print(room_for(4096), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    words = ("sh", "-c", f'{limits} && exec "$@"', "sh", sys.executable, "-c", program)
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert said[-1] == taken
    assert ("raise LimitNOFILE= of the unit" in said[0]) == (taken.startswith("344"))
