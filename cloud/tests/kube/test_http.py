# SPDX-License-Identifier: Apache-2.0
"""The API by plain HTTP: what clients rely on, and bodies that cannot be right."""

from __future__ import annotations

import copy
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from conftest import Hub

GROUP = "/apis/sedna.io/v1alpha1"
MODELS = f"{GROUP}/namespaces/default/models"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[httpx.Client]:
    with hub.client() as found:
        yield found


@pytest.fixture(autouse=True)
def clean(hub: Hub) -> Iterator[None]:
    yield
    for kind in ("IncrementalLearningJob", "Dataset", "Model", "Namespace", "Event"):
        for each in hub.store.list(kind):
            hub.store.delete(kind, each["metadata"]["namespace"], each["metadata"]["name"])


def model(name: str = "m", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name, **meta},
        "spec": {"url": "/models/m", "format": "pb"},
    }


def job(seed: dict[str, str]) -> dict[str, Any]:
    """The seed's job as a YAML 1.1 reader such as Ansible has it."""
    found: dict[str, Any] = yaml.safe_load(seed["job"])
    return found


def refused(response: httpx.Response, code: int, reason: str) -> str:
    found = response.json()
    assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", response.status_code)
    assert (response.status_code, found["reason"]) == (code, reason), found
    message: str = found["message"]
    return message


def test_a_time_that_came_as_a_number_is_kept_as_text_with_a_warning(
    client: httpx.Client, seed: dict[str, str]
) -> None:
    document = job(seed)
    assert document["spec"]["trainSpec"]["trigger"]["timer"] == {"start": "02:00", "end": 1200}
    made = client.post(f"{GROUP}/namespaces/default/incrementallearningjobs", json=document)
    assert made.status_code == 201
    assert made.json()["spec"]["trainSpec"]["trigger"]["timer"] == {"start": "02:00", "end": "20:00"}
    warnings = made.headers.get_list("Warning")
    assert warnings[0].startswith('299 - "spec.trainSpec.trigger.timer.end: the number 1200 is taken for 20:00')
    again = client.patch(
        f"{GROUP}/namespaces/default/incrementallearningjobs/helmet-detection-demo",
        content=json.dumps(document),
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert again.json()["metadata"]["resourceVersion"] == made.json()["metadata"]["resourceVersion"]


def test_a_dry_run_answers_as_if_and_keeps_nothing(client: httpx.Client) -> None:
    said = client.post(MODELS, params={"dryRun": "All"}, json=model())
    assert said.status_code == 201
    assert said.json()["metadata"]["uid"]
    assert refused(client.get(f"{MODELS}/m"), 404, "NotFound") == 'models.sedna.io "m" not found'
    client.post(MODELS, json=model())
    merged = {"Content-Type": "application/merge-patch+json"}
    patch = json.dumps({"spec": {"url": "/other"}})
    said = client.patch(f"{MODELS}/m", params={"dryRun": "All"}, content=patch, headers=merged)
    assert said.json()["spec"]["url"] == "/other"
    assert client.delete(f"{MODELS}/m", params={"dryRun": "All"}).json()["status"] == "Success"
    assert client.get(f"{MODELS}/m").json()["spec"]["url"] == "/models/m"
    refused(client.post(MODELS, params={"dryRun": "Some"}, json=model("n")), 400, "BadRequest")


def test_versions_guard_every_way_of_writing(client: httpx.Client) -> None:
    made = client.post(MODELS, json=model()).json()
    assert refused(client.post(MODELS, json=model()), 409, "AlreadyExists") == 'models.sedna.io "m" already exists'
    changed = copy.deepcopy(made)
    changed["spec"]["url"] = "/b"
    assert client.put(f"{MODELS}/m", json=changed).json()["metadata"]["generation"] == 2
    assert "Operation cannot be fulfilled" in refused(client.put(f"{MODELS}/m", json=changed), 409, "Conflict")
    assert "must be specified" in refused(client.put(f"{MODELS}/m", json=model()), 422, "Invalid")
    merged = {"Content-Type": "application/merge-patch+json"}
    old = json.dumps({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"url": "/c"}})
    refused(client.patch(f"{MODELS}/m", content=old, headers=merged), 409, "Conflict")
    options = {"preconditions": {"uid": "another"}}
    refused(client.request("DELETE", f"{MODELS}/m", json=options), 409, "Conflict")
    assert client.delete(f"{MODELS}/m").json()["details"]["uid"] == made["metadata"]["uid"]


