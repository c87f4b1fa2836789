# SPDX-License-Identifier: Apache-2.0
"""What cannot be right about the hub and a node's way to it. Every function answers with all its findings."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible_collections.helmet.edge.plugins.plugin_utils import given_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, nothing is bound
TLS = ("helmet_hub_tls_certificate", "helmet_hub_tls_key", "helmet_hub_tls_ca")
FEWEST_RELEASES = 2


def connection(values: Mapping[str, Any], *, hub_in_inventory: bool) -> Iterator[str]:
    """A node's variables about its hub and its models.

    Args:
        values: what is given and can be known now.
        hub_in_inventory: whether the playbooks fetch from a hub what is public.
    """
    url, follow = _text(values, "edge_agent_hub_url"), _text(values, "edge_agent_follow")
    root, ca = _text(values, "edge_agent_trusted_root"), _text(values, "edge_agent_hub_ca")
    if url and not _secure(url):
        yield f"edge_agent_hub_url: expected an https:// address without a password, found {_shown(url)!r}"
    if follow and not re.fullmatch(r"[^/\s]+/[^/\s]+", follow):
        yield f"edge_agent_follow: expected NAMESPACE/NAME of a job, found {follow!r}"
    if follow and not root and not hub_in_inventory:
        yield (
            "edge_agent_follow is given, but nothing says whose models are believed: "
            "give edge_agent_trusted_root, or put the hub into the group hubs"
        )
    if root and not _is_root(root):
        yield "edge_agent_trusted_root: expected the text of a channel's root.json, such as a lookup of that file gives"
    if ca and ("PRIVATE KEY" in ca or "-----BEGIN CERTIFICATE-----" not in ca):
        yield "edge_agent_hub_ca: expected certificates as PEM text and nothing that is secret"
    for name in ("edge_agent_hub_bandwidth", "edge_agent_replace_token", "edge_agent_hub_ca"):
        if values.get(name) and not url:
            yield f"{name} is given, but no edge_agent_hub_url that it could belong to"
    if values.get("edge_agent_ring") == "canary" and not follow and url:
        yield "edge_agent_ring is canary, but without edge_agent_follow the node takes no models at all"


def hub(values: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[str]:
    """The hub's own variables.

    Args:
        values: what is given and can be known now.
        read: a file of the controller, taken out of its vault where it lies in one; OSError where that cannot be done.
    """
    listen, public = _text(values, "helmet_hub_listen"), _text(values, "helmet_hub_public_url")
    host, _, port = listen.rpartition(":")
    if listen and not (host and port.isdigit()):
        yield f"helmet_hub_listen: expected ADDRESS:PORT, found {listen!r}"
    elif host in EVERYWHERE and not public:
        yield f"helmet_hub_listen: {listen} is every address of the hub; helmet_hub_public_url must say which nodes use"
    if public and not _secure(public):
        yield f"helmet_hub_public_url: expected an https:// address, found {_shown(public)!r}"
    given = [name for name in TLS if values.get(name)]
    if given and len(given) < len(TLS):
        yield f"{' and '.join(given)} given without {' and '.join(sorted(set(TLS) - set(given)))}: all three or none"
    elif given and all(Path(_text(values, name)).is_file() for name in TLS):
        yield from _certificate(values, read, _host(public) or ("" if host in EVERYWHERE else host))
    for name in (*given, "helmet_hub_wheel", "helmet_hub_agent_wheel", "helmet_hub_requirements"):
        path = _text(values, name)
        if path and not Path(path).is_file():
            yield f"{name}: {path} is not on the controller"
    wheelhouse = _text(values, "helmet_hub_wheelhouse")
    if wheelhouse and not any(Path(wheelhouse).glob("*.whl")):
        yield f"helmet_hub_wheelhouse: {wheelhouse} on the controller is no folder with wheels"
    if int(values.get("helmet_hub_releases_kept", FEWEST_RELEASES)) < FEWEST_RELEASES:
        yield f"helmet_hub_releases_kept: at least {FEWEST_RELEASES} releases are kept, or there is none to go back to"


def _certificate(values: Mapping[str, Any], read: Callable[[str], bytes], host: str) -> Iterator[str]:
    contents = {}
    for name in TLS:
        try:
            contents[name] = read(_text(values, name))
        except OSError as error:
            yield f"{name}: it cannot be read: {error}"
            return
    certificate, key, authority = (contents[name] for name in TLS)
    yield from given_certificate.faults(certificate, key, authority, host, dt.datetime.now(dt.UTC))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _text(values: Mapping[str, Any], name: str) -> str:
    return str(values.get(name) or "").strip()


def _secure(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, password = parts.hostname, parts.password
    except ValueError:
        return False
    local = parts.scheme == "http" and host in LOOPBACK
    return bool(host) and password is None and (parts.scheme == "https" or local)


def _shown(url: str) -> str:
    """The address without what may be a password."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def _is_root(text: str) -> bool:
    try:
        return bool(json.loads(text)["signed"]["_type"] == "root")
    except (ValueError, KeyError, TypeError):
        return False
