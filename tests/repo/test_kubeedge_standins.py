# SPDX-License-Identifier: Apache-2.0
"""The stand-ins of tests/kubeedge say what KubeEdge says, and the collection's own eyes see it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
PLUGINS = "ansible_collections.helmet.edge.plugins"
cloud_reach: Any = importlib.import_module(f"{PLUGINS}.module_utils.kubeedge_cloud")
files: Any = importlib.import_module(f"{PLUGINS}.module_utils.edgecore_files")
cri: Any = importlib.import_module(f"{PLUGINS}.module_utils.cri")
token: Any = importlib.import_module(f"{PLUGINS}.plugin_utils.edgecore_token")


def stand_in(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"kubeedge_{name}", ROOT / "tests" / "kubeedge" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cloudcore, pack = stand_in("cloudcore"), stand_in("pack")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, int]]]:
    made = cloudcore.Cloud(tmp_path_factory.mktemp("cloud"), "127.0.0.1")
    servers = cloudcore.serve(made, (0, 0, 0))
    names = ("certificates", "websocket", "api")
    yield made, {name: server.server_address[1] for name, server in zip(names, servers, strict=True)}
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found: dict[str, str] = pack.pack(tmp_path_factory.mktemp("release"), "v1.23.1", "amd64")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Node:
    """A machine in a folder."""

    def __init__(self, root: Path, archive: dict[str, str], ports: dict[str, int], **keys: Any) -> None:
        self.root, self.health = root, free_port()
        self.placed = place(archive, root / files.PROGRAM)
        hub = {
            "httpServer": f"https://127.0.0.1:{ports['certificates']}",
            "websocket": {"server": f"127.0.0.1:{ports['websocket']}"},
        }
        document = {"edgecoreVersion": "v1.23.1", **keys}
        document["modules"] = {"edgeHub": hub | keys.pop("hub", {}), "edged": {"hostnameOverride": "gate"}}
        self.config = root / files.CONFIG
        self.config.parent.mkdir(parents=True)
        self.config.write_text(yaml.safe_dump({name: part for name, part in document.items() if name != "hub"}))

    def bootstrap(self, text: str) -> None:
        (self.root / files.BOOTSTRAP).write_text(text)

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "KUBEEDGE_ROOT": str(self.root), "KUBEEDGE_HEALTH_PORT": str(self.health)}
        command = [sys.executable, str(self.root / files.PROGRAM), f"--config={self.config}"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def fails(self) -> str:
        process = self.start()
        _, said = process.communicate(timeout=30)
        assert process.returncode != 0
        return said


def place(archive: dict[str, str], dest: Path, **more: Any) -> dict[str, Any]:
    given = {"archive": archive["path"], "transferred": archive["path"], "sha512": archive["sha512"]}
    arguments = {**given, "version": "v1.23.1", "dest": str(dest), **more}
    done = subprocess.run(
        [sys.executable, "-m", f"{PLUGINS}.modules.edgecore_binary"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "collections",
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def node(tmp_path: Path, archive: dict[str, str], cloud: tuple[Any, dict[str, int]]) -> Node:
    return Node(tmp_path / "node", archive, cloud[1])


def test_the_program_comes_out_of_the_archive_only_when_both_are_right(tmp_path: Path, archive: dict[str, str]) -> None:
    dest = tmp_path / "bin" / "edgecore"
    assert "SHA-512" in place(archive, dest, sha512="0" * 128)["msg"]
    assert "says v1.23.1, not v1.23.2" in place(archive, dest, version="v1.23.2")["msg"]
    assert not dest.exists()
    first = place(archive, dest)
    assert (first["changed"], first["before"]) == (True, "")
    assert files.version(dest) == "v1.23.1"
    # A program of this version is there: the archive is not even looked for.
    assert place(archive, dest, transferred="/nowhere")["changed"] is False
    assert list(dest.parent.iterdir()) == [dest]


def test_a_node_gets_its_certificate_and_the_cloud_hears_of_it(node: Node, cloud: tuple[Any, dict[str, int]]) -> None:
    made, _ = cloud
    node.bootstrap(made.token())
    with node.start() as process:
        try:
            for _ in range(100):
                if "gate" in made.nodes:
                    break
                time.sleep(0.1)
            found = files.look(node.root)
        finally:
            process.terminate()
    assert made.nodes["gate"]["metadata"]["labels"]["node-role.kubernetes.io/edge"] == ""
    assert found["version"] == "v1.23.1"
    assert found["bootstrap"]
    certificate = found["certificate"]
    assert (certificate["node"], certificate["problem"]) == ("gate", "")
    assert certificate["authority_sha256"] == token.read(made.token()).authority_sha256
    assert certificate["expires"] > time.time() + 300 * 86400
    # A key that is another one's is seen.
    (node.root / files.KEY).write_bytes((made.folder / "server.key").read_bytes())
    assert files.certificate(node.root)["problem"]


def test_tokens_are_refused_as_edgecore_refuses_them(node: Node, cloud: tuple[Any, dict[str, int]]) -> None:
    made, _ = cloud
    head = "panic: failed to apply the edge certs, err: "
    expected = {
        "nonsense": f"{head}token nonsense credentials are in the wrong format",
        made.token().replace(
            made.token()[:64], "0" * 64
        ): f"{head}failed to validate CA certificate. tokenCAhash: 0000",
        made.token(-60): "code: 401, message: token validation failure, err: Token is expired",
        f"{made.token()[:-4]}AAAA": "code: 401, message: token validation failure, err: signature is invalid",
    }
    for text, says in expected.items():
        node.bootstrap(text)
        assert says in node.fails()


def test_a_file_of_another_version_is_written_anew_with_the_token(tmp_path: Path, archive: dict[str, str]) -> None:
    ports = {"certificates": free_port(), "websocket": free_port()}
    node = Node(tmp_path / "node", archive, ports, edgecoreVersion="v1.22.0")
    node.bootstrap("a.b.c.d")
    assert "failed to get CA certificate, err" in node.fails()
    written = yaml.safe_load(node.config.read_text())
    assert written["modules"]["edgeHub"]["token"] == "a.b.c.d"  # noqa: S105 - the trap that the role avoids
    assert written["edgecoreVersion"] == "v1.23.1"
    assert "deviceTwin" in written["modules"]


def test_a_wrong_configuration_ends_the_start(tmp_path: Path, archive: dict[str, str]) -> None:
    ports = {"certificates": free_port(), "websocket": free_port()}
    node = Node(tmp_path / "node", archive, ports)
    document = yaml.safe_load(node.config.read_text())
    document["modules"]["edged"]["tailoredKubeletConfig"] = {"cgroupDriver": "none"}
    node.config.write_text(yaml.safe_dump(document))
    assert "CGroupDriver value error" in node.fails()


def test_the_way_to_the_cloud_is_judged(cloud: tuple[Any, dict[str, int]]) -> None:
    made, ports = cloud
    wanted = {name: ports[name] for name in ("certificates", "websocket")}
    authority = token.read(made.token()).authority_sha256
    reach = lambda host="127.0.0.1", **more: list(  # noqa: E731 - short for what follows
        cloud_reach.faults(host, {**wanted, **more.pop("ports", {})}, node="nobody", **more)
    )
    assert reach(authority_sha256=authority) == []
    (other,) = reach(authority_sha256="0" * 64)
    assert "another cloud's" in other
    (name,) = reach("localhost")
    assert "advertiseAddress" in name
    (closed,) = reach(ports={"websocket": free_port()})
    assert "(websocket) cannot be reached" in closed
    made.nodes["nobody"] = {}
    (taken,) = reach()
    assert "has a node nobody already" in taken
    assert reach(known=True) == []
    del made.nodes["nobody"]


def refusing(path: Path) -> Iterator[None]:
    """A server that answers any call as gRPC refuses one: trailers and nothing else."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    channel, _ = server.accept()
                    with channel:
                        channel.recv(1 << 16)
                        channel.sendall(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\1\5\0\0\0\1")
                        while channel.recv(1 << 16):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def test_a_runtime_without_cri_is_told(tmp_path: Path) -> None:
    with pytest.raises(cri.CriError, match="No such file"):
        cri.Cri(f"unix://{tmp_path}/none.sock").look()
    with (
        contextlib.contextmanager(refusing)(tmp_path / "s.sock"),
        pytest.raises(cri.CriError, match=r"refuses runtime\.v1"),
    ):
        cri.Cri(str(tmp_path / "s.sock")).look()


SYSTEMCTL = """#!/bin/sh
# Plays systemd's part for one service, in the folder $SERVICE.
[ "$1" != --quiet ] || shift
echo "$*" >> "$SERVICE/asked"
case $1 in
  show) [ ! -e "$SERVICE/pid" ] || echo ActiveState=active ;;
  restart) "$SERVICE/start" 2> "$SERVICE/journal" > /dev/null & echo $! > "$SERVICE/pid" ;;
  stop) kill "$(cat "$SERVICE/pid")" 2> /dev/null; rm -f "$SERVICE/pid" ;;
esac
exit 0
"""


def started(node: Node, service: Path, secret: str, **more: Any) -> dict[str, Any]:
    """The module starts the stand-in by way of programs that play systemd's part."""
    service.mkdir(exist_ok=True)
    run = f"exec {sys.executable} {node.root / files.PROGRAM} --config={node.config}"
    scripts = {
        "systemctl": SYSTEMCTL,
        "journalctl": '#!/bin/sh\ncat "$SERVICE/journal"\n',
        "start": f"#!/bin/sh\n{run}\n",
    }
    for name, text in scripts.items():
        (service / name).write_text(text)
        (service / name).chmod(0o755)
    arguments = {
        "state": "restarted",
        "timeout_seconds": 20,
        "secrets": [secret],
        "url": f"http://127.0.0.1:{node.health}/healthz/syncloop",
        "certificate": str(node.root / files.CERTIFICATE),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{PLUGINS}.modules.edgecore_start"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "collections",
        env={
            **os.environ,
            "PATH": f"{service}{os.pathsep}{os.environ['PATH']}",
            "SERVICE": str(service),
            "KUBEEDGE_ROOT": str(node.root),
            "KUBEEDGE_HEALTH_PORT": str(node.health),
        },
    )
    assert secret not in done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_start_that_cannot_succeed_ends_at_once_and_is_stopped(
    node: Node, cloud: tuple[Any, dict[str, int]], tmp_path: Path
) -> None:
    node.bootstrap("very-secret-nonsense")
    begun = time.monotonic()
    found = started(node, tmp_path / "service", "very-secret-nonsense", stop_on_failure=True)
    assert time.monotonic() - begun < 15
    assert found["failed"]
    assert "credentials are in the wrong format" in found["msg"]
    assert "keadm gettoken" in found["advice"]
    assert "very-secret-nonsense" in (tmp_path / "service" / "journal").read_text()
    assert (tmp_path / "service" / "asked").read_text().splitlines()[-1] == "stop edgecore"
    # The next one, with a good token, takes up from there.
    node.bootstrap(cloud[0].token())
    found = started(node, tmp_path / "service", cloud[0].token())
    os.kill(int((tmp_path / "service" / "pid").read_text()), 15)
    assert found.get("failed") is None, found
    assert found["changed"]
    asked = (tmp_path / "service" / "asked").read_text()
    assert "daemon-reload\nenable edgecore\n" in asked
