# SPDX-License-Identifier: Apache-2.0
"""What the hub's doctor looks at of the running hub: its name, its address, its parts, its release."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

import helmet_cloud
from helmet_agent.diagnosis import FAILED, OK, SKIPPED, WARNING, Finding
from helmet_cloud.settings import split_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.settings import HubHome

TIMEOUT_SECONDS = 5.0


def name(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the name that nodes are told has an address."""
    del now
    url = home.settings.public_url
    host = urlsplit(url or "").hostname
    if host is None:
        yield Finding("hub dns", SKIPPED, "no public_url is set: the address of listen is used")
        return
    try:
        found = sorted({str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        mend = "enter it in the DNS or correct public_url in hub.toml"
        yield Finding("hub dns", FAILED, f"{host}: no address is known ({error}); {mend}")
    else:
        yield Finding("hub dns", OK, f"{host} is {', '.join(found)}")


def hub(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the hub runs, answers, and is of this release; where it does not run, whether it could."""
    del now
    listen = _listening(home)
    if listen is None:
        yield from _could_listen(home)
        return
    address, port = split_address(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - asked, not bound
    base = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    trust = ssl.create_default_context(cafile=str(home.tls / "ca.crt"))
    trust.check_hostname = False  # the names of the certificate have a line of their own
    try:
        with httpx.Client(base_url=base, verify=trust, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            version: Any = client.get("/version").json()["gitVersion"]
            ready: Any = client.get("/readyz").json()
    except httpx.HTTPError as error:
        mend = "is it running? `systemctl status helmet-hub`, `helmet-cloud serve`"
        yield Finding("hub", FAILED, f"{base}: nobody answers ({error}); {mend}")
        return
    except (ValueError, KeyError, TypeError):
        yield Finding("hub", FAILED, f"{base}: somebody else answers there, no hub; change listen in hub.toml")
        return
    ours = f"v{helmet_cloud.__version__}"
    if version != ours:
        yield Finding("release", FAILED, f"stale: the hub that runs is {version}, installed is {ours}; restart the hub")
    else:
        yield Finding("release", OK, f"{version} runs, as installed")
    problems: dict[str, str] = ready.get("problems", {})
    for part, said in problems.items():
        yield Finding("hub", FAILED, f"{part}: {said}")
    if not problems:
        yield Finding("hub", OK, f"{base}: every part works")


def _listening(home: HubHome) -> str | None:
    """Where the hub said that it listens; None when it has not, or has ended in good order."""
    try:
        document = json.loads((home.folder / "address").read_text())
    except (OSError, ValueError):
        return None
    return str(document["listen"]) if isinstance(document, dict) and "listen" in document else None


def _could_listen(home: HubHome) -> Iterator[Finding]:
    for key in ("listen", "workers_listen"):
        address, port = split_address(getattr(home.settings, key))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            socket.create_server((address, port), family=family).close()
        except OSError as error:
            mend = f"end who has it (`ss -ltnp`), or change {key} in hub.toml"
            yield Finding("address", FAILED, f"{getattr(home.settings, key)}: {error.strerror}; {mend}")
            return
    yield Finding("hub", WARNING, "it does not run; start it: `systemctl start helmet-hub`, or `helmet-cloud serve`")
