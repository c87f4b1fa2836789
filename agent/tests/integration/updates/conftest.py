# SPDX-License-Identifier: Apache-2.0
"""A real channel for a node to follow: signed by python-tuf, served over loopback by a server that can misbehave."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import http.server
import json
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nudged_model import nudged
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.contract import Delivery, FileReference, ModelManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOB = "default/helmet-detection-demo"
ROLES = ("root", "targets", "snapshot", "timestamp")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Model:
    """A model folder that a test makes."""

    def __init__(self, folder: Path, content: bytes | None = None, **changes: Any) -> None:
        self.folder = folder
        shutil.copytree(bundled_model_dir(), folder)
        (folder / "model_float16.tflite").unlink()
        manifest = ModelManifest.from_bytes((folder / "manifest.json").read_bytes())
        if content is not None:
            (folder / "model.tflite").write_bytes(content)
            changes["model"] = FileReference("model.tflite", digest(content), len(content))
        changes.setdefault("delivery", Delivery(JOB, hot_update=True, poll_seconds=1))
        self.manifest = dataclasses.replace(manifest, **changes)
        (folder / "manifest.json").write_bytes(self.manifest.to_bytes())

    @property
    def sha256(self) -> str:
        return self.manifest.model.sha256

    @property
    def key(self) -> str:
        return digest((self.folder / "manifest.json").read_bytes())


class Channel:
    """A TUF repository with consistent snapshots, the layout that the hub publishes."""

    def __init__(self, folder: Path, *, now: float | None = None) -> None:
        self.folder = folder
        self.expires = dt.datetime.fromtimestamp(now or time.time(), dt.UTC).replace(microsecond=0) + dt.timedelta(
            days=9
        )
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        root = Root(expires=self.expires, consistent_snapshot=True)
        for role, signer in self.signers.items():
            root.add_key(signer.public_key, role)
        self.root, self.targets = Metadata(root), Metadata(Targets(expires=self.expires))
        self.snapshot = Metadata(Snapshot(expires=self.expires))
        self.timestamp = Metadata(Timestamp(expires=self.expires))
        self.targets.signed.version = 0
        self.snapshot.signed.version = self.timestamp.signed.version = 0
        (folder / "metadata").mkdir(parents=True)
        self.sign(self.root, "root", "1.root.json")
        self.root_file = folder.parent / "root.json"
        shutil.copy(folder / "metadata" / "1.root.json", self.root_file)
        self.release()

    def sign(self, metadata: Metadata[Any], role: str, name: str) -> None:
        metadata.sign(self.signers[role])
        temporary = self.folder / "metadata" / f".{name}"
        metadata.to_file(str(temporary))
        temporary.replace(self.folder / "metadata" / name)

    def publish(self, model: Model, ring: str = "stable", job: str = JOB) -> None:
        """Puts a model's files and its manifest into the channel and signs it all."""
        for name in (*(frame.picture.name for frame in model.manifest.golden), model.manifest.model.name):
            content = (model.folder / name).read_bytes()
            self.add(f"files/{digest(content)}", content)
        self.add(f"jobs/{job}/{ring}.json", (model.folder / "manifest.json").read_bytes())
        self.release()

    def add(self, path: str, content: bytes) -> None:
        place = self.folder / "targets" / Path(path).parent / f"{digest(content)}.{Path(path).name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.targets.signed.targets[path] = TargetFile(len(content), {"sha256": digest(content)}, path)

    def withdraw(self, path: str) -> None:
        del self.targets.signed.targets[path]
        self.release()

    def release(self) -> None:
        targets, snapshot, timestamp = self.targets.signed, self.snapshot.signed, self.timestamp.signed
        targets.version += 1
        self.sign(self.targets, "targets", f"{targets.version}.targets.json")
        snapshot.meta["targets.json"] = MetaFile(targets.version)
        snapshot.version += 1
        self.sign(self.snapshot, "snapshot", f"{snapshot.version}.snapshot.json")
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        timestamp.version += 1
        self.sign(self.timestamp, "timestamp", "timestamp.json")


