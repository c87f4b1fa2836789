# SPDX-License-Identifier: Apache-2.0
"""The section of the configuration that says where new models come from."""

# ruff: noqa: RUF009 - key() is this schema's dataclasses.field, evaluated once on purpose

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.config import kinds
from helmet_agent.config.keys import key
from helmet_agent.config.kinds import Kind, UnfitValueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_JOB = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


def job() -> Kind[str]:
    """A job by namespace and name, as Kubernetes writes them."""

    def read(value: object, _base: Path) -> str:
        if not isinstance(value, str) or not _JOB.match(value):
            raise UnfitValueError
        return value

    return Kind('"NAMESPACE/NAME" of an incremental-learning job', read)


@dataclass(frozen=True)
class UpdatesConfig:
    """New models from a signed channel; see docs/updates.md."""

    enabled: bool = key(kinds.flag(), False, "Whether new models are taken at all.")
    channel_url: str | None = key(
        kinds.optional(kinds.channel_url()),
        None,
        "Where the channel is. Everything in it is signed, so any web server will do.",
        absent="none: models come by `helmet-agent models import` only",
        example='"https://192.0.2.20:8443/channel/"',
    )
    root_file: Path | None = key(
        kinds.optional(kinds.path("the path of a root.json")),
        None,
        "The keys that this node trusts: the channel's `root.json`, brought here by whoever set the node up.",
        absent="none",
        example='"/etc/helmet-agent/root.json"',
    )
    ca_file: Path | None = key(
        kinds.optional(kinds.path("the path of a file with certificates in PEM form")),
        None,
        "The authority that the web server's certificate comes from.",
        absent="the machine's own list",
        example='"/etc/helmet-agent/hub-ca.pem"',
    )
    proxy: str | None = key(
        kinds.optional(kinds.proxy_url()),
        None,
        "An HTTP proxy on the way to the channel. Those in the environment are not used.",
        absent="none",
        example='"http://192.0.2.8:3128"',
    )
    follow: str | None = key(
        kinds.optional(job()),
        None,
        "The job whose models are taken.",
        absent="none",
        example='"default/helmet-detection-demo"',
    )
    ring: str = key(kinds.safe_name(), "stable", "The ring of the job that this node belongs to.")
    poll_seconds: float | None = key(
        kinds.optional(kinds.seconds(1, 86_400)),
        None,
        "How often to look for a new model.",
        absent="what the live model's manifest says, `pollPeriodSeconds` of the job",
        example="60",
    )
    timeout_seconds: float = key(kinds.seconds(0.1, 600), 10.0, "How long to wait for the server's next bytes.")
    probation_seconds: float = key(
        kinds.seconds(0, 86_400), 60.0, "A new model serves at least so long before it is confirmed."
    )
    probation_frames: int = key(
        kinds.integer(1, 1_000_000), 100, "A new model looks at so many frames at least before it is confirmed."
    )
    max_latency_ratio: float = key(
        kinds.number(1, 100), 1.5, "A new model that is slower than the one before by more than this factor is refused."
    )
    max_memory_ratio: float = key(
        kinds.number(1, 100),
        2.0,
        "A new model that takes more memory than the one before by more than this factor is refused.",
    )
    probe_seconds: float = key(
        kinds.seconds(1, 3600), 30.0, "CPU time that trying a new model may take, in a process of its own."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        if self.enabled and self.follow is None:
            yield "follow", "expected the job whose models are taken, since updates.enabled is true, found nothing"
        if self.enabled and self.root_file is None:
            yield "root_file", "expected the path of a root.json, since updates.enabled is true, found nothing"
