# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud init``: each step makes what is missing and leaves what is there, so that it can be run again."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_agent.errors import UsageError
from helmet_cloud.channel import open_repository
from helmet_cloud.settings import FILE_NAME, HubHome, HubSettings, split_address
from helmet_cloud.setup.hub_file import hub_file
from helmet_cloud.setup.kubeconfig import write_kubeconfig
from helmet_cloud.setup.tls import TlsFiles, make_authority, make_server
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.tokens import ADMIN, add_token, new_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What a hub is made with; None: the default, or on a second run what is there.

    Attributes:
        listen: address and port of the HTTPS interface.
        public_url: how nodes and kubectl reach the hub.
        hostnames: more names and addresses for the certificate.
        rootfs: folder that the absolute paths of manifests are below.
    """

    listen: str | None = None
    public_url: str | None = None
    hostnames: tuple[str, ...] = ()
    rootfs: Path | None = None


@dataclass(frozen=True, slots=True)
class InitReport:
    """What ``init`` did.

    Attributes:
        home: the folder with its settings.
        new: False when everything was there already.
        url: how the hub is reached.
    """

    home: HubHome
    new: bool
    url: str


def initialise(folder: Path, options: InitOptions, now: Callable[[], float]) -> InitReport:
    """Makes a hub's folder, or finishes one whose making was interrupted; never replaces anything.

    Raises:
        UsageError: the folder holds something else, or a hub with other settings.
        ConfigError: its settings cannot be read.
        StorageError: it cannot be written.
    """
    new = not (folder / FILE_NAME).exists()
    home = _fresh(folder, options) if new else _existing(folder, options)
    make_folder(folder, mode=0o700)
    if new:
        with reported("set the mode of", folder):
            folder.chmod(0o700)
    tls = TlsFiles(home.tls)
    make_authority(tls, now())
    if not tls.certificate.exists():
        make_server(tls, certificate_hosts(home.settings, options.hostnames), now())
    _make_channel(home, now)
    token = _make_token(home, now)
    url = public_url(home.settings)
    if not home.kubeconfig.exists():
        write_kubeconfig(home.kubeconfig, url, tls.ca.read_bytes(), token)
    if new:
        write_atomic(folder / FILE_NAME, hub_file(_chosen(options)), mode=0o600)
    return InitReport(HubHome.load(folder), new, url)


def public_url(settings: HubSettings, port: int | None = None) -> str:
    """How the hub is reached: ``public_url``, else made from ``listen``.

    Args:
        settings: of the hub.
        port: the port that was really taken, where ``listen`` says 0.
    """
    if settings.public_url:
        return settings.public_url.rstrip("/")
    address, chosen = split_address(settings.listen)
    found = ipaddress.ip_address(address)
    host = f"[{address}]" if found.version == 6 else address  # noqa: PLR2004 - IPv6
    if found.is_unspecified:
        host = socket.gethostname()
    return f"https://{host}:{chosen if port is None else port}"


def certificate_hosts(settings: HubSettings, more: tuple[str, ...]) -> list[str]:
    """Names and addresses that the server's certificate is for, without repeats."""
    address, _ = split_address(settings.listen)
    wanted = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    if not ipaddress.ip_address(address).is_unspecified:
        wanted.append(address)
    if settings.public_url:
        wanted.append(urlsplit(settings.public_url).hostname or "")
    return list(dict.fromkeys(host for host in [*wanted, *more] if host))


def _fresh(folder: Path, options: InitOptions) -> HubHome:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name another one")
    ours = {"tls", "keys", "offline-keys", "channel", "tokens", "kubeconfig", "root.json", "lost+found"}
    with reported("read", folder):
        strangers = sorted(
            path.name
            for path in (folder.iterdir() if folder.exists() else ())
            if path.name not in ours and not path.name.startswith((".", "hub.sqlite"))
        )
    if strangers:
        raise UsageError(f"{folder} holds other files ({strangers[0]}, ...); name an empty or a new folder")
    settings = HubSettings()
    for key, value in _chosen(options).items():
        settings = replace(settings, **{key: value})  # type: ignore[arg-type]  # keys and values of the same options
    try:
        split_address(settings.listen)
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from error
    url = urlsplit(settings.public_url or "https://localhost")
    if url.scheme != "https" or not url.hostname or url.path not in ("", "/"):
        raise UsageError(f"--public-url: expected https://NAME[:PORT], found {settings.public_url!r}")
    return HubHome(folder, settings)


def _existing(folder: Path, options: InitOptions) -> HubHome:
    home = HubHome.load(folder)
    for key, value in _chosen(options).items():
        there = getattr(home.settings, key)
        if there != value:
            raise UsageError(
                f"{folder} is a hub already, with {key} = {str(there)!r}; edit {folder / FILE_NAME} to change that"
            )
    if options.hostnames and set(options.hostnames) - set(TlsFiles(home.tls).names()):
        missing = sorted(set(options.hostnames) - set(TlsFiles(home.tls).names()))
        raise UsageError(
            f"{folder} is a hub already, and its certificate is not for {missing[0]}; "
            f"remove {TlsFiles(home.tls).certificate} and run this again for a new one"
        )
    return home


def _chosen(options: InitOptions) -> dict[str, object]:
    wanted = {
        "listen": options.listen,
        "public_url": options.public_url,
        "rootfs": None if options.rootfs is None else options.rootfs.absolute(),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _make_channel(home: HubHome, now: Callable[[], float]) -> None:
    repository = open_repository(home, now)
    if not repository.exists():
        repository.create()
    provisioned = home.folder / "root.json"
    if not provisioned.exists():
        write_atomic(provisioned, (repository.metadata / "1.root.json").read_bytes(), mode=0o644)


def _make_token(home: HubHome, now: Callable[[], float]) -> str:
    """The administrator's token: in its file first, then known to the hub."""
    path = home.folder / "tokens" / f"{ADMIN}.token"
    make_folder(path.parent, mode=0o700)
    if not path.exists():
        write_atomic(path, f"{new_token()}\n".encode(), mode=0o600)
    with reported("read", path):
        token = path.read_text().strip()
    database = open_database(home)
    try:
        with database.write() as session:
            add_token(session, ADMIN, token_digest(token), (ADMIN,), now())
    finally:
        database.close()
    return token