def test_status_is_written_apart_and_checked(client: httpx.Client) -> None:
    client.post(MODELS, json={**model(), "status": {"updateTime": "2026-01-01T00:00:00Z"}})
    assert "status" not in client.get(f"{MODELS}/m").json()
    merged = {"Content-Type": "application/merge-patch+json"}
    body = json.dumps({"status": {"metrics": [{"key": "map50", "value": "0.9"}]}, "spec": {"url": "/ignored"}})
    assert client.patch(f"{MODELS}/m/status", content=body, headers=merged).status_code == 200
    found = client.get(f"{MODELS}/m/status").json()
    assert (found["status"]["metrics"][0]["value"], found["spec"]["url"]) == ("0.9", "/models/m")
    wrong = json.dumps({"status": {"metrics": [{"key": 3}]}})
    said = client.patch(f"{MODELS}/m/status", content=wrong, headers=merged)
    assert "status.metrics[0].key" in refused(said, 422, "Invalid")
    assert said.json()["details"]["causes"][0]["field"] == "status.metrics[0].key"


def test_names_can_be_made_by_the_hub(client: httpx.Client) -> None:
    body = model()
    body["metadata"] = {"generateName": "site-"}
    names = {client.post(MODELS, json=body).json()["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("site-") and len(name) == 10 for name in names)


def test_yaml_is_taken_too(client: httpx.Client) -> None:
    sent = client.post(MODELS, content=yaml.safe_dump(model()), headers={"Content-Type": "application/yaml"})
    assert sent.status_code == 201


def test_lists_are_selected_by_label_and_field(client: httpx.Client) -> None:
    for name, labels in (("a", {"site": "x"}), ("b", {"site": "y"}), ("c", {})):
        client.post(MODELS, json=model(name, labels=labels))

    def names(**query: str) -> list[str]:
        return [each["metadata"]["name"] for each in client.get(MODELS, params=query).json()["items"]]

    assert names(labelSelector="site=x") == ["a"]
    assert names(labelSelector="site in (x, y),site!=y") == ["a"]
    assert names(labelSelector="!site") == ["c"]
    assert names(labelSelector="site notin (x)") == ["b", "c"]
    assert names(labelSelector="site") == ["a", "b"]
    assert names(fieldSelector="metadata.name=b,metadata.namespace=default", limit="1") == ["b"]
    refused(client.get(MODELS, params={"labelSelector": "a=(b"}), 400, "BadRequest")
    refused(client.get(MODELS, params={"fieldSelector": "spec.url=/a"}), 400, "BadRequest")
    table = client.get(MODELS, headers={"Accept": TABLE}).json()
    assert (table["kind"], [row["cells"][0] for row in table["rows"]]) == ("Table", ["a", "b", "c"])
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def events(client: httpx.Client, **query: str) -> list[tuple[str, Any]]:
    """A watch, to its end."""
    with client.stream("GET", MODELS, params={"watch": "true", "timeoutSeconds": "1", **query}) as response:
        assert response.status_code == 200
        lines = [json.loads(line) for line in response.iter_lines()]
    return [(each["type"], each["object"]) for each in lines]


def test_a_watch_tells_what_was_there_and_what_changes(hub: Hub, client: httpx.Client) -> None:
    made = client.post(MODELS, json=model()).json()
    version = made["metadata"]["resourceVersion"]
    assert [(what, each["metadata"]["name"]) for what, each in events(client)] == [("ADDED", "m")]
    assert events(client, resourceVersion=version) == []

    heard: list[tuple[str, Any]] = []
    watch = threading.Thread(
        target=lambda: heard.extend(
            events(client, resourceVersion=version, timeoutSeconds="3", labelSelector="!hidden")
        )
    )
    watch.start()
    for labels in ({"hidden": "yes"}, {}):
        hub.store.update("Model", "default", "m", lambda old, add=labels: _labelled(old, add))
    hub.store.delete("Model", "default", "m")
    watch.join()
    assert [what for what, _ in heard] == ["DELETED", "ADDED", "DELETED"]


def _labelled(document: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


def test_a_client_that_leaves_ends_its_watch(hub: Hub) -> None:
    with hub.client() as one, one.stream("GET", MODELS, params={"watch": "true"}) as response:
        assert response.status_code == 200
        wait_until(lambda: len(hub.store._listeners) == 1)
    wait_until(lambda: hub.store._listeners == [])


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_watch_that_begins_with_everything_marks_the_end_of_it(client: httpx.Client) -> None:
    client.post(MODELS, json=model())
    told = events(client, sendInitialEvents="true", allowWatchBookmarks="true", resourceVersionMatch="NotOlderThan")
    assert [what for what, _ in told] == ["ADDED", "BOOKMARK"]
    assert told[1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_from_a_version_that_nobody_knows_is_told_to_list_again(client: httpx.Client) -> None:
    for version in ("999999999", "99999999999999999999", "x"):
        said = client.get(MODELS, params={"watch": "1", "resourceVersion": version})
        assert said.status_code in (400, 410)
    refused(client.get(MODELS, params={"watch": "1", "resourceVersion": "999999999"}), 410, "Expired")
    refused(client.get(MODELS, params={"continue": "x"}), 410, "Expired")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{MODELS}/..%2f..%2fetc%2fpasswd", 404),
        (f"{MODELS}/UPPER", 404),
        (f"{MODELS}/{'a' * 254}", 404),
        (f"{GROUP}/namespaces/{'n' * 64}/models", 404),
        (f"{GROUP}/namespaces/..%2f/models", 404),
        (f"{GROUP}/namespaces/a.b/models", 404),
        (f"{GROUP}/pods", 404),
        (f"{GROUP}/models/m", 404),
        ("/apis/apps/v1", 404),
        ("/api/v1/pods", 404),
        ("/api/v1/namespaces/x/events/y/status", 404),
        ("/openapi/v3/apis/x", 404),
        ("/api/v1/namespaces/none", 404),
    ],
)
def test_paths_that_lead_nowhere_are_not_found(client: httpx.Client, path: str, code: int) -> None:
    refused(client.get(path), code, "NotFound")


def test_verbs_that_make_no_sense_are_refused(client: httpx.Client) -> None:
    refused(client.delete(MODELS), 405, "MethodNotAllowed")
    refused(client.post(f"{MODELS}/m", json=model()), 405, "MethodNotAllowed")
    refused(client.post(f"{GROUP}/models", json=model()), 405, "MethodNotAllowed")
    refused(client.put("/api/v1/namespaces/default/events/e", json={}), 405, "MethodNotAllowed")
    refused(client.delete(f"{MODELS}/m/status"), 405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no UTF-8"),
        (b"[" * 5000, "deep"),
        (b"{}", "apiVersion"),
        (b"[]", "found list"),
        (b'"\\ud800"', "surrogate"),
        (b'{"a": NaN}', "NaN"),
        (b"9" * 5000, "cannot be read"),
    ],
)
def test_bodies_that_are_no_manifest_are_refused(client: httpx.Client, body: bytes, said: str) -> None:
    sent = client.post(MODELS, content=body, headers={"Content-Type": "application/json"})
    assert said in refused(sent, 400, "BadRequest")


def test_other_media_types_are_refused_with_what_to_do(client: httpx.Client) -> None:
    client.post(MODELS, json=model())
    for kind, said in (
        ("application/strategic-merge-patch+json", "--type=merge"),
        ("application/apply-patch+yaml", "without --server-side"),
        ("text/plain", "application/merge-patch+json"),
    ):
        sent = client.patch(f"{MODELS}/m", content=b"{}", headers={"Content-Type": kind})
        assert said in refused(sent, 415, "UnsupportedMediaType")
    for header in ({"Content-Type": "image/png"}, {"Content-Encoding": "gzip", "Content-Type": "application/json"}):
        refused(client.post(MODELS, content=b"{}", headers=header), 415, "UnsupportedMediaType")


def test_too_much_is_refused_before_it_is_read(client: httpx.Client) -> None:
    limit = 3 << 20

    def endless() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * (1 << 20)

    assert "3145728" in refused(client.post(MODELS, content=b" " * (limit + 1)), 413, "RequestEntityTooLarge")
    assert "3145728" in refused(client.post(MODELS, content=endless()), 413, "RequestEntityTooLarge")
    refused(client.post(MODELS, content=b" " * limit, headers={"Content-Type": "application/json"}), 400, "BadRequest")


def test_large_yaml_is_refused(client: httpx.Client) -> None:
    sent = client.post(MODELS, content=b"#" * (513 << 10), headers={"Content-Type": "application/yaml"})
    assert "for YAML" in refused(sent, 413, "RequestEntityTooLarge")


def test_a_full_disk_is_said_and_nothing_is_changed(hub: Hub, client: httpx.Client) -> None:
    made = client.post(MODELS, json=model()).json()

    def full(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite keeps what there is and takes no further page

    def empty(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1073741823")

    big = model("big", annotations={"a": "x" * 200_000})
    sqlalchemy.event.listen(hub.store.database.engine, "checkout", full)
    try:
        said = client.post(MODELS, json=big)
    finally:
        sqlalchemy.event.remove(hub.store.database.engine, "checkout", full)
    sqlalchemy.event.listen(hub.store.database.engine, "checkout", empty)
    try:
        assert refused(said, 507, "InternalError") == "the hub's disk is full; nothing was changed"
        assert client.get(f"{MODELS}/big").status_code == 404
        assert client.get(f"{MODELS}/m").json() == made
        assert client.post(MODELS, json=big).status_code == 201
    finally:
        sqlalchemy.event.remove(hub.store.database.engine, "checkout", empty)


def test_unknown_and_doubled_fields_are_refused_unless_asked_otherwise(client: httpx.Client) -> None:
    text = json.dumps(model()).replace('"format"', '"url": "/twice", "colour": "red", "format"').encode()
    headers = {"Content-Type": "application/json"}
    said = refused(client.post(MODELS, content=text, headers=headers), 400, "BadRequest")
    assert 'unknown field "spec.colour"' in said
    assert 'duplicate field "spec.url"' in said
    warned = client.post(MODELS, content=text, headers=headers, params={"fieldValidation": "Warn", "dryRun": "All"})
    assert any("spec.colour" in each for each in warned.headers.get_list("Warning"))
    assert warned.json()["spec"] == {"url": "/twice", "format": "pb"}
    ignored = client.post(MODELS, content=text, headers=headers, params={"fieldValidation": "Ignore"})
    assert ignored.status_code == 201
    assert "Warning" not in ignored.headers
    refused(client.post(MODELS, json=model("n"), params={"fieldValidation": "Perhaps"}), 400, "BadRequest")


def test_a_body_may_not_speak_of_another_object_than_its_path(client: httpx.Client) -> None:
    refused(client.post(MODELS, json=model(namespace="other")), 400, "BadRequest")
    made = client.post(MODELS, json=model()).json()
    made["metadata"]["name"] = "n"
    refused(client.put(f"{MODELS}/m", json=made), 400, "BadRequest")
    merged = {"Content-Type": "application/merge-patch+json"}
    for patch in ({"metadata": {"name": "n"}}, {"metadata": {"namespace": "x"}}, {"kind": "Dataset"}):
        refused(client.patch(f"{MODELS}/m", content=json.dumps(patch), headers=merged), 400, "BadRequest")


def test_a_token_without_the_scope_or_none_opens_nothing(hub: Hub) -> None:
    with hub.client(hub.node_token) as other:
        refused(other.get(MODELS), 403, "Forbidden")
    with hub.client("nonsense") as other:
        said = other.get("/apis")
        refused(said, 401, "Unauthorized")
        assert said.headers["www-authenticate"].startswith("Bearer")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ANY_JSON, path=st.sampled_from(["spec", "metadata", "status", "whole", "trigger", "template"]))
def test_no_body_brings_the_hub_down(client: httpx.Client, seed: dict[str, str], body: Any, path: str) -> None:
    document = job(seed)
    if path == "whole":
        document = body
    elif path == "trigger":
        document["spec"]["trainSpec"]["trigger"] = body
    elif path == "template":
        document["spec"]["deploySpec"]["template"]["spec"] = body
    else:
        document[path] = body
    try:
        content = json.dumps(document, allow_nan=True).encode()
    except UnicodeEncodeError:
        return
    sent = client.post(
        f"{GROUP}/namespaces/default/incrementallearningjobs",
        content=content,
        params={"dryRun": "All"},
        headers={"Content-Type": "application/json"},
    )
    assert sent.status_code in (201, 400, 422), sent.text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ANY_JSON, kind=st.sampled_from(["merge-patch", "json-patch"]), part=st.sampled_from(["", "/status"]))
def test_no_patch_brings_the_hub_down(client: httpx.Client, body: Any, kind: str, part: str) -> None:
    client.post(MODELS, json=model())
    sent = client.patch(
        f"{MODELS}/m{part}",
        content=json.dumps(body).encode(),
        params={"dryRun": "All"},
        headers={"Content-Type": f"application/{kind}+json"},
    )
    assert sent.status_code in (200, 400, 409, 413, 422), sent.text
