# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.testing import ManualClock
from helmet_cloud.errors import Conflict, NotFound
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.events import EVENTS_KEPT, EventRecorder
from helmet_cloud.store.resources import CHANGES_KEPT, AlreadyExists, Expired, ResourceStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Document = dict[str, Any]
KEY = ("Model", "default", "m")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResourceStore]:
    database = Database(tmp_path / "hub.sqlite")
    Base.metadata.create_all(database.engine)
    yield ResourceStore(database, ManualClock().now)
    database.close()


def model(name: str = "m", url: str = "/a", namespace: str = "default", **meta: Any) -> Document:
    return {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name, "namespace": namespace, **meta},
        "spec": {"url": url, "format": "pb"},
    }


def test_a_new_object_gets_what_only_the_hub_writes(store: ResourceStore) -> None:
    made = store.create(model(uid="mine", resourceVersion="77", generation=9))
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["resourceVersion"] == "1"
    assert made["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert store.get(*KEY) == made
    with pytest.raises(AlreadyExists):
        store.create(model())


def test_an_old_version_conflicts_and_changes_nothing(store: ResourceStore) -> None:
    first = store.create(model())
    second = store.replace({**first, "spec": {"url": "/b", "format": "pb"}})
    with pytest.raises(Conflict, match="latest version"):
        store.replace({**first, "spec": {"url": "/c", "format": "pb"}})
    assert store.get(*KEY) == second
    with pytest.raises(Conflict):
        store.delete(*KEY, version=first["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        store.delete(*KEY, uid="another")


def test_generation_follows_the_spec_alone(store: ResourceStore) -> None:
    store.create(model())
    assert store.replace(model(labels={"a": "b"}))["metadata"]["generation"] == 1
    assert store.write_status(*KEY, {"updateTime": "x"})["metadata"]["generation"] == 1
    assert store.replace(model(url="/b", labels={"a": "b"}))["metadata"]["generation"] == 2


def test_spec_and_status_are_written_apart(store: ResourceStore) -> None:
    store.create({**model(), "status": {"updateTime": "mine"}} | {"status": {}})
    store.write_status(*KEY, {"updateTime": "x"})
    assert store.replace({**model(url="/b"), "status": {"updateTime": "mine"}})["status"] == {"updateTime": "x"}
    found = store.update(*KEY, lambda old: {**old, "spec": {}, "status": {"metrics": []}}, status=True)
    assert (found["spec"]["url"], found["status"]) == ("/b", {"metrics": []})


def test_what_changes_nothing_makes_no_version(store: ResourceStore) -> None:
    made = store.create(model())
    store.write_status(*KEY, {"updateTime": "x"})
    version = store.version()
    store.write_status(*KEY, {"updateTime": "x"})
    store.replace({**made, "metadata": {**made["metadata"], "resourceVersion": ""}})
    assert store.version() == version


def test_a_dry_run_keeps_nothing(store: ResourceStore) -> None:
    store.create(model("other"), dry_run=True)
    store.create(model())
    before = store.list_at("Model")
    assert store.replace(model(url="/b"), dry_run=True)["spec"]["url"] == "/b"
    store.delete(*KEY, dry_run=True)
    assert store.list_at("Model") == before
    with pytest.raises(AlreadyExists):
        store.create(model(), dry_run=True)


def test_answers_are_copies(store: ResourceStore) -> None:
    made = store.create(model())
    made["spec"]["url"] = "/changed"
    store.get(*KEY)["spec"]["url"] = "/changed"
    assert store.get(*KEY)["spec"]["url"] == "/a"


def test_lists_are_by_namespace_and_ordered(store: ResourceStore) -> None:
    for namespace, name in (("b", "2"), ("a", "9"), ("b", "1")):
        store.create(model(name, namespace=namespace))
    found = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in store.list("Model")]
    assert found == [("a", "9"), ("b", "1"), ("b", "2")]
    assert [each["metadata"]["name"] for each in store.list("Model", "b")] == ["1", "2"]
    assert store.list("Dataset") == []
    assert store.namespaces() == ["a", "b", "default"]


def test_changes_come_in_order_and_end_with_the_deletion(store: ResourceStore) -> None:
    store.create(model())
    store.create(model("other", namespace="n"))
    store.replace(model(url="/b"))
    last = store.delete(*KEY)
    changes, version = store.changes_since(0, kind="Model", namespace="default")
    assert [change.type for change in changes] == ["ADDED", "MODIFIED", "DELETED"]
    assert changes[-1].document == {**last, "metadata": {**last["metadata"]}}
    assert version == 4
    assert store.changes_since(version) == ([], version)
    with pytest.raises(NotFound):
        store.get(*KEY)


def test_a_watcher_from_too_far_back_is_told_to_list_again(store: ResourceStore) -> None:
    store.create(model())
    for round_ in range(CHANGES_KEPT + 1):
        store.write_status(*KEY, {"updateTime": str(round_)})
    with pytest.raises(Expired):
        store.changes_since(1)
    assert len(store.changes_since(2)[0]) == CHANGES_KEPT
    with pytest.raises(Expired):  # the store was put back from a backup
        store.changes_since(store.version() + 1)


def test_versions_go_on_after_a_restart(store: ResourceStore) -> None:
    store.create(model())
    store.delete(*KEY)
    again = ResourceStore(Database(store.database.path))
    assert again.create(model())["metadata"]["resourceVersion"] == "3"
    again.database.close()


def test_a_waiting_thread_is_woken_by_a_change(store: ResourceStore) -> None:
    heard: list[int] = []
    thread = threading.Thread(target=lambda: heard.append(store.wait(0, 30)))
    thread.start()
    told: list[None] = []
    end = store.subscribe(lambda: told.append(None))
    store.create(model())
    thread.join(20)
    end()
    store.delete(*KEY)
    assert heard[0] >= 1
    assert len(told) == 1


def test_writers_at_once_lose_no_update(store: ResourceStore) -> None:
    store.create(model())

    def count(found: Document) -> Document:
        return {**found, "spec": {**found["spec"], "n": found["spec"].get("n", 0) + 1}}

    threads = [threading.Thread(target=lambda: [store.update(*KEY, count) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(*KEY)["spec"]["n"] == 40
    assert store.get(*KEY)["metadata"]["generation"] == 41


def test_equal_events_are_counted_and_the_oldest_forgotten(store: ResourceStore) -> None:
    events = EventRecorder(store)
    made = store.create(model())
    for _ in range(3):
        events.record(*KEY, type="Normal", reason="Published", message="release 1")
    (only,) = store.list("Event", "default", about="Model/m")
    assert (only["count"], only["involvedObject"]["uid"]) == (3, made["metadata"]["uid"])
    for number in range(EVENTS_KEPT + 5):
        events.record(*KEY, type="Warning", reason="Refused", message=f"round {number} " + "x" * 2000)
    found = store.list("Event", "default", about="Model/m")
    assert len(found) == EVENTS_KEPT
    assert max(len(each["message"]) for each in found) == 1024
    assert "release 1" not in {each["message"] for each in found}


def test_an_object_that_is_gone_gets_no_event(store: ResourceStore) -> None:
    EventRecorder(store).record(*KEY, type="Normal", reason="Published", message="release 1")
    assert store.list("Event") == []
