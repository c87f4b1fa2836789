# SPDX-License-Identifier: Apache-2.0
"""A hub among strangers: what each token opens, how often one may ask, what is read of what they send."""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from helmet_cloud.app import Hub
from helmet_cloud.settings import HubHome
from helmet_cloud.store.nodes import add_node, revoke_node
from helmet_cloud.store.tokens import add_token, new_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import RunningHub

    Note = Callable[[str, object], None]
    Serve = Callable[..., RunningHub]

pytestmark = [
    pytest.mark.survive,
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated"),  # it is refused here
]
OPEN = {"/livez", "/readyz", "/version"}
KUBE = "/apis/sedna.io/v1alpha1/namespaces/default/datasets"
SHA = "a" * 64
SCOPES = {  # method, path: who is let in; whatever the answer then is, it is no 401 and no 403
    ("GET", "/metrics"): {"admin"},
    ("GET", "/v1/nodes"): {"admin", "kube", "labels"},
    ("POST", "/v1/nodes/edge-1/report"): {"admin", "edge-1"},
    ("GET", "/v1/examples"): {"admin", "labels"},
    ("DELETE", f"/v1/examples/{SHA}"): {"admin", "labels"},
    ("POST", "/v1/labels/default/demo"): {"admin", "labels"},
    ("GET", KUBE): {"admin", "kube"},
    ("POST", KUBE): {"admin", "kube"},
    ("DELETE", f"{KUBE}/demo"): {"admin", "kube"},
}
EVIL = (
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    ".hidden",
    "a\\b",
    "a\0b",
    "a\nb",
    "x" * 300,
    "-rf",
    "",
    "%2e%2e",
    "a b",
    "é",
)


@pytest.fixture
def tokens(folder: Path) -> dict[str, str]:
    """A token of every kind in the hub's folder, by name."""
    hub = Hub(HubHome.load(folder))
    made = {name: new_token() for name in ("kube", "labels", "edge-1", "edge-2", "revoked")}
    with hub.database.write() as session:
        for name, token in made.items():
            digest = token_digest(token)
            if name in ("kube", "labels"):
                add_token(session, name, digest, [name], 1.0)
            else:
                add_node(session, name, digest, None, 1.0)
        revoke_node(session, "revoked", 2.0)
    hub.stop()
    return made | {"admin": (folder / "tokens" / "admin.token").read_text().strip(), "unknown": new_token()}


@pytest.fixture
def ask(folder: Path, tokens: dict[str, str]) -> Iterator[Callable[..., httpx.Response]]:
    """Asks a hub that is served here as somebody; ``ask.hub`` is the hub."""
    hub = Hub(HubHome.load(folder))
    hub.start()
    trust = ssl.create_default_context(cafile=str(folder / "tls" / "ca.crt"))
    with httpx.Client(base_url=hub.url, verify=trust, timeout=10.0) as client:

        def asking(method: str, path: str, who: str | None = None, **more: Any) -> httpx.Response:
            headers = {} if who is None else {"Authorization": f"Bearer {tokens[who]}"}
            return client.request(method, path, headers=headers | more.pop("headers", {}), **more)

        asking.hub = hub  # type: ignore[attr-defined]
        yield asking
    hub.stop()


def test_a_token_opens_what_its_scope_says_and_nothing_else(
    ask: Any, tokens: dict[str, str], record_property: Note
) -> None:
    routes = [
        (method.upper(), path.replace("{sha256}", SHA).replace("{name}", "edge-1"))
        for path, methods in ask.hub.rest.openapi()["paths"].items()
        for method in methods
    ]
    routes += [key for key in SCOPES if key not in routes]  # Kubernetes' routes are in no document of ours
    assert len(routes) > 12
    closed = [(method, path) for method, path in routes if path not in OPEN]
    for method, path in closed:
        for who in (None, "unknown", "revoked"):
            assert ask(method, path, who).status_code == 401, (method, path, who)
    for (method, path), allowed in SCOPES.items():
        for who in set(tokens) - {"unknown", "revoked"}:
            status = ask(method, path, who, json={}).status_code
            assert (status != 403) == (who in allowed), (method, path, who, status)
            assert status not in (401, 500)
    figures = f"{len(closed)} routes closed to 3 kinds of strangers, {len(SCOPES)} routes against 5 scopes"
    record_property("survive", f"item 9: {figures}")


def test_a_revoked_token_is_refused_from_the_next_request_on(ask: Any) -> None:
    assert ask("POST", "/v1/nodes/edge-1/report", "edge-1", json={}).status_code == 400
    with ask.hub.database.write() as session:
        revoke_node(session, "edge-1", 3.0)
    assert ask("POST", "/v1/nodes/edge-1/report", "edge-1", json={}).status_code == 401


