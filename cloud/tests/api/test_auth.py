# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from httpx import Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from helmet_cloud.api.auth import Auth, Identity
from helmet_cloud.api.problem import install_problems
from helmet_cloud.errors import BadRequest, Conflict, NotFound, Unauthorized
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.tokens import add_token, find, new_token, revoke, token_digest

DIGEST = token_digest("hmt_" + "a" * 43)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "hub.sqlite")
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


def make_token(database: Database, name: str, *scopes: str) -> str:
    token = new_token()
    with database.write() as session:
        assert add_token(session, name, token_digest(token), scopes, 1.0)
    return token


@pytest.fixture
def client(database: Database) -> TestClient:
    app = FastAPI()
    install_problems(app)
    auth = Auth(database)

    @app.get("/labels", response_model=None)
    async def labels(identity: Annotated[Identity, Depends(auth.require("labels"))]) -> str:
        return identity.name

    @app.get("/node/{name}", response_model=None)
    async def node(name: str, identity: Annotated[Identity, Depends(auth.require("node"))]) -> bool:
        return identity.may_act_for(name)

    return TestClient(app)


def ask(client: TestClient, path: str, token: str | None) -> Response:
    return client.get(path, headers={} if token is None else {"Authorization": f"Bearer {token}"})


def test_a_token_opens_its_scope_and_admin_opens_all(client: TestClient, database: Database) -> None:
    assert ask(client, "/labels", make_token(database, "tool", "labels")).json() == "tool"
    assert ask(client, "/labels", make_token(database, "root", "admin")).json() == "root"
    refused = ask(client, "/labels", make_token(database, "node:edge-1", "node:edge-1"))
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "it takes the scope labels" in refused.json()["detail"]


def test_a_node_may_act_for_itself_only(client: TestClient, database: Database) -> None:
    token = make_token(database, "node:edge-1", "node:edge-1")
    assert ask(client, "/node/edge-1", token).json() is True
    assert ask(client, "/node/edge-10", token).json() is False
    assert ask(client, "/node/edge", token).json() is False


@pytest.mark.parametrize("token", [None, "", "hmt_", "hmt_" + "x" * 42, "hmt_" + "x" * 44, "hmt_" + "x" * 43, "ü" * 5])
def test_a_forged_token_is_refused_in_one_sentence(client: TestClient, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode("latin-1")}
    answer = client.get("/labels", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "Authorization: Bearer hmt_" in answer.json()["detail"]


def test_a_revoked_token_is_refused_at_once_also_when_another_process_revoked_it(
    client: TestClient, database: Database
) -> None:
    token = make_token(database, "tool", "labels")
    unknown = ask(client, "/labels", new_token()).json()
    assert ask(client, "/labels", token).status_code == 200
    other = Database(database.path)
    with other.write() as session:
        assert revoke(session, "tool", 2.0) == 1
    other.close()
    answer = ask(client, "/labels", token)
    assert answer.status_code == 401
    assert answer.json() == unknown  # nothing tells it from one that never was


def test_a_digest_means_one_name_for_ever(database: Database) -> None:
    with database.write() as session:
        assert add_token(session, "a", DIGEST, ["labels"], 1.0)
        assert not add_token(session, "a", DIGEST, ["labels"], 2.0)
        with pytest.raises(Conflict, match="is a's already"):
            add_token(session, "b", DIGEST, ["labels"], 2.0)
        with pytest.raises(Conflict, match="is a's already"):
            add_token(session, "a", DIGEST, ["admin"], 2.0)
        assert revoke(session, "a", 3.0) == 1
        assert revoke(session, "a", 3.0) == 0
        with pytest.raises(Conflict, match="was revoked"):
            add_token(session, "a", DIGEST, ["labels"], 4.0)
        with pytest.raises(NotFound, match="no token is called b"):
            revoke(session, "b", 4.0)


@pytest.mark.parametrize("scope", ["", "root", "node:", "node:../x", "node:a b", "admin\n", "node:" + "x" * 129])
def test_what_is_no_scope_is_refused(database: Database, scope: str) -> None:
    with database.write() as session, pytest.raises(BadRequest, match="scope: expected"):
        add_token(session, "a", DIGEST, [scope], 1.0)


@pytest.mark.parametrize("digest", ["", "g" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_what_is_no_digest_is_refused(database: Database, digest: str) -> None:
    with database.write() as session, pytest.raises(BadRequest, match="token digest: expected"):
        add_token(session, "a", digest, ["labels"], 1.0)


@given(header=st.text(st.characters(codec="latin-1"), max_size=80) | st.none())
def test_no_header_opens_anything_by_itself(header: str | None) -> None:
    # identify asks the database only for what looks like a token, which none of these is
    with pytest.raises(Unauthorized):
        Auth(None).identify(header)  # type: ignore[arg-type] # never reached


def test_tokens_are_never_in_the_database(database: Database) -> None:
    token = make_token(database, "tool", "labels")
    with database.read() as session:
        assert find(session, token_digest(token)) is not None
        assert find(session, token) is None
    content = database.path.read_bytes() + database.path.with_name("hub.sqlite-wal").read_bytes()
    assert token.encode() not in content
    assert token_digest(token).encode() in content
