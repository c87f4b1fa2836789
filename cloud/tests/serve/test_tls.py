# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from helmet_agent.errors import AgentError
from helmet_cloud.api.server import WebServer, server_tls
from helmet_cloud.app import Hub
from helmet_cloud.settings import HubHome
from helmet_cloud.setup.tls import RENEW_DAYS, SERVER_DAYS, TlsFiles, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

DAY = 86400.0
CONNECTIONS = 100

HOLD = """
import socket, ssl, sys
trust = ssl.create_default_context(cafile=sys.argv[1])
held = []
for _ in range(int(sys.argv[3])):
    one = trust.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[2]))), server_hostname="localhost")
    one.sendall(b"GET / HTTP/1.1\\r\\nHost: hub\\r\\n\\r\\n")
    one.recv(4096)
    held.append(one)
print("held", flush=True)
sys.stdin.read()
"""


class Shift:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> float:
        return time.time() + self.days * DAY


@pytest.fixture
def clock() -> Shift:
    return Shift()


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[..., Hub]]:
    begun: list[Hub] = []

    def start(clock: Shift) -> Hub:
        begun.append(Hub(HubHome.load(folder), clock))
        begun[-1].start()
        return begun[-1]

    yield start
    for hub in begun:
        hub.stop()


def _served(hub: Hub) -> str:
    return ssl.get_server_certificate(("127.0.0.1", hub.front_server.port))


def test_our_own_certificate_is_made_anew_in_time_and_without_a_restart(
    begin: Callable[..., Hub], clock: Shift, folder: Path
) -> None:
    hub = begin(clock)
    first, names = _served(hub), TlsFiles(folder / "tls").names()
    hub._reload_certificate()
    assert _served(hub) == first
    clock.days = SERVER_DAYS - RENEW_DAYS + 1
    hub._reload_certificate()
    assert _served(hub) != first
    assert TlsFiles(folder / "tls").names() == names
    assert TlsFiles(folder / "tls").days_left(clock()) > SERVER_DAYS - 1


def test_a_certificate_that_was_given_is_left_alone(begin: Callable[..., Hub], clock: Shift, folder: Path) -> None:
    files = TlsFiles(folder / "tls")
    files.ca_key.unlink()
    clock.days = SERVER_DAYS - 5
    before = files.certificate.read_bytes()
    hub = begin(clock)
    hub._reload_certificate()
    assert files.certificate.read_bytes() == before


def test_key_and_certificate_that_do_not_belong_together_are_named(made: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(made / "tls", one)
    shutil.copytree(made / "tls", other)
    files = TlsFiles(other)
    make_server(files, ["localhost"], time.time())
    with pytest.raises(AgentError, match="no pair"):
        server_tls(TlsFiles(one).certificate, files.key)


def test_no_answer_waits_for_a_delayed_acknowledgement() -> None:
    server = WebServer("127.0.0.1:0", "listen")
    with socket.create_connection(("127.0.0.1", server.port)):
        accepted, _ = server._socket.accept()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        accepted.close()
    server.stop()


async def _empty(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _rss_kib() -> int:
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as lines:  # noqa: PTH123 - a file of the kernel
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_a_connection_that_a_node_holds_takes_little_memory(made: Path) -> None:
    files = TlsFiles(made / "tls")
    server = WebServer("127.0.0.1:0", "listen", server_tls(files.chain, files.key))
    server.start(_empty)
    before = _rss_kib()
    command = [sys.executable, "-c", HOLD, str(files.ca), str(server.port), str(CONNECTIONS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        grown = _rss_kib() - before
        holder.kill()
    server.stop()
    assert grown / CONNECTIONS < 120


def test_a_client_that_never_finishes_its_handshake_disturbs_nobody(begin: Callable[..., Hub], clock: Shift) -> None:
    hub = begin(clock)
    held = [socket.create_connection(("127.0.0.1", hub.front_server.port)) for _ in range(50)]
    assert "BEGIN CERTIFICATE" in _served(hub)
    for one in held:
        one.close()