def test_who_asks_too_often_waits_and_a_node_at_the_same_address_does_not(
    folder: Path, tokens: dict[str, str], serve: Serve, record_property: Note
) -> None:
    with (folder / "hub.toml").open("a") as settings:
        settings.write("\ntoken_requests_per_second = 1\naddress_requests_per_second = 0.5\n")
        settings.write("channel_requests_per_second = 0.7\n")
    hub = serve(folder)
    with hub.client() as client:

        def statuses(path: str, who: str = "", number: int = 20) -> Counter[int]:
            headers = {"Authorization": f"Bearer {who}"} if who else {}
            return Counter(client.get(path, headers=headers).status_code for _ in range(number))

        strangers = statuses("/v1/nodes") + statuses("/v1/nodes", new_token())
        assert strangers[401] <= 8
        assert strangers[429] >= 32
        node = statuses("/v1/nodes", tokens["labels"], 9)
        assert node == Counter({200: 9}), "strangers at its address cost it nothing"
        flood = statuses("/v1/nodes", tokens["kube"])
        assert flood[429] >= 5
        files = statuses("/channel/metadata/timestamp.json")
        assert files[429] >= 8
        refused = client.get("/v1/nodes")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert refused.headers["content-type"] == "application/problem+json"
    record_property(
        "survive", f"item 9: {strangers[429]} of 40 strangers' requests told to wait, 0 of 9 of a node beside"
    )


def test_tls_is_the_hubs_own_authoritys_or_nothing(shared: RunningHub) -> None:
    port = int(shared.url.rpartition(":")[2])
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{shared.url}/livez")
    old = ssl.create_default_context(cafile=str(shared.folder / "tls" / "ca.crt"))
    # This client would take it; it is the hub that refuses.
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain, server_hostname="127.0.0.1")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port)) as plain:
        assert old.wrap_socket(plain, server_hostname="127.0.0.1").version() == "TLSv1.2"
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/livez")
    with shared.client() as client:
        assert client.get("/livez").text == "ok"


@pytest.mark.parametrize("path", ["/v1/labels/default/demo", KUBE, "/v1/nodes/edge-1/report", f"/v1/examples/{SHA}"])
def test_what_is_too_large_is_refused_before_a_byte_of_it_is_read(shared: RunningHub, path: str) -> None:
    trust = ssl.create_default_context(cafile=str(shared.folder / "tls" / "ca.crt"))
    port = int(shared.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as plain:
        secure = trust.wrap_socket(plain, server_hostname="127.0.0.1")
        method = "PUT" if "examples" in path else "POST"
        head = f"{method} {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {shared.token}\r\n"
        head += "Content-Type: application/vnd.helmet.example\r\nContent-Length: 10000000000\r\n\r\n"
        secure.sendall(head.encode())
        assert secure.recv(100).startswith(b"HTTP/1.1 413 ")


def test_no_name_leads_anywhere_else(ask: Any, folder: Path, record_property: Note) -> None:
    before = {path for path in folder.rglob("*") if "hub.sqlite" not in path.name}
    tried = 0
    for name in EVIL:
        model = {
            "apiVersion": "sedna.io/v1alpha1",
            "kind": "Model",
            "metadata": {"name": name},
            "spec": {"url": "/m", "format": "pb"},
        }
        kube = "/apis/sedna.io/v1alpha1/namespaces"
        answers = [ask("POST", f"{kube}/default/models", "admin", json=model)]
        quoted = "".join(f"%{byte:02x}" for byte in name.encode())
        if name:
            answers += [
                ask("POST", f"{kube}/{quoted}/models", "admin", json=model | {"metadata": {"name": "good"}}),
                ask("POST", f"/v1/nodes/{quoted}/report", "admin", json={}),
                ask("PUT", f"/v1/examples/{quoted}", "admin", content=b"x"),
                ask("GET", f"/v1/examples/{quoted}/picture", "admin"),
                ask("POST", f"/v1/labels/{quoted}/{quoted}", "admin", content=b"x"),
                ask("GET", f"/channel/{quoted}"),
                ask("GET", f"/channel/targets/files/{quoted}"),
                ask("GET", f"/channel/metadata/{quoted}/../../keys/targets"),
            ]
        tried += len(answers)
        for answer in answers:
            assert 400 <= answer.status_code < 500, (name, answer.request.url, answer.status_code)
    assert {path for path in folder.rglob("*") if "hub.sqlite" not in path.name} == before
    record_property("survive", f"item 9: {tried} requests with unsafe names refused")


def test_every_answer_carries_the_safety_headers_refusals_too(ask: Any) -> None:
    asked = [("GET", "/livez", None), ("GET", "/v1/nodes", None), ("GET", "/v1/nodes", "edge-1")]
    asked += [("GET", "/v1/nothing", "admin"), ("DELETE", "/livez", "admin"), ("GET", "/channel/nothing", None)]
    asked += [("POST", "/channel/metadata/timestamp.json", None), ("POST", "/v1/nodes/edge-1/report", "edge-1")]
    seen = set()
    for method, path, who in asked:
        answer = ask(method, path, who)
        seen.add(answer.status_code)
        for name, value in (
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("strict-transport-security", "max-age=31536000"),
        ):
            assert answer.headers.get(name) == value, (method, path, name)
        assert "server" not in answer.headers
        if not path.startswith("/channel/"):
            assert answer.headers.get("cache-control") == "no-store", (method, path)
    assert seen == {200, 400, 401, 403, 404, 405}