@dataclass
class Served:
    """One answer of the server."""

    path: str
    status: int
    sent: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """A web server for one folder, with ETag, Range and If-Range, and with faults.

    Attributes:
        served: every answer, in order.
        cut_after: by the end of a path: each connection breaks after so many bytes of the body.
        status: by the end of a path: answered instead of the file.
        spoil: by the end of a path: changes what is sent.
        delay_seconds: by the end of a path: waited before each chunk.
        redirect: by the end of a path: the address sent instead.
        ranges: whether Range is understood.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.served: list[Served] = []
        self.cut_after: dict[str, int] = {}
        self.status: dict[str, int] = {}
        self.spoil: dict[str, Callable[[bytes], bytes]] = {}
        self.delay_seconds: dict[str, float] = {}
        self.redirect: dict[str, str] = {}
        self.ranges = True
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent(self, ending: str) -> int:
        """Bytes of all bodies of a file."""
        return sum(one.sent for one in self.served if one.path.endswith(ending))

    def paths(self) -> list[str]:
        return [one.path for one in self.served]

    def _fault(self, faults: dict[str, Any], path: str) -> Any:
        return next((faults[ending] for ending in faults if path.endswith(ending)), None)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: C901 - one small class
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                one = Served(self.path, 0, headers=dict(self.headers))
                server.served.append(one)
                target = server._fault(server.redirect, self.path)
                if target is not None:
                    one.status = 302
                    self._head(302, 0, {"Location": target})
                    return
                status = server._fault(server.status, self.path)
                place = server.folder / self.path.lstrip("/")
                if status is not None or not place.is_file():
                    one.status = status or 404
                    self._head(one.status, 0, {})
                    return
                self._file(one, place.read_bytes())

            def _file(self, one: Served, content: bytes) -> None:
                etag = f'"{digest(content)[:16]}"'
                if self.headers.get("If-None-Match") == etag:
                    one.status = 304
                    self._head(304, 0, {"ETag": etag})
                    return
                start, total, headers = 0, len(content), {"ETag": etag}
                asked = self.headers.get("Range", "")
                if server.ranges and asked.startswith("bytes=") and self.headers.get("If-Range", etag) == etag:
                    start = int(asked[6:].partition("-")[0])
                    if start >= total:
                        one.status = 416
                        self._head(416, 0, {})
                        return
                    headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
                spoil = server._fault(server.spoil, self.path)
                body = (content if spoil is None else spoil(content))[start:]
                one.status = 206 if "Content-Range" in headers else 200
                self._head(one.status, len(body), headers)
                self._body(one, body)

            def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                if status != 304:
                    self.send_header("Content-Length", str(length))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def _body(self, one: Served, body: bytes) -> None:
                most = server._fault(server.cut_after, self.path)
                delay = server._fault(server.delay_seconds, self.path) or 0.0
                end = len(body) if most is None else min(most, len(body))
                try:
                    for at in range(0, end, 16_384):
                        time.sleep(delay)
                        piece = body[at : min(at + 16_384, end)]
                        self.wfile.write(piece)
                        one.sent += len(piece)
                except OSError:
                    self.close_connection = True
                if end < len(body):
                    self.wfile.flush()
                    self.close_connection = True

        return Handler


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    return Channel(tmp_path / "channel")


@pytest.fixture
def server(channel: Channel) -> Iterator[Server]:
    found = Server(channel.folder)
    yield found
    found.close()


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Model]:
    """Makes model folders: ``make_model(release=2)`` is the bundled one, ``seed=`` or ``content=`` another one."""
    count = iter(range(1000))

    def make(seed: int | None = None, content: bytes | None = None, **changes: Any) -> Model:
        if seed is not None:
            content = nudged((bundled_model_dir() / "model.tflite").read_bytes(), seed)
        return Model(tmp_path / f"model-{next(count)}", content, **changes)

    return make


@pytest.fixture
def write_config(tmp_path: Path, channel: Channel, server: Server) -> Callable[..., Path]:
    """Writes a configuration that follows the channel; ``updates`` replaces keys of that section, as TOML text."""

    def write(sources: str = "", **updates: Any) -> Path:
        keys = {
            "enabled": True,
            "channel_url": server.url,
            "root_file": str(channel.root_file),
            "follow": JOB,
            "poll_seconds": 1,
            "probation_seconds": 1,
            "probation_frames": 5,
        } | updates
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items() if value is not None]
        path = tmp_path / "agent.toml"
        path.write_text(
            f"[node]\nname = 'n1'\ndata_dir = '{tmp_path / 'data'}'\n[api]\nenabled = false\n"
            f"[mining]\nenabled = false\n[updates]\n" + "\n".join(lines) + f"\n{sources}"
        )
        return path

    return write
