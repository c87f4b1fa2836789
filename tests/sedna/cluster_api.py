# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a cluster's API, as far as Ansible's k8s modules ask: discovery, and objects of any served kind.

It follows the Kubernetes API conventions (discovery documents, Status objects on errors, merge patches by RFC 7386).
What the hub's own face does not serve, namespaces and secrets, is here too. It admits everything; deleting a namespace
takes all that is in it, and nothing can be made in a namespace that is not there.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import uuid
from typing import Any
from urllib.parse import urlsplit

KINDS = {
    ("v1", "namespaces"): ("Namespace", False),
    ("v1", "secrets"): ("Secret", True),
    ("sedna.io/v1alpha1", "datasets"): ("Dataset", True),
    ("sedna.io/v1alpha1", "models"): ("Model", True),
    ("sedna.io/v1alpha1", "incrementallearningjobs"): ("IncrementalLearningJob", True),
}
_PATH = re.compile(r"/(?:api|apis)/(v1|sedna\.io/v1alpha1)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?")

Key = tuple[str, str, str]


class Cluster:
    """One API server on loopback.

    Attributes:
        objects: by (plural, namespace, name).
        calls: every request that changed something: (method, plural, name).
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {("namespaces", "", "default"): _object("v1", "Namespace", "default")}
        self.calls: list[tuple[str, str, str]] = []
        self._version = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self) -> str:
        """A kubeconfig for it."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def names(self) -> set[str]:
        """What there is, as ``plural/name``."""
        return {f"{plural}/{name}" for plural, _, name in self.objects}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """One request."""
        if (found := _discovery(path)) is not None:
            return 200, found
        match = _PATH.fullmatch(path)
        if match is None or (match[1], match[3]) not in KINDS:
            return _status(404, f"no such path: {path}")
        group, space, plural, name = match.groups()
        if method == "GET" and name is None:
            kind = KINDS[group, plural][0]
            items = [one for (p, s, _), one in self.objects.items() if p == plural and (space is None or s == space)]
            return 200, {"apiVersion": group, "kind": f"{kind}List", "metadata": {}, "items": items}
        key = (plural, space or "", name or body["metadata"]["name"])
        if method == "POST":
            return self._create(key, body)
        if key not in self.objects:
            return _status(404, f"{plural} {key[2]} not found", "NotFound")
        return self._known(method, key, body)

    def _create(self, key: Key, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if key[1] and ("namespaces", "", key[1]) not in self.objects:
            return _status(404, f'namespaces "{key[1]}" not found', "NotFound")
        if key in self.objects:
            return _status(409, f"{key[2]} exists", "AlreadyExists")
        self.calls.append(("POST", key[0], key[2]))
        self._keep(key, body)
        return 201, self.objects[key]

    def _known(self, method: str, key: Key, body: Any) -> tuple[int, dict[str, Any]]:
        found = self.objects[key]
        if method in ("PATCH", "PUT"):
            changed = _merged(found, body) if method == "PATCH" else body
            if changed != found:
                self.calls.append((method, key[0], key[2]))
                self._keep(key, changed)
        elif method == "DELETE":
            self.calls.append(("DELETE", key[0], key[2]))
            del self.objects[key]
            if key[0] == "namespaces":
                self.objects = {one: kept for one, kept in self.objects.items() if one[1] != key[2]}
            return 200, {"apiVersion": "v1", "kind": "Status", "status": "Success", "metadata": {}}
        return 200, self.objects[key]

    def _keep(self, key: Key, body: dict[str, Any]) -> None:
        self._version += 1
        metadata = body["metadata"] | {"resourceVersion": str(self._version), "name": key[2]}
        metadata.setdefault("uid", str(uuid.uuid4()))
        self.objects[key] = body | {"metadata": metadata | ({"namespace": key[1]} if key[1] else {})}


def _object(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "uid": "0", "resourceVersion": "0"}}


def _discovery(path: str) -> dict[str, Any] | None:
    group = {"groupVersion": "sedna.io/v1alpha1", "version": "v1alpha1"}
    sedna = {"name": "sedna.io", "versions": [group], "preferredVersion": group}
    documents: dict[str, dict[str, Any]] = {
        "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [sedna]},
        "/apis/sedna.io": {"kind": "APIGroup", "apiVersion": "v1", **sedna},
    }
    for prefix, version in (("/api", "v1"), ("/apis", "sedna.io/v1alpha1")):
        resources = [
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": namespaced,
                "kind": kind,
                "verbs": ["create", "delete", "get", "list", "patch", "update"],
            }
            for (group_version, plural), (kind, namespaced) in KINDS.items()
            if group_version == version
        ]
        documents[f"{prefix}/{version}"] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": resources,
        }
    return documents.get(path)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found


def _status(code: int, message: str, reason: str = "") -> tuple[int, dict[str, Any]]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _handler(cluster: Cluster) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or "0")
            text = self.rfile.read(length)
            status, answer = cluster.answer(self.command, urlsplit(self.path).path, json.loads(text) if text else None)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - http.server's names

    return Handler
