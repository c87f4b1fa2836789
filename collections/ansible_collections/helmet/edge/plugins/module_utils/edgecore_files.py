# SPDX-License-Identifier: Apache-2.0
"""Reads what KubeEdge has on a machine: data for edgecore_state. The text of edgecore.yaml may hold a token."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = "usr/local/bin/edgecore"
UNIT = "etc/systemd/system/edgecore.service"
MANAGEMENT = "etc/kubeedge"
CONFIG = f"{MANAGEMENT}/config/edgecore.yaml"
BOOTSTRAP = f"{MANAGEMENT}/bootstrap-edgecore.conf"
AUTHORITY = f"{MANAGEMENT}/ca/rootCA.crt"
CERTIFICATE = f"{MANAGEMENT}/certs/server.crt"
KEY = f"{MANAGEMENT}/certs/server.key"
# What a join makes and a reset takes away; the database's folder and kubelet's are not always there.
DIRECTORIES = (MANAGEMENT, "var/lib/kubeedge", "var/log/kubeedge", "var/lib/edged", "var/lib/kubelet")


def look(root: Path) -> dict[str, Any]:
    """All that can be known about edgecore below a root, ``/`` for this machine."""
    config = root / CONFIG
    service = _service() if root == Path("/") else {}
    return {
        "leftovers": [f"/{name}" for name in (*DIRECTORIES, UNIT) if _holds(root / name)],
        "config_text": config.read_text(errors="replace") if config.is_file() else "",
        "certificate": certificate(root) if (root / CERTIFICATE).exists() else None,
        "bootstrap": (root / BOOTSTRAP).exists(),
        "enabled": service.get("UnitFileState") == "enabled",
        "active": service.get("ActiveState") == "active",
        "version": version(root / PROGRAM),
    }


def version(program: Path) -> str:
    """As ``edgecore --version`` tells it, such as v1.23.1; empty where there is no such program."""
    said = _said(str(program), "--version") if program.is_file() else ""
    words = said.split()
    return words[-1] if words[:1] == ["KubeEdge"] else ""


def certificate(root: Path) -> dict[str, Any]:
    """The pair as edgecore would see it: name of the node, authority, whether it can be used and until when."""
    paths = {name: root / path for name, path in (("ca", AUTHORITY), ("crt", CERTIFICATE), ("key", KEY))}
    found: dict[str, Any] = {"node": "", "authority_sha256": "", "problem": "", "expires": 0.0}
    said = _said("openssl", "x509", "-in", str(paths["crt"]), "-noout", "-subject", "-enddate", "-nameopt", "RFC2253")
    for line in said.splitlines():
        key, _, value = line.partition("=")
        if key == "notAfter":
            found["expires"] = float(ssl.cert_time_to_seconds(value))
        for part in value.split(",") if key == "subject" else ():
            if part.strip().startswith("CN=system:node:"):
                found["node"] = part.strip().removeprefix("CN=system:node:")
    try:
        authority = ssl.PEM_cert_to_DER_cert(paths["ca"].read_text())
        found["authority_sha256"] = hashlib.sha256(authority).hexdigest()
        ssl.create_default_context().load_cert_chain(paths["crt"], paths["key"])
    except (OSError, ValueError) as error:
        found["problem"] = f"{getattr(error, 'filename', None) or 'certificate and key'}: {error}"
    if not found["problem"] and not found["node"]:
        found["problem"] = "it names no node"
    if not found["problem"] and not _said(
        "openssl", "verify", "-no_check_time", "-CAfile", str(paths["ca"]), str(paths["crt"])
    ):
        found["problem"] = f"/{AUTHORITY} has not signed it"
    return found


def _holds(path: Path) -> bool:
    """A file, or a folder with something in it; what a mount or an installation left empty does not count."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _service() -> dict[str, str]:
    said = _said("systemctl", "show", "edgecore.service", "--property", "UnitFileState,ActiveState")
    return dict(line.partition("=")[::2] for line in said.splitlines())


def _said(*command: str) -> str:
    """Standard output; empty where the program is not there or says no."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
