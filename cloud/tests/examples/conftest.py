# SPDX-License-Identifier: Apache-2.0
"""A hub for examples: its folder, its routes on a real socket, pictures and records to send it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from helmet_agent.contract import Detection, ExampleRecord
from helmet_cloud.api.auth import Auth
from helmet_cloud.api.examples import examples_router, make_uploads
from helmet_cloud.api.labels import labels_router
from helmet_cloud.api.problem import install_problems
from helmet_cloud.api.upload_door import UploadDoor
from helmet_cloud.examples.labelling import Labelling
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.examples.upload import MEDIA_TYPE
from helmet_cloud.settings import HubHome, HubSettings
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.store.tokens import add_token, new_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_700_000_000.0


def make_jpeg(number: int, width: int = 64, height: int = 48) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def make_record(jpeg: bytes, **changes: Any) -> ExampleRecord:
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node="edge-1",
        source="gate",
        frame=7,
        time_seconds=NOW,
        width=64,
        height=48,
        model="0" * 64,
        rule="IBT",
        value=0.5,
        detections=(Detection("helmet-off", 0.4, (1.0, 2.0, 30.0, 40.0)),),
    )
    return dataclasses.replace(record, **changes)


def make_body(jpeg: bytes, record: ExampleRecord | None = None) -> bytes:
    line = json.dumps((record or make_record(jpeg)).to_json(), separators=(",", ":"))
    return line.encode() + b"\n" + jpeg


@pytest.fixture(name="make_jpeg")
def _make_jpeg() -> Callable[..., bytes]:
    return make_jpeg


@pytest.fixture(name="make_record")
def _make_record() -> Callable[..., ExampleRecord]:
    return make_record


@pytest.fixture(name="make_body")
def _make_body() -> Callable[..., bytes]:
    return make_body


class Hub:
    """A hub whose clock is ``now`` and whose routes are served once ``url`` is asked for."""

    def __init__(self, folder: Path, settings: HubSettings, reserve_bytes: int, idle_seconds: float) -> None:
        self.home = HubHome(folder, settings)
        self.database = Database(self.home.database)
        Base.metadata.create_all(self.database.engine)
        self.now = NOW
        self.examples = HubExamples(self.home, self.database, lambda: self.now, reserve_bytes, idle_seconds)
        self.auth = Auth(self.database)
        self.app = FastAPI()
        install_problems(self.app)
        self.uploads = make_uploads(self.examples)
        self.app.include_router(examples_router(self.examples, self.auth, self.uploads))
        self.resources = ResourceStore(self.database)
        self.labelling = Labelling(self.home, self.database, self.resources)
        self.app.include_router(labels_router(self.labelling, self.auth, lambda: self.now))
        self._server: uvicorn.Server | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        if self._server is None:
            door = UploadDoor(self.app, self.uploads, self.auth)
            self._server = uvicorn.Server(uvicorn.Config(door, log_level="critical", lifespan="off"))
            self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
            self._thread.start()
            while not self._server.started:
                time.sleep(0.01)
        return int(self._socket.getsockname()[1])

    def token(self, name: str, *scopes: str) -> str:
        token = new_token()
        with self.database.write() as session:
            add_token(session, name, token_digest(token), scopes or [name], self.now)
        return token

    def client(self, name: str = "node:edge-1", *scopes: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(name, *scopes)}", "Content-Type": MEDIA_TYPE}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)

    def keep(self, *jpegs: bytes, **changes: Any) -> list[str]:
        """Takes pictures in, past the network; returns their digests."""
        digests = []
        for jpeg in jpegs:
            record = make_record(jpeg, **changes)
            done = self.examples.ingest.submit(record.sha256, make_body(jpeg, record), lambda _node: True)
            done.result(30)
            digests.append(record.sha256)
        return digests

    def dataset(self, name: str = "site", url: str = "/data/site/data.txt", kind: str = "txt") -> Path:
        """Makes a Dataset; returns where its file belongs."""
        document = {
            "apiVersion": "sedna.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"url": url, "format": kind, "nodeName": "hub"},
        }
        self.resources.create(document)
        return self.home.settings.rootfs / url.lstrip("/")

    def close(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20)
        self._socket.close()
        self.examples.close()
        self.auth.close()
        self.database.close()


@pytest.fixture
def open_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Opens hubs; ``folder`` defaults to one for all of a test's, so that opening again is a restart."""
    hubs: list[Hub] = []

    def open_one(
        folder: Path | None = None, *, reserve_bytes: int = 0, idle_seconds: float = 20.0, **settings: Any
    ) -> Hub:
        place = tmp_path / "hub" if folder is None else folder
        place.mkdir(exist_ok=True)
        hubs.append(Hub(place, HubSettings(rootfs=tmp_path / "rootfs", **settings), reserve_bytes, idle_seconds))
        return hubs[-1]

    yield open_one
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(open_hub: Callable[..., Hub]) -> Hub:
    return open_hub()
