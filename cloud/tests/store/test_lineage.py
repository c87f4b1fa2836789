# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.errors import BadRequest, NotFound
from helmet_cloud.settings import HubHome
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.rounds import JobRow, RoundRow, lineage
from helmet_cloud.store.samples import keep_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from helmet_cloud.store.database import Database

DIGESTS = {name: name * 64 for name in "abcd"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(HubHome(tmp_path))
    with made.write() as session:
        session.add(
            JobRow(uid="u", namespace="default", name="job", created_seconds=0.0, generation=1, state={}, conditions=[])
        )
        session.flush()
        add_round(session, 1, base=DIGESTS["a"], model=DIGESTS["b"], members=[("1" * 64, "1,1,2,2,0", "/p/1.jpg")])
        add_round(session, 2, base=DIGESTS["b"], model=DIGESTS["c"], members=[("2" * 64, "", "/p/2.jpg")])
    yield made
    made.close()


def add_round(session: Session, number: int, *, base: str, model: str, members: Any, status: str = "accepted") -> None:
    session.add(
        RoundRow(
            job="u",
            number=number,
            output_dir="/output",
            status=status,
            opened_seconds=1.0,
            train_version=keep_version(session, "default/data", members, 1.0),
            eval_version=keep_version(session, "default/data", [("9" * 64, "", "/p/9.jpg")], 1.0),
            dataset_file="/data.txt",
            base_folder="/b",
            base_sha256=base,
            old_folder="/o",
            model_sha256=model,
            release=number,
            reason="accepted: better",
        )
    )
    session.flush()


def test_a_model_leads_back_to_job_round_data_set_and_the_models_before_it(database: Database) -> None:
    with database.read() as session:
        found = lineage(session, DIGESTS["c"][:12])
    assert (found.model, found.job, found.round, found.release) == (DIGESTS["c"], "default/job", 2, 2)
    assert (found.parent, found.ancestors) == (DIGESTS["b"], (DIGESTS["b"], DIGESTS["a"]))
    assert [(one.sha256, one.path) for one in found.samples] == [("2" * 64, "/p/2.jpg")]
    assert found.nodes == ()
    assert found.reason == "accepted: better"


def test_a_digest_that_nobody_made_or_several_begin_with_is_refused(database: Database) -> None:
    with database.write() as session:
        add_round(session, 3, base=DIGESTS["c"], model="c" * 63 + "d", members=[("3" * 64, "", "/p/3.jpg")])
    with database.read() as session:
        for digest in ("", "f" * 64, "%"):
            with pytest.raises(NotFound):
                lineage(session, digest)
        with pytest.raises(BadRequest, match="give more digits"):
            lineage(session, "c")


def test_the_round_that_was_accepted_speaks_for_a_model_that_two_rounds_made(database: Database) -> None:
    with database.write() as session:
        members = [("4" * 64, "", "/p/4.jpg")]
        add_round(session, 3, base=DIGESTS["c"], model=DIGESTS["d"], members=members, status="refused")
        add_round(session, 4, base=DIGESTS["c"], model=DIGESTS["d"], members=members)
    with database.read() as session:
        assert lineage(session, DIGESTS["d"]).round == 4


def test_a_versions_members_cannot_change_under_its_digest(database: Database) -> None:
    members = [("5" * 64, "1,1,2,2,0", "/p/5.jpg")]
    with database.write() as session:
        first = keep_version(session, "default/data", members, 1.0)
        assert keep_version(session, "default/data", members, 2.0) == first
        assert keep_version(session, "default/data", [("5" * 64, "1,1,2,3,0", "/p/5.jpg")], 2.0) != first
