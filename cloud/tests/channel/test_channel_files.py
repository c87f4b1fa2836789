# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.api.channel import ChannelFiles, _part
from helmet_cloud.api.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = os.urandom(700_000)
DIGEST = hashlib.sha256(BIG).hexdigest()
MODEL = f"/channel/targets/files/{DIGEST}.{DIGEST}"
TIMESTAMP = "/channel/metadata/timestamp.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("hub") / "channel"
    for name, content in (
        ("metadata/timestamp.json", b'{"a": 1}'),
        ("metadata/1.root.json", b"{}"),
        (f"targets/files/{DIGEST}.{DIGEST}", BIG),
        (f"targets/jobs/default/job/{DIGEST}.stable.json", b"{}"),
    ):
        path = found / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (found.parent / "secret.json").write_text("secret")
    return found


@pytest.fixture(scope="module")
def files(folder: Path) -> ChannelFiles:
    return ChannelFiles(folder)


@pytest.fixture(scope="module")
def server(files: ChannelFiles) -> Iterator[WebServer]:
    found = WebServer("127.0.0.1:0", "listen")
    found.start(files)
    yield found
    found.stop()


@pytest.fixture
def client(server: WebServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}") as found:
        yield found


def test_a_poll_that_brings_nothing_new_is_answered_304(client: httpx.Client) -> None:
    first = client.get(TIMESTAMP)
    assert first.status_code == 200
    again = client.get(TIMESTAMP, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_the_tag_is_strong_and_changes_with_the_content(client: httpx.Client, folder: Path) -> None:
    before = client.get(TIMESTAMP)
    assert before.headers["etag"].startswith('"')
    fresh = folder / "metadata" / ".new"
    fresh.write_bytes(b'{"a": 2}')
    fresh.rename(folder / "metadata" / "timestamp.json")
    after = client.get(TIMESTAMP, headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.content) == (200, b'{"a": 2}')


@pytest.mark.parametrize("asked", ["*", '"x", {tag}', "W/{tag}", "{tag}"])
def test_every_form_of_if_none_match_is_understood(asked: str, client: httpx.Client) -> None:
    tag = client.get(TIMESTAMP).headers["etag"]
    assert client.get(TIMESTAMP, headers={"If-None-Match": asked.format(tag=tag)}).status_code == 304
    assert client.get(TIMESTAMP, headers={"If-None-Match": '"other"'}).status_code == 200


def test_only_the_timestamp_and_what_is_missing_must_be_asked_for_again(client: httpx.Client) -> None:
    assert client.get(TIMESTAMP).headers["cache-control"] == "no-cache"
    assert client.get("/channel/metadata/2.root.json").headers["cache-control"] == "no-cache"
    assert "immutable" in client.get("/channel/metadata/1.root.json").headers["cache-control"]
    assert "immutable" in client.head(MODEL).headers["cache-control"]


def test_a_model_arrives_whole(client: httpx.Client) -> None:
    found = client.get(MODEL)
    assert (found.status_code, found.content) == (200, BIG)
    assert found.headers["etag"] == f'"{DIGEST}"'
    assert found.headers["accept-ranges"] == "bytes"


def test_head_says_all_but_the_content(client: httpx.Client) -> None:
    found = client.head(MODEL)
    assert (found.status_code, found.content, found.headers["content-length"]) == (200, b"", str(len(BIG)))


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, len(BIG)),
        ("bytes=-500", len(BIG) - 500, len(BIG)),
        ("bytes=300000-699999", 300_000, 700_000),
        ("bytes=699000-900000", 699_000, 700_000),
        ("bytes=-9000000", 0, len(BIG)),
    ],
)
def test_a_download_goes_on_where_it_stopped(asked: str, begin: int, end: int, client: httpx.Client) -> None:
    found = client.get(MODEL, headers={"Range": asked, "If-Range": f'"{DIGEST}"'})
    assert found.status_code == 206
    assert found.content == BIG[begin:end]
    assert found.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(BIG)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=\u0661-2"])
def test_a_range_that_means_nothing_is_ignored(asked: str, client: httpx.Client) -> None:
    found = client.get(MODEL, headers={"Range": asked.encode()})
    assert (found.status_code, len(found.content)) == (200, len(BIG))


@pytest.mark.parametrize("asked", [f"bytes={len(BIG)}-", "bytes=999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(asked: str, client: httpx.Client) -> None:
    found = client.get(MODEL, headers={"Range": asked})
    assert (found.status_code, found.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


def test_a_part_of_another_content_is_not_mixed_in(client: httpx.Client) -> None:
    found = client.get(MODEL, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert (found.status_code, found.content) == (200, BIG)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(method: str, client: httpx.Client, folder: Path) -> None:
    found = client.request(method, TIMESTAMP, content=b"x")
    assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")
    assert (folder / "metadata" / "timestamp.json").read_bytes() != b"x"


@pytest.mark.parametrize(
    "path",
    [
        "/channel/../secret.json",
        "/channel/metadata/../../secret.json",
        "/channel/metadata/%2e%2e/%2e%2e/secret.json",
        "/channel/metadata/..%2f..%2fsecret.json",
        "/channel//etc/passwd",
        "/channel/metadata/",
        "/channel/metadata",
        "/channel/",
        "/channel/metadata/.tmp-0123",
        "/channel/metadata/0.root.json",
        "/channel/metadata/1.root.json%00",
        "/channel/metadata/1.root.json%0a",
        f"/channel/targets/jobs/../{DIGEST}.stable.json",
        f"/channel/targets/jobs/default/../job/{DIGEST}.stable.json",
        f"/channel/targets/files/../files/{DIGEST}.{DIGEST}",
        "/channel/targets/files/" + "a" * 5000,
    ],
)
def test_no_path_leads_out(path: str, server: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as to:
        to.sendall(f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: to.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"404", b"400")
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1]


def test_a_symbolic_link_is_not_followed(client: httpx.Client, folder: Path) -> None:
    (folder / "metadata" / "7.targets.json").symlink_to(folder.parent / "secret.json")
    assert client.get("/channel/metadata/7.targets.json").status_code == 404


def test_a_download_is_whole_even_if_the_file_is_replaced_meanwhile(client: httpx.Client, folder: Path) -> None:
    other = hashlib.sha256(b"replaced").hexdigest()
    path = folder / "targets" / "files" / f"{other}.{other}"
    path.write_bytes(BIG)
    with client.stream("GET", f"/channel/targets/files/{path.name}") as answer:
        chunks = answer.iter_raw(1000)
        first = next(chunks)
        fresh = path.with_name(".new")
        fresh.write_bytes(b"short")
        fresh.rename(path)
        assert first + b"".join(chunks) == BIG


def test_answers_are_counted(client: httpx.Client, files: ChannelFiles) -> None:
    before = files.answers[404]
    client.get("/channel/metadata/99.root.json")
    assert files.answers[404] == before + 1


@given(st.integers(0, 2000), st.one_of(st.none(), st.integers(0, 3000)), st.one_of(st.none(), st.integers(0, 3000)))
def test_a_range_is_the_slice_that_it_says(size: int, first: int | None, last: int | None) -> None:
    content = bytes(index % 251 for index in range(size))
    found = _part(f"bytes={'' if first is None else first}-{'' if last is None else last}", size)
    if first is None and last is None:
        assert found is None
    elif first is None:
        assert found is not None
        assert content[found[0] : found[1]] == (content[-last:] if last else b"")
    elif last is not None and last < first:
        assert found is None
    else:
        assert found is not None
        assert content[found[0] : max(found)] == content[first : None if last is None else last + 1]
