# SPDX-License-Identifier: Apache-2.0
"""A bad network between a node and a hub: a proxy with scripted faults before a hub as it is served."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from helmet_agent.adapters.hub_http.client import HubAddress, HubHttp
from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.spool import Spool
from helmet_agent.adapters.tuf_feed import Channel, HttpTransport, TufFeed
from helmet_agent.contract import Delivery, Detection, ExampleRecord, HardExample, ModelManifest
from helmet_agent.retry import Backoff
from helmet_agent.services.bandwidth import TokenBucket
from helmet_agent.services.uplink import Uplink
from helmet_agent.testing import ManualClock
from helmet_cloud.channel import open_channel
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.store.examples import ExampleRow, list_examples
from helmet_cloud.store.nodes import add_node
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.tokens import token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_cloud.settings import HubHome

JOB = JobRef("default", "helmet-detection-demo")
START_SECONDS = 60.0
PIECE_BYTES = 4 << 10


@dataclass
class Fault:
    """What the proxy does to one exchange; the default is nothing.

    Attributes:
        status: answered at once, without asking the hub.
        headers: of that answer.
        cut_after: the connection ends after so many bytes of the answer's body; -1: before its head.
        cut_request_after: it ends after so many bytes of the request's body; the hub hears nothing of it.
        bytes_per_second: how fast the answer's body comes.
        drip_seconds: between two bytes of the answer.
        drip_head: whether its head drips too.
        hang_after: nothing comes after so many bytes of the answer's body, for ever; -1: no head either.
        spoil: changes the answer's body.
        spoil_request: changes the request's body.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    cut_request_after: int | None = None
    bytes_per_second: float = 0.0
    drip_seconds: float = 0.0
    drip_head: bool = True
    hang_after: int | None = None
    spoil: Callable[[bytes], bytes] | None = None
    spoil_request: Callable[[bytes], bytes] | None = None


@dataclass
class Exchange:
    """One request that came, and what became of it.

    Attributes:
        at: when it came, by a clock that never goes back.
        method, path, headers: as they came.
        received: bytes of its body.
        status: that the hub answered; None: it was not asked.
        sent: bytes of the answer's body that went out.
    """

    at: float
    method: str
    path: str
    headers: dict[str, str]
    received: int = 0
    status: int | None = None
    sent: int = 0


class _CutError(Exception):
    """The connection ends here."""


