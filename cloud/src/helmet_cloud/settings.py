# SPDX-License-Identifier: Apache-2.0
"""The hub's folder and its settings file, ``DIR/hub.toml``, written by ``helmet-cloud init``."""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from helmet_agent.errors import ConfigError

FILE_NAME = "hub.toml"


@dataclass(frozen=True)
class HubSettings:
    """Every key of ``hub.toml`` with its default.

    Attributes:
        listen: address and port of the HTTPS interface.
        workers_listen: address and port of the plain endpoint that train and eval workers report to (Sedna's
            ``LC_SERVER``); loopback only. Port 0 takes a free one.
        public_url: how nodes and kubectl reach the hub; None: made from ``listen``.
        zone: time zone of job windows that name none, and of nothing else; "UTC" or an IANA name.
        node_name: name under which the hub itself may stand in ``nodeName``; other names get a condition.
        rootfs: folder that the absolute paths of manifests are below.
        check_seconds: how often a job without ``checkPeriodSeconds`` is looked at.
        replay_share: share of old samples in a training batch, in [0, 0.9].
        guard_recall_drop: by how much the recall of a class may fall on the regression set, in [0, 1].
        regression_set: Sedna txt file of pictures that no round trains on; None: the one that ships with the hub.
        train_timeout_seconds, eval_timeout_seconds: after which a worker is ended.
        worker_memory_bytes: limit of a worker's resident memory.
        round_attempts: how often a round's stage is tried before the round has failed.
        history_conditions: how many of Sedna's conditions a job keeps.
        canary_share: of the nodes that follow a job, the most that may be in its canary ring when a model goes there,
            in [0, 1]; one always may, 1: all.
        max_example_bytes: largest picture taken.
        retention_days: pictures of people that no data set uses are deleted after so many days.
        max_examples_bytes: most space of pictures that no data set uses; ingest is refused beyond it.
        token_requests_per_second: with one token, ten seconds' worth at once; beyond: 429, Retry-After. 0: no limit.
        address_requests_per_second: the same for one address that shows no good token.
        channel_requests_per_second: the same for one address that reads the channel's files: a site of nodes.
        connections: that are open at a time; further ones are closed at once.
        address_connections: of them from one address, a site of nodes. 0: no limit.
        head_seconds: in which a connection has to send the head of a request. 0: no limit.
    """

    listen: str = "127.0.0.1:8443"
    workers_listen: str = "127.0.0.1:9100"
    public_url: str | None = None
    zone: str = "UTC"
    node_name: str = "hub"
    rootfs: Path = Path("/")
    check_seconds: float = 60.0
    replay_share: float = 0.25
    guard_recall_drop: float = 0.05
    regression_set: Path | None = None
    train_timeout_seconds: float = 21600.0
    eval_timeout_seconds: float = 3600.0
    worker_memory_bytes: int = 8 << 30
    round_attempts: int = 3
    history_conditions: int = 50
    canary_share: float = 0.05
    max_example_bytes: int = 8 << 20
    retention_days: float = 90.0
    max_examples_bytes: int = 64 << 30
    token_requests_per_second: float = 100.0
    address_requests_per_second: float = 20.0
    channel_requests_per_second: float = 500.0
    connections: int = 4096
    address_connections: int = 512
    head_seconds: float = 15.0


