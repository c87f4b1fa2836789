# SPDX-License-Identifier: Apache-2.0
"""How many hard examples a second a hub takes in: ``python tools/bench_ingest.py --help``.

The hub is a process of its own, and so is this generator; between them are real sockets, plain or TLS. Every picture
is another one, made beforehand. An answer counts when it is 201: the example survives a power cut.
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
WIDTH, HEIGHT = 1280, 720


def main() -> int:
    """Runs the bench and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=3000, help="how many are sent")
    parser.add_argument("--bytes", type=int, default=100_000, help="size of one picture")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tls", action="store_true", help="HTTPS instead of plain HTTP")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, tls=options.tls)
        return 0
    bodies = make_bodies(options.examples, options.bytes)
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name, hub(Path(name), tls=options.tls) as (port, pid):
        process = psutil.Process(pid)
        wait_for(Path(name) / "token")
        before = sum(process.cpu_times()[:2])
        figures = run(Path(name), port, bodies, options)
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
def hub(folder: Path, *, tls: bool) -> Iterator[tuple[int, int]]:
    """A hub's example routes in a process of its own; yields port and process id."""
    command = [sys.executable, __file__, "--serve", str(folder), *(["--tls"] if tls else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            port = int(process.stdout.readline())
            yield port, process.pid
        finally:
            process.terminate()


def serve(folder: Path, *, tls: bool) -> None:
    """Serves until it is ended; prints the port."""
    import trustme  # noqa: PLC0415 - only the hub's process needs these
    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415

    from helmet_cloud.api.auth import Auth  # noqa: PLC0415
    from helmet_cloud.api.examples import examples_router  # noqa: PLC0415
    from helmet_cloud.api.problem import install_problems  # noqa: PLC0415
    from helmet_cloud.examples.service import HubExamples  # noqa: PLC0415
    from helmet_cloud.settings import HubHome  # noqa: PLC0415
    from helmet_cloud.store.base import Base  # noqa: PLC0415
    from helmet_cloud.store.database import Database  # noqa: PLC0415
    from helmet_cloud.store.tokens import add_token, new_token, token_digest  # noqa: PLC0415

    home = HubHome(folder)
    database = Database(home.database)
    Base.metadata.create_all(database.engine)
    token = new_token()
    with database.write() as session:
        add_token(session, f"node:{NODE}", token_digest(token), [f"node:{NODE}"], time.time())
    (folder / "token").write_text(token)
    app = FastAPI()
    install_problems(app)
    examples = HubExamples(home, database)
    app.include_router(examples_router(examples, Auth(database)))
    certificate = {}
    if tls:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        pair = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        pair.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        certificate = {"ssl_certfile": str(folder / "server.pem")}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, **certificate)
        uvicorn.Server(config).run(sockets=[listening])
    examples.close()


def run(folder: Path, port: int, bodies: Sequence[tuple[str, bytes]], options: argparse.Namespace) -> dict[str, float]:
    """Sends everything over some connections at once."""
    token = (folder / "token").read_text()
    latencies: list[float] = []
    refused: list[bytes] = []
    numbers = iter(range(len(bodies)))
    lock = threading.Lock()

    def connection() -> None:
        with connect(port, folder / "ca.pem" if options.tls else None) as stream:
            answers = stream.makefile("rb")
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                sha256, body = bodies[number]
                head = (
                    f"PUT /v1/examples/{sha256} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n"
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
        "scheme": "https" if options.tls else "http",
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


def connect(port: int, authority: Path | None) -> socket.socket:
    """A connection to the hub, once it listens."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if authority is None:
        return plain
    return ssl.create_default_context(cafile=str(authority)).wrap_socket(plain, server_hostname="127.0.0.1")


if __name__ == "__main__":
    sys.exit(main())