class FaultProxy:
    """Plain HTTP on loopback for the node, TLS to the hub behind; ``rule`` says what happens to each exchange.

    Args:
        port: of the hub.
        trust: the hub's authority.
    """

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.rule: Callable[[Exchange], Fault | None] = lambda _exchange: None
        self.exchanges: list[Exchange] = []
        self._hub, self._trust = port, trust
        self._closing = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def down(self) -> None:
        """Nobody listens any more."""
        # Whoever waits in accept() would keep the socket open.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def up(self) -> None:
        """Listens at the same address again."""
        self._listening = socket.create_server(("127.0.0.1", int(self.url.rpartition(":")[2])))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._closing.set()
        self.down()

    def paths(self, ending: str) -> list[Exchange]:
        """Exchanges about a file."""
        return [one for one in self.exchanges if one.path.endswith(ending)]

    def _accept(self, listening: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, _CutError), peer, peer.makefile("rb") as stream:
            while self._one(peer, stream):
                pass
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)

    def _one(self, peer: socket.socket, stream: Any) -> bool:
        line = stream.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = {}
        while (head := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
            name, _, value = head.partition(": ")
            headers[name.lower()] = value
        exchange = Exchange(time.monotonic(), line[0], line[1], headers)
        fault = self.rule(exchange) or Fault()
        self.exchanges.append(exchange)
        body = self._body(stream, exchange, fault)
        if fault.status is not None:
            status, fields, content = fault.status, fault.headers, b""
        else:
            status, fields, content = self._ask(
                exchange, body if fault.spoil_request is None else fault.spoil_request(body)
            )
            exchange.status = status
        content = content if fault.spoil is None else fault.spoil(content)
        if -1 in {fault.cut_after, fault.hang_after}:
            self._leave(fault)
        top = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}"]
        if status != 304:
            fields = {**fields, "Content-Length": str(len(content))}
        top += [f"{name}: {value}" for name, value in fields.items()]
        self._send(peer, ("\r\n".join(top) + "\r\n\r\n").encode("latin-1"), fault, None)
        self._send(peer, content, fault, exchange)
        return True

    def _body(self, stream: Any, exchange: Exchange, fault: Fault) -> bytes:
        whole = int(exchange.headers.get("content-length", "0"))
        parts = []
        while exchange.received < whole:
            most = whole if fault.cut_request_after is None else min(whole, fault.cut_request_after)
            if exchange.received >= most:
                raise _CutError
            part = stream.read1(min(PIECE_BYTES, most - exchange.received))
            if not part:
                raise _CutError
            parts.append(part)
            exchange.received += len(part)
        return b"".join(parts)

    def _ask(self, exchange: Exchange, body: bytes) -> tuple[int, dict[str, str], bytes]:
        hub = http.client.HTTPSConnection("127.0.0.1", self._hub, context=self._trust, timeout=30)
        with contextlib.closing(hub):
            headers = {name: value for name, value in exchange.headers.items() if name != "connection"}
            hub.request(exchange.method, exchange.path, body if "content-length" in headers else None, headers)
            answer = hub.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders() if name.lower() != "connection"}
            fields.pop("content-length", None)
            return answer.status, fields, answer.read()

    def _send(self, peer: socket.socket, content: bytes, fault: Fault, exchange: Exchange | None) -> None:
        at = 0
        drip = fault.drip_seconds if exchange is not None or fault.drip_head else 0.0
        while at < len(content):
            end = min(len(content), at + (1 if drip else PIECE_BYTES))
            if exchange is not None:
                end = min([end, *(one for one in (fault.cut_after, fault.hang_after) if one is not None)])
                if end <= at:
                    self._leave(fault)
                if fault.bytes_per_second:
                    self._closing.wait((end - at) / fault.bytes_per_second)
            if drip:
                self._closing.wait(drip)
            peer.sendall(content[at:end])
            if exchange is not None:
                exchange.sent += end - at
            at = end

    def _leave(self, fault: Fault) -> None:
        if fault.hang_after is not None:
            self._closing.wait()
        raise _CutError


@dataclass
class RunningHub:
    """A serving hub, the proxy before it and a node that it knows; ``url`` goes round the proxy."""

    home: HubHome
    url: str
    proxy: FaultProxy
    token_file: Path
    published: ModelManifest
    fault: type[Fault] = Fault

    def examples(self) -> list[ExampleRow]:
        """All that it keeps."""
        database = open_database(self.home)
        with database.read() as session:
            found = list(list_examples(session, limit=100_000))
        database.close()
        return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One hub for all tests of a module."""
    place: Path = tmp_path_factory.mktemp("hub")
    home = initialise(place / "hub", InitOptions("127.0.0.1:0"), time.time).home
    settings = home.folder / "hub.toml"
    settings.write_text(
        settings.read_text().replace('# workers_listen = "127.0.0.1:9100"', 'workers_listen = "127.0.0.1:0"')
    )
    token = "hmt_" + "n" * 43
    (place / "hub.token").touch(mode=0o600)
    (place / "hub.token").write_text(token + "\n")
    database = open_database(home)
    with database.write() as session:
        add_node(session, "n1", token_digest(token), "stable", time.time())
    manifest = ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes())
    delivery = Delivery(str(JOB), hot_update=True, poll_seconds=30)
    publication = Publication(JOB, bundled_model_dir(), manifest.mining, delivery, "stable", None, None, {}, "a test")
    open_channel(home, database).publish(publication)
    database.close()
    log = place / "log"
    with log.open("wb") as to:
        command = [sys.executable, "-m", "helmet_cloud.cli", "serve", "--data-dir", str(home.folder)]
        process = subprocess.Popen(command, stdout=to, stderr=to, env=os.environ.copy())
    deadline = time.monotonic() + START_SECONDS
    while not (home.folder / "address").exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    address = json.loads((home.folder / "address").read_text())
    port = int(address["listen"].rpartition(":")[2])
    proxy = FaultProxy(port, ssl.create_default_context(cafile=str(home.tls / "ca.crt")))
    yield RunningHub(home, address["url"], proxy, place / "hub.token", manifest)
    proxy.close()
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _no_faults(hub: RunningHub) -> None:
    hub.proxy.rule = lambda _exchange: None
    hub.proxy.exchanges.clear()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
def make_feed(hub: RunningHub, tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., TufFeed]]:
    """Makes feeds that read the hub's channel through the proxy."""
    made: list[TufFeed] = []

    def make(timeout: float = 10.0) -> TufFeed:
        folder = tmp_path / f"tuf-{len(made)}"
        folder.mkdir()
        followed = Channel(str(JOB), "stable", (hub.home.folder / "root.json").read_bytes())
        made.append(TufFeed(HttpTransport(f"{hub.proxy.url}/channel/", None, timeout), followed, folder, clock))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


