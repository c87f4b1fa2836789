# SPDX-License-Identifier: Apache-2.0
"""What the doctor looks at on the way to the hub: token, authority, name, connection, TLS, authorisation, clock."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from helmet_agent.adapters.hub_http.authority import tls_context
from helmet_agent.adapters.hub_http.token import read_token, token_digest
from helmet_agent.app.doctor import FAILED, OK, SKIPPED, WARNING, Finding
from helmet_agent.app.hub import connect
from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Clock

TIMEOUT_SECONDS = 10.0
CLOCK_SECONDS = 30.0
"""A clock that is off by more confuses when examples were taken; by much more, what is still valid."""

EXPIRES_SOON_DAYS = 30.0
BUILT_SECONDS = 1_767_225_600.0
"""The first moment of 2026: a clock before it was never set."""

MOST_AHEAD_SECONDS = 20 * 365.25 * 86400.0
"""A clock that is ahead by more than this program will be used was set wrong."""

_SECONDS_PER_DAY = 86400.0


def token(config: AgentConfig) -> Iterator[Finding]:
    """Whether there is a token that no others can read."""
    path = config.hub.token_file
    if path is None:
        yield Finding("token", SKIPPED, "no hub is configured")
        return
    try:
        digest = token_digest(read_token(path))
    except AgentError as error:
        yield Finding("token", FAILED, str(error))
        return
    yield Finding("token", OK, f"{path}: sha256 {digest}")


def authority(config: AgentConfig) -> Iterator[Finding]:
    """Whether the authority's certificate can be used, and for how long."""
    path = config.hub.ca_file
    if config.hub.url is None or path is None:
        yield Finding(
            "ca", SKIPPED, "no hub is configured" if config.hub.url is None else "the machine's own list is used"
        )
        return
    try:
        context = tls_context(path)
    except AgentError as error:
        yield Finding("ca", FAILED, f"{error}; copy it from the hub again")
        return
    ends = [ssl.cert_time_to_seconds(str(each["notAfter"])) for each in context.get_ca_certs()]
    if not ends:
        yield Finding("ca", FAILED, f"{path}: holds no certificate of an authority; copy it from the hub again")
        return
    days = (max(ends) - time.time()) / _SECONDS_PER_DAY
    if days <= 0:
        yield Finding("ca", FAILED, f"{path}: expired {-days:.0f} days ago; copy the hub's present one")
    elif days < EXPIRES_SOON_DAYS:
        yield Finding("ca", WARNING, f"{path}: expires in {days:.0f} days; plan to renew it")
    else:
        yield Finding("ca", OK, f"{path}: good for {days:.0f} days")


def line_and_clock(config: AgentConfig, clock: Clock) -> Iterator[Finding]:
    """The way to the hub step by step, up to the first that fails; then the clock against the hub's."""
    there: float | None = None
    if config.hub.url is None:
        yield Finding("hub", SKIPPED, "no hub is configured")
    else:
        reached = True
        for finding in _line(config):
            reached = finding.state == OK
            yield finding
        if reached:
            finding, there = _authorised(config)
            yield finding
    yield _clock(clock.now(), there)


def _line(config: AgentConfig) -> Iterator[Finding]:
    """Name, connection and TLS; to the proxy and no further where there is one."""
    parts = urlsplit(config.hub.proxy or config.hub.url or "")
    host = parts.hostname or ""
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    who = "the proxy" if config.hub.proxy else "the hub"
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        yield Finding("hub dns", FAILED, f"{host}: no address is known ({error}); check the URL and /etc/resolv.conf")
        return
    yield Finding("hub dns", OK, f"{host} is {', '.join(addresses)}")
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT_SECONDS)
    except OSError as error:
        yield Finding(
            "hub connect", FAILED, f"{host} port {port}: {error}; is {who} up, does a firewall let this node through?"
        )
        return
    with connection:
        yield Finding("hub connect", OK, f"{who} listens at port {port}")
        if parts.scheme == "https":
            yield _handshake(config, connection, host)


def _handshake(config: AgentConfig, connection: socket.socket, host: str) -> Finding:
    try:
        with tls_context(config.hub.ca_file).wrap_socket(connection, server_hostname=host) as secure:
            return Finding("hub tls", OK, f"{secure.version()}, the certificate is {host}'s and the authority's")
    except ssl.SSLCertVerificationError as error:
        advice = "check hub.ca_file, hub.url and this machine's clock"
        return Finding("hub tls", FAILED, f"the certificate is not accepted: {error.verify_message}; {advice}")
    except (OSError, AgentError) as error:
        return Finding("hub tls", FAILED, f"{error}; is it the hub that listens there?")


def _authorised(config: AgentConfig) -> tuple[Finding, float | None]:
    """Whether the hub accepts the token, and the hub's time."""
    try:
        with contextlib.closing(connect(config.hub)) as hub:
            there = hub.knock()
    except AgentError as error:
        return Finding("hub auth", FAILED, str(error)), None
    return Finding("hub auth", OK, "the hub accepts this node's token"), there


def _clock(here: float, there: float | None) -> Finding:
    advice = "set it: `timedatectl set-ntp true`, or chrony"
    if not BUILT_SECONDS <= here < BUILT_SECONDS + MOST_AHEAD_SECONDS:
        return Finding("clock", FAILED, f"it says {time.strftime('%Y-%m-%d', time.gmtime(here))}; {advice}")
    if there is None:
        return Finding("clock", OK, "plausible; compared with nobody's")
    if abs(here - there) > CLOCK_SECONDS:
        return Finding("clock", FAILED, f"differs from the hub's by {here - there:+.0f} s; {advice}")
    return Finding("clock", OK, f"within {CLOCK_SECONDS:.0f} s of the hub's")
