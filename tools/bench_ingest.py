# SPDX-License-Identifier: Apache-2.0
"""How many hard examples a second a hub takes in: ``python tools/bench_ingest.py --help``.

The hub is ``helmet-cloud serve``, and this generator is another process; between them are real TLS sockets. Every
picture is another one, made beforehand. An answer counts when it is 201: the example survives a power cut.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil

from helmet_agent.contract import Detection, ExampleRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NODE = "bench"
TOKEN = "hmt_" + "b" * 43  # of a hub that lives as long as the bench
WIDTH, HEIGHT = 1280, 720


def main() -> int:
    """Runs the bench and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=3000, help="how many are sent")
    parser.add_argument("--bytes", type=int, default=100_000, help="size of one picture")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    bodies = make_bodies(options.examples, options.bytes)
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name, hub(Path(name) / "hub") as (port, pid):
        process = psutil.Process(pid)
        before = sum(process.cpu_times()[:2])
        figures = run(Path(name) / "hub", port, bodies, options)
        figures["hub_rss_mib"] = round(process.memory_info().rss / 2**20, 1)
        figures["hub_cpu_ms_per_example"] = round((sum(process.cpu_times()[:2]) - before) * 1000 / len(bodies), 2)
    if options.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:>28}  {value}")
    return 0 if figures["refused"] == 0 else 1


def make_bodies(count: int, size: int) -> list[tuple[str, bytes]]:
    """Digest and body of each upload: one picture of about that size, made different by a comment in its header."""
    rng = np.random.default_rng(7)
    smooth = cv2.resize(rng.integers(0, 255, (90, 160, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    best = b""
    for quality in range(95, 5, -5):
        best = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(best) <= size - 32:
            break
    filler = max(size - len(best) - 32, 0)
    bodies = []
    for number in range(count):
        comment = f"{number:020d}".encode() + b"x" * min(filler, 60_000)
        jpeg = best[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + best[2:]
        sha256 = hashlib.sha256(jpeg).hexdigest()
        seen = tuple(Detection("helmet-on", 0.5, (10.0 * i, 20.0, 10.0 * i + 30, 60.0)) for i in range(8))
        record = ExampleRecord(sha256, NODE, "gate", number, 1.0 + number, WIDTH, HEIGHT, "0" * 64, "IBT", 0.5, seen)
        bodies.append((sha256, json.dumps(record.to_json(), separators=(",", ":")).encode() + b"\n" + jpeg))
    return bodies


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[tuple[int, int]]:
    """A hub as it is served, in a process of its own, that knows the bench's token; yields port and process id."""
    subprocess.run(command("init", str(folder), "--listen", "127.0.0.1:0"), check=True, stdout=subprocess.DEVNULL)
    settings = folder / "hub.toml"
    # One token stands for a whole fleet here, so its limit of requests is off.
    more = 'workers_listen = "127.0.0.1:0"\ntoken_requests_per_second = 0\n'
    settings.write_text(f"{settings.read_text()}\n{more}")
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    words = ("nodes", "add", NODE, "--token-sha256", digest, "--data-dir", str(folder))
    subprocess.run(command(*words), check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(command("serve", "--data-dir", str(folder))) as process:
        try:
            wait_for(folder / "address")
            yield int(json.loads((folder / "address").read_text())["listen"].rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def command(*words: str) -> list[str]:
    """A ``helmet-cloud`` command."""
    return [sys.executable, "-m", "helmet_cloud.cli", *words]


def run(folder: Path, port: int, bodies: Sequence[tuple[str, bytes]], options: argparse.Namespace) -> dict[str, float]:
    """Sends everything over some connections at once."""
    latencies: list[float] = []
    refused: list[bytes] = []
    numbers = iter(range(len(bodies)))
    lock = threading.Lock()

    def connection() -> None:
        with connect(port, folder / "tls" / "ca.crt") as stream:
            answers = stream.makefile("rb")
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                sha256, body = bodies[number]
                head = (
                    f"PUT /v1/examples/{sha256} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n"
                    f"Content-Type: application/vnd.helmet.example\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                begun = time.perf_counter()
                stream.sendall(head.encode() + body)
                status = answers.readline()
                length = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                content = answers.read(length)
                latencies.append(time.perf_counter() - begun)
                if b" 201 " not in status:
                    refused.append(status + content)

    threads = [threading.Thread(target=connection) for _ in range(options.connections)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    for answer in refused[:3]:
        print(answer, file=sys.stderr)
    return {
        "connections": options.connections,
        "picture_bytes": round(statistics.mean(len(body) for _, body in bodies)),
        "examples": len(latencies),
        "refused": len(refused) + len(bodies) - len(latencies),
        "examples_per_second": round(len(latencies) / seconds, 1),
        "mib_per_second": round(sum(len(body) for _, body in bodies) / seconds / 2**20, 1),
        "p50_ms": round(statistics.median(latencies) * 1000, 1),
        "p99_ms": round(statistics.quantiles(latencies, n=100)[-1] * 1000, 1),
    }


def wait_for(path: Path) -> None:
    """Until the hub has written a file, at most a minute."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def connect(port: int, authority: Path) -> socket.socket:
    """A connection to the hub, once it listens."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ssl.create_default_context(cafile=str(authority)).wrap_socket(plain, server_hostname="127.0.0.1")


if __name__ == "__main__":
    sys.exit(main())
