# SPDX-License-Identifier: Apache-2.0
"""The node at the new site: the installed agent with cameras that play films again and again."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from helmet_demo.manifests import JOB
from helmet_demo.processes import Child, DemoError, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from helmet_demo.places import Places

NODE = "node-1"
START_SECONDS = 60.0
ASK_SECONDS = 5.0
NEAR = 50
"""Frames, five seconds of the film."""

CONFIG = """\
# The node at the new site.
[node]
name = {node}
data_dir = {data}

{sources}
{mining}
[results]
detections = {detections}

[api]
listen = "127.0.0.1:{port}"

[hub]
url = {hub}
ca_file = {ca}
token_file = {token}
report_seconds = 5

[updates]
enabled = true
channel_url = {channel}
root_file = {root}
ca_file = {ca}
follow = {follow}
poll_seconds = 5
probation_seconds = 10
probation_frames = 50
"""


SOURCE = """\
[[sources]]
name = {name}
url = {url}
realtime = true
loop = true
{more}"""

MINING = """\
[mining]
per_hour = 100000
duplicate_distance = 0
"""
"""The rule travels with the model; there is no lack of people to label."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a node shall look at.

    Attributes:
        films: what each camera plays, by the camera's name.
        more: further lines of each camera's section.
        mining: the section of that name.
    """

    films: Mapping[str, Path]
    more: str = ""
    mining: str = MINING


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that the agent looked at.

    Attributes:
        frame: its number since the start.
        model: digest of the model that looked at it.
    """

    frame: int
    model: str


class Node:
    """The running agent of the new site.

    Args:
        places: of the run.
        config: written by ``write_config``.
        port: of its own interface.

    Raises:
        DemoError: it does not come up.
    """

    def __init__(self, places: Places, config: Path, port: int) -> None:
        self._lines = places.site / "detections"
        command = (str(places.agent), "run", "--config", str(config))
        self.child = Child("the agent", command, places.out / "agent.log")
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ASK_SECONDS, trust_env=False)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it."""
        self._client.close()
        self.child.stop()

    def status(self) -> dict[str, Any]:
        """All its figures of this moment.

        Raises:
            DemoError: it has ended or does not answer.
        """
        self.child.check()
        try:
            found: dict[str, Any] = self._client.get("/v1/status").raise_for_status().json()
        except httpx.HTTPError as error:
            raise DemoError(f"the agent does not answer: {error}; look at {self.child.log}") from error
        return found

    def seen(self, camera: str) -> Iterator[Seen]:
        """Every frame of a camera that it looked at, in order, from the lines that it writes."""
        with (self._lines / f"{camera}.jsonl").open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    document = json.loads(line)
                    yield Seen(int(document["frame"]), str(document["model"]))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.child.check()
            try:
                if self._client.get("/readyz").is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise DemoError(f"the agent is not ready in {START_SECONDS:.0f} s; look at {self.child.log}")


def write_config(places: Places, hub_url: str, setup: Setup) -> tuple[Path, int]:
    """Writes the agent's configuration and has the agent check it; returns the file and the port of its interface.

    Args:
        places: of the run.
        hub_url: of the hub.
        setup: of the site.

    Raises:
        DemoError: the agent refuses it.
    """
    port = _free_port()
    path = places.site / "agent.toml"
    path.write_text(config_text(places, hub_url, setup, port))
    run((str(places.agent), "check-config", str(path)))
    return path, port


def config_text(places: Places, hub_url: str, setup: Setup, port: int) -> str:
    """The configuration; arguments as above, and the port of the agent's own interface."""
    values = {
        "node": NODE,
        "data": places.site / "state",
        "detections": places.site / "detections",
        "hub": hub_url,
        "ca": places.hub / "tls" / "ca.crt",
        "token": places.site / "token",
        "channel": f"{hub_url}/channel/",
        "root": places.hub / "root.json",
        "follow": f"default/{JOB}",
    }
    # JSON's strings are TOML's
    given = {key: json.dumps(str(value)) for key, value in values.items()}
    sources = [
        SOURCE.format(name=json.dumps(name), url=json.dumps(str(film)), more=setup.more)
        for name, film in setup.films.items()
    ]
    return CONFIG.format(port=port, sources="\n".join(sources), mining=setup.mining, **given)


def clear(places: Places) -> None:
    """Removes what an earlier run left of this node."""
    shutil.rmtree(places.site, ignore_errors=True)
    places.site.mkdir(parents=True)


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of the model, as the detections show it.

    Attributes:
        first: number of the first frame that the new model looked at.
        lost: frames without a result between the last one of the old model and the first one of the new.
        near: the same within NEAR frames before and after, whatever they were dropped for (a busy machine).
    """

    first: int
    lost: int
    near: int


def find_swap(seen: Iterator[Seen]) -> Swap | None:
    """The first change of the model among frames in order; None where there is none."""
    frames = list(seen)
    for old, new in itertools.pairwise(frames):
        if old.model != new.model:
            begin, end = max(new.frame - NEAR, frames[0].frame), min(new.frame + NEAR, frames[-1].frame + 1)
            near = end - begin - sum(begin <= one.frame < end for one in frames)
            return Swap(new.frame, new.frame - old.frame - 1, near)
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
