# SPDX-License-Identifier: Apache-2.0
"""A node to show and a real server to show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from helmet_agent.api.app import ApiPace, create_api
from helmet_agent.api.broadcast import EventBroadcast
from helmet_agent.api.preview import PreviewDesk
from helmet_agent.api.server import ApiServer
from helmet_agent.contract import ComplianceEvent, ModelManifest
from helmet_agent.status import Health, NodeSnapshot, Problem, SourceStatus
from helmet_agent.testing import example_manifest

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of this test


def violation(track: int = 1) -> ComplianceEvent:
    return ComplianceEvent(
        id=f"gate-{track}",
        kind="violation_started",
        source="gate",
        frame=track,
        time_seconds=1000.0,
        track=track,
        label="helmet-off",
        score=0.9,
        box=(1.0, 2.0, 30.0, 40.0),
    )


@dataclass
class FakeNode:
    """Implements ``NodeView``: what it shows is set by the test."""

    events: EventBroadcast = field(default_factory=lambda: EventBroadcast(run="test", waiting=3, most_listeners=2))
    problems: tuple[Problem, ...] = ()
    warm: bool = True
    live: ModelManifest | None = field(default_factory=example_manifest)
    frame: int = 0
    drawn: int = 0
    violation = staticmethod(violation)

    def __post_init__(self) -> None:
        self.preview = PreviewDesk(self._latest, self._encode, most_viewers=2)

    def _latest(self, source: str | None) -> tuple[str | None, int] | None:
        self.looked = True
        # The same object for the same frame, as the pipeline has it.
        if self.frame and getattr(self, "_frame", (None, None)) != (source, self.frame):
            self._frame = (source, self.frame)
        return self._frame if self.frame else None

    def _encode(self, frame: tuple[str | None, int]) -> bytes:
        self.drawn += 1
        return f"jpeg of {frame[0]} {frame[1]}".encode()

    def snapshot(self) -> NodeSnapshot:
        return NodeSnapshot(
            node="site-3",
            version="0.1.0",
            started_seconds=1000.0,
            taken_seconds=1010.0,
            frames=42,
            sources=(SourceStatus("gate", True, "streaming"), SourceStatus("yard", True, "waiting")),
            preview_viewers=self.preview.viewers,
            problems=self.problems,
        )

    def health(self) -> Health:
        return Health.of(self.problems)

    def ready(self) -> Health:
        return Health(self.warm, () if self.warm else ("the model is warming up",))

    def manifest(self) -> ModelManifest | None:
        return self.live


@dataclass
class Serving:
    """A node behind a real server."""

    node: FakeNode
    server: ApiServer
    url: str


Serve = Callable[..., Serving]


@pytest.fixture(scope="session")
def web() -> Iterator[httpx.Client]:
    """One client for all: making one reads the machine's certificates each time."""
    with httpx.Client(timeout=5, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


@contextmanager
def servers() -> Iterator[Serve]:
    started: list[ApiServer] = []

    def begin(node: FakeNode | None = None, token: str | None = None, heartbeat_seconds: float = 15.0) -> Serving:
        node = node or FakeNode()
        server = ApiServer(create_api(node, token, ApiPace(heartbeat_seconds, 0.01)), "127.0.0.1", 0)
        server.start()
        started.append(server)
        return Serving(node, server, f"http://127.0.0.1:{server.port}")

    yield begin
    for server in started:
        assert server.stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers; they are stopped after the test."""
    with servers() as begin:
        yield begin


@pytest.fixture(scope="module")
def loopback_url() -> Iterator[str]:
    """A server without a token, for tests that only ask."""
    with servers() as begin:
        yield begin().url


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[str]:
    """A server that wants the token, for tests that only ask."""
    with servers() as begin:
        yield begin(token=TOKEN).url


@pytest.fixture
def token() -> str:
    return TOKEN
