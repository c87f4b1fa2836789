# SPDX-License-Identifier: Apache-2.0
"""What a node and its hub send one another: a real agent, a real hub, TLS, and everything counted on the way.

Between them stand two forwarders, one on the way to the channel and one on the way to the hub, which count the bytes of
TCP payload in both directions and the connections. Requests are the agent's own counters. Polls and reports come more
often than by default, so that a few minutes give many; what one of them costs is multiplied by how many a day has.

``python tools/measure_traffic.py --seconds 60 --json``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nudged_model import nudged_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "agent/src/helmet_agent/assets/clips/worker-zone-detection.mp4"
JOB = "default/helmet-detection-demo"
DAY = 86_400
POLL_SECONDS, REPORT_SECONDS = 1, 5
START_SECONDS = 90.0
CHUNK = 1 << 16


@dataclass
class Count:
    """Bytes that went to the hub and came from it, and connections."""

    up: int = 0
    down: int = 0
    connections: int = 0

    def since(self, before: Count) -> Count:
        """The difference."""
        return Count(self.up - before.up, self.down - before.down, self.connections - before.connections)

    def copy(self) -> Count:
        """As it is now."""
        return Count(self.up, self.down, self.connections)


class Forwarder:
    """A TCP forwarder that counts."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self.count = Count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self.count.connections += 1
            for source, sink, name in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._pass, args=(source, sink, name), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                with self._lock:
                    setattr(self.count, name, getattr(self.count, name) + len(chunk))
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def cloud(*arguments: str) -> str:
    """Runs helmet-cloud; gives what it printed."""
    command = [str(Path(sys.executable).parent / "helmet-cloud"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended afterwards."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_until(reached: Callable[[], bool], what: str, log: Path) -> None:
    """Waits, or says what the log ends with."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if reached():
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen; its log ends with:\n{log.read_text()[-2000:]}")
        time.sleep(0.5)


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """The figures; see ``main``."""
    hub, data, port, api = folder / "hub", folder / "node", free_port(), free_port()
    cloud("init", str(hub), "--listen", f"127.0.0.1:{port}")
    settings = hub / "hub.toml"
    settings.write_text("\n".join(line for line in settings.read_text().splitlines() if "workers_listen" not in line)
                        + '\nworkers_listen = "127.0.0.1:0"\n')  # fmt: skip
    agent = [sys.executable, "-m", "helmet_agent"]
    token = folder / "hub.token"
    enrolled = subprocess.run([*agent, "enrol", "--token-file", str(token), "--node", "n1"], check=True,
                              capture_output=True, text=True).stdout.strip()  # fmt: skip
    cloud("nodes", "add", "n1", "--token-sha256", enrolled, "--data-dir", str(hub))
    to_channel, to_hub = Forwarder(port), Forwarder(port)
    config = folder / "agent.toml"
    config.write_text(
        f"""[node]
name = "n1"
data_dir = "{data}"
[api]
listen = "127.0.0.1:{api}"
[[sources]]
name = "gate"
url = "{CLIP}"
loop = true
realtime = true
[mining]
follow_manifest = false
per_hour = 120
[[mining.rules]]
name = "Random"
parameters = {{ random_ratio = "0.2" }}
[hub]
url = "https://127.0.0.1:{to_hub.port}"
ca_file = "{hub / "tls/ca.crt"}"
token_file = "{token}"
report_seconds = {REPORT_SECONDS}
[updates]
enabled = true
channel_url = "https://127.0.0.1:{to_channel.port}/channel/"
ca_file = "{hub / "tls/ca.crt"}"
root_file = "{hub / "root.json"}"
follow = "{JOB}"
poll_seconds = {POLL_SECONDS}
probation_seconds = 5
"""
    )
    trust = ssl.create_default_context(cafile=str(hub / "tls/ca.crt"))

    def status() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{api}/v1/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def ready() -> bool:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=5, context=trust):
            return True

    serve = [str(Path(sys.executable).parent / "helmet-cloud"), "serve", "--data-dir", str(hub)]
    with running(serve, folder / "hub.log"), contextlib.ExitStack() as stack:
        wait_until(ready, "the hub's start", folder / "hub.log")
        stack.enter_context(running([*agent, "run", "--config", str(config)], folder / "agent.log"))
        wait_until(lambda: status()["updates"]["counters"]["polls"] > 0, "a poll", folder / "agent.log")
        before = status(), to_channel.count.copy(), to_hub.count.copy()
        time.sleep(seconds)
        after = status(), to_channel.count.copy(), to_hub.count.copy()
        nudged_folder(folder / "new", 1)
        sha256 = cloud("models", "add", str(folder / "new"), "--data-dir", str(hub),
                       "--weights", str(ROOT / "cloud/src/helmet_cloud/assets/model/weights.npz"))  # fmt: skip
        published = to_channel.count.copy(), status()["updates"]["counters"]["polls"]
        cloud("models", "publish", sha256, "--job", JOB, "--data-dir", str(hub), "--poll-seconds", "60")
        wait_until(lambda: status()["updates"]["sha256"] == sha256, "the update", folder / "agent.log")
        done = to_channel.count.copy(), status()["updates"]["counters"]["polls"]
    return figures(before, after, published, done)


Look = tuple[dict[str, Any], Count, Count]


def figures(before: Look, after: Look, published: tuple[Count, int], done: tuple[Count, int]) -> dict[str, Any]:
    """What one poll, one report, one example and one update cost, and what a day does at the default periods."""
    polls = after[0]["updates"]["counters"]["polls"] - before[0]["updates"]["counters"]["polls"]
    channel = after[1].since(before[1])
    hub = after[2].since(before[2])
    reports = after[0]["reports"]["sent"] - before[0]["reports"]["sent"]
    sent = after[0]["uplink"]["sent"] - before[0]["uplink"]["sent"]
    payload = after[0]["uplink"]["sent_bytes"] - before[0]["uplink"]["sent_bytes"]
    poll = {"up": round(channel.up / polls), "down": round(channel.down / polls)}
    news = done[0].since(published[0])
    extra = done[1] - published[1]
    return {
        "polls": polls,
        "reports": reports,
        "examples": sent,
        "poll_bytes": poll,
        "poll_connections": channel.connections,
        "report_and_example_bytes": {"up": hub.up, "down": hub.down, "connections": hub.connections},
        "example_payload_bytes": round(payload / sent) if sent else None,
        "report_bytes": round((hub.up - payload) / max(1, reports + sent)),
        "update_bytes": {"up": news.up - extra * poll["up"], "down": news.down - extra * poll["down"]},
        "day": {"polls": DAY // 60, "poll_bytes": DAY // 60 * (poll["up"] + poll["down"]), "reports": DAY // 60},
    }


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady part (default: 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    os.environ.setdefault("NO_COLOR", "1")
    with tempfile.TemporaryDirectory(prefix="helmet-traffic-") as folder:
        found = measure(Path(folder), given.seconds)
    if given.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<28} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