def make_example(number: int, size: int = 20_000) -> HardExample:
    """A picture unlike all others, filled up to a size."""
    pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
    plain = cv2.imencode(".jpg", pixels)[1].tobytes()
    filler = b"x" * min(max(size - len(plain), 4), 60_000)
    jpeg = plain[:2] + b"\xff\xfe" + (len(filler) + 2).to_bytes(2) + filler + plain[2:]
    seen = (Detection("helmet-off", 0.4, (1.0, 2.0, 20.0, 20.0)),)
    value = (number % 1000) / 1000
    sha256 = hashlib.sha256(jpeg).hexdigest()
    record = ExampleRecord(sha256, "n1", "gate", number, 1.0 + number, 32, 24, "0" * 64, "IBT", value, seen)
    return HardExample(jpeg, record)


@dataclass
class Sender:
    """An uplink over a spool, with the proxy between it and the hub."""

    spool: Spool
    uplink: Uplink
    clock: Any
    hub: HubHttp
    waits: list[float] = field(default_factory=list)

    def fill(self, numbers: range, size: int = 20_000) -> set[str]:
        """Puts examples into the spool; returns their digests."""
        examples = [make_example(number, size) for number in numbers]
        for example in examples:
            self.spool.put(example)
        return {example.record.sha256 for example in examples}

    def drain(self, seconds: float = 86_400.0) -> float:
        """Steps until nothing waits or the time is over, by the sender's own clock; the seconds that took."""
        begin = self.clock.monotonic()
        while self.spool.stats().pending and self.clock.monotonic() - begin < seconds:
            delay = self.uplink.step()
            if delay:
                self.waits.append(delay)
                self.clock.sleep(delay)
        return float(self.clock.monotonic() - begin)


@pytest.fixture
def make_sender(hub: RunningHub, tmp_path: Path) -> Iterator[Callable[..., Sender]]:
    """Makes uplinks; the clock is a manual one unless another is given."""
    made: list[Sender] = []

    def make(bandwidth: int = 0, timeout: float = 10.0, clock: Any = None, seed: int = 1) -> Sender:
        clock = clock or ManualClock()
        spool = Spool(tmp_path / f"spool-{len(made)}", 64 << 20)
        client = HubHttp(dataclasses.replace(HubAddress(hub.proxy.url, hub.token_file), timeout_seconds=timeout))
        draw = random.Random(seed).random  # noqa: S311 - jitter, no secret

        def wait(seconds: float) -> bool:
            clock.sleep(seconds)
            return False

        uplink = Uplink(
            "n1",
            spool,
            lambda: client,
            clock,
            backoff=Backoff(2.0, 300.0, 2.0, draw),
            bucket=TokenBucket(bandwidth, clock),
            random=draw,
            wait=wait,
        )
        made.append(Sender(spool, uplink, clock, client))
        return made[-1]

    yield make
    for sender in made:
        sender.uplink.close()
        sender.spool.close()
