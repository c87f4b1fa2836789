# SPDX-License-Identifier: Apache-2.0
"""Stands in for KubeEdge's ``cloudcore`` and for the Kubernetes API beside it; standard library and ``openssl`` only.

Follows the source at commit 16cd8548e: ``cloud/pkg/cloudhub/servers/httpserver/server.go`` (/ca.crt, /edge.crt,
/node/NAME), ``pkg/security/token/token.go`` (hash of the CA, a dot, a JWT by HS256), ``edge/pkg/edged`` (labels).
The API answers what kubernetes.core asks about nodes, their pods and the token's Secret.

usage: cloudcore.py FOLDER ADDRESS        writes FOLDER/token and FOLDER/kubeconfig, then serves until it is stopped
Ports: KUBEEDGE_PORTS as certificate,websocket,api; 10002,10000,8080 by default.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

DAY = 86400
API_TOKEN = "stand-in"  # noqa: S105 - of no use anywhere else
EDGE_LABELS = {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": "", "kubernetes.io/os": "linux"}
RESOURCES = [
    {
        "name": f"{kind.lower()}s",
        "kind": kind,
        "namespaced": kind != "Node",
        "singularName": kind.lower(),
        "verbs": verbs,
    }
    for kind, verbs in (("Node", ["get", "list", "patch", "delete"]), ("Pod", ["get", "list"]), ("Secret", ["get"]))
]


def openssl(folder: Path, *arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, input=data, capture_output=True, check=True).stdout


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# Clients refuse a Node without them.
NODE_INFO = (
    *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "machineID"),
    *("operatingSystem", "osImage", "systemUUID"),
)


class Cloud:
    """Authority, token and nodes."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.nodes: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "ca.key").exists():
            self._make()
        self.authority = ssl.PEM_cert_to_DER_cert((folder / "ca.crt").read_text())
        self.secret = (folder / "ca.key").read_bytes()

    def _make(self) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        ca = ["-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", "/CN=KubeEdge"]
        openssl(self.folder, "req", "-x509", *curve, *ca)
        openssl(self.folder, "req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=KubeEdge")
        kind = "IP" if re.fullmatch(r"[0-9.]+", self.address) else "DNS"
        (self.folder / "san").write_text(f"subjectAltName={kind}:{self.address}\n")
        by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365"]
        openssl(self.folder, "x509", "-req", "-in", "server.csr", "-out", "server.crt", "-extfile", "san", *by)

    def token(self, lives: float = DAY) -> str:
        """token.go: sha256 of the CA, then the JWT."""
        claims = {"exp": int(time.time() + lives)}
        said = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{hashlib.sha256(self.authority).hexdigest()}.{said}.{self._signature(said)}"

    def _signature(self, said: str) -> str:
        return base64url(hmac.new(self.secret, said.encode(), hashlib.sha256).digest())

    def refusal(self, header: str) -> str:
        """Why a bearer is refused; empty where it is not."""
        said, _, signature = header.removeprefix("Bearer ").rpartition(".")
        if not hmac.compare_digest(signature, self._signature(said)):
            return "token validation failure, err: signature is invalid"
        payload = said.split(".")[1]
        if json.loads(base64.urlsafe_b64decode(payload + "=="))["exp"] < time.time():
            return "token validation failure, err: Token is expired"
        return ""

    def signed(self, csr: bytes) -> bytes:
        request = openssl(self.folder, "req", "-inform", "DER", data=csr)
        by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365", "-outform", "DER"]
        return openssl(self.folder, "x509", "-req", *by, data=request)

    def hear(self, said: dict[str, Any]) -> None:
        """cloudcore makes the Node when it hears of it first, and kubelet's status follows."""
        with self.lock:
            name = said["node"]
            metadata = {"name": name, "uid": f"uid-{name}", "labels": EDGE_LABELS | said["labels"]}
            node = self.nodes.setdefault(
                name, {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": {}}
            )
            node["status"] = {
                "nodeInfo": dict.fromkeys(NODE_INFO, "") | {"kubeletVersion": said["kubeletVersion"]},
                "conditions": [{"type": "Ready", "status": str(said["ready"]), "reason": "KubeletReady"}],
            }

    def lose(self, name: str) -> None:
        with self.lock:
            if name in self.nodes:
                self.nodes[name]["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]


class Handler(http.server.BaseHTTPRequestHandler):
    cloud: Cloud

    def answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, document: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(document).encode(), "application/json")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, *_: object) -> None:
        pass


