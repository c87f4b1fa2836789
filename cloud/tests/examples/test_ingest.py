# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import concurrent.futures
import hashlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.store.examples import count_examples, find_example

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]


def digest(jpeg: bytes) -> str:
    return hashlib.sha256(jpeg).hexdigest()


def files(hub: Any) -> list[Path]:
    return sorted(path for path in hub.home.pictures.rglob("*") if path.is_file())


def rows(hub: Any) -> int:
    with hub.database.read() as session:
        return sum(count for count, _ in count_examples(session).values())


def test_a_put_is_kept_whole_and_a_second_one_changes_nothing(
    hub: Any, make_jpeg: Make, make_body: Make, make_record: Make
) -> None:
    jpeg = make_jpeg(1)
    with hub.client() as client:
        first = client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg))
        again = client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg))
    assert (first.status_code, first.json()) == (201, {"sha256": digest(jpeg), "state": "pending"})
    assert (again.status_code, again.json()) == (200, {"sha256": digest(jpeg), "state": "pending"})
    assert files(hub) == [hub.home.pictures / digest(jpeg)[:2] / f"{digest(jpeg)}.jpg"]
    assert files(hub)[0].read_bytes() == jpeg
    assert files(hub)[0].stat().st_mode & 0o777 == 0o640
    with hub.database.read() as session:
        row = find_example(session, digest(jpeg))
        assert row is not None
        assert row.record() == make_record(jpeg)
        assert row.received_seconds == hub.now


def test_many_at_once_and_the_same_ones_at_once(hub: Any, make_jpeg: Make, make_body: Make) -> None:
    jpegs = [make_jpeg(number) for number in range(12)] * 4
    with hub.client() as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda jpeg: client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg)), jpegs)
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 36 + [201] * 12
    assert len(files(hub)) == rows(hub) == 12
    assert hub.examples.ingest.counts()["new"] == 12
    assert hub.examples.ingest.counts()["known"] == 36


def test_a_node_sends_its_own_examples_only(hub: Any, make_jpeg: Make, make_body: Make, make_record: Make) -> None:
    jpeg = make_jpeg(1)
    body = make_body(jpeg, make_record(jpeg, node="edge-2"))
    with hub.client("node:edge-1") as client:
        refused = client.put(f"/v1/examples/{digest(jpeg)}", content=body)
    assert refused.status_code == 403
    assert "does not open the node edge-2" in refused.json()["detail"]
    assert files(hub) == []
    with hub.client("tool", "labels") as client:
        assert client.put(f"/v1/examples/{digest(jpeg)}", content=body).status_code == 403
    with hub.client("root", "admin") as client:
        assert client.put(f"/v1/examples/{digest(jpeg)}", content=body).status_code == 201


def test_what_cannot_be_right_is_refused_and_leaves_nothing(hub: Any, make_jpeg: Make, make_body: Make) -> None:
    jpeg = make_jpeg(1)
    path = f"/v1/examples/{digest(jpeg)}"
    cut = jpeg[:-40]
    with hub.client() as client:
        answers = [
            (client.put(path, content=make_body(jpeg)[:-1]), 400, "changed or cut off"),
            (client.put(f"/v1/examples/{digest(cut)}", content=make_body(cut)), 400, "cut off"),
            (client.put(f"/v1/examples/{digest(b'x')}", content=make_body(b"x")), 400, "no JPEG"),
            (client.put("/v1/examples/..%2f..%2fhub.sqlite", content=make_body(jpeg)), 404, ""),
            (client.put("/v1/examples/%00", content=make_body(jpeg)), 400, "64 lower-case"),
            (client.put(path, content=make_body(jpeg), headers={"Content-Type": "image/jpeg"}), 400, "Content-Type"),
            (client.put(path, content=iter([make_body(jpeg)])), 411, "Content-Length"),
            (client.put(path, content=make_body(jpeg), headers={"Authorization": "Bearer x"}), 401, "token"),
        ]
    for answer, status, words in answers:
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert words in answer.json()["detail"]
    assert files(hub) == []
    assert rows(hub) == 0
    counts = hub.examples.ingest.counts()
    assert (counts["400"], counts["411"]) == (5, 1)


def raw(hub: Any, head: str) -> socket.socket:
    """A connection that sent so much of a request."""
    connection = socket.create_connection(("127.0.0.1", hub.port), timeout=20)
    connection.sendall(head.encode())
    return connection


def head(hub: Any, path: str, length: int) -> str:
    return (
        f"PUT {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {hub.token('node:edge-1')}\r\n"
        f"Content-Type: application/vnd.helmet.example\r\nContent-Length: {length}\r\n\r\n"
    )


def test_too_large_is_refused_before_anything_is_read(open_hub: Make) -> None:
    hub = open_hub(max_example_bytes=10_000)
    for length in (10**6, 10**18):
        with raw(hub, head(hub, f"/v1/examples/{'0' * 64}", length)) as connection:
            answer = connection.makefile("rb").read()  # not one byte of the body was sent
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"at most 10000 are taken" in answer


def test_an_upload_that_stands_still_is_ended_and_frees_its_place(open_hub: Make, make_jpeg: Make) -> None:
    hub = open_hub(idle_seconds=0.3)
    with raw(hub, head(hub, f"/v1/examples/{'0' * 64}", 5000)) as connection:
        connection.sendall(b"{")
        begun = time.monotonic()
        answer = connection.makefile("rb").readline()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun < 15
    assert hub.examples.metrics()["helmet_hub_uploads_under_way_bytes"] == 0
    assert hub.keep(make_jpeg(1))


