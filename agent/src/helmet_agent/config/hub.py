# SPDX-License-Identifier: Apache-2.0
"""The section of the configuration that says where the hub is."""

# ruff: noqa: RUF009 - key() is this schema's dataclasses.field, evaluated once on purpose

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.config import kinds
from helmet_agent.config.keys import key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEAST_BANDWIDTH = 8 << 10
"""The hub ends uploads that crawl below 4 KiB a second."""


@dataclass(frozen=True)
class HubConfig:
    """The hub that takes hard examples and reports; without a `url` the node keeps to itself."""

    url: str | None = key(
        kinds.optional(kinds.hub_url()),
        None,
        "Where the hub listens.",
        absent="none",
        example='"https://192.0.2.20:8443"',
    )
    ca_file: Path | None = key(
        kinds.optional(kinds.path("the path of a file with certificates in PEM form")),
        None,
        "The authority that the hub's certificate comes from.",
        absent="the machine's own list",
        example='"/etc/helmet-agent/hub-ca.pem"',
    )
    token_file: Path | None = key(
        kinds.optional(kinds.path("the path of a file with the token")),
        None,
        "This node's token, made by `helmet-agent enrol`; no others may read it. "
        "With systemd's LoadCredential: /run/credentials/UNIT/NAME.",
        absent="none",
        example='"/etc/helmet-agent/hub.token"',
    )
    bandwidth: int = key(
        kinds.size(0, 1 << 40),
        0,
        "Most bytes a second that examples may take; 0 is no cap.",
        absent="0",
        example='"250k"',
    )
    report_seconds: float = key(
        kinds.seconds(5, 3600), 60.0, "How often the node tells the hub how it is; a change of the model at once."
    )
    proxy: str | None = key(
        kinds.optional(kinds.proxy_url()),
        None,
        "An HTTP proxy on the way to the hub. Those in the environment are not used.",
        absent="none",
        example='"http://192.0.2.8:3128"',
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        if self.url is not None and self.token_file is None:
            yield "token_file", "expected the path of a file with the token, since hub.url is given, found nothing"
        if 0 < self.bandwidth < _LEAST_BANDWIDTH:
            yield "bandwidth", f"expected 0 or at least {_LEAST_BANDWIDTH} bytes a second, found {self.bandwidth}"
