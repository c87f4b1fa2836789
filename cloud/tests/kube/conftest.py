# SPDX-License-Identifier: Apache-2.0
"""A hub's resource API behind TLS, and the real kubectl in front of it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme
from fastapi import FastAPI

from helmet_cloud.api.auth import Auth
from helmet_cloud.api.basics import basics_router
from helmet_cloud.api.kube import kube_router
from helmet_cloud.api.server import WebServer
from helmet_cloud.settings import HubSettings
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.store.tokens import add_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = Path(__file__).resolve().parents[3] / "demo" / "seed"
KUBECTL = Path(sys.executable).with_name("kubectl")
TOKEN = "hmt_" + "k" * 43
NODE_TOKEN = "hmt_" + "n" * 43


@dataclass
class Hub:
    """A running API."""

    folder: Path
    url: str
    store: ResourceStore
    trust: ssl.SSLContext
    node_token: str
    environment: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, stdin: str = "", ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs kubectl; ``ok`` says whether it is expected to succeed."""
        done = subprocess.run(
            (str(KUBECTL), *arguments),
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is ok, done
        return done

    def start_kubectl(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (str(KUBECTL), *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kubeconfig_with(self, token: str) -> str:
        """Path of a kubeconfig, written anew."""
        path = self.folder / f"kubeconfig-{token[-3:]}"
        path.write_text(_kubeconfig(self.url, self.folder / "ca.pem", token))
        return str(path)

    def client(self, token: str = TOKEN) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, verify=self.trust, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    database = Database(folder / "hub.sqlite")
    Base.metadata.create_all(database.engine)
    with database.write() as session:
        add_token(session, "me", token_digest(TOKEN), ["kube"], 0.0)
        add_token(session, "n", token_digest(NODE_TOKEN), ["node:n"], 0.0)
    store = ResourceStore(database)
    app = FastAPI()
    app.include_router(basics_router({}))
    app.include_router(kube_router(store, HubSettings(zone="Europe/Berlin"), Auth(database).require))
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server = WebServer("127.0.0.1:0", "listen", tls)
    server.start(app)
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    trust = ssl.create_default_context(cafile=str(ca))
    found = Hub(folder, f"https://{server.address}", store, trust, NODE_TOKEN)
    config = found.kubeconfig_with(TOKEN)
    found.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": config, "TZ": "UTC"}
    yield found
    server.stop()
    database.close()


@pytest.fixture(scope="session")
def seed() -> dict[str, str]:
    """The seed's four manifests with its variables filled, by file name."""
    return {
        path.stem: path.read_text()
        .replace("$WORKER_NODE", "node1")
        .replace("$IMAGE", "kubeedge/sedna-example-incremental-learning-helmet-detection:v0.3.1")
        for path in sorted(SEED.glob("*.yaml"))
    }


def _kubeconfig(url: str, ca: Path, token: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "hub", "cluster": {"server": url, "certificate-authority": str(ca)}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "me", "namespace": "default"}}],
            "current-context": "hub",
        }
    )