def test_a_sender_that_goes_away_leaves_nothing(hub: Any, make_jpeg: Make, make_body: Make) -> None:
    body = make_body(make_jpeg(1))
    with raw(hub, head(hub, f"/v1/examples/{digest(make_jpeg(1))}", len(body))) as connection:
        connection.sendall(body[:-10])
    deadline = time.monotonic() + 20
    while hub.examples.ingest.counts().get("400", 0) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert hub.examples.ingest.counts()["400"] == 1
    assert files(hub) == []


@pytest.mark.parametrize("header", ["X-Long: " + "x" * 10_000_000, "Authorization: Bearer " + "h" * 10_000_000])
def test_a_header_of_ten_megabytes_is_refused_and_the_hub_stays(hub: Any, header: str) -> None:
    with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as connection:
        answer = b""
        try:
            connection.sendall(f"GET /v1/examples HTTP/1.1\r\nHost: hub\r\n{header}\r\n\r\n".encode())
            answer = connection.recv(100)
        except ConnectionError:
            answer = b"closed"  # it need not listen to the end
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"closed")) or answer == b""
    with hub.client("tool", "labels") as client:
        assert client.get("/v1/examples").json() == {"examples": [], "cursor": None}


def test_too_many_under_way_are_told_to_wait(open_hub: Make, make_jpeg: Make, make_body: Make) -> None:
    hub = open_hub()
    first = [raw(hub, head(hub, f"/v1/examples/{'0' * 64}", 8 << 20))]
    try:
        deadline = time.monotonic() + 20
        while hub.examples.metrics()["helmet_hub_uploads_under_way_bytes"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        with hub.client() as client:
            answer = client.put(
                f"/v1/examples/{digest(make_jpeg(1))}", content=make_body(make_jpeg(1)) + b"x" * (1 << 20)
            )
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "5"
        with hub.client("node:edge-2") as client:  # others are not held up by it
            assert (
                client.put(f"/v1/examples/{digest(make_jpeg(1))}", content=make_body(make_jpeg(1))).status_code == 403
            )
    finally:
        for connection in first:
            connection.close()


def test_a_full_quota_refuses_new_ones_until_there_is_room(open_hub: Make, make_jpeg: Make, make_body: Make) -> None:
    sizes = [len(make_jpeg(number)) for number in range(3)]
    hub = open_hub(max_examples_bytes=sum(sizes[:2]) + 10)
    kept = hub.keep(make_jpeg(0), make_jpeg(1))
    jpeg = make_jpeg(2)
    with hub.client() as client, hub.client("tool", "labels") as tool:
        refused = client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg))
        assert refused.status_code == 507
        assert "max_examples_bytes" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "60"
        known = client.put(f"/v1/examples/{kept[0]}", content=make_body(make_jpeg(0)))
        assert known.status_code == 200
        assert tool.delete(f"/v1/examples/{kept[0]}").status_code == 204
        time.sleep(1.1)  # near the limit it is counted again every second
        assert client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg)).status_code == 201
    assert len(files(hub)) == 2


def test_a_picture_that_somebody_took_away_comes_back_with_the_next_put(
    hub: Any, make_jpeg: Make, make_body: Make
) -> None:
    jpeg = make_jpeg(1)
    hub.keep(jpeg)
    files(hub)[0].unlink()
    with hub.client() as client:
        assert client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg)).status_code == 200
    assert files(hub)[0].read_bytes() == jpeg


def test_one_picture_that_cannot_be_kept_does_not_spoil_the_others_of_its_batch(
    hub: Any, make_jpeg: Make, make_body: Make
) -> None:
    jpegs = [make_jpeg(number) for number in range(8)]
    in_the_way = hub.examples.pictures.path(digest(jpegs[3]))
    (in_the_way / "x").mkdir(parents=True)
    with hub.database.write():  # holds the commit up, so that all come into one batch
        futures = [hub.examples.ingest.submit(digest(one), make_body(one), lambda _node: True) for one in jpegs]
        time.sleep(0.5)
    failed = [jpeg for jpeg, future in zip(jpegs, futures, strict=True) if future.exception(30) is not None]
    assert failed == [jpegs[3]]
    assert rows(hub) == 7
    assert sum(path.suffix == ".jpg" for path in files(hub)) == 7
    assert not [path for path in files(hub) if path.name.startswith(".tmp")]


def test_uploads_that_come_while_the_hub_goes_down_are_told_so(hub: Any, make_jpeg: Make, make_body: Make) -> None:
    jpeg = make_jpeg(1)
    hub.examples.close()
    hub.examples.close()
    with hub.client() as client:
        answer = client.put(f"/v1/examples/{digest(jpeg)}", content=make_body(jpeg))
    assert answer.status_code == 429
    assert "going down" in answer.json()["detail"]


def test_the_metrics_tell_what_became_of_uploads(hub: Any, make_jpeg: Make) -> None:
    hub.keep(make_jpeg(1), make_jpeg(1), make_jpeg(2))
    found = hub.examples.metrics()
    assert found["helmet_hub_examples_new_total"] == 2
    assert found["helmet_hub_examples_known_total"] == 1
    assert found["helmet_hub_examples_received_bytes_total"] == len(make_jpeg(1)) + len(make_jpeg(2))
    assert found['helmet_hub_examples{state="pending"}'] == 2
    assert found['helmet_hub_examples{state="labelled"}'] == 0
    assert json.dumps(found)
