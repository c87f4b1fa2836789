# SPDX-License-Identifier: Apache-2.0
"""Stands in for KubeEdge's ``edgecore`` where no cluster is.

Follows the source at commit 16cd8548e: ``edge/cmd/edgecore/app/server.go`` (order of the start, bootstrap file, check
for kubelet), ``edge/pkg/edgehub/certificate/certmanager.go`` (token, pinning, application, messages),
``staging/src/github.com/kubeedge/api/apis/componentconfig/edgecore/v1alpha2/`` (defaults, validation, rewriting).
The connection to the cloud is TLS with the node's certificate, then lines of JSON instead of websocket frames.

``pack.py`` makes it a zip application together with PyYAML, a version and, for tests, a fault.
KUBEEDGE_ROOT puts another folder before the fixed paths, KUBEEDGE_HEALTH_PORT another port for the probe.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import yaml

ROOT = Path(os.environ.get("KUBEEDGE_ROOT", "/"))
BOOTSTRAP = ROOT / "etc/kubeedge/bootstrap-edgecore.conf"
TOKEN_PARTS = 4
DEFAULTS: dict[str, Any] = {
    "apiVersion": "edgecore.config.kubeedge.io/v1alpha2",
    "kind": "EdgeCore",
    "database": {"aliasName": "default", "dataSource": "/var/lib/kubeedge/edgecore.db", "driverName": "sqlite3"},
    "modules": {
        "dbTest": {"enable": False},
        "deviceTwin": {"dmiSockPath": "/etc/kubeedge/dmi.sock", "enable": True},
        "edgeHub": {
            "enable": True,
            "heartbeat": 15,
            "httpServer": "https://127.0.0.1:10002",
            "messageBurst": 60,
            "messageQPS": 30,
            "projectID": "e632aba927ea4ac2b575ec1603d56f10",
            "quic": {"enable": False, "server": "127.0.0.1:10001"},
            "rotateCertificates": True,
            "tlsCaFile": "/etc/kubeedge/ca/rootCA.crt",
            "tlsCertFile": "/etc/kubeedge/certs/server.crt",
            "tlsPrivateKeyFile": "/etc/kubeedge/certs/server.key",
            "token": "",
            "websocket": {"enable": True, "handshakeTimeout": 30, "server": "127.0.0.1:10000"},
        },
        "edgeStream": {"enable": False, "server": "127.0.0.1:10004"},
        "edged": {
            "enable": True,
            "hostnameOverride": socket.gethostname(),
            "nodeIP": "",
            "rootDirectory": "/var/lib/kubelet",
            "tailoredKubeletConfig": {"cgroupDriver": "cgroupfs", "failSwapOn": False},
        },
        "eventBus": {"enable": True, "mqttMode": 2, "mqttServerExternal": "tcp://127.0.0.1:1883"},
        "metaManager": {"enable": True, "metaServer": {"enable": False, "server": "127.0.0.1:10550"}},
        "taskManager": {"enable": False},
    },
}


def packed(name: str) -> str:
    """A line that pack.py has put beside this file."""
    return (resources.files(__name__.rpartition(".")[0] or "standin") / name).read_text().strip()


def log(text: str, letter: str = "I") -> None:
    now = time.strftime("%m%d %H:%M:%S")
    sys.stderr.write(f"{letter}{now}.000000 {os.getpid():>7} standin.go:1] {text}\n")


def stop(text: str) -> NoReturn:
    """As klog.Exit."""
    log(text, "F")
    sys.exit(1)


def panic(text: str) -> NoReturn:
    """As certmanager's Start: the line, then what Go adds."""
    sys.stderr.write(f"panic: {text}\n\ngoroutine 1 [running]:\nmain.main()\n\tstandin.go:1 +0x1\n")
    sys.exit(2)


def merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base.get(key), value) for key, value in over.items()}
    return over


def place(path: str) -> Path:
    return ROOT / path.lstrip("/")


def validated(config: dict[str, Any]) -> None:
    """validation.go: the few things that edgecore looks at."""
    modules = config["modules"]
    driver = modules["edged"]["tailoredKubeletConfig"]["cgroupDriver"]
    if driver not in {"cgroupfs", "systemd"}:
        stop(f'modules.edged: Invalid value: "{driver}": CGroupDriver value error')
    if modules["edgeHub"]["websocket"]["enable"] == modules["edgeHub"]["quic"]["enable"]:
        stop("modules.edgeHub: Invalid value: websocket.enable and quic.enable cannot be both true or both false")
    name = modules["edged"]["hostnameOverride"]
    if name != name.lower() or not name:
        stop(f'modules.edged.hostnameOverride: Invalid value: "{name}": a lowercase RFC 1123 subdomain is wanted')


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Expanded and with sorted keys, as yaml.Marshal of the whole structure does it."""
    path.write_text(yaml.safe_dump(config, sort_keys=True))


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fetched(request: urllib.request.Request | str, context: ssl.SSLContext) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=10) as response:
        return bytes(response.read())


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def has_certificate(hub: dict[str, Any], node: str) -> bool:
    """The pair loads and its common name is the node's; whether it has expired is not asked."""
    certificate, key = place(hub["tlsCertFile"]), place(hub["tlsPrivateKeyFile"])
    try:
        ssl.create_default_context().load_cert_chain(certificate, key)
        return f"CN = system:node:{node}" in openssl("x509", "-in", str(certificate), "-noout", "-subject").decode()
    except (OSError, subprocess.CalledProcessError):
        return False


