# SPDX-License-Identifier: Apache-2.0
"""How the hub bears up when many nodes poll its channel: a load generator on real TLS sockets, the hub beside it.

The hub is kept to one core where the machine has two, and so is whatever publishes, which is the hub's work too; the
generator is a process of its own on the others. Every simulated node holds a connection (or, with ``--reconnect``,
makes a new one each time, as a node does whose poll period is longer than the keep-alive) and asks for
``timestamp.json`` with the entity tag that it knows. In the middle a model is published: each node then fetches six
files, the model among them. All polls count; those of the period after the publication are shown apart as well. Since
every node is told of the news once, 95% of 304 with a publication in it takes a window of more than 20 periods.

``python tools/bench_channel.py --nodes 1000 --period 30 --seconds 690``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL = "/channel/metadata/timestamp.json"
START_SECONDS = 60.0


@dataclass
class Figures:
    """What was seen.

    Attributes:
        polls: when each poll after a node's first began, how many seconds it took, and its status.
        fetches: seconds of each further request after a poll that brought something new.
        failures: what went wrong.
        published: when the publication began and when it was done; infinite without one.
    """

    polls: list[tuple[float, float, int]] = field(default_factory=list)
    published: tuple[float, float] = (float("inf"), float("inf"))
    fetches: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Connection:
    """One HTTP/1.1 connection over TLS."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self._port = port
        self._trust = trust
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, tag: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; connects if need be."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)
        reader, writer = self._streams
        known = f"If-None-Match: {tag}\r\n" if tag else ""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: node\r\n{known}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split(" ")[1]), headers, body

    async def close(self) -> None:
        """Ends it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def node(connection: Connection, options: argparse.Namespace, figures: Figures, end: float) -> None:
    """One node: polls once a period from a moment of its own on."""
    await asyncio.sleep(random.uniform(0.0, options.period))  # noqa: S311 - jitter, no secret
    tag, first = "", True
    while time.monotonic() < end:
        begin = time.monotonic()
        try:
            status, headers, body = await connection.get(POLL, tag)
            took = time.monotonic() - begin
            if not first:
                figures.polls.append((begin, took, status))
            if status == 200 and tag:  # noqa: PLR2004 - HTTP
                await fetch_new(connection, body, figures)
            tag, first = headers["etag"], False
        except (OSError, ValueError, KeyError, asyncio.IncompleteReadError) as error:
            figures.failures.append(repr(error))
            await connection.close()
        if options.reconnect:
            await connection.close()
        await asyncio.sleep(max(0.0, begin + options.period - time.monotonic()))
    await connection.close()


async def fetch_new(connection: Connection, timestamp: bytes, figures: Figures) -> None:
    """The metadata, the manifest and the model that a new timestamp leads to."""
    version = json.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = json.loads(await _timed(connection, f"/channel/metadata/{version}.snapshot.json", figures))
    version = snapshot["signed"]["meta"]["targets.json"]["version"]
    targets = json.loads(await _timed(connection, f"/channel/metadata/{version}.targets.json", figures))
    for path, target in targets["signed"]["targets"].items():
        folder, _, name = path.rpartition("/")
        await _timed(connection, f"/channel/targets/{folder}/{target['hashes']['sha256']}.{name}", figures)


async def _timed(connection: Connection, path: str, figures: Figures) -> bytes:
    begin = time.monotonic()
    status, _, body = await connection.get(path)
    figures.fetches.append(time.monotonic() - begin)
    if status != 200:  # noqa: PLR2004 - HTTP
        figures.failures.append(f"{path}: {status}")
    return body


async def load(port: int, trust: ssl.SSLContext, options: argparse.Namespace, folder: Path, cores: set[int]) -> Figures:
    """All nodes, and a publication on the hub's cores in the middle if it is wanted."""
    figures = Figures()
    end = time.monotonic() + options.seconds
    nodes = [node(Connection(port, trust), options, figures, end) for _ in range(options.nodes)]
    await asyncio.gather(*nodes, publish(folder, options, figures, cores))
    return figures


async def publish(folder: Path, options: argparse.Namespace, figures: Figures, cores: set[int]) -> None:
    """Publishes the bundled model half-way, on the hub's own cores."""
    if not options.publish:
        return
    await asyncio.sleep(options.seconds / 2)
    words = ("models", "publish", options.publish, "--job", "default/bench", "--data-dir", str(folder))
    begin = time.monotonic()
    done = await asyncio.create_subprocess_exec(*command(*words), stdout=subprocess.DEVNULL)
    os.sched_setaffinity(done.pid, cores)
    if await done.wait():
        figures.failures.append("the publication failed")
    figures.published = (begin, time.monotonic())


