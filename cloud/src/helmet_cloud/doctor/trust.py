# SPDX-License-Identifier: Apache-2.0
"""What the hub's doctor looks at of trust: token, signing keys, channel, certificates."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from helmet_agent.diagnosis import FAILED, OK, WARNING, Finding
from helmet_cloud.api.server import server_tls
from helmet_cloud.channel import open_repository
from helmet_cloud.channel.keys import ONLINE_ROLES
from helmet_cloud.channel.next_root import waiting
from helmet_cloud.errors import HubError
from helmet_cloud.setup.tls import TlsFiles
from helmet_cloud.store.tokens import TOKEN_PATTERN, token_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.settings import HubHome

SOON_DAYS = 30.0


def token(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the administrator's token opens this hub."""
    del now
    path = home.folder / "tokens" / "admin.token"
    mend = "`helmet-cloud init` makes another"
    try:
        text = path.read_text().strip()
    except OSError as error:
        yield Finding("token", FAILED, f"{path}: {error.strerror}; {mend}")
        return
    if not TOKEN_PATTERN.match(text):
        yield Finding("token", FAILED, f"{path}: holds no token; remove it, {mend}")
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
            query = "SELECT revoked_seconds FROM tokens WHERE sha256 = ?"
            row = connection.execute(query, (token_digest(text),)).fetchone()
    except sqlite3.Error:
        return  # the database has a line of its own
    if row is None or row[0] is not None:
        what = "nobody knows it" if row is None else "it was revoked"
        yield Finding("token", FAILED, f"{path}: {what}; remove it, {mend}")
    else:
        yield Finding("token", OK, f"{path}: opens the hub")


def keys(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the hub can sign with the keys that the channel's root names."""
    repository = open_repository(home, lambda: now)
    root = repository.root().signed
    for role in ONLINE_ROLES:
        try:
            repository.keys.signer(role, root.roles[role].keyids)
        except HubError as error:
            yield Finding("keys", FAILED, str(error))
            return
    next_root = waiting(repository)
    if next_root:
        yield Finding("keys", WARNING, next_root)
        return
    away = "is away, as it should be" if not any(home.offline_keys.glob("*")) else "lies here: take it away"
    yield Finding("keys", OK, f"the online keys are the root's; the root's own key {away}")


def trust_root(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether what nodes are given is a root of this channel."""
    del now
    path = home.folder / "root.json"
    first = home.channel / "metadata" / "1.root.json"
    try:
        given = path.read_bytes()
        roots = [one.read_bytes() for one in (home.channel / "metadata").glob("*.root.json")]
    except OSError as error:
        yield Finding("trust root", FAILED, f"{path}: {error.strerror}; copy {first} there")
        return
    if given in roots:
        yield Finding("trust root", OK, f"{path}: a root of this channel")
    else:
        yield Finding(
            "trust root", FAILED, f"{path}: no root of this channel, nodes would refuse it; copy {first} there"
        )


def channel(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether nodes accept what is signed."""
    expires = open_repository(home, lambda: now).state().expires()
    late = [role for role, end in expires.items() if end <= now]
    if late:
        what = f"the signatures of {', '.join(late)} have expired, nodes take nothing new"
        mend = "start the hub, which renews them" if "root" not in late else "rotate the root: `helmet-cloud channel`"
        yield Finding("channel", FAILED, f"{what}; {mend}, or run `helmet-cloud channel resign`")
        return
    days = (min(expires.values()) - now) / 86400.0
    yield Finding("channel", OK, f"all signatures are good for {days:.1f} days at least")


def tls(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the certificate can be used, for how long, and for which names."""
    files = TlsFiles(home.tls)
    server_tls(files.chain, files.key)
    days = files.days_left(now)
    names = files.names()
    host = urlsplit(home.settings.public_url or "").hostname
    if days <= 0:
        yield Finding(
            "tls", FAILED, f"{files.certificate}: expired {-days:.0f} days ago; restart the hub, or give another"
        )
    elif host is not None and host not in names:
        mend = f"`helmet-cloud init --hostname {host}` after removing server.crt and server.key"
        yield Finding(
            "tls", FAILED, f"{files.certificate}: is for {', '.join(names)}, not for {host} of public_url; {mend}"
        )
    elif days < SOON_DAYS:
        yield Finding(
            "tls", WARNING, f"{files.certificate}: expires in {days:.0f} days; restart the hub, or give another"
        )
    else:
        yield Finding("tls", OK, f"{', '.join(names)}, for {days:.0f} days")