def apply(hub: dict[str, Any], node: str) -> None:
    head = "failed to apply the edge certs, err: "
    try:
        authority = fetched(f"{hub['httpServer']}/ca.crt", unverified())
    except OSError as error:
        panic(f'{head}failed to get CA certificate, err: Get "{hub["httpServer"]}/ca.crt": {reason(error)}')
    parts = hub["token"].split(".")
    if len(parts) != TOKEN_PARTS:
        panic(f"{head}token {hub['token']} credentials are in the wrong format")
    found = hashlib.sha256(authority).hexdigest()
    if found != parts[0]:
        panic(f"{head}failed to validate CA certificate. tokenCAhash: {parts[0]}, CAhash: {found}")
    ca_file = place(hub["tlsCaFile"])
    ca_file.parent.mkdir(parents=True, exist_ok=True)
    ca_file.write_text(ssl.DER_cert_to_PEM_cert(authority))
    subject = f"/O=system:nodes/CN=system:node:{node}"
    key = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")
    with tempfile.NamedTemporaryFile() as file:
        file.write(key)
        file.flush()
        csr = openssl("req", "-new", "-key", file.name, "-subj", subject, "-outform", "DER")
    headers = {"Authorization": f"Bearer {'.'.join(parts[1:])}", "NodeName": node}
    request = urllib.request.Request(f"{hub['httpServer']}/edge.crt", csr, headers, method="GET")  # noqa: S310 - https
    head += "failed to get edge certificate from the cloudcore, error: "
    try:
        certificate = fetched(request, ssl.create_default_context(cafile=str(ca_file)))
    except urllib.error.HTTPError as error:
        panic(f"{head}failed to call http, code: {error.code}, message: {error.read().decode()}")
    except OSError as error:
        panic(f'{head}Get "{hub["httpServer"]}/edge.crt": {reason(error)}')
    place(hub["tlsCertFile"]).parent.mkdir(parents=True, exist_ok=True)
    place(hub["tlsCertFile"]).write_text(ssl.DER_cert_to_PEM_cert(certificate))
    place(hub["tlsPrivateKeyFile"]).touch(0o600)
    place(hub["tlsPrivateKeyFile"]).write_bytes(key)


def reason(error: OSError) -> str:
    """As Go says it."""
    text = str(getattr(error, "reason", error))
    if "refused" in text:
        return "dial tcp: connect: connection refused"
    return f"tls: failed to verify certificate: x509: {text}" if "certificate" in text.lower() else text


def running(name: str) -> bool:
    return any(path.read_text().strip() == name for path in Path("/proc").glob("[0-9]*/comm") if path.exists())


def serve_health() -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/healthz/syncloop"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"ok" if known else b"404 page not found")

        def log_message(self, *_: object) -> None:
            pass

    port = int(os.environ.get("KUBEEDGE_HEALTH_PORT", "10350"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def remember(config: dict[str, Any], version: str) -> None:
    path = place(config["database"]["dataSource"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("create table if not exists meta (key text primary key, value text)")
        # A newer program brings its database forward, and no older one takes it back.
        database.execute(
            "insert into meta values ('version', ?) on conflict (key) do update set value = max(value, excluded.value)",
            (version,),
        )


def connected(config: dict[str, Any], version: str) -> NoReturn:
    """Keeps telling the cloud how the node is; tries again for ever."""
    hub, node = config["modules"]["edgeHub"], config["modules"]["edged"]["hostnameOverride"]
    host, _, port = hub["websocket"]["server"].rpartition(":")
    context = ssl.create_default_context(cafile=str(place(hub["tlsCaFile"])))
    context.load_cert_chain(place(hub["tlsCertFile"]), place(hub["tlsPrivateKeyFile"]))
    while True:
        try:
            with (
                socket.create_connection((host, int(port)), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=host) as channel,
            ):
                log("Websocket connect to cloud access successful")
                while True:
                    ready = any(place("/etc/cni/net.d").glob("*.conf*")) and place("/run/containerd").exists()
                    labels = config["modules"]["edged"].get("nodeLabels") or {}
                    said = {"node": node, "kubeletVersion": f"v1.32.10-kubeedge-{version}", "ready": ready}
                    channel.sendall(json.dumps(said | {"labels": labels}).encode() + b"\n")
                    time.sleep(0.5)
        except OSError as error:
            log(f"websocket connect failed: {reason(error)}", "E")
            time.sleep(1)


def main() -> None:
    version, fault = packed("version"), packed("fault")
    if "--version" in sys.argv:
        sys.stdout.write(f"KubeEdge {version}\n")
        return
    named = [word.partition("=")[2] for word in sys.argv if word.startswith("--config=")]
    path = Path(named[0]) if named else place("/etc/kubeedge/config/edgecore.yaml")
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        stop(f"Failed to read configfile {path}: {error.strerror.lower()}")
    config = merged(DEFAULTS, given)
    hub = config["modules"]["edgeHub"]
    in_file = hub["token"]
    if BOOTSTRAP.exists():
        hub["token"] = BOOTSTRAP.read_text()
    validated(config)
    if config.get("edgecoreVersion") != version:
        config["edgecoreVersion"] = version
        write_config(path, config)
    log(f'Version: version.Info{{Major:"1", GitVersion:"{version}"}}')
    if os.environ.get("CHECK_EDGECORE_ENVIRONMENT") != "false" and running("kubelet"):
        message = "kubelet should not be running on edge node when starting edgecore"
        stop(f"failed to check the running environment: {message}")
    remember(config, version)
    if fault:
        log(fault, "E")
        sys.exit(1)
    node = config["modules"]["edged"]["hostnameOverride"]
    if not has_certificate(hub, node):
        apply(hub, node)
        if in_file:
            hub["token"] = ""
            write_config(path, config)
    serve_health()
    connected(config, version)


if __name__ == "__main__":
    main()