class Certificates(Handler):
    """Port 10002."""

    def do_GET(self) -> None:
        csr = self.body()
        if self.path == "/ca.crt":
            self.answer(200, self.cloud.authority)
        elif self.path == "/edge.crt":
            why = self.cloud.refusal(self.headers.get("Authorization", ""))
            self.answer(401, why.encode()) if why else self.answer(200, self.cloud.signed(csr))
        elif self.path.startswith("/node/"):
            known = self.path.removeprefix("/node/") in self.cloud.nodes
            self.answer(200 if known else 404, b"Node found" if known else b"Node not found")
        else:
            self.answer(404, b"404 page not found")


class Channel(socketserver.StreamRequestHandler):
    """Port 10000: lines of JSON over mutual TLS where the real one speaks websocket."""

    cloud: Cloud
    node = ""

    def handle(self) -> None:
        for line in self.rfile:
            said = json.loads(line)
            self.node = said["node"]
            self.cloud.hear(said)

    def finish(self) -> None:
        if self.node:
            self.cloud.lose(self.node)


class Api(Handler):
    """The Kubernetes API, as far as a node is concerned."""

    def reply(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        fixed = {
            "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.10"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES},
            "/api/v1/pods": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []},
            "/api/v1/nodes": {
                "kind": "NodeList",
                "apiVersion": "v1",
                "metadata": {},
                "items": list(self.cloud.nodes.values()),
            },
        }
        if self.headers.get("Authorization") != f"Bearer {API_TOKEN}":
            self.status(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        elif path == "/api/v1/namespaces/kubeedge/secrets/tokensecret":
            data = {"tokendata": base64.b64encode(self.cloud.token().encode()).decode()}
            meta = {"name": "tokensecret", "namespace": "kubeedge"}
            self.json({"kind": "Secret", "apiVersion": "v1", "metadata": meta, "data": data})
        elif path in fixed:
            self.json(fixed[path])
        elif path.startswith("/api/v1/nodes/"):
            self.node(path.removeprefix("/api/v1/nodes/"))
        else:
            self.status(HTTPStatus.NOT_FOUND, "NotFound")

    def node(self, name: str) -> None:
        found = self.cloud.nodes.get(name)
        if found is None:
            self.status(HTTPStatus.NOT_FOUND, "NotFound")
        elif self.command == "DELETE":
            del self.cloud.nodes[name]
            self.json({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        elif self.command in {"PATCH", "PUT"}:
            found["spec"].update(json.loads(self.body()).get("spec") or {})
            self.json(found)
        else:
            self.json(found)

    def status(self, code: HTTPStatus, reason: str) -> None:
        document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.value}
        self.json(document, code.value)

    def do_GET(self) -> None:
        self.reply()

    def do_DELETE(self) -> None:
        self.reply()

    def do_PATCH(self) -> None:
        self.reply()

    def do_PUT(self) -> None:
        self.reply()


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve(cloud: Cloud, ports: tuple[int, int, int]) -> list[Server]:
    """Starts the three servers: certificates, channel, API. Port 0 takes a free one."""
    servers: list[Server] = []
    for handler, port in zip((Certificates, Channel, Api), ports, strict=True):
        server = Server((cloud.address, port), type(handler.__name__, (handler,), {"cloud": cloud}))
        if handler is not Api:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cloud.folder / "server.crt", cloud.folder / "server.key")
            context.load_verify_locations(cloud.folder / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED if handler is Channel else ssl.CERT_OPTIONAL
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    return servers


def kubeconfig(address: str, port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stand-in",
            "clusters": [{"name": "stand-in", "cluster": {"server": f"http://{address}:{port}"}}],
            "users": [{"name": "stand-in", "user": {"token": API_TOKEN}}],
            "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "stand-in"}}],
        }
    )


def main() -> None:
    folder, address = Path(sys.argv[1]), sys.argv[2]
    certificates, channel, api = (int(port) for port in os.environ.get("KUBEEDGE_PORTS", "10002,10000,8080").split(","))
    cloud = Cloud(folder, address)
    servers = serve(cloud, (certificates, channel, api))
    (folder / "kubeconfig").write_text(kubeconfig(address, servers[2].server_address[1]))
    (folder / "token").write_text(cloud.token())
    (folder / "token.expired").write_text(cloud.token(-60))
    threading.Event().wait()


if __name__ == "__main__":
    main()