def command(*words: str) -> list[str]:
    """A ``helmet-cloud`` command."""
    return [sys.executable, "-m", "helmet_cloud.cli", *words]


def cpu_seconds(process: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(process: int, what: str = "VmRSS") -> float:
    """Resident memory of a process; ``VmHWM``: the most that it ever had."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def quantile(values: list[float], share: float) -> float:
    """The value below which that share lies; NaN without values."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def report(figures: Figures, options: argparse.Namespace, cpu: float, memory: tuple[float, float]) -> dict[str, Any]:
    """The figures by name."""
    unchanged = sum(status == 304 for _, _, status in figures.polls)  # noqa: PLR2004 - HTTP
    everything = [took for _, took, _ in figures.polls]
    first, last = figures.published[0], figures.published[1] + options.period
    busy = [took for when, took, _ in figures.polls if first <= when <= last]
    return {
        "nodes": options.nodes,
        "period_seconds": options.period,
        "connections": "new for each poll" if options.reconnect else "kept",
        "polls": len(everything),
        "not_modified_share": round(unchanged / max(len(everything), 1), 4),
        "poll_ms_p50": round(quantile(everything, 0.5) * 1000, 2),
        "poll_ms_p99": round(quantile(everything, 0.99) * 1000, 2),
        "poll_ms_max": round(max(everything, default=float("nan")) * 1000, 2),
        "publication_seconds": round(last - first - options.period, 2) if busy else None,
        "publication_polls": len(busy),
        "publication_poll_ms_p99": round(quantile(busy, 0.99) * 1000, 2) if busy else None,
        "fetches_after_publication": len(figures.fetches),
        "fetch_ms_p99": round(quantile(figures.fetches, 0.99) * 1000, 2) if figures.fetches else None,
        "failures": len(figures.failures),
        "first_failures": figures.failures[:3],
        "hub_cpu_share_of_one_core": round(cpu / options.seconds, 4),
        "hub_rss_mib": round(memory[0], 1),
        "hub_rss_peak_mib": round(memory[1], 1),
    }


def main() -> int:
    """Makes a hub, serves it, polls it, prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--period", type=float, default=30.0, help="seconds between two polls of a node")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--reconnect", action="store_true", help="a new TLS connection for each poll")
    parser.add_argument("--quiet", action="store_true", help="publish nothing half-way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-channel-") as place:
        folder = Path(place) / "hub"
        subprocess.run(command("init", str(folder), "--listen", "127.0.0.1:0"), check=True, stdout=subprocess.DEVNULL)
        settings = folder / "hub.toml"
        # One address stands for a whole fleet here, so its limit of connections is off.
        more = 'workers_listen = "127.0.0.1:0"\naddress_connections = 0\n'
        settings.write_text(f"{settings.read_text()}\n{more}")
        from helmet_agent.adapters.litert import bundled_model_dir  # noqa: PLC0415 - the path is all that is needed

        added = subprocess.run(
            command("models", "add", str(bundled_model_dir()), "--data-dir", str(folder)),
            check=True,
            capture_output=True,
            text=True,
        )
        options.publish = "" if options.quiet else added.stdout.strip()
        cores = sorted(os.sched_getaffinity(0))
        hub = subprocess.Popen(command("serve", "--data-dir", str(folder)))
        try:
            if len(cores) > 1:
                os.sched_setaffinity(hub.pid, cores[:1])
                os.sched_setaffinity(0, cores[1:])
            print(json.dumps(measure(hub, folder, options), indent=1))
        finally:
            hub.terminate()
            hub.wait()
    return 0


def measure(hub: subprocess.Popen[bytes], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Waits for the hub and puts the load on it."""
    address = folder / "address"
    deadline = time.monotonic() + START_SECONDS
    while not address.exists():
        if hub.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the hub does not start")
        time.sleep(0.1)
    for thread in Path(f"/proc/{hub.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), os.sched_getaffinity(hub.pid))
    trust = ssl.create_default_context(cafile=str(folder / "tls" / "ca.crt"))
    port = int(json.loads(address.read_text())["listen"].rpartition(":")[2])
    before = cpu_seconds(hub.pid)
    figures = asyncio.run(load(port, trust, options, folder, os.sched_getaffinity(hub.pid)))
    memory = (rss_mib(hub.pid), rss_mib(hub.pid, "VmHWM"))
    return report(figures, options, cpu_seconds(hub.pid) - before, memory)


if __name__ == "__main__":
    sys.exit(main())