@dataclass(frozen=True)
class HubHome:
    """Where everything of a hub lies.

    Attributes:
        folder: the data folder, ``--data-dir``.
        settings: of ``hub.toml``.
    """

    folder: Path
    settings: HubSettings = field(default_factory=HubSettings)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "hub.sqlite"

    @property
    def pictures(self) -> Path:
        """Examples by content: ``ab/<sha256>.jpg``."""
        return self.folder / "pictures"

    @property
    def models(self) -> Path:
        """Model folders by digest of the int8 file."""
        return self.folder / "models"

    @property
    def work(self) -> Path:
        """Checkpoints and logs of running workers."""
        return self.folder / "work"

    @property
    def channel(self) -> Path:
        """The published static files: ``metadata/`` and ``targets/``."""
        return self.folder / "channel"

    @property
    def keys(self) -> Path:
        """The online keys (targets, snapshot, timestamp)."""
        return self.folder / "keys"

    @property
    def offline_keys(self) -> Path:
        """The root key, to be taken away after ``init``."""
        return self.folder / "offline-keys"

    @property
    def tls(self) -> Path:
        """CA and server certificate."""
        return self.folder / "tls"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl."""
        return self.folder / "kubeconfig"

    def mapped(self, path: str) -> Path:
        """An absolute path of a manifest, below ``rootfs``; ``..`` cannot lead out.

        Raises:
            ConfigError: it is not absolute or leads out.
        """
        if not path.startswith("/") or ".." in path.split("/"):
            raise ConfigError(f"expected an absolute path without '..', found {path!r}")
        return self.settings.rootfs / path.lstrip("/")

    @classmethod
    def load(cls, folder: Path) -> HubHome:
        """Reads ``hub.toml``.

        Raises:
            ConfigError: it is missing, or every problem there is, one a line.
        """
        path = folder / FILE_NAME
        if not path.exists():
            raise ConfigError(f"{path}: not there; run `helmet-cloud init {folder}` first")
        return cls(folder, read_settings(path))


def read_settings(path: Path) -> HubSettings:
    """Reads a settings file.

    Raises:
        ConfigError: it cannot be read, or every problem there is, one a line.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _settings(path, document)


def _settings(path: Path, document: dict[str, Any]) -> HubSettings:
    known = {one.name: one for one in fields(HubSettings)}
    problems = [f"{path}: {key}: unknown; known are {', '.join(known)}" for key in document if key not in known]
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            continue
        try:
            values[key] = _value(str(known[key].type), value)
        except ValueError as error:
            problems.append(f"{path}: {key}: {error}")
    found = HubSettings(**values)
    problems += [f"{path}: {line}" for line in _contradictions(found)]
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _value(kind: str, value: object) -> object:
    wanted: tuple[type, ...] = {"float": (int, float), "int": (int,)}.get(kind, (str,))
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ValueError(f"expected {' or '.join(one.__name__ for one in wanted)}, found {value!r}")  # noqa: TRY004
    if kind.startswith("Path"):
        return Path(str(value))
    return float(value) if kind == "float" and isinstance(value, int) else value


def _contradictions(found: HubSettings) -> list[str]:
    lines = []
    try:
        ZoneInfo(found.zone)
    except (ZoneInfoNotFoundError, ValueError):
        lines.append(f"zone: no such time zone: {found.zone!r}")
    for key in ("listen", "workers_listen"):
        try:
            address, _ = split_address(getattr(found, key))
        except ValueError as error:
            lines.append(f"{key}: {error}")
            continue
        if key == "workers_listen" and not ipaddress.ip_address(address).is_loopback:
            lines.append("workers_listen: expected a loopback address: workers report without a token")
    low_high = {"replay_share": (0.0, 0.9), "guard_recall_drop": (0.0, 1.0), "canary_share": (0.0, 1.0)}
    low_high |= {"retention_days": (0.01, 36500.0)}
    low_high |= dict.fromkeys(("check_seconds", "train_timeout_seconds", "eval_timeout_seconds"), (1.0, 1000000000.0))
    low_high |= {"round_attempts": (1, 100), "history_conditions": (1, 1000), "max_example_bytes": (1024, 1 << 30)}
    low_high |= dict.fromkeys(("token_requests_per_second", "address_requests_per_second"), (0.0, 1000000.0))
    low_high |= {"channel_requests_per_second": (0.0, 1e6), "connections": (8, 1 << 16)}
    low_high |= {"address_connections": (0, 1 << 16), "head_seconds": (0.0, 3600.0)}
    for key, (low, high) in low_high.items():
        if not low <= getattr(found, key) <= high:
            lines.append(f"{key}: expected {low:g} to {high:g}, found {getattr(found, key):g}")
    return lines


def split_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:8443`` or ``[::1]:8443`` as address and port.

    Raises:
        ValueError: it is no such thing.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise ValueError(f"expected ADDRESS:PORT, found {text!r}")
    address = host.removeprefix("[").removesuffix("]")
    ipaddress.ip_address(address)
    return address, int(port)
