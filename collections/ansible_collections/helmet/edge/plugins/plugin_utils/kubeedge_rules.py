# SPDX-License-Identifier: Apache-2.0
"""What cannot be right about a node of a KubeEdge cluster. Every function answers with all its findings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.helmet.edge.plugins.plugin_utils.edgecore_token import TokenError, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# First patch level of a line without CVE-2026-62371: a NodeUpgradeJob could run commands as root on nodes.
SOUND = {(1, 21): 2, (1, 22): 2, (1, 23): 1}
OLDEST = min(SOUND)
# Keys of edgecore.yaml that have a variable of their own, or that this role has to know.
OWN_VARIABLES = {
    "edgecoreVersion": "kubeedge_node_version",
    "modules.edgeHub.token": "kubeedge_node_token",
    "modules.edgeHub.httpServer": "kubeedge_node_cloud_host and kubeedge_node_certificate_port",
    "modules.edgeHub.websocket": "kubeedge_node_cloud_host and kubeedge_node_websocket_port",
    "modules.edgeStream": "kubeedge_node_logs and kubeedge_node_stream_port",
    "modules.edged.hostnameOverride": "kubeedge_node_name",
    "modules.edged.nodeLabels": "kubeedge_node_labels",
    "modules.edged.tailoredKubeletConfig.cgroupDriver": "kubeedge_node_cgroup_driver",
    "modules.edged.tailoredKubeletConfig.registerWithTaints": "kubeedge_node_taints",
}
FIXED = (
    "modules.edgeHub.tlsCaFile",
    "modules.edgeHub.tlsCertFile",
    "modules.edgeHub.tlsPrivateKeyFile",
    "modules.edgeHub.quic",
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_SHA512 = re.compile(r"[0-9A-Fa-f]{128}")


def node(values: Mapping[str, Any]) -> Iterator[str]:
    """The variables of ``kubeedge_node``; what is missing is left unchecked."""
    yield from _identity(values)
    yield from _release(values)
    yield from _settings(values)
    for name in ("kubeedge_node_pause_archive", "kubeedge_node_kubeconfig"):
        path = str(values.get(name) or "")
        if path and not Path(path).is_file():
            yield f"{name}: {path} is not on the controller"
    if values.get("kubeedge_node_pause_archive") and not values.get("kubeedge_node_pause_digest"):
        yield "kubeedge_node_pause_archive is given without the kubeedge_node_pause_digest of its manifest"


def _identity(values: Mapping[str, Any]) -> Iterator[str]:
    host, name = str(values.get("kubeedge_node_cloud_host") or ""), str(values.get("kubeedge_node_name") or "")
    if "/" in host or re.search(r":\d+$", host):
        yield f"kubeedge_node_cloud_host: expected an address alone, found {host!r}; ports have variables of their own"
    if name and not _NAME.fullmatch(name):
        yield f"kubeedge_node_name: {name!r} is no name of a node: small letters, digits, dots and hyphens"
    token = str(values.get("kubeedge_node_token") or "")
    if token:
        try:
            read(token)
        except TokenError as error:
            yield f"kubeedge_node_token: {error}"


def _release(values: Mapping[str, Any]) -> Iterator[str]:
    version = str(values.get("kubeedge_node_version") or "")
    match = _VERSION.fullmatch(version)
    if version and match is None:
        yield f"kubeedge_node_version: expected a release such as v1.23.1, found {version!r}"
    elif match is not None:
        line, patch = (int(match[1]), int(match[2])), int(match[3])
        if line < OLDEST or patch < SOUND.get(line, 0):
            yield f"kubeedge_node_version: {version} lets a NodeUpgradeJob run commands as root (CVE-2026-62371)"
    archive = str(values.get("kubeedge_node_archive") or "").strip()
    if archive and not archive.startswith(("http://", "https://")) and not Path(archive).is_file():
        yield f"kubeedge_node_archive: {archive} is not on the controller"
    sums: Any = values.get("kubeedge_node_archive_sha512") or {}
    for architecture, digest in sums.items() if hasattr(sums, "items") else ():
        if not _SHA512.fullmatch(str(digest)):
            yield f"kubeedge_node_archive_sha512: that of {architecture} is no SHA-512, 128 hexadecimal digits"


def _settings(values: Mapping[str, Any]) -> Iterator[str]:
    for path in _paths(values.get("kubeedge_node_settings"), ""):
        for name, variable in OWN_VARIABLES.items():
            if path == name or path.startswith(f"{name}."):
                yield f"kubeedge_node_settings: {path} has a variable of its own, {variable}"
        if path.startswith(FIXED):
            yield f"kubeedge_node_settings: {path} cannot be another one: the role has to find it"


def _paths(value: Any, prefix: str) -> Iterator[str]:
    """Dotted paths of all leaves."""
    for key, part in value.items() if hasattr(value, "items") else ():
        path = f"{prefix}.{key}" if prefix else str(key)
        if hasattr(part, "items") and part:
            yield from _paths(part, path)
        else:
            yield path
