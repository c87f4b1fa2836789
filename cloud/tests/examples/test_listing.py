# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.store.examples import example_origin, example_origins

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Any]


def test_pages_hold_every_example_once_in_the_order_of_arrival(hub: Any, make_jpeg: Make) -> None:
    digests = hub.keep(*(make_jpeg(number) for number in range(7)))
    found: list[str] = []
    with hub.client("tool", "labels") as client:
        cursor = ""
        while cursor is not None:
            page = client.get("/v1/examples", params={"limit": 3, "cursor": cursor}).json()
            found += [one["record"]["sha256"] for one in page["examples"]]
            cursor = page["cursor"]
    assert found == digests


def test_the_list_can_be_narrowed(hub: Any, make_jpeg: Make) -> None:
    (one,) = hub.keep(make_jpeg(1), node="edge-1", rule="IBT")
    (two,) = hub.keep(make_jpeg(2), node="edge-2", rule="IBT")
    (three,) = hub.keep(make_jpeg(3), node="edge-2", rule="Random")
    with hub.client("tool", "labels") as client:

        def ask(**wanted: str) -> list[str]:
            return [one["record"]["sha256"] for one in client.get("/v1/examples", params=wanted).json()["examples"]]

        assert ask(rule="IBT") == [one, two]
        assert ask(node="edge-2") == [two, three]
        assert ask(node="edge-2", rule="IBT", state="pending") == [two]
        assert ask(state="labelled") == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=-1", "cursor=x", "state=new", "node=" + "x" * 200]
)
def test_a_list_that_cannot_be_is_refused_in_words(hub: Any, query: str) -> None:
    with hub.client("tool", "labels") as client:
        answer = client.get(f"/v1/examples?{query}")
    assert answer.status_code == 400
    assert f"query.{query.partition('=')[0]}" in answer.json()["detail"]


def test_a_picture_comes_back_as_it_was_sent(hub: Any, make_jpeg: Make, make_record: Make) -> None:
    (one,) = hub.keep(make_jpeg(1))
    with hub.client("tool", "labels") as client:
        picture = client.get(f"/v1/examples/{one}/picture")
        assert (picture.content, picture.headers["content-type"]) == (make_jpeg(1), "image/jpeg")
        assert picture.headers["etag"] == f'"{one}"'
        shown = client.get(f"/v1/examples/{one}").json()
        assert shown["record"] == make_record(make_jpeg(1)).to_json()
        assert shown["uses"] == []
        hub.examples.pictures.path(one).unlink()
        assert client.get(f"/v1/examples/{one}/picture").status_code == 404


def test_a_node_sees_its_own_examples_only(hub: Any, make_jpeg: Make) -> None:
    (one,) = hub.keep(make_jpeg(1), node="edge-1")
    (two,) = hub.keep(make_jpeg(2), node="edge-2")
    with hub.client("node:edge-1") as client:
        assert client.get(f"/v1/examples/{one}").status_code == 200
        for path in (f"/v1/examples/{two}", f"/v1/examples/{two}/picture", "/v1/examples"):
            assert client.get(path).status_code == 403
        assert client.delete(f"/v1/examples/{one}").status_code == 403


@pytest.mark.parametrize("name", ["none", "..%2Fhub.sqlite", "%2e%2e%2f%2e%2e", "0" * 64, "%00", "\u00fc" * 64])
def test_names_of_no_example_lead_nowhere(hub: Any, name: str) -> None:
    with hub.client("root", "admin") as client:
        for answer in (client.get(f"/v1/examples/{name}"), client.delete(f"/v1/examples/{name}")):
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get(f"/v1/examples/{name}/picture").status_code == 404


def test_where_a_picture_comes_from(hub: Any, make_jpeg: Make) -> None:
    (one,) = hub.keep(make_jpeg(1), node="edge-9", source="Tor", time_seconds=12.5)
    with hub.database.read() as session:
        origin = example_origin(session, one)
        assert origin is not None
        assert (origin.node, origin.source, origin.time_seconds) == ("edge-9", "Tor", 12.5)
        assert example_origin(session, "0" * 64) is None
        assert example_origins(session, [one, "0" * 64] * 400).keys() == {one}
