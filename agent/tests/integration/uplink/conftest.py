# SPDX-License-Identifier: Apache-2.0
"""A hub on a real socket, written to the wire format and not to the agent's code, that fails as a test says."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from helmet_agent.adapters.hub_http.client import HubAddress, HubHttp
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import Detection, ExampleRecord, HardExample
from helmet_agent.retry import Backoff
from helmet_agent.services.bandwidth import TokenBucket
from helmet_agent.services.uplink import Uplink
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "hmt_" + "A1b2-" * 8 + "xyz"
REASONS = {200: "OK", 201: "Created", 204: "No Content"}


@dataclass
class Fault:
    """What the hub does with one request in place of its work.

    Attributes:
        read_bytes: how much of the body it reads first; None: all of it.
        keep: whether the example is kept all the same.
        answer: raw bytes that are sent instead of the proper answer; None: the proper one.
        drip_seconds: between two bytes of that answer.
        hang: keeps the connection without a word until the peer goes.
        reset: ends the connection by RST instead of a close.
    """

    read_bytes: int | None = None
    keep: bool = False
    answer: bytes | None = b""
    drip_seconds: float = 0.0
    hang: bool = False
    reset: bool = False


def answer(status: int, document: Any = None, *, kind: str = "application/problem+json", **headers: str) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'No')}", f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class HubServer:
    """The hub: ``PUT /v1/examples/{sha256}`` and ``POST /v1/nodes/{name}/report``.

    Attributes:
        kept: examples by digest: (record, JPEG).
        puts: digests in the order of the requests that were answered properly.
        reports: in order.
        faults: for the next requests, one each.
        always: for every request while set and no other fault is left.
        received: bytes of bodies.
        connections: how many were made.
    """

    token: str = TOKEN
    tls: ssl.SSLContext | None = None
    kept: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    received: int = 0
    connections: int = 0
    problems: list[str] = field(default_factory=list)
    fault = staticmethod(Fault)
    answer = staticmethod(answer)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def up(self) -> None:
        """Listens, after ``down`` at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Goes away with all its connections."""
        with contextlib.suppress(OSError):
            # A thread that accepts is only woken by this.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _reset(connection)

    def stop(self) -> None:
        self._ended.set()
        self.down()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls is not None:
                self._open.discard(connection)
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            with connection, connection.makefile("rb") as stream:
                while self._one(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)

    def _one(self, connection: socket.socket, stream: Any) -> bool:
        """One request; False when the connection is over."""
        method, _, rest = stream.readline().decode().partition(" ")
        if not method:
            return False
        path = rest.split(" ")[0]
        headers: dict[str, str] = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        fault = self.faults.popleft() if self.faults else self.always
        length = int(headers.get("content-length", "-1"))
        if "transfer-encoding" in headers or length < 0:
            self.problems.append(f"no length in {headers}")
        wanted = length if fault is None or fault.read_bytes is None else min(length, fault.read_bytes)
        body = stream.read(wanted)
        self.received += len(body)
        if len(body) < wanted:
            return False
        proper = self._work(method, path, headers, body) if fault is None or fault.keep else b""
        if fault is None:
            connection.sendall(proper)
            return True
        return self._fail(connection, fault, proper)

    def _fail(self, connection: socket.socket, fault: Fault, proper: bytes) -> bool:
        if fault.hang:
            self._ended.wait(30)
            return False
        if fault.reset:
            _reset(connection)
            return False
        said = proper if fault.answer is None else fault.answer
        said = said.replace(b"\r\nContent-Length:", b"\r\nConnection: close\r\nContent-Length:", 1)
        for each in [said] if not fault.drip_seconds else [said[at : at + 1] for at in range(len(said))]:
            connection.sendall(each)
            time.sleep(fault.drip_seconds)
        return False

    def _work(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if headers.get("authorization") != f"Bearer {self.token}":
            return answer(401, {"detail": "unknown token"})
        if method == "PUT" and path.startswith("/v1/examples/"):
            return self._example(path.removeprefix("/v1/examples/"), headers, body)
        if method == "POST" and path.startswith("/v1/nodes/") and path.endswith("/report"):
            self.reports.append({"path": path, **json.loads(body)})
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return answer(404, {"detail": "Not Found"}, kind="application/json")

    def _example(self, sha256: str, headers: dict[str, str], body: bytes) -> bytes:
        record, newline, jpeg = body.partition(b"\n")
        document = json.loads(record)
        if headers.get("content-type") != "application/vnd.helmet.example" or not newline or b" " in record[:20]:
            self.problems.append(f"not the wire format: {headers}")
        if hashlib.sha256(jpeg).hexdigest() != sha256 or document["sha256"] != sha256:
            return answer(400, {"detail": "the digest differs"})
        new = sha256 not in self.kept
        self.kept[sha256] = (document, jpeg)
        self.puts.append(sha256)
        return answer(201 if new else 200, {"sha256": sha256, "state": "new"}, kind="application/json")


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass


def make_example(number: int, size: int = 3000, time_seconds: float = 1.7e9) -> HardExample:
    jpeg = (b"\xff\xd8" + f"example {number}".encode()).ljust(size, b"\0")
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node="n1",
        source="gate",
        frame=number,
        time_seconds=time_seconds + number,
        width=640,
        height=360,
        model="0" * 64,
        rule="IBT",
        value=float(number),
        detections=(Detection("helmet", 0.5, (1.0, 2.0, 30.0, 40.0)),),
    )
    return HardExample(jpeg, record)


@dataclass
class Bench:
    """A spool, an uplink and a clock that passes only when the uplink waits."""

    spool: Spool
    uplink: Uplink
    clock: ManualClock

    def fill(self, count: int, size: int = 3000) -> list[str]:
        """Puts examples, the least valuable first; their digests."""
        examples = [make_example(number, size) for number in range(count)]
        assert all(self.spool.put(example) for example in examples)
        return [example.record.sha256 for example in examples]

    def run(self, seconds: float) -> None:
        """Lets the uplink work until it has waited for so long."""
        end = self.clock.monotonic() + seconds
        while (now := self.clock.monotonic()) < end:
            self.clock.advance(min(self.uplink.step(), end - now) or 0.0)

    def drain(self, seconds: float = 3600.0) -> None:
        """Lets the uplink work until nothing waits."""
        end = self.clock.monotonic() + seconds
        while self.spool.pending(1) and self.clock.monotonic() < end:
            self.clock.advance(self.uplink.step())


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "hub.token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """A hub without TLS, on loopback."""
    server = HubServer()
    yield server
    server.stop()
    assert not server.problems


@pytest.fixture
def make_hub(token_file: Path) -> Iterator[Callable[..., HubHttp]]:
    """Makes clients of a server; they are closed after the test."""
    made: list[HubHttp] = []

    def make(server: HubServer, ca_file: Path | None = None, timeout_seconds: float = 5.0) -> HubHttp:
        made.append(HubHttp(HubAddress(server.url, token_file, ca_file, None, timeout_seconds)))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes an uplink over a spool in the test's folder; opening it again is a restart."""
    spools: list[Spool] = []

    def make(hub: Any, bandwidth: int = 0, seed: int = 1, quota: int = 64 << 20) -> Bench:
        for earlier in spools:
            earlier.close()
        clock = ManualClock()
        spool = Spool(tmp_path / "spool", quota)
        spools.append(spool)

        def wait(seconds: float) -> bool:
            clock.advance(seconds)
            return False

        draw = random.Random(seed).random  # noqa: S311 - jitter, no secret
        bucket = TokenBucket(bandwidth, clock)
        backoff = Backoff(2.0, 300.0, 2.0, draw)
        uplink = Uplink("n1", spool, lambda: hub, clock, backoff=backoff, bucket=bucket, random=draw, wait=wait)
        return Bench(spool, uplink, clock)

    yield make
    for spool in spools:
        spool.close()


@pytest.fixture(name="make_example")
def _make_example() -> Callable[..., HardExample]:
    return make_example


@pytest.fixture(name="answer")
def _answer() -> Callable[..., bytes]:
    return answer


@pytest.fixture(name="fault")
def _fault() -> type[Fault]:
    return Fault


@pytest.fixture
def new_server() -> Iterator[Callable[..., HubServer]]:
    """Starts hubs; they are stopped after the test."""
    servers: list[HubServer] = []

    def start(**settings: Any) -> HubServer:
        servers.append(HubServer(**settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
