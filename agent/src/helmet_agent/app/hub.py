# SPDX-License-Identifier: Apache-2.0
"""The node's way to the hub, from the configuration."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent import __version__
from helmet_agent.adapters.hub_http.token import read_token
from helmet_agent.errors import ConfigError
from helmet_agent.retry import Backoff
from helmet_agent.services.bandwidth import TokenBucket
from helmet_agent.services.reporting import NoUpdates, Reporter, report_of
from helmet_agent.services.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Hashable

    from helmet_agent.adapters.hub_http.client import HubHttp
    from helmet_agent.app.node import Node
    from helmet_agent.config import AgentConfig, HubConfig
    from helmet_agent.contract import NodeReport
    from helmet_agent.ports import Clock
    from helmet_agent.services.reporting import ModelWatch
    from helmet_agent.services.uplink import WaitingExamples
    from helmet_agent.status import NodeSnapshot

FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 300.0
CREDENTIALS = Path("/run/credentials")
"""What systemd hands to a unit (LoadCredential=) lies here, only while the unit runs and for it alone."""


def check_hub_files(hub: HubConfig) -> None:
    """Looks at the files that the way to the hub needs; nothing is sent.

    Raises:
        ConfigError: the token or the authority's certificate cannot be used.
    """
    if hub.url is None or hub.token_file is None:
        return
    from helmet_agent.adapters.hub_http.authority import tls_context  # noqa: PLC0415 - loads OpenSSL

    if not hub.token_file.is_relative_to(CREDENTIALS):
        try:
            read_token(hub.token_file)
        except ConfigError as error:
            raise ConfigError(f"hub.token_file: {error}") from error
    try:
        tls_context(hub.ca_file)
    except ConfigError as error:
        raise ConfigError(f"hub.ca_file: {error}") from error


def connect(hub: HubConfig) -> HubHttp:
    """A client of the hub; nothing is sent yet.

    Raises:
        ConfigError: no hub is configured, or the authority's certificate cannot be used.
    """
    from helmet_agent.adapters.hub_http.client import HubAddress, HubHttp  # noqa: PLC0415 - loads httpx

    if hub.url is None or hub.token_file is None:
        raise ConfigError("hub.url: no hub is configured")
    return HubHttp(HubAddress(hub.url, hub.token_file, hub.ca_file, hub.proxy), f"helmet-agent/{__version__}")


def hub_backoff() -> Backoff:
    """Between tries while the hub is away."""
    return Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, 2.0, random.SystemRandom().random)


def make_uplink(config: AgentConfig, spool: WaitingExamples | None, clock: Clock) -> Uplink | None:
    """Sends what the spool holds, if there is a spool and a hub; not started.

    Raises:
        ConfigError: a file that it needs cannot be used.
    """
    hub = config.hub
    check_hub_files(hub)
    if hub.url is None or spool is None:
        return None
    return Uplink(
        config.node.name,
        spool,
        lambda: connect(hub),
        clock,
        backoff=hub_backoff(),
        bucket=TokenBucket(hub.bandwidth, clock),
        random=random.SystemRandom().random,
    )


def make_reporter(hub: HubConfig, node: Node, clock: Clock, models: ModelWatch | None = None) -> Reporter | None:
    """Tells the hub how the node is, if there is a hub; not started.

    Args:
        hub: where it is.
        node: what is told.
        clock: time.
        models: the updater, where there is one.
    """
    if hub.url is None:
        return None
    desk = _Desk(node, models or NoUpdates())
    return Reporter(
        lambda: connect(hub),
        desk.report,
        desk.present,
        clock,
        period_seconds=hub.report_seconds,
        backoff=hub_backoff(),
        random=random.SystemRandom().random,
    )


class _Desk:
    """Writes the reports."""

    def __init__(self, node: Node, models: ModelWatch) -> None:
        self._node = node
        self._models = models
        self._before: NodeSnapshot | None = None

    def report(self) -> NodeReport | None:
        now = self._node.snapshot()
        report = report_of(now, self._before, self._models.news())
        self._before = now
        return report

    def present(self) -> Hashable:
        live = self._node.manifest()
        return self._models.news(), live.model.sha256, live.release
