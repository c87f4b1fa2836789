# SPDX-License-Identifier: Apache-2.0
"""The file that makes ``kubectl`` speak to the hub: server, CA and token in one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

from helmet_agent.durable import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

NAME = "helmet-hub"


def write_kubeconfig(path: Path, server: str, authority: bytes, token: str) -> None:
    """Writes it, for its owner only.

    Args:
        path: the file.
        server: the hub's URL.
        authority: PEM of the CA.
        token: a token with scope kube or admin.

    Raises:
        StorageError: it cannot be written.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": NAME,
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()},
            }
        ],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        "current-context": NAME,
    }
    write_atomic(path, yaml.safe_dump(document, sort_keys=False).encode(), mode=0o600)
